//! What is kept of a repository between attempts: it saves what was fetched, and changes nothing else.

use slipway_runtime::clock::Clock;

use super::*;
use crate::work::mirror::Keep;

/// What is kept of repositories, in a folder of its own.
pub(super) struct Keeping {
    dir: tempfile::TempDir,
    pub(super) mirrors: Mirrors,
    pub(super) owner: Owner,
}

impl Keeping {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let keep = Keep { unused: Duration::from_secs(3600), max_bytes: 1 << 30, min_free_bytes: 0 };
        let mirrors = Mirrors::new(Life::new(), Clock::system(), dir.path().join("mirrors"), keep);
        Self { dir, mirrors, owner: Owner { tenant: slipway_runtime::ids::new_id(), trusted: true } }
    }

    fn want<'a>(&'a self, url: &'a str, commit: &'a str) -> Want<'a> {
        Want { mirrors: Some((&self.mirrors, self.owner)), ..Want::of(url, commit) }
    }

    /// The kept repositories.
    fn kept(&self) -> Vec<PathBuf> {
        let found = std::fs::read_dir(self.dir.path().join("mirrors")).expect("a folder").flatten();
        found.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// Every file of them, with its bytes.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.dir.path().to_path_buf()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), std::fs::read(&path).expect("readable")));
                }
            }
        }
        files
    }
}

impl Forge {
    /// One more commit on main; its id.
    async fn commit_file(&self, name: &str, bytes: &[u8]) -> String {
        let work = self.folder.path().join("repo");
        std::fs::write(work.join(name), bytes).expect("a file");
        git(&work, &["add", "."]).await;
        git(&work, &["commit", "-q", "-m", name]).await;
        self.commit("HEAD").await
    }
}

/// The files of a checkout.
fn files_of(checkout: &Checkout) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&checkout.root)
        .expect("a folder")
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("readable")))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_was_fetched_once_is_not_fetched_again() {
    for filters in [true, false] {
        let forge = Forge::start(Manners { filters, ..Manners::default() }).await;
        let (url, keeping) = (forge.url(), Keeping::new());
        let large: Vec<u8> = (0..700_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let first = forge.commit_file("large", &large[..900_000]).await;
        let (checkout, dir, _) = get(keeping.want(&url, &first), &CancellationToken::new()).await;
        assert_eq!(checkout.expect("fetched").commit, first);
        assert_eq!(left_in(dir.path()), ["source"]);
        assert!(!dir.path().join("source/.git").exists(), "nothing is there twice");

        // With 900 KB again it would be too large for this limit.
        let second = forge.commit_file("small", b"2").await;
        let small = Want { max_bytes: 100_000, ..keeping.want(&url, &second) };
        let (checkout, _dir, _) = get(small, &CancellationToken::new()).await;
        let checkout = checkout.expect("fetched");
        assert_eq!(
            (checkout.commit.as_str(), std::fs::metadata(checkout.root.join("large")).is_ok()),
            (second.as_str(), true)
        );
        let fresh = get(Want::of(&url, &second), &CancellationToken::new()).await;
        assert_eq!(files_of(&checkout), files_of(&fresh.0.expect("fetched")), "as fetched anew");

        // A branch that goes back, and one that shares contents but no commit.
        let (checkout, _dir, _) = get(keeping.want(&url, &first), &CancellationToken::new()).await;
        assert!(!checkout.expect("fetched").root.join("small").exists());
        let bare = forge.commit("bare").await;
        let other = Want { max_bytes: 100_000, ..keeping.want(&url, &bare) };
        let (checkout, _dir, _) = get(other, &CancellationToken::new()).await;
        assert!(!checkout.expect("fetched").root.join("slipway.yml").exists());
        assert_eq!(keeping.kept().len(), 1);
    }
}

#[tokio::test]
async fn each_attempt_has_its_own_files() {
    let forge = Forge::start(Manners { filters: true, ..Manners::default() }).await;
    let (url, keeping, commit) = (forge.url(), Keeping::new(), forge.commit("main").await);
    let (first, _dir, _) = get(keeping.want(&url, &commit), &CancellationToken::new()).await;
    let first = first.expect("fetched");
    let before = files_of(&first);
    let next = forge.commit_file("second", b"changed").await;
    let (second, _dir, _) = get(keeping.want(&url, &next), &CancellationToken::new()).await;
    assert!(files_of(&second.expect("fetched")).contains(&("second".to_owned(), b"changed".to_vec())));
    assert_eq!(files_of(&first), before, "the next commit changes nothing here");

    // An update that was cut off after it made a file, and before it said so.
    let kept = &keeping.kept()[0];
    std::fs::remove_file(kept.join("tree-done")).expect("removed");
    std::fs::write(kept.join("tree/foreign"), "x").expect("a file");
    let (third, _dir, _) = get(keeping.want(&url, &commit), &CancellationToken::new()).await;
    assert_eq!(files_of(&third.expect("fetched")), before);
}

/// It hands out tips of refs only, and no contents by their ids.
#[tokio::test]
async fn an_old_server_gives_the_next_commit_whole() {
    let forge = Forge::start(Manners { old: true, filters: true, ..Manners::default() }).await;
    let (url, keeping, first) = (forge.url(), Keeping::new(), forge.commit("main~1").await);
    let (checkout, _dir, _) = get(keeping.want(&url, &first), &CancellationToken::new()).await;
    assert_eq!(checkout.expect("fetched").commit, first);
    for number in ["3", "4"] {
        let next = forge.commit_file("number", number.as_bytes()).await;
        let (checkout, _dir, _) = get(keeping.want(&url, &next), &CancellationToken::new()).await;
        let files = files_of(&checkout.expect("fetched"));
        assert!(files.contains(&("number".to_owned(), number.as_bytes().to_vec())), "{files:?}");
        assert_eq!(keeping.kept().len(), 1);
    }
}

#[tokio::test]
async fn the_server_says_each_time_who_may_have_it() {
    let forge = Forge::start(Manners { login: Some("robot:s3cret-canary"), ..Manners::default() }).await;
    let (url, keeping, commit) = (forge.url(), Keeping::new(), forge.commit("main").await);
    let with = |password| Want { login: Some(("robot", password)), ..keeping.want(&url, &commit) };
    let (checkout, dir, _) = get(with("s3cret-canary"), &CancellationToken::new()).await;
    checkout.expect("fetched");
    for (path, bytes) in keeping.files() {
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!has(b"canary") && !has(b"localhost"), "{}", path.display());
    }
    drop(dir);
    let (refused, ..) = get(with("gone"), &CancellationToken::new()).await;
    assert_eq!(refused.expect_err("refused").class, FailureClass::SourceAuth);
    let (refused, ..) = get(keeping.want(&url, &commit), &CancellationToken::new()).await;
    assert_eq!(refused.expect_err("no login").class, FailureClass::SourceMissing);
}

#[tokio::test]
async fn strangers_and_other_tenants_have_a_repository_of_their_own() {
    let forge = Forge::start(Manners::default()).await;
    let (url, keeping, commit) = (forge.url(), Keeping::new(), forge.commit("main").await);
    let owners = [
        keeping.owner,
        Owner { trusted: false, ..keeping.owner },
        Owner { tenant: slipway_runtime::ids::new_id(), ..keeping.owner },
    ];
    for (count, owner) in owners.into_iter().enumerate() {
        let want = Want { mirrors: Some((&keeping.mirrors, owner)), ..Want::of(&url, &commit) };
        get(want, &CancellationToken::new()).await.0.expect("fetched");
        assert_eq!(keeping.kept().len(), count + 1);
    }
    let rules = Want { rules_from: Some("refs/heads/bare"), ..keeping.want(&url, &commit) };
    let checkout = get(rules, &CancellationToken::new()).await.0.expect("fetched");
    assert_eq!(checkout.rules, Rules::Others(None));
    let rules = Want { rules_from: Some("refs/heads/main"), ..keeping.want(&url, &commit) };
    let checkout = get(rules, &CancellationToken::new()).await.0.expect("fetched");
    assert!(matches!(checkout.rules, Rules::Others(Some(_))), "{:?}", checkout.rules);
}

#[tokio::test]
async fn what_is_damaged_is_made_anew() {
    let forge = Forge::start(Manners { filters: true, ..Manners::default() }).await;
    let (url, keeping, commit) = (forge.url(), Keeping::new(), forge.commit("main").await);
    let (checkout, _dir, _) = get(Want::of(&url, &commit), &CancellationToken::new()).await;
    let good = files_of(&checkout.expect("fetched"));
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 6] = [
        ("no objects", |dir| std::fs::remove_dir_all(dir.join("objects")).expect("removed")),
        ("no head", |dir| std::fs::write(dir.join("HEAD"), "").expect("written")),
        ("packs of nothing", |dir| {
            for path in std::fs::read_dir(dir.join("objects/pack")).expect("there").flatten().map(|entry| entry.path())
            {
                std::fs::remove_file(&path).expect("removed");
                std::fs::write(&path, [0; 64]).expect("written");
            }
        }),
        ("a wrong byte in each pack", |dir| {
            for path in std::fs::read_dir(dir.join("objects/pack")).expect("there").flatten().map(|entry| entry.path())
            {
                let mut bytes = std::fs::read(&path).expect("readable");
                let middle = bytes.len() / 2;
                if path.extension().is_some_and(|extension| extension == "pack") {
                    bytes[middle..middle + 8].fill(0xa5);
                    std::fs::remove_file(&path).expect("removed");
                    std::fs::write(&path, bytes).expect("written");
                }
            }
            std::fs::remove_file(dir.join("tree-done")).expect("removed");
        }),
        ("other files", |dir| {
            std::fs::remove_file(dir.join("tree/Dockerfile")).expect("removed");
            std::fs::write(dir.join("tree/slipway.yml"), "changed").expect("written");
        }),
        ("locks and halves", |dir| {
            for file in ["shallow.lock", "config.lock", "HEAD.lock", "refs/slipway/x.lock", "objects/pack/tmp_pack_1"] {
                std::fs::write(dir.join(file), "x").expect("written");
            }
        }),
    ];
    get(keeping.want(&url, &commit), &CancellationToken::new()).await.0.expect("fetched");
    for (what, damage) in damages {
        let kept = keeping.kept();
        damage(&kept[0]);
        let next = forge.commit_file("next", what.as_bytes()).await;
        for commit in [&commit, &next] {
            let (checkout, dir, _) = get(keeping.want(&url, commit), &CancellationToken::new()).await;
            let checkout = checkout.expect(what);
            assert_eq!(left_in(dir.path()), ["source"], "{what}");
            let mut files = files_of(&checkout);
            files.retain(|(name, _)| name != "next");
            assert_eq!(files, good, "{what}");
        }
        let left: Vec<_> =
            keeping.files().into_iter().filter(|(path, _)| path.to_string_lossy().contains("tmp_")).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        assert_eq!(keeping.kept(), kept, "{what}");
    }
}

#[tokio::test]
async fn many_at_once_get_what_each_wants() {
    let forge = Forge::start(Manners { filters: true, ..Manners::default() }).await;
    let (url, keeping) = (forge.url(), Keeping::new());
    let mut commits = Vec::new();
    for number in 0..4 {
        commits.push(forge.commit_file("number", number.to_string().as_bytes()).await);
    }
    let cancel = CancellationToken::new();
    let all = commits.iter().chain(&commits).map(|commit| get(keeping.want(&url, commit), &cancel));
    for ((checkout, ..), number) in futures_util::future::join_all(all).await.into_iter().zip((0..4).chain(0..4)) {
        let files = files_of(&checkout.expect("fetched"));
        assert!(files.contains(&("number".to_owned(), number.to_string().into_bytes())), "{files:?}");
    }
    assert_eq!(keeping.kept().len(), 1);
}

#[tokio::test]
async fn a_cancelled_fetch_lets_the_next_one_in() {
    let forge = Forge::start(Manners { silent: true, ..Manners::default() }).await;
    let (url, keeping, commit) = (forge.url(), Keeping::new(), "0".repeat(40));
    let cancel = CancellationToken::new();
    let stop = async {
        while forge.seen.lock().expect("a lock").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let ((refused, ..), ()) = tokio::join!(get(keeping.want(&url, &commit), &cancel), stop);
    assert_eq!(refused.expect_err("cancelled").class, FailureClass::Cancelled);
    let taken = keeping.mirrors.take(keeping.owner, "http://localhost/", &commit);
    assert!(tokio::time::timeout(Duration::from_secs(5), taken).await.expect("at once").is_some());
}

/// What a repository may bring along to have something run here, or something of this host sent.
#[tokio::test]
async fn nothing_of_a_repository_is_run() {
    let forge = Forge::start(Manners::default()).await;
    let (url, keeping) = (forge.url(), Keeping::new());
    let work = forge.folder.path().join("repo");
    let canary = forge.folder.path().join("canary");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    for (name, text) in [
        (
            ".gitattributes",
            "*.bin filter=lfs diff=lfs merge=lfs -text\nx export-ignore\ny export-subst\n* filter=evil\n".to_owned(),
        ),
        ("a.bin", pointer.to_owned()),
        ("x", "1".to_owned()),
        ("y", "$Format:%H$".to_owned()),
        (".gitmodules", format!("[submodule \"s\"]\n\tpath = s\n\turl = {}/repo\n", forge.folder.path().display())),
        (".gitconfig", format!("[filter \"evil\"]\n\tsmudge = touch {}\n", canary.display())),
    ] {
        std::fs::write(work.join(name), text).expect("a file");
    }
    std::os::unix::fs::symlink("/etc/passwd", work.join("link")).expect("a link");
    git(&work, &["add", "."]).await;
    let id = forge.commit("HEAD").await;
    git(&work, &["update-index", "--add", "--cacheinfo", &format!("160000,{id},s")]).await;
    git(&work, &["commit", "-q", "-m", "odd"]).await;
    let commit = forge.commit("HEAD").await;
    for mirrors in [None, Some((&keeping.mirrors, keeping.owner))] {
        let want = Want { mirrors, ..Want::of(&url, &commit) };
        let (checkout, dir, log) = get(want, &CancellationToken::new()).await;
        let root = checkout.expect("fetched").root;
        let text = |name: &str| std::fs::read_to_string(root.join(name)).expect(name);
        assert_eq!((text("a.bin").as_str(), text("x").as_str(), text("y").as_str()), (pointer, "1", "$Format:%H$"));
        assert_eq!(std::fs::read_link(root.join("link")).expect("a link"), Path::new("/etc/passwd"));
        assert!(root.join("s").read_dir().expect("a folder").next().is_none(), "a submodule is not fetched");
        assert!(!canary.exists(), "{log}");
        drop(dir);
    }
}
