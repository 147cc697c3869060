//! Deploy keys on every forge that shows their text.

use slipway_domain::event::ForgeKind;

use super::fake::{Key, Trouble, repo_of};
use super::stories::{api, forge, stranger};
use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMl4Xr0uGm0+h1yS/9w==";

fn kinds() -> impl Iterator<Item = ForgeKind> {
    ForgeKind::ALL.iter().copied().filter(|kind| *kind != ForgeKind::Coding)
}

fn key(id: u64, text: &str, writes: bool) -> Key {
    Key { id, title: "theirs".to_owned(), text: text.to_owned(), writes }
}

#[tokio::test]
async fn a_key_is_added_once_and_removed_once() {
    for kind in kinds() {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        inside.lock().keys = (0..120).map(|n| key(n, &format!("ssh-rsa AAAA{n} somebody@home"), true)).collect();
        let before = inside.lock().keys.clone();
        forge
            .during(async {
                assert_eq!(api.remove_deploy_key(repo, KEY).await, Ok(false), "{kind}");
                assert_eq!(api.ensure_deploy_key(repo, "Slipway", KEY).await, Ok("120".to_owned()), "{kind}");
                let made = Key { id: 120, title: "Slipway".to_owned(), text: KEY.to_owned(), writes: false };
                assert_eq!(inside.lock().keys.last(), Some(&made), "{kind}");
                // The forge may keep a comment, and so may the caller.
                inside.lock().keys.last_mut().expect("a key").text = format!("{KEY} Slipway");
                let again = api.ensure_deploy_key(repo, "other", &format!(" {KEY} me@home\n")).await;
                assert_eq!(again, Ok("120".to_owned()), "{kind}");
                assert_eq!(inside.lock().keys.len(), 121, "{kind}");
                assert_eq!(api.remove_deploy_key(repo, KEY).await, Ok(true), "{kind}");
                assert_eq!(api.remove_deploy_key(repo, KEY).await, Ok(false), "{kind}");
                assert_eq!(inside.lock().keys, before, "{kind}");
                let hidden = api.ensure_deploy_key(stranger(kind), "Slipway", KEY).await;
                assert!(matches!(hidden, Err(ForgeError::NotFound(_))), "{kind}: {hidden:?}");
            })
            .await;
    }
}

#[tokio::test]
async fn a_key_that_may_write_is_replaced() {
    for kind in kinds().filter(|kind| !matches!(kind, ForgeKind::Bitbucket | ForgeKind::Gitee)) {
        let forge = forge(kind).await;
        let (api, inside) = (api(kind, &forge), forge.inside());
        inside.lock().keys = vec![key(3, KEY, true)];
        let made = forge.during(async { api.ensure_deploy_key(repo_of(kind), "Slipway", KEY).await }).await;
        assert!(made.is_ok(), "{kind}: {made:?}");
        let keys = inside.lock().keys.clone();
        assert!(matches!(keys.as_slice(), [Key { writes: false, .. }]), "{kind}: {keys:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_key() {
    for kind in kinds() {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        forge
            .during(async {
                inside.lock().loses_answer = true;
                let lost = api.ensure_deploy_key(repo, "Slipway", KEY).await;
                assert_eq!(lost, Err(ForgeError::Transient("status 502".to_owned())), "{kind}");
                assert_eq!(api.ensure_deploy_key(repo, "Slipway", KEY).await, Ok("41".to_owned()), "{kind}");
                assert_eq!(inside.lock().keys.len(), 1, "{kind}");
            })
            .await;
    }
}

#[tokio::test]
async fn trouble_with_keys_is_told() {
    for kind in kinds() {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        forge
            .during(async {
                inside.lock().trouble = Some(Trouble::Limited);
                let wait = Err(ForgeError::RetryAfter(Duration::from_secs(7)));
                assert_eq!(api.ensure_deploy_key(repo, "Slipway", KEY).await, wait, "{kind}");
                inside.lock().revoked = true;
                let refused = ForgeError::Unauthorized(401);
                assert_eq!(api.ensure_deploy_key(repo, "Slipway", KEY).await, Err(refused.clone()), "{kind}");
                assert_eq!(api.remove_deploy_key(repo, KEY).await, Err(refused), "{kind}");
            })
            .await;
    }
}

#[tokio::test]
async fn what_is_no_key_is_not_sent() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----\n";
        forge
            .during(async {
                for bad in ["", "ssh-ed25519", private, "ssh-rsa AAAA\nssh-rsa BBBB", "ssh-rsa <AAAA>"] {
                    let made = api.ensure_deploy_key(repo, "Slipway", bad).await;
                    assert!(matches!(made, Err(ForgeError::Invalid(_))), "{kind} {bad}: {made:?}");
                }
                let made = api.ensure_deploy_key(repo, "Slipway", KEY).await;
                assert_eq!(matches!(made, Err(ForgeError::Invalid(_))), kind == ForgeKind::Coding, "{made:?}");
            })
            .await;
        assert!(kind != ForgeKind::Coding || inside.lock().requests == 0);
    }
}
