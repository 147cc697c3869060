use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;

struct Tree(TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().expect("a folder"));
        std::fs::create_dir(tree.root()).expect("a folder");
        for (path, text) in files {
            let path = tree.root().join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        tree
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("source")
    }

    fn link(&self, path: &str, to: &str) {
        symlink(to, self.root().join(path)).expect("a link");
    }

    fn request(&self) -> ContextRequest {
        ContextRequest {
            checkout: self.root(),
            context: None,
            dockerfile: None,
            tar: self.0.path().join("context.tar"),
            max_bytes: 1 << 20,
            max_entries: 1000,
            mtime: DateTime::from_timestamp(1_700_000_000, 0).expect("a time"),
        }
    }
}

fn written(request: &ContextRequest) -> Result<ContextTar, Failure> {
    write_context(request, &CancellationToken::new()).map_err(|refused| refused.failure)
}

/// The entries of a context as `type path[ -> target]=text`.
fn listing(made: &ContextTar) -> Vec<String> {
    let mut archive = tar::Archive::new(std::fs::File::open(&made.path).expect("the tar"));
    let mut lines = Vec::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let header = entry.header();
        assert_eq!(
            (header.uid().ok(), header.gid().ok(), header.mtime().ok()),
            (Some(0), Some(0), Some(1_700_000_000))
        );
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mode = header.mode().expect("a mode");
        let link = entry.link_name_bytes().map(|to| format!(" -> {}", String::from_utf8_lossy(&to)));
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        let text = if text.is_empty() { text } else { format!("={text}") };
        lines.push(format!("{mode:o} {path}{}{text}", link.unwrap_or_default()));
    }
    lines
}

fn paths(made: &ContextTar) -> Vec<String> {
    let lines = listing(made).into_iter();
    lines.map(|line| line.split([' ', '=']).nth(1).unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_context_is_sorted_and_keeps_links_and_executables() {
    let tree =
        Tree::new(&[("Dockerfile", "FROM x"), ("b/z", "1"), ("b-c", "2"), ("run.sh", "3"), (".git/HEAD", "ref")]);
    std::fs::set_permissions(tree.root().join("run.sh"), std::fs::Permissions::from_mode(0o700)).expect("a mode");
    std::fs::create_dir(tree.root().join("empty")).expect("a folder");
    tree.link("link", "b/z");
    tree.link("out", "/etc/passwd");
    let made = written(&tree.request()).expect("a context");
    assert_eq!(
        listing(&made),
        [
            "644 Dockerfile=FROM x",
            "755 b/",
            "644 b/z=1",
            "644 b-c=2",
            "755 empty/",
            "777 link -> b/z",
            "777 out -> /etc/passwd",
            "755 run.sh=3"
        ]
    );
    assert_eq!((made.contents.entries, made.contents.bytes, made.dockerfile.as_str()), (8, 9, "Dockerfile"));
    assert_eq!(made.dockerfile_in_repository(), "Dockerfile");
    assert_eq!(made.dockerfile_text, "FROM x");
    let first = std::fs::read(&made.path).expect("bytes");
    assert_eq!(made.tar_bytes, first.len() as u64);
    written(&tree.request()).expect("a context");
    assert_eq!(std::fs::read(&made.path).expect("bytes"), first, "the same tree makes the same bytes");
}

#[test]
fn the_ignore_file_of_the_dockerfile_comes_first() {
    let tree = Tree::new(&[
        ("app/x/Dockerfile", "FROM x"),
        ("app/x/Dockerfile.dockerignore", "*\n!keep"),
        ("app/.dockerignore", "keep"),
        ("app/keep/a", "1"),
        ("app/drop/b", "2"),
        ("outside", "3"),
    ]);
    for dockerfile in ["x/Dockerfile", "/x/Dockerfile", "./x/../x/Dockerfile", "app/x/Dockerfile"] {
        let mut request = tree.request();
        request.context = Some("app/".to_owned());
        request.dockerfile = Some(dockerfile.to_owned());
        let made = written(&request).expect("a context");
        assert_eq!(paths(&made), [".dockerignore", "keep/", "keep/a", "x/", "x/Dockerfile"], "{dockerfile}");
        assert_eq!(made.dockerfile, "x/Dockerfile");
        assert_eq!(made.dockerfile_in_repository(), "app/x/Dockerfile");
    }
}

#[test]
fn what_is_taken_back_comes_with_its_folders() {
    let tree = Tree::new(&[
        ("Dockerfile", "F"),
        (".dockerignore", "*\n!a/b/*.c"),
        ("a/b/x.c", "1"),
        ("a/b/x.h", "2"),
        ("d/e", "3"),
    ]);
    assert_eq!(
        paths(&written(&tree.request()).expect("a context")),
        [".dockerignore", "Dockerfile", "a/", "a/b/", "a/b/x.c"]
    );
}

#[test]
fn a_linked_dockerfile_is_sent_as_a_file() {
    let tree = Tree::new(&[("docker/real", "FROM y"), ("app/code", "1")]);
    tree.link("app/Dockerfile", "../docker/real");
    tree.link("Dockerfile", "docker/real");
    let mut request = tree.request();
    request.context = Some("app".to_owned());
    let made = written(&request).expect("a context");
    assert_eq!(listing(&made), ["644 Dockerfile=FROM y", "644 code=1"]);
    let made = written(&tree.request()).expect("a context");
    assert_eq!((made.dockerfile.as_str(), made.dockerfile_text.as_str()), ("docker/real", "FROM y"));
}

#[test]
fn paths_that_leave_the_checkout_are_refused() {
    let tree = Tree::new(&[("Dockerfile", "FROM x"), ("sub/file", "1"), (".git/config", "secret")]);
    std::fs::write(tree.0.path().join("outside"), "secret").expect("a file");
    tree.link("evil", "../outside");
    tree.link("etc", "/etc");
    tree.link("dangling", "nowhere");
    tree.link("loop", "loop");
    let cases: [(Option<&str>, Option<&str>); 13] = [
        (None, Some("evil")),
        (None, Some("etc/passwd")),
        (None, Some("../outside")),
        (None, Some("sub/../../outside")),
        (None, Some("dangling")),
        (None, Some("loop")),
        (None, Some("sub")),
        (None, Some(".git/config")),
        (Some("etc"), None),
        (Some(".."), None),
        (Some("../source/.."), None),
        (Some("Dockerfile"), None),
        (Some("gone"), None),
    ];
    for (context, dockerfile) in cases {
        let mut request = tree.request();
        request.context = context.map(str::to_owned);
        request.dockerfile = dockerfile.map(str::to_owned);
        let failure = written(&request).expect_err("refused");
        assert_eq!(failure.class, FailureClass::ContextInvalid, "{context:?} {dockerfile:?}: {}", failure.message);
        assert!(!failure.message.contains("secret"));
    }
    tree.link(".dockerignore", "../outside");
    assert_eq!(written(&tree.request()).expect_err("refused").class, FailureClass::ContextInvalid);
}

#[test]
fn mistakes_and_limits_have_their_classes() {
    let class = |tree: &Tree, change: fn(&mut ContextRequest)| {
        let mut request = tree.request();
        change(&mut request);
        written(&request).map_err(|failure| (failure.class, failure.message))
    };
    let tree = Tree::new(&[("a", "12345"), ("b/c", "12345")]);
    assert_eq!(class(&tree, |_| {}).expect_err("missing").0, FailureClass::DockerfileMissing);
    std::fs::write(tree.root().join("Dockerfile"), "FROM").expect("a file");
    let (large, message) = class(&tree, |request| request.max_bytes = 13).expect_err("too large");
    assert_eq!((large, message.contains("14 bytes")), (FailureClass::ContextTooLarge, true), "{message}");
    let (many, message) = class(&tree, |request| request.max_entries = 3).expect_err("too many");
    assert_eq!((many, message.contains("has 4 files")), (FailureClass::ContextTooLarge, true), "{message}");
    assert!(class(&tree, |request| (request.max_bytes, request.max_entries) = (14, 4)).is_ok());
    std::fs::write(tree.root().join(".dockerignore"), "[").expect("a file");
    assert_eq!(class(&tree, |_| {}).expect_err("a bad rule").0, FailureClass::ContextInvalid);
}

#[test]
fn long_names_survive() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let tree = Tree::new(&[("Dockerfile", "F"), (&long, "1")]);
    tree.link("l", &"t".repeat(150));
    let made = written(&tree.request()).expect("a context");
    assert!(paths(&made).contains(&long));
    assert!(listing(&made).iter().any(|line| line.ends_with(&"t".repeat(150))));
}

#[test]
fn each_cap_has_its_class_and_says_what_there_is() {
    let tree = Tree::new(&[("Dockerfile", "F"), ("small", "123")]);
    let refused = |tree: &Tree| {
        let refused = write_context(&tree.request(), &CancellationToken::new()).expect_err("too much");
        assert_eq!(refused.failure.class, FailureClass::ContextTooLarge, "{}", refused.failure.message);
        refused
    };
    // Ten gigabytes that are nowhere: nothing is read or written of them.
    let sparse = std::fs::File::create(tree.root().join("sparse")).expect("a file");
    sparse.set_len(10 << 30).expect("a length");
    let large = refused(&tree);
    assert!(large.failure.message.contains("10.0 GiB") && large.failure.message.contains("1.0 MiB"));
    assert!(!tree.request().tar.exists());
    let lines: Vec<String> = large.contents.lines().collect();
    let wanted =
        ["3 entries, 10.0 GiB; the largest:", "  10.0 GiB  sparse", "       3 B  small", "       1 B  Dockerfile"];
    assert_eq!(lines[..], wanted);
    std::fs::remove_file(tree.root().join("sparse")).expect("removed");

    let mut path = tree.root();
    for _ in 0..=walk::MAX_DEPTH {
        path.push("d");
    }
    std::fs::create_dir_all(&path).expect("folders");
    assert!(refused(&tree).failure.message.contains("deeper than 128"));
    std::fs::remove_dir_all(tree.root().join("d")).expect("removed");

    let mut path = tree.root();
    for _ in 0..=walk::MAX_PATH_BYTES / 201 {
        path.push("d".repeat(200));
    }
    std::fs::create_dir_all(&path).expect("folders");
    assert!(refused(&tree).failure.message.contains("longer than 3072 bytes"));
}

#[test]
fn odd_files_are_left_out_or_refused_and_odd_names_sent() {
    use std::os::unix::ffi::OsStrExt as _;
    let tree = Tree::new(&[("Dockerfile", "F"), ("a", "1")]);
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9\n");
    std::fs::write(tree.root().join(name), "2").expect("a file");
    let _socket = std::os::unix::net::UnixListener::bind(tree.root().join("socket")).expect("a socket");
    let made = written(&tree.request()).expect("a context");
    let mut archive = tar::Archive::new(std::fs::File::open(&made.path).expect("the tar"));
    let names: Vec<Vec<u8>> =
        archive.entries().expect("a tar").map(|entry| entry.expect("an entry").path_bytes().to_vec()).collect();
    assert_eq!(names, [b"Dockerfile".to_vec(), b"a".to_vec(), b"caf\xe9\n".to_vec()]);
    assert!(made.contents.lines().any(|line| line.ends_with("caf\u{fffd}\u{fffd}")), "{:?}", made.contents);

    rustix::fs::mkfifoat(rustix::fs::CWD, tree.root().join("pipe"), rustix::fs::Mode::RUSR).expect("a pipe");
    let failure = written(&tree.request()).expect_err("refused");
    assert_eq!(failure.class, FailureClass::ContextInvalid);
    assert!(
        failure.message.contains("pipe is a pipe") && failure.message.contains(".dockerignore"),
        "{}",
        failure.message
    );
    std::fs::write(tree.root().join(".dockerignore"), "pipe").expect("a file");
    written(&tree.request()).expect("left out");
}

/// What a checkout may hold to reach other files of this host, or to gain rights in the image.
#[test]
fn nothing_sent_reaches_beyond_the_context() {
    let tree = Tree::new(&[("Dockerfile", "F"), ("app/real", "1"), ("..x/...", "2"), ("a\\..\\b", "3")]);
    let outside = tree.0.path().join("outside");
    std::fs::create_dir(&outside).expect("a folder");
    std::fs::write(outside.join("canary"), "secret").expect("a file");
    tree.link("folder", "../outside");
    tree.link("app/up", "../../outside/canary");
    tree.link("root", "/");
    tree.link("winding", "app//./../app/");
    std::fs::hard_link(tree.root().join("app/real"), tree.root().join("second")).expect("a second name");
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("open", 0o666), ("closed", 0o000)] {
        std::fs::write(tree.root().join(name), "4").expect("a file");
        std::fs::set_permissions(tree.root().join(name), std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    std::fs::set_permissions(tree.root().join("app"), std::fs::Permissions::from_mode(0o7777)).expect("a mode");
    if !rustix::process::geteuid().is_root() {
        std::fs::remove_file(tree.root().join("closed")).expect("removed");
        std::fs::write(tree.root().join("closed"), "4").expect("a file");
    }
    let made = written(&tree.request()).expect("a context");
    assert_eq!(
        listing(&made),
        [
            "755 ..x/",
            "644 ..x/...=2",
            "644 Dockerfile=F",
            "644 a\\..\\b=3",
            "755 app/",
            "644 app/real=1",
            "777 app/up -> ../../outside/canary",
            "644 closed=4",
            "777 folder -> ../outside",
            "644 open=4",
            "777 root -> /",
            "644 second=1",
            "755 setgid=4",
            "755 setuid=4",
            "777 winding -> app//./../app/",
        ]
    );
    if rustix::process::geteuid().is_root() {
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
        let zero = rustix::fs::makedev(1, 5);
        rustix::fs::mknodat(rustix::fs::CWD, tree.root().join("zero"), kind, mode, zero).expect("a device");
        let failure = written(&tree.request()).expect_err("refused");
        assert_eq!(failure.class, FailureClass::ContextInvalid);
        assert!(failure.message.contains("zero is a device"), "{}", failure.message);
    }
}

#[test]
fn whoever_does_not_wait_any_more_stops_it() {
    let tree = Tree::new(&[("Dockerfile", "F"), ("a", "1")]);
    let stop = CancellationToken::new();
    stop.cancel();
    let refused = write_context(&tree.request(), &stop).expect_err("stopped");
    assert_eq!(refused.failure.class, FailureClass::Cancelled);
}

#[test]
fn a_large_file_is_sent_whole() {
    let tree = Tree::new(&[("Dockerfile", "F")]);
    let bytes: Vec<u8> = (0..700_001_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(tree.root().join("large"), &bytes).expect("a file");
    let made = written(&tree.request()).expect("a context");
    let mut archive = tar::Archive::new(std::fs::File::open(&made.path).expect("the tar"));
    let mut entry = archive.entries().expect("a tar").nth(1).expect("two").expect("an entry");
    let mut read = Vec::new();
    entry.read_to_end(&mut read).expect("its bytes");
    assert!(read == bytes);
    assert_eq!(made.tar_bytes % 512, 0);
}

#[test]
fn pointers_to_lfs_are_counted_where_the_repository_uses_it() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    let long = format!("{pointer}{}", "x".repeat(1024));
    let files = [
        ("Dockerfile", "FROM x"),
        (".dockerignore", "left-out"),
        ("a.bin", pointer),
        ("b/c.bin", pointer),
        ("left-out", pointer),
        ("long", long.as_str()),
        ("other", "version https://git-lfs.github.com/spec/v10\noid sha256:00\nsize 1\n"),
    ];
    for (attributes, count) in [
        (Some("*.bin filter=lfs diff=lfs merge=lfs -text\n"), 2),
        (Some("*.bin binary\n# *.bin filter=lfs\n"), 0),
        (None, 0),
    ] {
        let files: Vec<_> = files.into_iter().chain(attributes.map(|text| (".gitattributes", text))).collect();
        let made = written(&Tree::new(&files).request()).expect("a context");
        assert_eq!(made.contents.lfs_pointers, count, "{attributes:?}");
        let says = made.contents.lines().any(|line| line.contains("pointers to LFS"));
        assert_eq!(says, count > 0);
    }
}
