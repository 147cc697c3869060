//! Our webhook on every forge: made once, set right, looked at, removed.

use slipway_domain::event::ForgeKind;

use super::fake::{FakeForge, Hook, Inside, Listing, Trouble, repo_of};
use super::stories::{api, forge, stranger};
use super::*;
use crate::testing::{SECRET, SIGNING_TOKEN};
use crate::webhooks::{HookSpec, RemoteHook};

const URL: &str = "https://ci.example/hooks/0199a7b2";

/// The forge's names for what we want to hear of, sorted.
fn events(kind: ForgeKind) -> &'static [&'static str] {
    match kind {
        ForgeKind::Github => &["create", "delete", "pull_request", "push", "release"],
        ForgeKind::Gitlab => &["merge_requests_events", "push_events", "releases_events", "tag_push_events"],
        ForgeKind::Bitbucket => &[
            "pullrequest:created",
            "pullrequest:fulfilled",
            "pullrequest:rejected",
            "pullrequest:updated",
            "repo:push",
        ],
        ForgeKind::BitbucketDc => &[
            "pr:declined",
            "pr:deleted",
            "pr:from_ref_updated",
            "pr:merged",
            "pr:modified",
            "pr:opened",
            "repo:refs_changed",
        ],
        ForgeKind::Gitea => &["create", "delete", "pull_request", "pull_request_sync", "push", "release"],
        ForgeKind::Gitee => &["merge_requests_events", "push_events", "tag_push_events"],
        ForgeKind::Coding => &["GIT_MR_CLOSED", "GIT_MR_CREATED", "GIT_MR_MERGED", "GIT_MR_UPDATED", "GIT_PUSHED"],
    }
}

/// A forge whose repository has so many hooks of others.
async fn with_hooks(kind: ForgeKind, others: u64) -> (FakeForge, ForgeApi, Inside) {
    let forge = forge(kind).await;
    let (api, inside) = (api(kind, &forge), forge.inside());
    inside.lock().listed = vec![Listing { id: 9, path: repo_of(kind).to_owned(), private: true, branch: None }];
    inside.lock().hooks = (0..others).map(|n| other(n, &format!("https://other.example/{n}"))).collect();
    (forge, api, inside)
}

fn other(id: u64, url: &str) -> Hook {
    Hook { id, url: url.to_owned(), secret: "theirs".to_owned(), events: vec![], active: true, failed: None }
}

fn spec(kind: ForgeKind) -> HookSpec {
    let secret = if kind == ForgeKind::Gitlab { SIGNING_TOKEN } else { SECRET };
    HookSpec { url: URL.to_owned(), secret: secret.to_owned() }
}

fn ours(inside: &Inside) -> Vec<Hook> {
    inside.lock().hooks.iter().filter(|hook| hook.url == URL).cloned().collect()
}

#[tokio::test]
async fn a_hook_is_made_once_and_set_right_ever_after() {
    for &kind in ForgeKind::ALL {
        // The own one comes on a second page.
        let (forge, api, inside) = with_hooks(kind, 120).await;
        let (repo, spec) = (repo_of(kind), spec(kind));
        forge
            .during(async {
                assert_eq!(api.find_hook(repo, URL).await, Ok(None), "{kind}");
                let made = api.ensure_hook(repo, &spec).await.expect("a hook");
                let expected = RemoteHook {
                    url: URL.to_owned(),
                    active: true,
                    missing_events: vec![],
                    last_error: None,
                    ..made.clone()
                };
                assert_eq!(made, expected, "{kind}");
                let wanted = Hook {
                    id: 120,
                    url: URL.to_owned(),
                    secret: spec.secret.clone(),
                    events: events(kind).iter().map(|event| (*event).to_owned()).collect(),
                    active: true,
                    failed: None,
                };
                assert_eq!(ours(&inside), std::slice::from_ref(&wanted), "{kind}");

                let rotated = HookSpec { secret: "another".to_owned(), ..spec.clone() };
                assert_eq!(api.ensure_hook(repo, &rotated).await, Ok(made.clone()), "{kind}");
                assert_eq!(ours(&inside), [Hook { secret: "another".to_owned(), ..wanted }], "{kind}");
                assert_eq!(api.find_hook(repo, URL).await, Ok(Some(made)), "{kind}");
                assert_eq!(inside.lock().hooks.len(), 121, "{kind}");
                assert!(inside.lock().hooks[..120].iter().all(|hook| hook.secret == "theirs"), "{kind}");
            })
            .await;
    }
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_hook() {
    for &kind in ForgeKind::ALL {
        let (forge, api, inside) = with_hooks(kind, 1).await;
        let (repo, spec) = (repo_of(kind), spec(kind));
        forge
            .during(async {
                inside.lock().loses_answer = true;
                let lost = api.ensure_hook(repo, &spec).await;
                assert_eq!(lost, Err(ForgeError::Transient("status 502".to_owned())), "{kind}");
                assert!(api.ensure_hook(repo, &spec).await.is_ok(), "{kind}");
                assert_eq!(ours(&inside).len(), 1, "{kind}");
            })
            .await;
    }
}

#[tokio::test]
async fn a_hook_that_was_stopped_is_told_and_revived() {
    for &kind in ForgeKind::ALL {
        let (forge, api, inside) = with_hooks(kind, 1).await;
        let (repo, spec) = (repo_of(kind), spec(kind));
        let (kept, gone) = events(kind).split_first().expect("events");
        let broken = Hook {
            events: vec![(*kept).to_owned()],
            active: kind == ForgeKind::Gitee,
            failed: Some(504),
            ..other(50, URL)
        };
        inside.lock().hooks.push(broken);
        forge
            .during(async {
                let found = api.find_hook(repo, URL).await.expect("an answer").expect("a hook");
                assert_eq!(found.active, kind == ForgeKind::Gitee, "{kind}");
                let mut missing = found.missing_events.clone();
                missing.sort_unstable();
                assert_eq!(missing, gone, "{kind}");
                let told = match kind {
                    ForgeKind::Github | ForgeKind::Gitee => Some("status 504: Service Timeout"),
                    ForgeKind::BitbucketDc => Some("status 504"),
                    ForgeKind::Gitlab => {
                        Some("temporarily_disabled until 2026-11-22T00:00:00Z, after failed deliveries")
                    }
                    ForgeKind::Bitbucket | ForgeKind::Gitea | ForgeKind::Coding => None,
                };
                assert_eq!(found.last_error.as_deref(), told, "{kind}");

                let revived = api.ensure_hook(repo, &spec).await.expect("a hook");
                assert!(revived.active && revived.missing_events.is_empty(), "{kind}: {revived:?}");
                let now = ours(&inside);
                let [now] = now.as_slice() else { panic!("{kind}: one hook: {now:?}") };
                assert!(now.active && now.secret == spec.secret && now.events == events(kind), "{kind}: {now:?}");
            })
            .await;
    }
}

#[tokio::test]
async fn a_hook_is_removed_and_others_stay() {
    for &kind in ForgeKind::ALL {
        let (forge, api, inside) = with_hooks(kind, 2).await;
        let repo = repo_of(kind);
        // Somebody made it by hand, too, and wrote the host in their own way.
        inside.lock().hooks.extend([other(50, URL), other(51, "HTTPS://CI.example:443/hooks/0199a7b2")]);
        forge
            .during(async {
                assert_eq!(api.remove_hook(repo, URL).await, Ok(true), "{kind}");
                assert_eq!(api.remove_hook(repo, URL).await, Ok(false), "{kind}");
                let left: Vec<u64> = inside.lock().hooks.iter().map(|hook| hook.id).collect();
                assert_eq!(left, [0, 1], "{kind}");
                let hidden = api.find_hook(stranger(kind), URL).await;
                assert!(matches!(hidden, Err(ForgeError::NotFound(_))), "{kind}: {hidden:?}");
            })
            .await;
    }
}

#[tokio::test]
async fn a_plain_secret_on_gitlab_is_a_token_only() {
    let kind = ForgeKind::Gitlab;
    let (forge, api, inside) = with_hooks(kind, 0).await;
    let plain = HookSpec { secret: SECRET.to_owned(), ..spec(kind) };
    // The fake refuses a signing token that is none.
    forge.during(async { api.ensure_hook(repo_of(kind), &plain).await }).await.expect("a hook");
    assert_eq!(ours(&inside)[0].secret, SECRET);
}

#[tokio::test]
async fn a_delivery_without_an_answer_is_told_in_words() {
    let kind = ForgeKind::BitbucketDc;
    let (forge, api, inside) = with_hooks(kind, 0).await;
    inside.lock().hooks.push(Hook { failed: Some(0), ..other(50, URL) });
    let found = forge.during(async { api.find_hook(repo_of(kind), URL).await }).await;
    assert_eq!(found.map(|hook| hook.and_then(|hook| hook.last_error)), Ok(Some("connect timed out".to_owned())));
}

#[tokio::test]
async fn trouble_with_hooks_is_told() {
    for &kind in ForgeKind::ALL {
        let (forge, api, inside) = with_hooks(kind, 1).await;
        let (repo, spec) = (repo_of(kind), spec(kind));
        forge
            .during(async {
                inside.lock().trouble = Some(Trouble::Limited);
                let wait = Some(ForgeError::RetryAfter(Duration::from_secs(7)));
                assert_eq!(api.ensure_hook(repo, &spec).await.err(), wait, "{kind}");
                inside.lock().revoked = true;
                let refused = [
                    api.ensure_hook(repo, &spec).await.err(),
                    api.find_hook(repo, URL).await.err(),
                    api.remove_hook(repo, URL).await.err(),
                ];
                for refused in refused {
                    assert_eq!(refused, Some(ForgeError::Unauthorized(401)), "{kind}");
                }
            })
            .await;
        assert!(ours(&inside).is_empty(), "{kind}");
    }
}

#[test]
fn a_hooks_secret_is_not_shown() {
    let shown = format!("{:?}", spec(ForgeKind::Github));
    assert!(shown.contains(URL) && !shown.contains(SECRET), "{shown}");
}
