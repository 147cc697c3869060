//! Submodules, where they are wanted: fetched as the project is, from wherever a project could be fetched from, and
//! never put where they do not belong.

use sha2::Digest as _;

use super::kept::Keeping;
use super::*;

/// A tree's submodules: their paths, addresses and commits. One without an address does not stand in `.gitmodules`.
pub(crate) type Links<'a> = &'a [(&'a str, &'a str, &'a str)];

fn modules(links: Links<'_>) -> String {
    let entry = |(number, (path, url, _)): (usize, &(&str, &str, &str))| {
        format!("[submodule \"s{number}\"]\n\tpath = {path}\n\turl = {url}\n\tbranch = gone\n")
    };
    links.iter().filter(|(_, url, _)| !url.is_empty()).enumerate().map(entry).collect()
}

/// Bytes that cannot be packed tighter.
fn noise(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|number| sha2::Sha256::digest(number.to_le_bytes())).take(length).collect()
}

impl Forge {
    /// A further commit of a repository of this forge, which is made if there is none. Git's plain commands read
    /// `.gitmodules` themselves, so only those are used that do not.
    pub(crate) async fn commit_to(&self, name: &str, files: &[(&str, &[u8])], links: Links<'_>) -> String {
        let work = self.folder.path().join(name);
        if !work.exists() {
            std::fs::create_dir_all(&work).expect("a folder");
            git(&work, &["init", "-q"]).await;
            git(&work, &["config", "uploadpack.allowFilter", "true"]).await;
        }
        let modules = modules(links);
        let own = Some((".gitmodules", modules.as_bytes())).filter(|(_, text)| !text.is_empty());
        for (path, bytes) in files.iter().copied().chain(own) {
            let file = work.join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, bytes).expect("a file");
            git(&work, &["update-index", "--add", path]).await;
        }
        for (path, _, commit) in links {
            git(&work, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]).await;
        }
        let tree = git(&work, &["write-tree"]).await;
        // A repository's first commit has no parent.
        let has_head = work.join(".git/refs/heads/main").exists();
        let parent: &[&str] = if has_head { &["-p", "HEAD"] } else { &[] };
        let commit = git(&work, &[&["commit-tree", &tree, "-m", "more"], parent].concat()).await;
        git(&work, &["update-ref", "HEAD", &commit]).await;
        commit
    }

    fn url_of(&self, name: &str) -> String {
        format!("http://localhost:{}/{name}", self.port)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.lock().expect("a lock").clone()
    }
}

async fn whole(want: Want<'_>) -> (Result<Checkout, Failure>, tempfile::TempDir, String) {
    get(Want { submodules: true, ..want }, &CancellationToken::new()).await
}

#[tokio::test]
async fn submodules_come_at_their_commits_and_so_do_theirs() {
    let (forge, keeping) = (Forge::start(Manners { filters: true, ..Manners::default() }).await, Keeping::new());
    let inner = forge.commit_to("inner", &[("deep", b"inner")], &[]).await;
    let first = forge.commit_to("group/lib", &[("word", b"first")], &[("in/ner", "../../inner", &inner)]).await;
    forge.commit_to("group/lib", &[("word", b"second")], &[("in/ner", "../../inner", &inner)]).await;
    let (beside, absolute, over_ssh) = ("../group/lib", forge.url_of("group/lib"), "git@localhost:inner");
    let links = [("lib/a", beside, first.as_str()), ("b", &absolute, &first), ("c", over_ssh, &inner)];
    let url = forge.url();
    let commit = forge.commit_to("repo", &[], &links).await;
    let stray = forge.commit_to("repo", &[], &[("stray", "", &inner)]).await;

    for (mirrors, commit) in [
        (None, &commit),
        (Some((&keeping.mirrors, keeping.owner)), &commit),
        (Some((&keeping.mirrors, keeping.owner)), &stray),
    ] {
        let (checkout, dir, log) = whole(Want { mirrors, ..Want::of(&url, commit) }).await;
        let root = checkout.expect(&log).root;
        let text = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
        assert_eq!((text("lib/a/word").as_str(), text("lib/a/in/ner/deep").as_str()), ("first", "inner"));
        assert_eq!((text("b/word").as_str(), text("b/in/ner/deep").as_str()), ("first", "inner"));
        assert_eq!((text("c/deep").as_str(), text("Dockerfile").as_str()), ("inner", "FROM scratch\n"));
        for own in ["lib/a/.git", "lib/a/in/ner/.git", "b/.git", "c/.git"] {
            assert!(root.join(own).symlink_metadata().is_err(), "{own} would be a part of the context");
        }
        assert_eq!(left_in(dir.path()), ["source"]);
        for told in [
            format!("Submodule lib/a: {absolute} at {first}\n"),
            format!("Submodule lib/a/in/ner: {} at {inner}\n", forge.url_of("inner")),
            format!("Submodule c: {} at {inner}\n", forge.url_of("inner")),
        ] {
            assert!(log.contains(&told), "{told}{log}");
        }
        let says = "Submodule stray: .gitmodules has no address for it, so it stays empty.";
        assert_eq!((log.contains(says), root.join("stray").exists()), (*commit == stray, *commit == stray), "{log}");
    }
    // Of all of them something is kept now: the next build asks, and is sent nothing that it has.
    let asked = forge.asked().len();
    let small = Want { max_bytes: 2000, mirrors: Some((&keeping.mirrors, keeping.owner)), ..Want::of(&url, &stray) };
    whole(small).await.0.expect("fetched");
    assert!(forge.asked().len() > asked);
}

#[tokio::test]
async fn without_submodules_there_is_nothing_to_fetch() {
    let forge = Forge::start(Manners::default()).await;
    let (url, commit) = (forge.url(), forge.commit("main").await);
    let (checkout, _dir, log) = whole(Want::of(&url, &commit)).await;
    checkout.expect("fetched");
    assert!(log.contains("the commit has no .gitmodules"), "{log}");
}

/// A submodule's path and address, the class of its refusal, and a word of that.
type Case = (&'static str, String, FailureClass, &'static str);

#[tokio::test]
async fn hostile_submodules_are_refused_by_name() {
    use FailureClass::*;
    let (forge, keeping) = (Forge::start(Manners { filters: true, ..Manners::default() }).await, Keeping::new());
    let elsewhere = Forge::start(Manners { redirect: true, ..Manners::default() }).await;
    let (url, first) = (forge.url(), forge.commit("main").await);
    let mirrors = Some((&keeping.mirrors, keeping.owner));
    // From here on what git itself refuses in a whole fetch comes through, and meets us alone.
    whole(Want { mirrors, ..Want::of(&url, &first) }).await.0.expect("fetched");
    let canary = forge.folder.path().join("canary");
    let touch = canary.display();
    let inside = forge.folder.path().display().to_string();
    let cases: Vec<Case> = vec![
        ("s", format!("ext::sh -c touch% {touch}"), SourceForbidden, "no address"),
        ("s", format!("file://{inside}/repo"), SourceForbidden, "file"),
        ("s", format!("{inside}/repo"), SourceForbidden, "no address"),
        ("s", format!("--upload-pack=touch {touch}"), SourceForbidden, "no address"),
        ("s", "-u./x".to_owned(), SourceForbidden, "no address"),
        ("s", "git://localhost/repo".to_owned(), SourceForbidden, "uses git"),
        ("s", format!("ssh://-oProxyCommand=touch%20{touch}/x"), SourceForbidden, "over ssh"),
        (
            "s",
            "git@elsewhere.example:repo".to_owned(),
            SourceForbidden,
            "elsewhere.example:repo\" is addressed over ssh",
        ),
        ("s", "../../../repo".to_owned(), SourceForbidden, "leads out of its host"),
        ("s", format!("http://127.0.0.1:{}/repo", forge.port), SourceForbidden, "127.0.0.1"),
        ("s", "https://169.254.169.254/latest".to_owned(), SourceForbidden, "169.254.169.254"),
        ("s", "https://[::ffff:10.0.0.1]/x".to_owned(), SourceForbidden, "not public"),
        ("s", format!("http://me:canary@localhost:{}/repo", forge.port), SourceForbidden, "user name or password"),
        ("s", format!("http://localhost:{}/repo?token=canary", forge.port), SourceForbidden, "has a ?"),
        ("s", elsewhere.url(), SourceMissing, "submodule s (http://localhost"),
        ("s", forge.url_of("nothing"), SourceMissing, "submodule s (http://localhost"),
        ("../../x", url.clone(), ContextInvalid, "\"../../x\""),
        ("/tmp/x", url.clone(), ContextInvalid, "\"/tmp/x\""),
        (".GIT", url.clone(), ContextInvalid, "\".GIT\""),
        ("a/.git/b", url.clone(), ContextInvalid, "\"a/.git/b\""),
        ("git~1", url.clone(), ContextInvalid, "\"git~1\""),
        ("-s", url.clone(), ContextInvalid, "\"-s\""),
    ];
    for (path, address, class, word) in cases {
        // A tree cannot have most of these paths; the file that says them can.
        let place = if path == "s" { path } else { "other" };
        let text = format!("[submodule \"s\"]\n\tpath = {path}\n\turl = \"{address}\"\n\tupdate = checkout\n");
        let text = apart(&text);
        let links = [(place, "", first.as_str())];
        let commit = forge.commit_to("repo", &[(".gitmodules", text.as_bytes())], &links).await;
        let (fetched, dir, log) = whole(Want { mirrors, ..Want::of(&url, &commit) }).await;
        let failure = fetched.expect_err(&address);
        assert_eq!(failure.class, class, "{path} {address}: {failure:?}");
        assert!(failure.message.contains(word), "{path} {address}: {failure:?}");
        assert!(failure.detail.hint.is_some() || failure.class == SourceForbidden, "{failure:?}");
        assert!(!failure.message.contains("canary") || address.contains(&touch.to_string()), "{failure:?}");
        assert!(!log.contains("me:canary") && !log.contains("token=canary"), "{log}");
        assert!(!canary.exists(), "{address}");
        assert_eq!(left_in(dir.path()), ["source"]);
    }
    for text in ["[submodule \"s\"", &"x = y\n".repeat(20_000)] {
        let commit = forge.commit_to("repo", &[(".gitmodules", text.as_bytes())], &[("s", "", &first)]).await;
        let failure = whole(Want { mirrors, ..Want::of(&url, &commit) }).await.0.expect_err("refused");
        assert_eq!(failure.class, BuildRejected, "{failure:?}");
        assert!(failure.message.starts_with(".gitmodules cannot be read: "), "{failure:?}");
    }
}

#[tokio::test]
async fn a_submodule_goes_through_no_link() {
    let (forge, keeping) = (Forge::start(Manners { filters: true, ..Manners::default() }).await, Keeping::new());
    let (url, first) = (forge.url(), forge.commit("main").await);
    let work = forge.folder.path().join("repo");
    let outside = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(outside.path().join("s")).expect("a folder");
    std::os::unix::fs::symlink(outside.path(), work.join("link")).expect("a link");
    git(&work, &["update-index", "--add", "link"]).await;
    let text = format!("[submodule \"s\"]\n\tpath = link/s\n\turl = {url}\n");
    let commit = forge.commit_to("repo", &[(".gitmodules", text.as_bytes())], &[("other", "", &first)]).await;
    for mirrors in [None, Some((&keeping.mirrors, keeping.owner))] {
        // No tree has something beneath a link: there is no commit for such a path.
        let (checkout, _dir, log) = whole(Want { mirrors, ..Want::of(&url, &commit) }).await;
        assert!(checkout.expect("fetched").root.join("link").is_symlink());
        assert!(log.contains("Submodule other: .gitmodules has no address"), "{log}");
        assert_eq!(left_in(&outside.path().join("s")), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_credential_goes_to_the_projects_origin_alone() {
    let manners = Manners::closed("robot:s3cret-canary");
    let (own, open) = (Forge::start(manners.clone()).await, Forge::start(Manners::default()).await);
    let closed = Forge::start(manners).await;
    let inner = own.commit_to("inner", &[("deep", b"inner")], &[]).await;
    let theirs = open.commit("main").await;
    let url = own.url();
    let (open_url, closed_url) = (open.url(), closed.url());
    let links = [("own", "../inner", inner.as_str()), ("open", &open_url, &theirs)];
    let commit = own.commit_to("repo", &[], &links).await;
    let login = Some(("robot", "s3cret-canary"));
    let (checkout, _dir, log) = whole(Want { login, ..Want::of(&url, &commit) }).await;
    let root = checkout.expect(&log).root;
    assert!(root.join("own/deep").is_file() && root.join("open/Dockerfile").is_file());
    assert!(own.asked().iter().any(|line| line.starts_with("/inner") && line.contains("Basic")));
    assert!(open.asked().iter().all(|line| !line.contains("Basic")), "{:?}", open.asked());

    let theirs = closed.commit("main").await;
    let commit = own.commit_to("repo", &[], &[("closed", &closed_url, &theirs)]).await;
    let (refused, _dir, log) = whole(Want { login, ..Want::of(&url, &commit) }).await;
    let failure = refused.expect_err("it asks for a login");
    assert_eq!(failure.class, FailureClass::SourceMissing, "{failure:?}");
    assert!(failure.message.contains("submodule closed") && failure.advice().contains("never shown"), "{failure:?}");
    assert!(closed.asked().iter().all(|line| !line.contains("Basic")), "{:?}", closed.asked());
    assert!(!closed.asked().is_empty() && !log.contains("canary") && !failure.message.contains("canary"));
}

#[tokio::test]
async fn what_is_missing_too_large_or_too_much_says_which() {
    let forge = Forge::start(Manners::default()).await;
    let url = forge.url();
    let large = forge.commit_to("large", &[("noise", &noise(80_000))], &[]).await;
    let gone = "0123456789".repeat(4);
    let refused = async |links: Links<'_>, max_bytes: u64| {
        let commit = forge.commit_to("repo", &[], links).await;
        let (fetched, dir, _) = whole(Want { max_bytes, ..Want::of(&url, &commit) }).await;
        drop(dir);
        fetched.expect_err("refused")
    };
    let failure = refused(&[("a", "../large", &gone)], 1 << 20).await;
    assert_eq!(failure.class, FailureClass::CommitMissing, "{failure:?}");
    assert!(failure.message.contains("submodule a") && failure.message.contains(&gone), "{failure:?}");
    assert!(failure.advice().contains("Push the submodule's commit"), "{failure:?}");

    // Each of them alone would fit.
    let failure = refused(&[("a", "../large", &large), ("b", "../large", &large)], 120_000).await;
    assert_eq!(failure.class, FailureClass::SourceTooLarge, "{failure:?}");
    assert!(failure.message.contains("submodule b"), "{failure:?}");

    let paths: Vec<String> = (0..101).map(|number| format!("m/{number}")).collect();
    let many: Vec<_> = paths.iter().map(|path| (path.as_str(), "../large", large.as_str())).collect();
    let before = forge.asked().iter().filter(|line| line.starts_with("/large")).count();
    let failure = refused(&many, 1 << 20).await;
    assert_eq!(failure.class, FailureClass::SourceTooLarge, "{failure:?}");
    assert!(failure.message.contains("more than 100"), "{failure:?}");
    let after = forge.asked().iter().filter(|line| line.starts_with("/large")).count();
    assert_eq!(after, before, "nothing was fetched before they were counted");
}

/// A repository that is its own submodule, at the commit before, again and again.
#[tokio::test]
async fn a_cycle_ends_at_its_depth() {
    let (forge, keeping) = (Forge::start(Manners { filters: true, ..Manners::default() }).await, Keeping::new());
    let url = forge.url();
    let mut commits = vec![forge.commit("main").await];
    for _ in 0..6 {
        let before = commits.last().expect("one").clone();
        commits.push(forge.commit_to("repo", &[], &[("again", &url, &before)]).await);
    }
    let mirrors = Some((&keeping.mirrors, keeping.owner));
    let (checkout, _dir, log) = whole(Want { mirrors, ..Want::of(&url, &commits[5]) }).await;
    let root = checkout.expect(&log).root;
    assert!(root.join("again/again/again/again/again/Dockerfile").is_file());
    let failure = whole(Want { mirrors, ..Want::of(&url, &commits[6]) }).await.0.expect_err("six deep");
    assert_eq!(failure.class, FailureClass::SourceTooLarge, "{failure:?}");
    assert!(failure.message.contains("deeper than 5: again/again/again/again/again has"), "{failure:?}");
}

#[tokio::test]
async fn a_cancel_reaches_a_submodules_fetch() {
    let forge = Forge::start(Manners::default()).await;
    let silent = Forge::start(Manners { silent: true, ..Manners::default() }).await;
    let (url, silent_url, cancel) = (forge.url(), silent.url(), CancellationToken::new());
    let commit = forge.commit_to("repo", &[], &[("s", &silent_url, &"1".repeat(40))]).await;
    let stop = async {
        while silent.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let want = Want { submodules: true, ..Want::of(&url, &commit) };
    let ended = async { tokio::join!(get(want, &cancel), stop) };
    let ((refused, dir, _), ()) = tokio::time::timeout(Duration::from_secs(30), ended).await.expect("in time");
    assert_eq!(refused.expect_err("cancelled").class, FailureClass::Cancelled);
    assert_eq!(left_in(dir.path()), ["source"]);
}
