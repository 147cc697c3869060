//! The same stories for every forge that is spoken to by a client of our own, each against a forge that knows its
//! kind's requests and no others.

use slipway_domain::build::BuildState;

use super::fake::{FakeForge, KINDS, Said, TOKEN, Trouble, repo_of};
use super::tests::connect;
use super::*;
use crate::testing::{OLD_SHA, SHA};

const CONTEXT: &str = "ci/slipway/widget";
const PAGE: &str = "https://ci.example/builds/1?a=b&c";
const ALL_STATES: [BuildState; 8] = [
    BuildState::Pending,
    BuildState::Running,
    BuildState::Succeeded,
    BuildState::Failed,
    BuildState::Errored,
    BuildState::Cancelled,
    BuildState::Superseded,
    BuildState::Skipped,
];

/// The forge's words for [`ALL_STATES`].
fn words(kind: ForgeKind) -> [&'static str; 8] {
    match kind {
        ForgeKind::Bitbucket => {
            ["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "FAILED", "STOPPED", "STOPPED", "STOPPED"]
        }
        ForgeKind::BitbucketDc => {
            ["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "FAILED", "FAILED", "FAILED", "SUCCESSFUL"]
        }
        ForgeKind::Gitea => ["pending", "pending", "success", "failure", "error", "failure", "failure", "success"],
        ForgeKind::Gitee => [
            "queued",
            "in_progress",
            "completed/success",
            "completed/failure",
            "completed/failure",
            "completed/cancelled",
            "completed/cancelled",
            "completed/skipped",
        ],
        ForgeKind::Coding => [
            "COMMIT_STATE_PENDING",
            "COMMIT_STATE_PENDING",
            "COMMIT_STATE_SUCCESS",
            "COMMIT_STATE_ERROR",
            "COMMIT_STATE_ERROR",
            "COMMIT_STATE_ERROR",
            "COMMIT_STATE_ERROR",
            "COMMIT_STATE_SUCCESS",
        ],
        ForgeKind::Github | ForgeKind::Gitlab => panic!("they have tests of their own"),
    }
}

fn status(kind: ForgeKind, state: BuildState) -> CommitStatus {
    CommitStatus {
        repo: repo_of(kind).to_owned(),
        commit: SHA.to_owned(),
        state,
        context: CONTEXT.to_owned(),
        description: "RUN make failed".to_owned(),
        target_url: Some(PAGE.to_owned()),
        ref_name: Some("feature/x".to_owned()),
        pipeline_id: None,
    }
}

/// A forge with two commits, three files, a branch and a tag.
pub(super) async fn forge(kind: ForgeKind) -> FakeForge {
    let forge = FakeForge::new(kind).await;
    let inside = forge.inside();
    let mut state = inside.lock();
    state.commits = vec![OLD_SHA.to_owned(), SHA.to_owned()];
    for (path, text) in [("slipway.yml", "images: [ü]\n"), ("a dir/Dockerfile", "FROM scratch\n"), ("x.json", "{}")] {
        state.files.insert((SHA.to_owned(), path.to_owned()), text.to_owned());
    }
    state.refs.insert("refs/heads/feature/a#1".to_owned(), SHA.to_owned());
    state.refs.insert("refs/tags/v1".to_owned(), OLD_SHA.to_owned());
    drop(state);
    forge
}

pub(super) fn api(kind: ForgeKind, forge: &FakeForge) -> ForgeApi {
    ForgeApi::new(connect(kind, &forge.url)).expect("an address")
}

#[tokio::test]
async fn every_state_arrives_in_the_forges_words_and_in_order() {
    for kind in KINDS {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        let other = CommitStatus { context: "ci/other".to_owned(), ..status(kind, BuildState::Succeeded) };
        let sent = forge.during(async {
            let mut sent = vec![api.set_status(&other).await];
            for state in ALL_STATES {
                sent.push(api.set_status(&status(kind, state)).await);
            }
            sent
        });
        assert_eq!(sent.await, vec![Ok(StatusSent { pipeline_id: None }); 9], "{kind}");
        let said = inside.lock().said.clone();
        let named = matches!(kind, ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitee);
        let expected = words(kind).map(|word| Said {
            commit: SHA.to_owned(),
            key: CONTEXT.to_owned(),
            name: named.then(|| CONTEXT.to_owned()),
            state: word.to_owned(),
            description: "RUN make failed".to_owned(),
            url: PAGE.to_owned(),
            refname: (kind == ForgeKind::Bitbucket).then(|| "feature/x".to_owned()),
        });
        assert_eq!(said[1..], expected, "{kind}");
        assert_eq!(said[0].key, "ci/other", "{kind}");
    }
    assert_eq!(ALL_STATES.as_slice(), BuildState::ALL);
}

#[tokio::test]
async fn long_texts_fit_into_the_forge() {
    for kind in KINDS {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        let long = |last: &str| CommitStatus {
            context: format!("{}{last}", "c".repeat(80)),
            description: "ü".repeat(400),
            ref_name: Some("r".repeat(400)),
            ..status(kind, BuildState::Failed)
        };
        let sent = forge.during(async { (api.set_status(&long("1")).await, api.set_status(&long("2")).await) }).await;
        assert!(sent.0.is_ok() && sent.1.is_ok(), "{kind}: {sent:?}");
        let said = inside.lock().said.clone();
        assert_eq!(said[0].description.chars().count(), 255, "{kind}");
        assert!(said[0].description.ends_with("ü…") && said[0].refname.is_none(), "{kind}");
        assert_ne!(said[0].key, said[1].key, "{kind}: two contexts under one key");
        assert_eq!(said[0].key.len(), if kind == ForgeKind::Bitbucket { 40 } else { 81 }, "{kind}");
    }
}

#[tokio::test]
async fn a_page_is_sent_where_there_is_one_and_it_fits() {
    for kind in KINDS {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        let with_page = async |target_url| {
            let status = CommitStatus { target_url, ..status(kind, BuildState::Failed) };
            matches!(api.set_status(&status).await, Err(ForgeError::Invalid(_)))
        };
        let long = format!("https://ci.example/{}", "x".repeat(450));
        let refused = forge.during(async { (with_page(None).await, with_page(Some(long)).await) }).await;
        let needs_page = matches!(kind, ForgeKind::Bitbucket | ForgeKind::BitbucketDc);
        assert_eq!(refused, (needs_page, kind == ForgeKind::BitbucketDc), "{kind}");
        let arrived = [refused.0, refused.1].into_iter().filter(|refused| !refused).count();
        assert_eq!(inside.lock().said.len(), arrived, "{kind}");
    }
}

#[tokio::test]
async fn files_are_read_at_a_commit() {
    for kind in KINDS {
        let forge = forge(kind).await;
        let api = api(kind, &forge);
        let read = async |repo, commit, path| api.read_file(&FileAt { repo, commit, path }).await;
        let repo = repo_of(kind);
        let nowhere = "0123456789012345678901234567890123456789";
        forge
            .during(async {
                let text = |text: &str| Ok(Some(text.to_owned()));
                assert_eq!(read(repo, SHA, "slipway.yml").await, text("images: [ü]\n"), "{kind}");
                assert_eq!(read(repo, SHA, "a dir/Dockerfile").await, text("FROM scratch\n"), "{kind}");
                assert_eq!(read(repo, SHA, "x.json").await, text("{}"), "{kind}");
                assert_eq!(read(repo, SHA, "none.yml").await, Ok(None), "{kind}");
                assert_eq!(read(repo, SHA, "a dir").await, Ok(None), "{kind}: a directory");
                assert_eq!(read(repo, OLD_SHA, "slipway.yml").await, Ok(None), "{kind}: of another commit");
                for (repo, commit) in [(repo, nowhere), (stranger(kind), SHA)] {
                    let found = read(repo, commit, "slipway.yml").await;
                    let hidden = matches!(found, Err(ForgeError::NotFound(_)));
                    assert!(hidden, "{kind} {repo} {commit}: what we may not see is not missing: {found:?}");
                }
            })
            .await;
    }
}

/// Another repository, of the same form.
pub(super) fn stranger(kind: ForgeKind) -> &'static str {
    match kind {
        ForgeKind::Gitlab => "acme/sub/hidden",
        ForgeKind::Coding => "acme/tools/hidden",
        _ => "acme/hidden",
    }
}

#[tokio::test]
async fn refs_point_to_commits_and_short_ids_become_full() {
    for kind in KINDS {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        let head = async |name| api.head_of(repo, &GitRef::parse(name).expect("a ref")).await;
        forge
            .during(async {
                assert_eq!(head("refs/heads/feature/a#1").await, Ok(Some(SHA.to_owned())), "{kind}");
                assert_eq!(head("refs/tags/v1").await, Ok(Some(OLD_SHA.to_owned())), "{kind}");
                for none in ["refs/heads/v1", "refs/tags/feature/a#1", "refs/notes/x"] {
                    assert_eq!(head(none).await, Ok(None), "{kind} {none}");
                }
                inside.lock().refs.insert("refs/heads/odd".to_owned(), "abc".to_owned());
                assert!(matches!(head("refs/heads/odd").await, Err(ForgeError::Invalid(_))), "{kind}");

                let before = inside.lock().requests;
                assert_eq!(api.full_commit(repo, SHA).await, Ok(SHA.to_owned()), "{kind}");
                assert_eq!(inside.lock().requests, before, "{kind}: a full id needs no question");
                let short = api.full_commit(repo, &SHA[..12]).await;
                if kind == ForgeKind::Bitbucket {
                    assert_eq!(short, Ok(SHA.to_owned()));
                    let none = api.full_commit(repo, "123456789012").await;
                    assert_eq!(none, Err(ForgeError::NotFound("Commit not found".to_owned())));
                } else {
                    assert!(matches!(short, Err(ForgeError::Invalid(_))), "{kind}: {short:?}");
                }
                for bad in ["", "main", "abc", "../../x", "1F8E2C0D3B4A"] {
                    let found = api.full_commit(repo, bad).await;
                    assert!(matches!(found, Err(ForgeError::Invalid(_))), "{kind} {bad}: {found:?}");
                }
            })
            .await;
    }
}

#[tokio::test]
async fn trouble_says_what_is_to_be_done_and_loses_nothing() {
    for kind in KINDS {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        let hasty = Connect { timeout: Duration::from_millis(300), ..connect(kind, &forge.url) };
        let hasty = ForgeApi::new(hasty).expect("an address");
        let (pending, done) = (status(kind, BuildState::Pending), status(kind, BuildState::Succeeded));
        forge
            .during(async {
                let trouble = |trouble| inside.lock().trouble = Some(trouble);
                assert!(api.set_status(&pending).await.is_ok(), "{kind}");
                trouble(Trouble::Limited);
                let wait = ForgeError::RetryAfter(Duration::from_secs(7));
                assert_eq!(api.set_status(&done).await, Err(wait), "{kind}");
                trouble(Trouble::Broken);
                let broken = ForgeError::Transient("status 502".to_owned());
                assert_eq!(api.set_status(&done).await, Err(broken), "{kind}");
                trouble(Trouble::Silent);
                let silent = ForgeError::Transient("no answer within 300 ms".to_owned());
                assert_eq!(hasty.set_status(&done).await, Err(silent), "{kind}");
                assert_eq!(inside.lock().said.len(), 1, "{kind}: nothing arrived in between");
                assert!(api.set_status(&done).await.is_ok(), "{kind}");

                let elsewhere = CommitStatus { commit: "0".repeat(39) + "1", ..done.clone() };
                let lost = api.set_status(&elsewhere).await;
                assert!(matches!(lost, Err(ForgeError::NotFound(_))), "{kind}: {lost:?}");

                inside.lock().revoked = true;
                let file = FileAt { repo: repo_of(kind), commit: SHA, path: "slipway.yml" };
                let branch = GitRef::parse("refs/heads/feature/a#1").expect("a ref");
                let refused = [
                    api.set_status(&done).await.err(),
                    api.read_file(&file).await.err(),
                    api.head_of(repo_of(kind), &branch).await.err(),
                ];
                for refused in refused {
                    assert_eq!(refused, Some(ForgeError::Unauthorized(401)), "{kind}");
                }
            })
            .await;
        let states: Vec<String> = inside.lock().said.iter().map(|said| said.state.clone()).collect();
        assert_eq!(states, [words(kind)[0], words(kind)[2]], "{kind}");
    }
}

#[tokio::test]
async fn what_would_break_the_address_is_not_sent_to_anybody() {
    for kind in KINDS.into_iter().filter(|kind| *kind != ForgeKind::Coding) {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        forge
            .during(async {
                for repo in ["acme", "acme/", "../x", "a/..", "a/b/c", "a/b?x", "a/b#", "a b/c", "/a", "a%2F../b"] {
                    let read = api.read_file(&FileAt { repo, commit: SHA, path: "x" }).await;
                    assert!(matches!(read, Err(ForgeError::Invalid(_))), "{kind} {repo}: {read:?}");
                }
                let commit = "HEAD/../../x".to_owned();
                let sent = api.set_status(&CommitStatus { commit, ..status(kind, BuildState::Failed) }).await;
                assert!(matches!(sent, Err(ForgeError::Invalid(_))), "{kind}: {sent:?}");
            })
            .await;
        assert_eq!(inside.lock().requests, 0, "{kind}");
    }
}

#[tokio::test]
async fn a_token_with_its_account_is_shown_as_the_forge_wants_it() {
    let own = Url::parse("https://git.corp").expect("a URL");
    let shown = |kind, token: &str| {
        let connect = Connect { token: token.to_owned(), ..connect(kind, &own) };
        let api = ForgeApi::new(connect).expect("an address");
        api.transport.credential.as_ref().expect("a token").1.to_str().expect("text").to_owned()
    };
    // "me:pw" in base64.
    for (kind, expected) in [
        (ForgeKind::Github, "Bearer me:pw"),
        (ForgeKind::Gitlab, "me:pw"),
        (ForgeKind::Bitbucket, "Basic bWU6cHc="),
        (ForgeKind::BitbucketDc, "Basic bWU6cHc="),
        (ForgeKind::Gitea, "token pw"),
        (ForgeKind::Gitee, "token pw"),
        (ForgeKind::Coding, "Basic bWU6cHc="),
    ] {
        assert_eq!(shown(kind, "me:pw"), expected, "{kind}");
        assert!(shown(kind, TOKEN).ends_with(TOKEN), "{kind}");
    }
}

#[test]
fn git_logs_in_as_each_forge_wants_it() {
    for (kind, token, user, password) in [
        (ForgeKind::Github, TOKEN, "x-access-token", TOKEN),
        (ForgeKind::Github, "a:b", "x-access-token", "a:b"),
        (ForgeKind::Gitlab, TOKEN, "oauth2", TOKEN),
        (ForgeKind::Bitbucket, "ATCTT3x", "x-token-auth", "ATCTT3x"),
        (ForgeKind::Bitbucket, "ATATT3x", "x-bitbucket-api-token-auth", "ATATT3x"),
        (ForgeKind::Bitbucket, "me@acme.example:ATATT3x", "x-bitbucket-api-token-auth", "ATATT3x"),
        (ForgeKind::Bitbucket, "me:pw", "me", "pw"),
        (ForgeKind::BitbucketDc, TOKEN, "x-token-auth", TOKEN),
        (ForgeKind::BitbucketDc, "me:pw", "me", "pw"),
        (ForgeKind::Gitea, TOKEN, "oauth2", TOKEN),
        (ForgeKind::Gitea, "me:pw", "me", "pw"),
        (ForgeKind::Gitee, TOKEN, "oauth2", TOKEN),
        (ForgeKind::Coding, "ptx1:pw", "ptx1", "pw"),
    ] {
        let login = clone_credential(kind, token).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!((login.user.as_str(), login.password.as_str()), (user, password), "{kind} {token}");
    }
    assert!(matches!(clone_credential(ForgeKind::Coding, TOKEN), Err(ForgeError::Invalid(_))));
}
