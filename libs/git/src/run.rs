//! Git processes, each in its own process group, with an environment made from nothing.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use slipway_domain::agent::Login;
use slipway_domain::failure::{Failure, FailureClass};
use slipway_runtime::egress::CheckedHost;
use slipway_runtime::trust::Trust;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use url::Host;

use crate::progress::received_bytes;
use crate::{classify, internal, io_failure};

/// Most that is kept of what git says, for finding out why it failed.
const KEPT_BYTES: usize = 64 * 1024;
/// Slower than this for the whole time of silence is a stalled transfer; bytes per second.
const STALLED_BELOW: u32 = 100;

/// What does not depend on the repository. Each line closes a door that a repository, a server or the
/// host's own configuration could open.
const CONFIG: &[&str] = &[
    "protocol.allow=never",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "credential.helper=",
    "http.followRedirects=false",
    "http.proxy=",
    "transfer.bundleURI=false",
    "transfer.fsckObjects=true",
    // Old histories have these, and they are harmless.
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.missingSpaceBeforeEmail=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingEmail=ignore",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
];

/// Answers git's question for a credential from a file, and nothing else. The path comes from the
/// environment, so that no quoting is needed.
const HELPER: &str = "!f() { test \"$1\" = get && cat \"$SLIPWAY_FETCH_DIR/credential\"; }; f";
/// ssh without any configuration of this host's user, to the checked address.
const SSH: &str = "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityFile=\"$SLIPWAY_FETCH_DIR/key\" \
    -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=\"$SLIPWAY_FETCH_DIR/known_hosts\" \
    -o ConnectTimeout=15 -o ServerAliveInterval=15 -o HostKeyAlias=\"$SLIPWAY_SSH_HOST\" -o HostName=\"$SLIPWAY_SSH_ADDR\"";

/// Runs git in one folder, against one checked host.
pub struct Git<'a> {
    root: &'a Path,
    /// The repository, if it lies apart from the folder.
    apart: Option<Apart>,
    private: TempDir,
    config: Vec<String>,
    ssh: Option<(String, String)>,
    /// Stands for the system's.
    authorities: Option<PathBuf>,
    has_login: bool,
    silence: Duration,
    max_bytes: u64,
    output_bytes: usize,
    received: Received,
    log: Option<&'a mpsc::Sender<Bytes>>,
}

/// Bytes that servers sent, as git counted them.
#[derive(Default)]
struct Received {
    /// By commands that have ended.
    before: AtomicU64,
    /// By the one that runs.
    running: AtomicU64,
}

/// What git may have and take.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// An existing folder for what must be gone afterwards, such as the credential.
    pub dir: &'a Path,
    /// The credential. Over ssh, its password is a private key.
    pub login: Option<&'a Login>,
    /// Longest time without any sign of progress.
    pub silence: Duration,
    /// Most bytes that the server may send to one command, as git counts them.
    pub max_bytes: u64,
    /// Most bytes that are kept of what git prints; more is a failure of [`Git::must`].
    pub output_bytes: usize,
}

struct Apart {
    git_dir: PathBuf,
    index: PathBuf,
}

/// Files in place of what git reads and prints.
#[derive(Default)]
pub struct Pipes {
    /// Is read in place of nothing.
    pub input: Option<File>,
    /// Gets what is printed, which is then not kept.
    pub output: Option<File>,
}

/// How a git process ended.
pub struct Answer {
    /// It ended with 0.
    pub ok: bool,
    /// What it printed, without its beginning where that is more than was asked for.
    pub output: String,
    /// The end of what it said.
    pub errors: String,
}

impl<'a> Git<'a> {
    /// Prepares; runs nothing. What git says of its progress goes to `log`, whole lines.
    pub fn new(
        checked: &CheckedHost,
        access: &Access<'_>,
        root: &'a Path,
        log: Option<&'a mpsc::Sender<Bytes>>,
    ) -> Result<Self, Failure> {
        let private = private_folder(access.dir)?;
        let mut config: Vec<String> = CONFIG.iter().map(|line| (*line).to_owned()).collect();
        config.push(format!("protocol.{}.allow=always", checked.url.scheme()));
        config.push(format!("http.lowSpeedLimit={STALLED_BELOW}"));
        config.push(format!("http.lowSpeedTime={}", access.silence.as_secs().max(1)));
        let mut ssh = None;
        if checked.url.scheme() == "ssh" {
            let key = access.login.map(|login| login.password.as_str()).ok_or_else(|| {
                Failure::new(
                    FailureClass::SourceAuth,
                    "the repository is addressed over ssh, which needs a private key",
                )
            })?;
            write_private(&private.path().join("key"), format!("{}\n", key.trim_end()).as_bytes())?;
            let addr = checked.addrs.first().map(|addr| addr.ip().to_string()).unwrap_or_default();
            ssh = Some((checked.host().to_owned(), addr));
        } else {
            config.extend(pin(checked));
            if let Some(login) = access.login {
                write_credential(private.path(), login)?;
                config.push(format!("credential.{}.helper={HELPER}", checked.url.origin().ascii_serialization()));
            }
        }
        let (silence, max_bytes, has_login) = (access.silence, access.max_bytes, access.login.is_some());
        let output_bytes = access.output_bytes;
        let (apart, authorities, received) = (None, None, Received::default());
        Ok(Self {
            root,
            apart,
            private,
            config,
            ssh,
            authorities,
            has_login,
            silence,
            max_bytes,
            output_bytes,
            received,
            log,
        })
    }

    /// From now on works on this bare repository, and keeps in `index` what it knows of the files that it writes with
    /// `--work-tree=`.
    pub fn work_on(&mut self, git_dir: &Path, index: &Path) {
        self.apart = Some(Apart { git_dir: git_dir.to_path_buf(), index: index.to_path_buf() });
    }

    /// Bytes that servers sent to all commands so far, as git counts them.
    pub fn received_bytes(&self) -> u64 {
        self.received.before.load(Ordering::Relaxed) + self.received.running.load(Ordering::Relaxed)
    }

    /// A folder for files that must be gone afterwards, such as lists for [`Git::run_with`].
    pub fn private(&self) -> &Path {
        self.private.path()
    }

    /// Lets git believe the operator's authorities, too. It takes one file, which stands for the system's.
    pub fn trust(&mut self, trust: &Trust) -> Result<(), Failure> {
        if let Some(bundle) = trust.bundle() {
            let file = self.private.path().join("authorities.pem");
            write_private(&file, bundle.as_bytes())?;
            self.authorities = Some(file);
        }
        Ok(())
    }

    /// Runs git; its failure is an error.
    pub async fn must(&self, args: &[&str]) -> Result<String, Failure> {
        let answer = self.run(args).await?;
        if answer.ok && answer.output.len() > self.output_bytes {
            return Err(internal("git", "it printed more than is read"));
        }
        if answer.ok { Ok(answer.output) } else { Err(classify::failure(&answer.errors, self.has_login)) }
    }

    /// Runs git to its end; an error only if it could not run or stopped making progress.
    pub async fn run(&self, args: &[&str]) -> Result<Answer, Failure> {
        self.run_with(args, Pipes::default()).await
    }

    /// The same with files in place of what it reads and prints.
    pub async fn run_with(&self, args: &[&str], pipes: Pipes) -> Result<Answer, Failure> {
        self.received.before.fetch_add(self.received.running.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        let mut command = self.command(args);
        command.stdin(pipes.input.map_or_else(Stdio::null, Stdio::from));
        command.stdout(pipes.output.map_or_else(Stdio::piped, Stdio::from));
        let mut child = command.spawn().map_err(|error| {
            let what = if error.kind() == std::io::ErrorKind::NotFound { "git is not installed" } else { "git" };
            internal(what, error)
        })?;
        let group = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read = async {
            tokio::try_join!(collect(stdout, None, self.output_bytes + 1), collect(stderr, Some(self), KEPT_BYTES))
        };
        let (output, errors) = read.await.map_err(|ended| ended.failure(self))?;
        let status = child.wait().await.map_err(|error| internal("git", error))?;
        group.ended();
        Ok(Answer { ok: status.success(), output, errors })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.env_clear();
        // The system's certificates may lie elsewhere; the rest of the host's environment stays outside.
        for name in ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_EXEC_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", self.private.path())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("SLIPWAY_FETCH_DIR", self.private.path());
        if let Some(file) = &self.authorities {
            command.env("GIT_SSL_CAINFO", file);
        }
        if let Some((host, addr)) = &self.ssh {
            command.env("GIT_SSH_COMMAND", SSH).env("GIT_SSH_VARIANT", "ssh");
            command.env("SLIPWAY_SSH_HOST", host).env("SLIPWAY_SSH_ADDR", addr);
        }
        for line in &self.config {
            command.arg("-c").arg(line);
        }
        if let Some(Apart { git_dir, index }) = &self.apart {
            command.arg("--git-dir").arg(git_dir).env("GIT_INDEX_FILE", index);
        }
        command.args(args).current_dir(self.root);
        command.stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        command
    }

    /// Takes in what git says of its progress; `line` is what it has not ended yet.
    async fn hear(&self, bytes: &[u8], line: &mut Vec<u8>) -> Result<(), Ended> {
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    if let Some(received) = received_bytes(line) {
                        self.received.running.store(received, Ordering::Relaxed);
                        if received > self.max_bytes {
                            return Err(Ended::TooLarge);
                        }
                    }
                    let mut whole = std::mem::take(line);
                    if *byte == b'\n' {
                        whole.push(b'\n');
                        if let Some(log) = self.log {
                            // Nobody listening is no reason to stop: the attempt decides when to stop.
                            let _ = log.send(Bytes::from(whole)).await;
                        }
                    }
                }
                byte if line.len() < KEPT_BYTES => line.push(*byte),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Tells curl which addresses the name has, so that it does not ask again.
fn pin(checked: &CheckedHost) -> Option<String> {
    match checked.url.host()? {
        Host::Domain(name) => {
            let addrs: Vec<String> = checked.addrs.iter().map(|addr| bracketed(addr.ip())).collect();
            Some(format!("http.curloptResolve={name}:{}:{}", checked.port(), addrs.join(",")))
        }
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

fn bracketed(ip: std::net::IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

/// The private folder for what a fetch must not leave behind; removed with everything in it when dropped.
fn private_folder(dir: &Path) -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("fetch-").tempdir_in(dir);
    made.map_err(|error| internal("the folder for the credential", error))
}

fn write_credential(dir: &Path, login: &Login) -> Result<(), Failure> {
    if [&login.user, &login.password].iter().any(|text| text.contains(['\n', '\r', '\0'])) {
        return Err(Failure::new(FailureClass::SourceAuth, "the repository's credential contains a line break"));
    }
    let text = format!("username={}\npassword={}\n", login.user, login.password);
    write_private(&dir.join("credential"), text.as_bytes())
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|error| io_failure("the credential's file", &error))
}

/// Why git is not waited for any more.
enum Ended {
    Silent,
    TooLarge,
    Read(std::io::Error),
}

impl Ended {
    fn failure(self, git: &Git<'_>) -> Failure {
        match self {
            Self::Silent => Failure::new(
                FailureClass::SourceUnreachable,
                format!("fetching the source made no progress for {} s", git.silence.as_secs()),
            ),
            Self::TooLarge => Failure::new(
                FailureClass::SourceTooLarge,
                format!("the commit is larger than the {} MiB that a build may fetch", git.max_bytes >> 20),
            ),
            Self::Read(error) => internal("reading what git says", error),
        }
    }
}

/// Reads a stream to its end and keeps its last part. Of the one that tells the progress of `told`, whole
/// lines also go to the log, without the percentages that git paints over each other.
async fn collect(stream: Option<impl AsyncRead + Unpin>, told: Option<&Git<'_>>, keep: usize) -> Result<String, Ended> {
    let Some(mut stream) = stream else { return Ok(String::new()) };
    let mut kept: Vec<u8> = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 8192];
    loop {
        // Only git's progress is a sign of life; its answer on stdout comes at the end.
        let limit = told.map_or(Duration::MAX, |git| git.silence);
        let count = match tokio::time::timeout(limit, stream.read(&mut buffer)).await {
            Err(_) => return Err(Ended::Silent),
            Ok(Err(error)) => return Err(Ended::Read(error)),
            Ok(Ok(count)) => count,
        };
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..count]);
        let over = kept.len().saturating_sub(keep);
        kept.drain(..over);
        if let Some(git) = told {
            git.hear(&buffer[..count], &mut line).await?;
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// A process group that is killed unless it ended by itself: git starts helpers that outlive it.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error means that nothing of it is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
