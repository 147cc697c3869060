//! What a push or a change touches, asked of every forge.

use slipway_domain::event::ForgeKind;

use super::fake::{Inside, Moved, Right, Trouble, repo_of};
use super::stories::{api, forge, stranger};
use super::*;
use crate::changes::ChangedFiles;
use crate::testing::{OLD_SHA, SHA};

fn moved(old: Option<&str>, new: Option<&str>) -> Moved {
    Moved { old: old.map(str::to_owned), new: new.map(str::to_owned) }
}

/// One file of each kind, and so many modified ones.
fn change(inside: &Inside, modified: usize) -> Vec<String> {
    let mut changed = vec![
        moved(None, Some("new ü.txt")),
        moved(Some("gone.txt"), None),
        moved(Some("dir/old.rs"), Some("other/new.rs")),
    ];
    changed.extend((0..modified).map(|n| format!("src/{n:03}.rs")).map(|name| moved(Some(&name), Some(&name))));
    let mut names: Vec<String> =
        changed.iter().flat_map(|moved| [moved.old.clone(), moved.new.clone()]).flatten().collect();
    names.sort_unstable();
    names.dedup();
    inside.lock().changed = changed;
    names
}

fn whole(paths: Vec<String>) -> Result<ChangedFiles, ForgeError> {
    Ok(ChangedFiles { paths, truncated: false })
}

#[tokio::test]
async fn changed_files_come_under_their_old_and_new_names() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        // Two pages, on Gitea more.
        let names = change(&inside, 127);
        forge
            .during(async {
                let (pushed, of_change) =
                    (api.changed_files(repo, OLD_SHA, SHA).await, api.files_of_change(repo, 7).await);
                match kind {
                    ForgeKind::Coding => {
                        assert_eq!(pushed, Ok(ChangedFiles { paths: vec![], truncated: true }));
                        let new: Vec<String> = names.into_iter().filter(|name| name != "dir/old.rs").collect();
                        assert_eq!(of_change, Ok(ChangedFiles { paths: new, truncated: true }));
                    }
                    // The page's number is lost on its way, and the first page is not taken for the second.
                    ForgeKind::Bitbucket => {
                        assert_eq!(pushed, whole(names));
                        let first = of_change.expect("a list");
                        assert!(first.truncated && first.paths.len() == 101, "{} files", first.paths.len());
                    }
                    _ => {
                        assert_eq!(pushed, whole(names.clone()), "{kind}");
                        assert_eq!(of_change, whole(names), "{kind}");
                    }
                }
                for none in [api.files_of_change(repo, 8).await, api.files_of_change(stranger(kind), 7).await] {
                    assert!(matches!(none, Err(ForgeError::NotFound(_))), "{kind}: {none:?}");
                }
            })
            .await;
    }
}

#[tokio::test]
async fn few_files_are_one_page() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        inside.lock().changed = vec![moved(None, Some("a")), moved(Some("b"), Some("b"))];
        forge
            .during(async {
                let two = vec!["a".to_owned(), "b".to_owned()];
                assert_eq!(api.files_of_change(repo, 7).await, whole(two), "{kind}");
                let asked = if kind == ForgeKind::Bitbucket { 2 } else { 1 };
                assert_eq!(inside.lock().requests, asked, "{kind}");
            })
            .await;
    }
}

#[tokio::test]
async fn a_list_that_was_cut_says_so() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        change(&inside, 350);
        forge
            .during(async {
                // CODING gives all of a change at once; GitLab and Gitea all of a comparison.
                inside.lock().overflown = true;
                assert!(api.changed_files(repo, OLD_SHA, SHA).await.is_ok_and(|found| found.truncated), "{kind}");
                let before = inside.lock().requests;
                assert!(api.files_of_change(repo, 7).await.is_ok_and(|found| found.truncated), "{kind}");
                // On Bitbucket Cloud each page costs two requests, and there are two.
                assert!(inside.lock().requests <= before + 4, "{kind}: at most three pages");

                // A list that cannot be read is one that was cut.
                let long = moved(None, Some(&"x".repeat(5 << 20)));
                inside.lock().changed = vec![long];
                let unknown = Ok(ChangedFiles { paths: vec![], truncated: true });
                assert_eq!(api.changed_files(repo, OLD_SHA, SHA).await, unknown, "{kind}");
                assert_eq!(api.files_of_change(repo, 7).await, unknown, "{kind}");
            })
            .await;
    }
}

#[tokio::test]
async fn commits_that_a_push_took_away_are_not_forgotten() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        inside.lock().changed = vec![moved(Some("a"), Some("a"))];
        inside.lock().taken = Some("taken.txt".to_owned());
        let found = forge.during(async { api.changed_files(repo, OLD_SHA, SHA).await }).await.expect("a list");
        match kind {
            // They compare with the merge base, where that file is as it was.
            ForgeKind::Github | ForgeKind::Gitee | ForgeKind::Coding => assert!(found.truncated, "{kind}"),
            ForgeKind::Gitea => assert_eq!(
                (found.paths.as_slice(), found.truncated),
                (&["a", "taken.txt"].map(str::to_owned)[..], false)
            ),
            // They were asked for the two commits themselves.
            ForgeKind::Gitlab | ForgeKind::Bitbucket | ForgeKind::BitbucketDc => assert!(!found.truncated, "{kind}"),
        }
    }
}

#[tokio::test]
async fn a_commits_message_is_whole() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        let text = "Build ü\n\nWhy it must be so.\n[skip ci]\n".to_owned();
        inside.lock().messages.insert(SHA.to_owned(), text.clone());
        let nowhere = "0123456789012345678901234567890123456789";
        forge
            .during(async {
                assert_eq!(api.commit_message(repo, SHA).await, Ok(text), "{kind}");
                for (repo, commit) in [(repo, nowhere), (stranger(kind), SHA)] {
                    let found = api.commit_message(repo, commit).await;
                    assert!(matches!(found, Err(ForgeError::NotFound(_))), "{kind}: {found:?}");
                }
                for bad in ["", "main", "abc"] {
                    let asked = [
                        api.commit_message(repo, bad).await.err(),
                        api.changed_files(repo, bad, SHA).await.err(),
                        api.changed_files(repo, SHA, bad).await.err(),
                    ];
                    assert!(asked.iter().all(|e| matches!(e, Some(ForgeError::Invalid(_)))), "{kind} {bad}: {asked:?}");
                }
            })
            .await;
    }
}

#[tokio::test]
async fn who_may_push() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        let person = |login: &str, right| (login.to_owned(), right);
        inside.lock().people =
            vec![person("rita", Right::Read), person("wendy", Right::Write), person("adam", Right::Admin)];
        let knows = !matches!(kind, ForgeKind::Bitbucket | ForgeKind::Coding);
        let may = async |login| api.may_push(repo, login).await;
        forge
            .during(async {
                for (login, expected) in [("wendy", true), ("adam", true), ("rita", false), ("wend", false)] {
                    assert_eq!(may(login).await, Ok(expected && knows), "{kind} {login}");
                }
                for nobody in ["nobody", "", ".", "..", "../wendy", "wendy/x", "a b", "wendy?x", "dependabot[bot]"] {
                    assert_eq!(may(nobody).await, Ok(false), "{kind} {nobody}");
                }
                let hidden = api.may_push(stranger(kind), "wendy").await;
                assert_eq!(hidden, Ok(false), "{kind}");
            })
            .await;
    }
}

#[tokio::test]
async fn trouble_is_told_from_an_answer() {
    for &kind in ForgeKind::ALL {
        let forge = forge(kind).await;
        let (api, inside, repo) = (api(kind, &forge), forge.inside(), repo_of(kind));
        let asks = kind != ForgeKind::Coding;
        let knows_people = !matches!(kind, ForgeKind::Bitbucket | ForgeKind::Coding);
        inside.lock().people = vec![("wendy".to_owned(), Right::Write)];
        let all = async || {
            let mut errors = vec![api.files_of_change(repo, 7).await.err(), api.commit_message(repo, SHA).await.err()];
            if asks {
                errors.push(api.changed_files(repo, OLD_SHA, SHA).await.err());
            }
            if knows_people {
                errors.push(api.may_push(repo, "wendy").await.err());
            }
            errors
        };
        forge
            .during(async {
                inside.lock().trouble = Some(Trouble::Limited);
                let wait = Some(ForgeError::RetryAfter(Duration::from_secs(7)));
                assert_eq!(api.commit_message(repo, SHA).await.err(), wait, "{kind}");
                inside.lock().trouble = Some(Trouble::Broken);
                assert_eq!(
                    api.files_of_change(repo, 7).await.err(),
                    Some(ForgeError::Transient("status 502".to_owned())),
                    "{kind}"
                );
                assert!(all().await.iter().all(Option::is_none), "{kind}");
                inside.lock().revoked = true;
                for refused in all().await {
                    assert_eq!(refused, Some(ForgeError::Unauthorized(401)), "{kind}");
                }
            })
            .await;
    }
}
