//! A child process in a group of its own, ended with its group when it is dropped and killed by the kernel
//! when the thread that started it dies.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::host;
use crate::wait::{eventually, eventually_blocking};

/// The wrapper that asks the kernel for a signal when the parent dies.
const SETPRIV: &str = "/usr/bin/setpriv";

/// How long a process may take to die of SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long a dropped process may take to end by its own signal.
const DROP_PATIENCE: Duration = Duration::from_secs(15);

/// A running child. Its output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    stop_signal: Signal,
}

/// A command with a clean environment that the kernel kills when the calling thread dies. The wrapper is
/// util-linux's `setpriv`, because asking the kernel from here needs unsafe code.
pub fn guarded(program: &Path) -> Command {
    guarded_as(program, None)
}

/// The same, run as another user; only root may ask for one.
pub fn guarded_as(program: &Path, user: Option<&str>) -> Command {
    let mut command = wrapped(program.as_os_str(), user);
    command.env_clear().env("PATH", host::PATH).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// A command of our caller's: with this environment and input, but bound to us as [`guarded`] is.
pub fn guarded_here(program: &OsStr) -> Command {
    wrapped(program, None)
}

fn wrapped(program: &OsStr, user: Option<&str>) -> Command {
    let mut command = Command::new(SETPRIV);
    if let Some(user) = user {
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).process_group(0);
    command
}

impl Process {
    /// Starts a [`guarded`] command; its output is appended to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = append(log)?;
        command.stdout(out.try_clone().context("sharing the log file")?).stderr(out);
        let child = command.spawn().with_context(|| format!("starting {name} (needs setpriv of util-linux)"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), stop_signal: Signal::TERM })
    }

    /// The signal by which this program ends cleanly; SIGTERM unless set.
    pub fn ended_by(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// Its process id, which is also its group's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `check` has an answer. An error with the log's end if the process ends first.
    pub async fn ready<T, F, Fut>(&mut self, deadline: Duration, mut check: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        let what = format!("{} to be ready", self.name);
        let waited = eventually(&what, deadline, || {
            let ended = self.exited();
            let asked = check();
            async move {
                if let Some(status) = ended? {
                    bail!("it ended with {status}");
                }
                asked.await
            }
        });
        // The reason comes first: who shows only the beginning shows that.
        waited.await.map_err(|error| {
            anyhow!("{} did not start: {error:#}; its last lines:\n{}", self.name, tail(&self.log, 30))
        })
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("asking after {}", self.name))
    }

    /// Sends a signal to the process, not to its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid()?, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Stops it until it is sent SIGCONT. When this returns none of its threads runs: the kernel stops them one by one,
    /// and on a busy machine one may go on for a while after the signal.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let stopped = eventually_blocking(KILL_PATIENCE, || all_stopped(self.id()).unwrap_or(false));
        ensure!(stopped, "{} does not stop", self.name);
        Ok(())
    }

    /// Waits for the end.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        eventually(&what, deadline, || {
            let ended = self.exited();
            async move { ended }
        })
        .await
    }

    /// Kills the whole group at once.
    pub fn kill(&mut self) {
        // The leader may be gone while its children live.
        kill_group(self.id());
        if !eventually_blocking(KILL_PATIENCE, || !matches!(self.exited(), Ok(None))) {
            eprintln!("{} (pid {}) did not end within {KILL_PATIENCE:?}", self.name, self.id());
        }
    }

    /// Asks by the program's own signal, then kills what is left of the group.
    pub fn stop(&mut self, patience: Duration) {
        if matches!(self.exited(), Ok(None)) && self.signal(self.stop_signal).is_ok() {
            eventually_blocking(patience, || !matches!(self.exited(), Ok(None)));
        }
        self.kill();
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a child has a process id")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(DROP_PATIENCE);
    }
}

/// Kills a process group by its leader's id.
pub fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // An empty group is no fault.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The last lines of a log, or why there are none.
pub fn tail(log: &Path, lines: usize) -> String {
    match fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<_> = text.lines().collect();
            all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
        }
        Err(error) => format!("({} cannot be read: {error})", log.display()),
    }
}

/// True if every thread of a process is stopped (proc(5), the third field of `stat`).
fn all_stopped(pid: u32) -> Result<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        if state != Some('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs a command to its end; its output, or an error that quotes what it said.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {shown}"))?;
    if !output.status.success() {
        bail!("{shown} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

fn append(log: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.with_context(|| format!("opening {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Some hosts' first process does not reap; a zombie is dead all the same.
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
    }

    async fn shell_with_grandchild(folder: &Path) -> (Process, u32) {
        let mut command = guarded(Path::new("/bin/sh"));
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        let log = folder.join("log");
        let mut shell = Process::start("a shell", command, &log).unwrap();
        let grandchild = shell
            .ready(Duration::from_secs(10), || async { Ok(tail(&log, 1).trim().parse::<u32>().ok()) })
            .await
            .unwrap();
        (shell, grandchild)
    }

    #[tokio::test]
    async fn dropping_ends_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let (shell, grandchild) = shell_with_grandchild(folder.path()).await;
        let leader = shell.id();
        assert!(alive(leader) && alive(grandchild));
        drop(shell);
        assert!(eventually_blocking(Duration::from_secs(5), || !alive(leader) && !alive(grandchild)));
    }

    #[test]
    fn the_death_of_the_starter_ends_the_child() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let starter = std::thread::spawn(move || {
            let mut command = guarded(Path::new("/bin/sleep"));
            command.arg("600");
            let sleeper = Process::start("a sleeper", command, &log).unwrap();
            let id = sleeper.id();
            // Until setpriv has asked for the signal, nothing would happen.
            assert!(eventually_blocking(Duration::from_secs(5), || {
                fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim() == "sleep"
            }));
            std::mem::forget(sleeper);
            id
        });
        let id = starter.join().unwrap();
        assert!(eventually_blocking(Duration::from_secs(5), || !alive(id)), "the sleeper outlived its starter");
    }

    #[tokio::test]
    async fn an_early_end_is_told_with_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = guarded(Path::new("/bin/sh"));
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let mut shell = Process::start("a shell", command, &folder.path().join("log")).unwrap();
        let ready = shell.ready(Duration::from_secs(10), || async { Ok(None::<()>) }).await;
        let told = format!("{:#}", ready.unwrap_err());
        assert!(told.contains("no such luck") && told.contains("exit status: 3"), "{told}");
    }
}
