use std::time::{Duration, SystemTime};

use super::sweep::{Found, leaving};
use super::*;

fn found(name: &str, bytes: u64, unused_secs: u64) -> Found {
    let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - unused_secs);
    Found { name: name.to_owned(), bytes, used }
}

#[test]
fn the_longest_unused_go_first() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let keep = Keep { unused: Duration::from_secs(100), max_bytes: 50, min_free_bytes: 10 };
    let three = || vec![found("new", 20, 1), found("old", 20, 90), found("mid", 20, 50)];
    for (mirrors, free, wanted) in [
        (vec![], 0, vec![]),
        (vec![found("a", 50, 100)], 10, vec![]),
        (vec![found("a", 1, 101)], 100, vec!["a"]),
        (vec![found("a", 51, 0)], 100, vec!["a"]),
        (three(), 100, vec!["old"]),
        (three(), 9, vec!["old"]),
        (vec![found("a", 5, 9), found("b", 5, 8), found("c", 5, 7)], 1, vec!["a", "b"]),
    ] {
        assert_eq!(leaving(mirrors.clone(), now, &keep, free), wanted, "{mirrors:?} {free}");
    }
}

#[test]
fn nobody_shares_with_another_tenant_or_with_strangers() {
    let (ada, bob) = (slipway_runtime::ids::new_id(), slipway_runtime::ids::new_id());
    let own = Owner { tenant: ada, trusted: true };
    let names = [
        name(own, "https://h/a", 40),
        name(own, "https://h/b", 40),
        name(own, "https://h/a", 64),
        name(Owner { trusted: false, ..own }, "https://h/a", 40),
        name(Owner { tenant: bob, ..own }, "https://h/a", 40),
    ];
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len());
    assert_eq!(name(own, "https://h/a", 40), names[0]);
}

struct Site {
    dir: tempfile::TempDir,
    mirrors: Mirrors,
    clock: Clock,
    owner: Owner,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let keep = Keep { unused: Duration::from_secs(3600), max_bytes: 1 << 20, min_free_bytes: 0 };
        let clock = Clock::system();
        let mirrors = Mirrors::new(Life::new(), clock.clone(), dir.path().join("mirrors"), keep);
        let owner = Owner { tenant: slipway_runtime::ids::new_id(), trusted: true };
        Self { dir, mirrors, clock, owner }
    }

    async fn take(&self, url: &str) -> Kept {
        let kept = self.mirrors.take(self.owner, url, &"0".repeat(40)).await.expect("taken");
        std::fs::create_dir_all(kept.git_dir()).expect("a folder");
        kept
    }

    fn there(&self) -> usize {
        let names = std::fs::read_dir(self.dir.path().join("mirrors")).expect("a folder").flatten();
        names.filter(|entry| entry.path().is_dir()).count()
    }
}

#[tokio::test]
async fn one_has_it_while_others_wait() {
    let site = Site::new();
    let first = site.take("u").await;
    let mut second = std::pin::pin!(site.take("u"));
    assert!(futures_util::poll!(&mut second).is_pending(), "one at a time");
    drop(site.take("other").await);
    drop(first);
    second.await;
}

#[tokio::test]
async fn work_that_nobody_waits_for_keeps_others_out_until_it_ends() {
    let site = Site::new();
    let kept = site.take("u").await;
    let (begins, begun) = std::sync::mpsc::channel();
    let (ends, end) = std::sync::mpsc::channel::<()>();
    {
        let mut work = std::pin::pin!(kept.blocking(move |_| {
            begins.send(()).expect("heard");
            end.recv().map_err(std::io::Error::other)
        }));
        assert!(futures_util::poll!(&mut work).is_pending());
        begun.recv().expect("begun");
    }
    drop(kept);
    let mut next = std::pin::pin!(site.take("u"));
    assert!(futures_util::poll!(&mut next).is_pending());
    ends.send(()).expect("heard");
    next.await;
}

#[tokio::test]
async fn one_that_is_in_use_stays() {
    let site = Site::new();
    let kept = site.take("u").await;
    std::fs::write(kept.git_dir().join("large"), vec![0; 2 << 20]).expect("a file");
    assert_eq!((site.mirrors.sweep().await.expect("looks"), site.there()), (0, 1));
    drop(kept);
    assert_eq!((site.mirrors.sweep().await.expect("looks"), site.there()), (1, 0), "too large");

    drop(site.take("u").await);
    drop(site.take("v").await);
    assert_eq!(site.mirrors.sweep().await.expect("looks"), 0);
    site.clock.advance(Duration::from_secs(3000));
    drop(site.take("v").await);
    site.clock.advance(Duration::from_secs(3000));
    assert_eq!((site.mirrors.sweep().await.expect("looks"), site.there()), (1, 1), "unused");
}

/// A git of a builder that was killed holds the lock until it ends.
#[tokio::test]
async fn the_lock_of_a_killed_builder_goes_with_its_git() {
    let site = Site::new();
    let place = {
        let kept = site.take("u").await;
        kept.place.clone()
    };
    let lock = File::open(&place.lock).expect("there");
    assert!(try_lock(&lock).expect("a lock"));
    fcntl_setfd(&lock, FdFlags::empty()).expect("inherited");
    let mut git = std::process::Command::new("sleep").arg("1000").spawn().expect("it runs");
    drop(lock);
    let taking = async { site.take("u").await };
    assert!(timeout(Duration::from_millis(300), taking).await.is_err(), "its git still works");
    git.kill().expect("killed");
    git.wait().expect("ended");
    site.take("u").await;
}

#[tokio::test]
async fn what_was_left_half_goes_and_the_rest_stays() {
    let site = Site::new();
    let kept = site.take("u").await;
    let dir = kept.git_dir();
    let files = [
        ("HEAD", true),
        ("shallow", true),
        ("shallow.lock", false),
        ("config.lock", false),
        ("refs/slipway/aa", true),
        ("refs/slipway/bb.lock", false),
        ("objects/aa/bbbb", true),
        ("objects/aa/tmp_obj_x", false),
        ("objects/pack/pack-1.pack", true),
        ("objects/pack/tmp_pack_x", false),
        ("objects/info/alternates", false),
        ("hooks/post-checkout", false),
        ("info/attributes", false),
        ("tree-index.lock", false),
        ("tree-index", false),
        ("tree/half", false),
    ];
    for (file, _) in files {
        std::fs::create_dir_all(dir.join(file).parent().expect("a folder")).expect("a folder");
        std::fs::write(dir.join(file), "x").expect("a file");
    }
    std::fs::write(dir.join("config"), "[filter \"x\"]\n\tsmudge = touch /tmp/x\n").expect("a file");
    kept.tidy().await.expect("tidied");
    for (file, stays) in files {
        assert_eq!(dir.join(file).exists(), stays, "{file}");
    }
    assert_eq!(std::fs::read_to_string(dir.join("config")).expect("there"), CONFIG);
    for file in ["tree-done", "tree-index", "tree-index.lock"] {
        std::fs::write(dir.join(file), "x").expect("a file");
    }
    kept.tidy().await.expect("tidied");
    assert!(dir.join("tree-index").exists() && !dir.join("tree-index.lock").exists(), "what is whole stays");
    for number in 0..=MAX_PACKS {
        std::fs::write(dir.join(format!("objects/pack/pack-x{number}.pack")), "").expect("a file");
    }
    kept.tidy().await.expect("tidied");
    assert!(!dir.exists(), "what is in too many pieces is fetched anew");
    std::fs::create_dir_all(dir.join("refs")).expect("a folder");
    kept.tidy().await.expect("tidied");
    assert!(!dir.exists(), "what is no repository is made anew");
}
