//! A Redis of a test's own, as a child process that ends with the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::FromRedisValue as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::contract::required;

/// Everybody's password.
pub(super) const PASSWORD: &str = "test-secret-of-redis";
/// Where Debian keeps the server.
const PROGRAM: &str = "/usr/bin/redis-server";

pub(super) struct Server {
    port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// `None` where none is installed and none is required.
    pub(super) fn start() -> Option<Self> {
        if !Path::new(PROGRAM).is_file() {
            assert!(!required(), "Redis is not installed; on Debian: apt-get install redis-server");
            eprintln!("SKIPPED: Redis is not installed; on Debian: apt-get install redis-server");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let child = spawn(port, folder.path());
        Some(Self { port, child, folder })
    }

    pub(super) fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }

    /// Starts it again where it was.
    pub(super) fn restart(&mut self) {
        self.child = spawn(self.port, self.folder.path());
    }

    pub(super) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        kill_process(id, signal).expect("it runs");
        // On a busy machine it may answer once more before the kernel has stopped it (proc(5), third field of `stat`).
        while signal == Signal::STOP && !self.is_stopped() {
            std::thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    /// Runs a command; what it says, in lines.
    pub(super) async fn ask(&self, command: &[&str]) -> String {
        let client = redis::Client::open(self.url()).expect("a good URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
        let asked = redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await;
        match asked.expect("it is done") {
            redis::Value::Array(values) => {
                values.into_iter().map(|value| String::from_redis_value(value).expect("text") + "\n").collect()
            }
            value => format!("{value:?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already, on purpose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &Path) -> Child {
    // It must not outlive a killed test.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", PROGRAM, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--port", &port.to_string(), "--requirepass", PASSWORD, "--dir"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("setpriv of util-linux");
    let mut tries = 0;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = child.try_wait().expect("it can be asked");
        assert!(ended.is_none() && tries < 2000, "Redis did not start: {ended:?}");
        tries += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
