//! What docker's own client sends is what we send: 200 generated trees with generated `.dockerignore` files go through
//! `docker build` of the distribution, whose daemon is a small server that keeps the tar.
//!
//! We differ on purpose in this, and in nothing else:
//! - the checkout's own `.git` stays here; below the top `.git` is a name like any other;
//! - folders and files bear the modes that git knows (755, or 644 for a file that nobody may run), owner 0 and one time;
//! - a second name of a file is sent as a file of its own, a folder of which only a part is sent is sent too;
//! - `<Dockerfile>.dockerignore` comes first, as with BuildKit's client, while the classic client knows only
//!   `.dockerignore`; the trees here have none;
//! - a Dockerfile further down that the rules leave out with its folder is sent all the same, as by BuildKit's client; the
//!   classic one may lose it and the build then fails, so the trees here take such a Dockerfile back;
//! - Docker before 23 asked only one of the folders around a path about each pattern. Where that makes a difference we
//!   do what Docker does since, and the client must send exactly what that mistake makes of the rules.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Method;
use futures_util::StreamExt as _;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use slipway_runtime::lifecycle::Life;
use tempfile::TempDir;
use tokio::process::Command;

use super::*;

const TREES: usize = 200;
/// How many clients run at once.
const AT_ONCE: usize = 4;
const DOCKERFILE: &str = "Dockerfile";
/// Debian's, and a newer one that may stand before it in the path.
const CLIENTS: [&str; 2] = ["/usr/bin/docker", "docker"];

/// One tree, as names with what they are.
#[derive(Debug, Clone)]
struct Sample {
    nodes: BTreeMap<String, Node>,
    rules: Vec<u8>,
    dockerfile: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File { text: String, executable: bool },
    Link(String),
    Folder,
    Socket,
}

/// What a context says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sent {
    File { bytes: Vec<u8>, executable: bool },
    Link(Vec<u8>),
    Folder,
}

type Context = BTreeMap<Vec<u8>, Sent>;
type Received = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn part() -> impl Strategy<Value = String> {
    const NAMES: [&str; 11] = ["a", "b", "ab", "a.c", "b.c", ".x", "é", "a b", ".git", "Dockerfile", ".dockerignore"];
    prop_oneof![16 => prop::sample::select(&NAMES[..5]), 1 => prop::sample::select(&NAMES[5..])].prop_map(str::to_owned)
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        8 => ("[xy]{0,3}", any::<bool>()).prop_map(|(text, executable)| Node::File { text, executable }),
        1 => prop::sample::select(&["a", "../b", "/etc/passwd", "nowhere"][..]).prop_map(|to| Node::Link(to.to_owned())),
        1 => Just(Node::Folder),
        1 => Just(Node::Socket),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => part(),
        2 => prop::sample::select(&["*", "?", "**", "*.c", "a*", "[a-b]", "[^a]*", "a**", ".*", "..", ".", "\\a"][..])
            .prop_map(str::to_owned),
    ];
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let sign = prop::sample::select(&["", "", "", "!", "!", "! "][..]);
    let before = prop::sample::select(&["", "", "", "", "/", "./", " ", "//"][..]);
    let after = prop::sample::select(&["", "", "", "/", " ", "/.", "/**"][..]);
    let line =
        (sign, before, path, after).prop_map(|(sign, before, path, after)| format!("{sign}{before}{path}{after}"));
    const ODD: [&str; 13] = ["# a", "#*", " # b", "", "  ", "*", "**", "!**", "!", "[", "a\\", "../a", "/"];
    prop_oneof![16 => line, 2 => prop::sample::select(&ODD[..9]).prop_map(str::to_owned),
        1 => prop::sample::select(&ODD[9..]).prop_map(str::to_owned)]
}

fn sample() -> impl Strategy<Value = Sample> {
    let path = prop::collection::vec(part(), 1..5).prop_map(|parts| parts.join("/"));
    let nodes = prop::collection::btree_map(path, node(), 8..40);
    let dockerfile = prop_oneof![4 => Just(DOCKERFILE), 1 => Just("a/Dockerfile"), 1 => Just("b/ab/a.c")];
    let ends = prop_oneof![3 => Just("\n"), 1 => Just("\r\n")];
    // Half of the files leave out much and take back some of it, as many do.
    let first = prop::sample::select(&["", "", "*", "**/a", "a*", "?/*"][..]);
    let rules = (first, prop::collection::vec(rule(), 0..6));
    (nodes, rules, dockerfile, (ends, any::<bool>())).prop_map(|(nodes, (first, rules), dockerfile, (end, bom))| {
        let bom = if bom { "\u{feff}" } else { "" };
        let last = if dockerfile == DOCKERFILE { String::new() } else { format!("{end}!{dockerfile}") };
        let text = format!("{bom}{first}{end}{}{last}", rules.join(end));
        Sample { nodes, rules: text.into_bytes(), dockerfile: dockerfile.to_owned() }
    })
}

impl Sample {
    /// Makes it; a name that is taken by a file or a folder already is passed over.
    fn plant(&self, root: &Path) {
        let file = |path: &str, bytes: &[u8], executable: bool| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            std::fs::write(&path, bytes).expect("a file");
            let mode = if executable { 0o755 } else { 0o640 };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        };
        file(".dockerignore", &self.rules, false);
        file(&self.dockerfile, b"FROM scratch\n", false);
        for (name, node) in &self.nodes {
            let path = root.join(name);
            let folder = path.parent().expect("below the root");
            if path.symlink_metadata().is_ok() || std::fs::create_dir_all(folder).is_err() {
                continue;
            }
            // Not through a link: it may lead out of the tree.
            if folder.canonicalize().expect("there").strip_prefix(root).is_err() {
                continue;
            }
            match node {
                Node::File { text, executable } => file(name, text.as_bytes(), *executable),
                Node::Link(to) => symlink(to, &path).expect("a link"),
                Node::Folder => std::fs::create_dir(&path).expect("a folder"),
                Node::Socket => drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket")),
            }
        }
        if let Some(first) = self.nodes.keys().find(|name| *name != ".dockerignore" && root.join(name).is_file()) {
            let _ = std::fs::hard_link(root.join(first), root.join("second-name"));
        }
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"odd-\xff.c")), "odd").expect("a file");
    }
}

fn read_tar(bytes: &[u8]) -> Context {
    let mut archive = tar::Archive::new(bytes);
    let mut context = Context::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path =
            entry.path_bytes().trim_ascii_end().strip_suffix(b"/").map_or(entry.path_bytes().to_vec(), <[u8]>::to_vec);
        let target = entry.link_name_bytes().map(|to| to.to_vec());
        let executable = entry.header().mode().expect("a mode") & 0o111 != 0;
        let sent = match entry.header().entry_type() {
            tar::EntryType::Directory => Sent::Folder,
            tar::EntryType::Symlink => Sent::Link(target.expect("a target")),
            tar::EntryType::Link => context[&target.expect("a target")].clone(),
            tar::EntryType::Regular => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).expect("its bytes");
                Sent::File { bytes, executable }
            }
            other => panic!("{other:?}"),
        };
        context.insert(path, sent);
    }
    // Whoever unpacks it makes the folders that are not named.
    let folders: Vec<Vec<u8>> = context
        .keys()
        .flat_map(|path| path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| path[..at].to_vec()))
        .collect();
    for folder in folders {
        context.entry(folder).or_insert(Sent::Folder);
    }
    context
}

/// The engine as far as a client asks it before it sends a context.
async fn engine(State(received): State<Received>, request: Request) -> ([(&'static str, &'static str); 2], String) {
    let headers = [("api-version", "1.41"), ("ostype", "linux")];
    if request.method() != Method::POST {
        return (headers, "OK".to_owned());
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let name =
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "t").expect("a name").1.into_owned();
    let bytes = axum::body::to_bytes(request.into_body(), 1 << 24).await.expect("a body");
    received.lock().expect("a lock").insert(name, bytes.to_vec());
    (headers, "{\"stream\":\"Successfully built 0000\\n\"}\n".to_owned())
}

/// What docker sends, or `None` if it refuses the tree.
async fn sent_by_docker(
    client: &str,
    port: u16,
    sample: (usize, &Sample, &Path),
    received: &Received,
) -> Option<Context> {
    let (index, sample, root) = sample;
    let name = format!("tree{index}");
    let mut command = Command::new(client);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("DOCKER_BUILDKIT", "0");
    command.args(["-H", &format!("tcp://127.0.0.1:{port}"), "build", "-t", &name, "-f", &sample.dockerfile, "."]);
    command.current_dir(root).stdin(Stdio::null()).kill_on_drop(true);
    let output =
        tokio::time::timeout(Duration::from_secs(60), command.output()).await.expect("in time").expect("it runs");
    let bytes = received.lock().expect("a lock").remove(&name);
    assert_eq!(output.status.success(), bytes.is_some(), "{}", String::from_utf8_lossy(&output.stderr));
    bytes.map(|bytes| read_tar(&bytes))
}

fn sent_by_us(sample: &Sample, root: &Path, tar: PathBuf) -> Option<Context> {
    let request = ContextRequest {
        checkout: root.to_path_buf(),
        context: None,
        dockerfile: Some(sample.dockerfile.clone()),
        tar,
        max_bytes: 1 << 20,
        max_entries: 1000,
        mtime: DateTime::from_timestamp(0, 0).expect("a time"),
    };
    match write_context(&request, &CancellationToken::new()) {
        Ok(made) => Some(read_tar(&std::fs::read(made.path).expect("the tar"))),
        Err(refused) => {
            assert_eq!(refused.failure.class, FailureClass::ContextInvalid, "{}", refused.failure.message);
            None
        }
    }
}

/// What the tree would be without the rules, less what they leave out by the mistake of Docker before 23.
fn sent_before_23(sample: &Sample, root: &Path, tar: PathBuf) -> Context {
    let rules = Dockerignore::parse(&String::from_utf8_lossy(&sample.rules)).expect("good rules");
    std::fs::write(root.join(".dockerignore"), "").expect("a file");
    let whole = sent_by_us(sample, root, tar).expect("a context");
    std::fs::write(root.join(".dockerignore"), &sample.rules).expect("a file");
    let always = [".dockerignore", sample.dockerfile.as_str()];
    let kept = |path: &str| always.contains(&path) || !rules.left_out_before_23(path);
    let mut sent: Context = whole.into_iter().filter(|(path, _)| kept(&String::from_utf8_lossy(path))).collect();
    sent.insert(b".dockerignore".to_vec(), Sent::File { bytes: sample.rules.clone(), executable: false });
    let folders: Vec<Vec<u8>> = sent
        .keys()
        .flat_map(|path| path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| path[..at].to_vec()))
        .collect();
    for folder in folders {
        sent.entry(folder).or_insert(Sent::Folder);
    }
    sent
}

/// The clients that are there, with their major version.
async fn clients() -> Vec<(&'static str, u32)> {
    let mut clients: Vec<(&str, u32)> = Vec::new();
    for client in CLIENTS {
        let Ok(output) = Command::new(client).arg("--version").output().await else { continue };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let major = said.split("version ").nth(1).and_then(|rest| rest.split('.').next()?.parse().ok());
        let major = major.unwrap_or_else(|| panic!("{client} says {said:?}"));
        if clients.iter().all(|(_, known)| *known != major) {
            clients.push((client, major));
        }
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_trees_are_sent_as_docker_sends_them() {
    let clients = clients().await;
    if clients.is_empty() {
        assert!(std::env::var_os("REQUIRE_BACKENDS").is_none(), "there is no docker client to compare with");
        eprintln!("SKIPPED: there is no docker client to compare with");
    }
    let received = Received::default();
    let app = axum::Router::new().fallback(engine).with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let life = Life::new();
    let _server = life.task("engine", async move { axum::serve(listener, app).await.expect("it serves") });

    let mut runner = TestRunner::deterministic();
    let samples: Vec<Sample> = (0..TREES).map(|_| sample().new_tree(&mut runner).expect("a tree").current()).collect();
    for (client, major) in clients {
        let compared = futures_util::stream::iter(samples.iter().enumerate())
            .map(|numbered| compare((client, major, port), numbered, &received))
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<Compared>>()
            .await;
        let count = |what: Compared| compared.iter().filter(|one| **one == what).count();
        let (same, refused) = (count(Compared::Same), count(Compared::Refused));
        let old = count(Compared::OldMistake);
        eprintln!("{client} {major}: {same} same, {refused} refused by both, {old} as before 23");
        assert!(same >= TREES * 3 / 4 && refused > 0, "the trees do not say enough");
        assert!(old <= TREES / 20, "what is excused is the rule");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Same,
    Refused,
    OldMistake,
}

async fn compare(
    (client, major, port): (&str, u32, u16),
    (index, sample): (usize, &Sample),
    received: &Received,
) -> Compared {
    let dir = TempDir::new().expect("a folder");
    let root = dir.path().canonicalize().expect("there").join("tree");
    std::fs::create_dir(&root).expect("a folder");
    sample.plant(&root);
    let theirs = sent_by_docker(client, port, (index, sample, &root), received).await;
    let ours = sent_by_us(sample, &root, dir.path().join("ours.tar"));
    let rules = String::from_utf8_lossy(&sample.rules);
    let (Some(mut theirs), Some(ours)) = (theirs.clone(), ours.clone()) else {
        assert_eq!(theirs.is_some(), ours.is_some(), "tree {index}: one of us refuses {rules:?}");
        return Compared::Refused;
    };
    let is_ours = |path: &[u8]| path == b".git" || path.starts_with(b".git/");
    theirs.retain(|path, _| !is_ours(path));
    if theirs == ours {
        return Compared::Same;
    }
    let old = (major < 23).then(|| sent_before_23(sample, &root, dir.path().join("old.tar")));
    if old.as_ref() == Some(&theirs) {
        return Compared::OldMistake;
    }
    let only = |a: &Context, b: &Context| -> Vec<String> {
        let odd = a.iter().filter(|(path, sent)| b.get(*path) != Some(sent));
        odd.map(|(path, sent)| format!("{} {sent:?}", String::from_utf8_lossy(path))).collect()
    };
    panic!(
        "tree {index}, rules {rules:?}\nonly docker sends {:#?}\nonly we send {:#?}\n{sample:#?}",
        only(&theirs, &ours),
        only(&ours, &theirs)
    );
}
