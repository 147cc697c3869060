//! Repositories of every forge: listed, searched, looked up.

use slipway_domain::event::ForgeKind;

use super::fake::{Inside, Listing, Trouble, repo_of};
use super::stories::{api, forge, stranger};
use super::*;
use crate::repos::{RemoteRepo, RepoPage};

/// So many repositories beside the one that there always is, in the forge's way of naming.
fn list(kind: ForgeKind, inside: &Inside, others: u64) {
    let folder = repo_of(kind).trim_end_matches("/widget");
    let listing = |id, path: String, branch: Option<&str>| Listing {
        id,
        path,
        private: id % 2 == 0,
        branch: branch.map(str::to_owned),
    };
    let mut listed = vec![listing(9, repo_of(kind).to_owned(), Some("trunk"))];
    listed.extend((0..others).map(|n| listing(100 + n, format!("{folder}/lib-{n:03}"), None)));
    if kind == ForgeKind::Bitbucket {
        listed.push(listing(8, "zeta/last".to_owned(), None));
    }
    inside.lock().listed = listed;
}

/// All parts of a list.
async fn all(api: &ForgeApi, search: Option<&str>) -> Vec<RepoPage> {
    let mut parts: Vec<RepoPage> = Vec::new();
    loop {
        let cursor = parts.last().and_then(|part| part.next.clone());
        parts.push(api.list_repos(search, cursor.as_deref()).await.expect("a list"));
        if parts.last().is_some_and(|part| part.next.is_none()) {
            return parts;
        }
        assert!(parts.len() < 20, "a list without an end");
    }
}

fn paths(parts: &[RepoPage]) -> Vec<String> {
    parts.iter().flat_map(|part| part.items.iter().map(|repo| repo.full_path.clone())).collect()
}

#[tokio::test]
async fn repositories_are_listed_in_parts() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        list(kind, &inside, 130);
        let expected: Vec<String> = inside.lock().listed.iter().map(|listing| listing.path.clone()).collect();
        let parts = forge.during(async { all(&api, None).await }).await;
        assert_eq!(paths(&parts), expected, "{kind}");
        let sizes: Vec<usize> = parts.iter().map(|part| part.items.len()).collect();
        let expected: &[usize] = match kind {
            ForgeKind::Gitea => &[50, 50, 31],
            ForgeKind::Bitbucket => &[100, 31, 1],
            _ => &[100, 31],
        };
        assert_eq!(sizes, expected, "{kind}");
    }
}

#[tokio::test]
async fn a_search_narrows_the_list() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        list(kind, &inside, 130);
        forge
            .during(async {
                // On the second page, where the forge does not search itself.
                let found = paths(&all(&api, Some(" lib-12 ")).await);
                let folder = repo_of(kind).trim_end_matches("/widget");
                let expected: Vec<String> = (120..130).map(|n| format!("{folder}/lib-{n}")).collect();
                assert_eq!(found, expected, "{kind}");
                assert_eq!(paths(&all(&api, Some("no such \"one\"")).await), Vec::<String>::new(), "{kind}");
            })
            .await;
    }
}

#[tokio::test]
async fn one_repository_is_found_by_its_path_and_followed_by_its_id() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        list(kind, &inside, 1);
        forge
            .during(async {
                let found = api.repo(repo).await.expect("the repository");
                let told = kind != ForgeKind::Coding;
                let of_kind = format!("{kind:?}").to_lowercase();
                let expected = RemoteRepo {
                    id: match kind {
                        ForgeKind::Bitbucket => "{00000000-0000-0000-0000-000000000009}".to_owned(),
                        _ => "9".to_owned(),
                    },
                    full_path: repo.to_owned(),
                    clone_url: match kind {
                        ForgeKind::BitbucketDc => "https://bitbucket.test/scm/~acme/widget.git".to_owned(),
                        ForgeKind::Coding => format!("https://e.coding.test/{repo}.git"),
                        _ => format!("https://{of_kind}.test/{repo}.git"),
                    },
                    web_url: Some(match kind {
                        ForgeKind::BitbucketDc => {
                            "https://bitbucket.test/projects/~acme/repos/widget/browse".to_owned()
                        }
                        ForgeKind::Coding => format!("https://acme.coding.test/{repo}"),
                        _ => format!("https://{of_kind}.test/{repo}"),
                    }),
                    default_branch: told.then(|| "trunk".to_owned()),
                    private: told.then_some(false),
                };
                assert_eq!(found, expected, "{kind}");

                let renamed = stranger(kind).replace("hidden", "renamed");
                inside.lock().listed[0].path.clone_from(&renamed);
                let by_id = api.repo_by_id(&found.id).await;
                if matches!(kind, ForgeKind::BitbucketDc | ForgeKind::Gitee) {
                    assert!(matches!(by_id, Err(ForgeError::Invalid(_))), "{kind}: {by_id:?}");
                } else {
                    assert_eq!(by_id.map(|found| found.full_path), Ok(renamed), "{kind}");
                    let other = found.id.replace('9', "7");
                    let none = api.repo_by_id(&other).await;
                    assert!(matches!(none, Err(ForgeError::NotFound(_))), "{kind}: {none:?}");
                }
                let gone = api.repo(stranger(kind)).await;
                assert!(matches!(gone, Err(ForgeError::NotFound(_))), "{kind}: {gone:?}");
            })
            .await;
    }
}

#[tokio::test]
async fn an_empty_repository_has_no_branch() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        list(kind, &inside, 0);
        inside.lock().listed[0].branch = None;
        let found = forge.during(async { api.repo(repo).await }).await.expect("the repository");
        assert_eq!(found.default_branch, None, "{kind}");
    }
}

#[tokio::test]
async fn tokens_that_tell_less_list_all_the_same() {
    // Gitea's may not tell whose it is.
    let other = forge(ForgeKind::Gitea).await;
    let (client, inside) = (api(ForgeKind::Gitea, &other), other.inside());
    list(ForgeKind::Gitea, &inside, 3);
    inside.lock().nameless = true;
    assert_eq!(paths(&other.during(async { all(&client, None).await }).await).len(), 4);

    // That of a workspace on Bitbucket Cloud may not list workspaces.
    let other = forge(ForgeKind::Bitbucket).await;
    let (client, inside) = (api(ForgeKind::Bitbucket, &other), other.inside());
    list(ForgeKind::Bitbucket, &inside, 130);
    other
        .during(async {
            assert_eq!(paths(&all(&client, Some("zeta/")).await), ["zeta/last"]);
            assert_eq!(inside.lock().requests, 1);
            assert_eq!(paths(&all(&client, Some("acme/lib-1")).await).len(), 30);
        })
        .await;
}

#[tokio::test]
async fn what_is_no_cursor_or_id_is_not_asked_for() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        list(kind, &inside, 1);
        forge
            .during(async {
                let place = if kind == ForgeKind::Bitbucket { ["acme:0", "other:1"] } else { ["-1", "1001x"] };
                for cursor in ["", "x", "https://elsewhere.invalid/?page=2"].into_iter().chain(place) {
                    let found = api.list_repos(None, Some(cursor)).await;
                    assert!(matches!(found, Err(ForgeError::Invalid(_))), "{kind} {cursor}: {found:?}");
                }
                for id in ["", "..", "9/hooks", "{}", "x"] {
                    let found = api.repo_by_id(id).await;
                    assert!(matches!(found, Err(ForgeError::Invalid(_))), "{kind} {id}: {found:?}");
                }
            })
            .await;
        assert!(inside.lock().requests <= 5, "{kind}: workspaces at most");
    }
}

#[tokio::test]
async fn trouble_while_listing_is_told() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        list(kind, &inside, 1);
        forge
            .during(async {
                inside.lock().trouble = Some(Trouble::Limited);
                let wait = Some(ForgeError::RetryAfter(Duration::from_secs(7)));
                assert_eq!(api.list_repos(None, None).await.err(), wait, "{kind}");
                inside.lock().revoked = true;
                let refused = Some(ForgeError::Unauthorized(401));
                assert_eq!(api.list_repos(None, None).await.err(), refused, "{kind}");
                assert_eq!(api.repo(repo).await.err(), refused, "{kind}");
            })
            .await;
    }
}
