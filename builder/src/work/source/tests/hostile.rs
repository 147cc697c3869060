//! Repositories that were made by hand to have something run here, or to end the fetch in an unclear way.

use super::*;

/// What becomes of it.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Git refuses it, with this word.
    Refused(&'static str),
    /// The same, but only where a commit comes with its contents: apart from their folder git does not know that they
    /// are those of `.gitmodules`. Nothing here reads that file.
    RefusedWhole(&'static str),
    Harmless,
}

/// What such a repository has, besides a file.
struct Hostile {
    what: &'static str,
    /// Entries of the root's tree as `git mktree` reads them, with BLOB for the blob of `text` and COMMIT for a commit.
    tree: &'static str,
    text: String,
    fate: Fate,
}

fn all(canary: &Path) -> Vec<Hostile> {
    let touch = canary.display();
    let modules = |path: &str, url: &str| apart(&format!("[submodule \"s\"]\n\tpath = {path}\n\turl = {url}\n"));
    const MODULES: &str = "100644 blob BLOB\t.gitmodules\n160000 commit COMMIT\ts\n";
    let of = |what, tree, text, fate| Hostile { what, tree, text, fate };
    use Fate::*;
    vec![
        of("a .git that is a link", "120000 blob BLOB\t.git\n", "/tmp".to_owned(), Refused("hasDotgit")),
        of("a .git that is a file", "100644 blob BLOB\t.git\n", "gitdir: /tmp\n".to_owned(), Refused("hasDotgit")),
        of("a .git in other letters", "100644 blob BLOB\t.GIT\n", "gitdir: /tmp\n".to_owned(), Refused("hasDotgit")),
        of("an entry ..", "120000 blob BLOB\t..\n", "/tmp".to_owned(), Refused("hasDotdot")),
        of("a name with a slash", "100644 blob BLOB\ta/b\n", "x".to_owned(), Refused("fullPathname")),
        of("rules that are a link", "120000 blob BLOB\t.gitmodules\n", "/etc/passwd".to_owned(), Refused("gitmodules")),
        of("a submodule's address that is an option", MODULES, modules("s", "-u./x"), RefusedWhole("gitmodulesUrl")),
        of(
            "a submodule's path that is an option",
            MODULES,
            modules("-s", "https://x.example/y"),
            RefusedWhole("gitmodulesPath"),
        ),
        of("a submodule's command", MODULES, modules("s", &format!("ext::sh -c touch% {touch}")), Harmless),
        of(
            "a submodule's update command",
            MODULES,
            format!("{}\tupdate = !touch {touch}\n", modules("s", "/x")),
            RefusedWhole("gitmodulesUpdate"),
        ),
        of("a submodule's path with a line's end", MODULES, modules("\"s\\r\"", "https://x.example/y"), Harmless),
        of(
            "a pointer to a large file",
            "100644 blob BLOB\ta.bin\n",
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_owned(),
            Harmless,
        ),
    ]
}

impl Forge {
    async fn piped(&self, args: &[&str], input: &str) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.protectNTFS=false"]).args(args);
        command.current_dir(self.folder.path().join("repo")).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).await.expect("written");
        drop(stdin);
        let output = child.wait_with_output().await.expect("it ends");
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// A commit on main with exactly this tree, whatever git thinks of it.
    async fn commit_tree(&self, hostile: &Hostile, first: &str) -> String {
        let blob = self.piped(&["hash-object", "-w", "--stdin", "--literally", "-t", "blob"], &hostile.text).await;
        let file = self.piped(&["hash-object", "-w", "--stdin"], "FROM scratch\n").await;
        let tree = hostile.tree.replace("BLOB", &blob).replace("COMMIT", first);
        let tree = format!("100644 blob {file}\tDockerfile\n{tree}");
        // What makes trees refuses such ones, so they are written byte by byte.
        let mut bytes = Vec::new();
        let mut entries: Vec<_> = tree.lines().collect();
        entries.sort_by_key(|line| line.split('\t').next_back());
        for entry in entries {
            let (head, name) = entry.split_once('\t').expect("a name");
            let mut words = head.split(' ');
            let (mode, id) = (words.next().expect("a mode"), words.next_back().expect("an id"));
            bytes.extend(format!("{mode} {name}\0").into_bytes());
            bytes.extend(hex::decode(id).expect("an id"));
        }
        let path = self.folder.path().join("tree");
        std::fs::write(&path, bytes).expect("a file");
        let path = path.to_str().expect("a path").to_owned();
        let tree = self.piped(&["hash-object", "-w", "--literally", "-t", "tree", &path], "").await;
        let commit = self.piped(&["commit-tree", &tree, "-m", hostile.what], "").await;
        self.piped(&["update-ref", "refs/heads/main", &commit], "").await;
        commit
    }
}

#[tokio::test]
async fn hostile_repositories_are_refused_or_harmless() {
    let here = tempfile::tempdir().expect("a folder");
    let canary = here.path().join("canary");
    let keeping = kept::Keeping::new();
    let forge = Forge::start(Manners { filters: true, ..Manners::default() }).await;
    let (url, first) = (forge.url(), forge.commit("main").await);
    // From here on the kept repository asks for large contents apart.
    let want = Want { mirrors: Some((&keeping.mirrors, keeping.owner)), ..Want::of(&url, &first) };
    get(want, &CancellationToken::new()).await.0.expect("fetched");
    for hostile in all(&canary) {
        let (what, commit) = (hostile.what, forge.commit_tree(&hostile, &first).await);
        for mirrors in [None, Some((&keeping.mirrors, keeping.owner))] {
            let refused = match hostile.fate {
                Fate::Refused(word) => Some(word),
                Fate::RefusedWhole(word) => mirrors.is_none().then_some(word),
                Fate::Harmless => None,
            };
            let want = Want { mirrors, ..Want::of(&url, &commit) };
            let (fetched, dir, log) = get(want, &CancellationToken::new()).await;
            match (fetched, refused) {
                (Ok(checkout), None) => {
                    assert_eq!(checkout.commit, commit, "{what}");
                    assert!(checkout.root.join("Dockerfile").is_file(), "{what}");
                    let module = checkout.root.join("s");
                    assert!(!module.exists() || module.read_dir().expect("a folder").next().is_none(), "{what}");
                }
                (Err(failure), Some(word)) => {
                    assert_eq!(failure.class, FailureClass::BuildRejected, "{what}: {failure:?}");
                    assert!(failure.message.contains(word), "{what}: {failure:?}");
                    assert!(left_in(dir.path()).iter().all(|name| name == "source"), "{what}");
                }
                (fetched, refused) => panic!("{what}: {fetched:?} instead of {refused:?}\n{log}"),
            }
            assert!(!canary.exists(), "{what}");
        }
    }
}

/// A server that tells all of them before it is asked for anything.
#[tokio::test]
async fn many_refs_are_no_trouble() {
    const REFS: usize = 10_000;
    for old in [false, true] {
        let forge = Forge::start(Manners { old, ..Manners::default() }).await;
        let (url, commit) = (forge.url(), forge.commit("main").await);
        let refs: String = (0..REFS).map(|number| format!("create refs/heads/r/{number} {commit}\n")).collect();
        forge.piped(&["update-ref", "--stdin"], &refs).await;
        forge.piped(&["pack-refs", "--all"], "").await;
        let clock = slipway_runtime::clock::Clock::system();
        let began = clock.monotonic();
        let want = Want { max_bytes: 1 << 22, ..Want::of(&url, &commit) };
        let (checkout, dir, log) = get(want, &CancellationToken::new()).await;
        assert_eq!(checkout.expect("fetched").commit, commit);
        drop(dir);
        assert!(log.len() < 10_000, "{} bytes of log", log.len());
        eprintln!("{REFS} refs, old server: {old}: fetched in {:.1?}", clock.monotonic().duration_since(began));
    }
}
