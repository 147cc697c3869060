//! A Docker engine of our own beside whatever runs on this host: own data, own socket, own containerd, own
//! bridge in a small private network, no firewall rules, and step logs that are never clipped.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;

use super::base_image::{self, BASE_IMAGE};
use super::disk::Disk;
use super::host;
use super::process::{self, Process};
use super::room::Room;
use super::services::{ENGINE, shared};

/// How long the daemon may take to answer.
const READY: Duration = Duration::from_secs(60);

/// How long the daemon may take to stop by itself.
const STOP: Duration = Duration::from_secs(20);

/// BuildKit reads both limits as 32-bit numbers, and the versions in Debian take -1 as "nothing at all".
const UNCLIPPED: &str = "2147483647";

/// The longest path that a Unix socket may have, without the final zero.
const SOCKET_PATH_MAX: usize = 107;

/// In what an engine differs from the usual one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Oddity {
    /// In nothing.
    #[default]
    None,
    /// It cuts the log of each step after so many bytes.
    ClipsLogs(u32),
    /// Its data lies on a disk of its own, which can be full.
    SmallDisk,
}

/// A running dockerd.
#[derive(Debug)]
pub struct Engine {
    process: Process,
    disk: Option<Disk>,
    oddity: Oddity,
    // Dropped after the process: it removes what the daemon leaves.
    room: Room,
    starts: u32,
}

impl Engine {
    /// What is missing on this host for an engine, if anything.
    pub fn missing() -> Option<String> {
        if !host::is_root() {
            return Some("a Docker engine can only be started by root".to_owned());
        }
        let programs = [("dockerd", "docker.io"), ("containerd", "containerd"), ("ip", "iproute2")];
        programs.iter().find_map(|(program, package)| host::need(program, package).err()).map(|error| error.to_string())
    }

    /// Starts an engine and waits until it answers.
    pub async fn start() -> Result<Self> {
        Self::start_odd(Oddity::None).await
    }

    /// The same for one that differs, with the base image imported. `None`, said loudly, where the run has no engines.
    pub async fn odd(oddity: Oddity) -> Result<Option<Self>> {
        if shared(ENGINE)?.is_none() {
            return Ok(None);
        }
        let engine = Self::start_odd(oddity).await?;
        base_image::import(&engine.host(), BASE_IMAGE).await?;
        Ok(Some(engine))
    }

    async fn start_odd(oddity: Oddity) -> Result<Self> {
        if let Some(missing) = Self::missing() {
            bail!(missing);
        }
        let room = Room::new()?;
        make_bridge(&room)?;
        fs::write(room.path().join("daemon.json"), "{}")?;
        let disk = (oddity == Oddity::SmallDisk).then(|| Disk::mount(&data(&room))).transpose()?;
        let process = launch(&room, oddity, 1)?;
        let mut engine = Self { process, disk, oddity, room, starts: 1 };
        engine.ready().await?;
        Ok(engine)
    }

    /// Where it listens, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", socket(&self.room).display())
    }

    /// The folder where its log lies.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The disk of an [`Oddity::SmallDisk`].
    pub fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("this engine has no small disk")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the daemon as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the daemon again on the same data.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop(STOP);
        self.starts += 1;
        self.process = launch(&self.room, self.oddity, self.starts)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let host = self.host();
        self.process.ready(READY, || async { Ok(answers(&host).await.then_some(())) }).await
    }
}

/// A client of the engine at `host`, speaking the version that the engine speaks.
pub async fn connect(host: &str) -> Result<Docker> {
    let docker = Docker::connect_with_host(host).with_context(|| format!("reading the engine address {host}"))?;
    docker.negotiate_version().await.with_context(|| format!("asking the engine at {host} for its version"))
}

/// True when an engine answers there.
pub async fn answers(host: &str) -> bool {
    match Docker::connect_with_host(host) {
        Ok(docker) => docker.ping().await.is_ok(),
        Err(_) => false,
    }
}

fn socket(room: &Room) -> PathBuf {
    room.path().join("docker.sock")
}

fn data(room: &Room) -> PathBuf {
    room.path().join("data")
}

fn launch(room: &Room, oddity: Oddity, start: u32) -> Result<Process> {
    let folder = room.path();
    // A killed daemon leaves sockets and pid files that keep the next one from starting.
    let exec = folder.join(format!("run{start}"));
    let longest = exec.join("containerd/containerd.sock.ttrpc");
    if longest.as_os_str().len() > SOCKET_PATH_MAX {
        bail!("{} is too long for a socket; set TMPDIR to a short path such as /tmp", longest.display());
    }
    let _ = fs::remove_file(folder.join("pid"));
    let mut command = process::guarded(&host::need("dockerd", "docker.io")?);
    command.env("HOME", folder);
    let log_bytes = match oddity {
        Oddity::ClipsLogs(bytes) => bytes.to_string(),
        Oddity::None | Oddity::SmallDisk => UNCLIPPED.to_owned(),
    };
    command.env("BUILDKIT_STEP_LOG_MAX_SIZE", log_bytes).env("BUILDKIT_STEP_LOG_MAX_SPEED", UNCLIPPED);
    command.arg("--config-file").arg(folder.join("daemon.json"));
    command.arg("--data-root").arg(data(room)).arg("--exec-root").arg(exec);
    command.arg("--pidfile").arg(folder.join("pid")).arg("--host").arg(format!("unix://{}", socket(room).display()));
    command.arg("--bridge").arg(room.bridge()).arg("--cgroup-parent").arg(format!("/{}", room.cgroup()));
    command.args(["--iptables=false", "--ip-masq=false", "--ip-forward=false", "--userland-proxy=false"]);
    command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--log-level", "warn"]);
    Process::start("dockerd", command, &folder.join("dockerd.log"))
}

/// The room's bridge, with an address in a network that nothing on this host uses.
fn make_bridge(room: &Room) -> Result<()> {
    let bridge = room.bridge();
    let used = ip(&["-4", "-o", "address"])?;
    let address = free_network(room.id(), &used)?;
    ip(&["link", "add", &bridge, "type", "bridge"])?;
    ip(&["address", "add", &format!("{address}/26"), "dev", &bridge])?;
    ip(&["link", "set", &bridge, "up"])?;
    Ok(())
}

/// The first address of a /26 in 10.192.0.0/10 that no listed address lies in; where to begin comes from
/// the room's id, so that rooms made at once do not meet.
fn free_network(id: &str, used: &str) -> Result<Ipv4Addr> {
    const BASE: u32 = 0x0ac0_0000;
    const NETWORKS: u32 = 1 << 16;
    let used: Vec<u32> = used
        .split_whitespace()
        .filter_map(|word| word.split_once('/')?.0.parse::<Ipv4Addr>().ok())
        .map(u32::from)
        .collect();
    let start = u32::from_str_radix(id, 16).context("a room's id is hexadecimal")? % NETWORKS;
    (0..NETWORKS)
        .map(|step| BASE + ((start + step) % NETWORKS) * 64)
        .find(|network| !used.iter().any(|address| address & !63 == *network))
        .map(|network| Ipv4Addr::from(network + 1))
        .context("every private network is in use")
}

fn ip(arguments: &[&str]) -> Result<String> {
    let output = process::run(Command::new("ip").env("PATH", host::PATH).args(arguments))?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_in_use_is_not_taken() {
        assert_eq!(free_network("00000000", "").unwrap(), Ipv4Addr::new(10, 192, 0, 1));
        let used = "7: slw0 inet 10.192.0.1/26 brd 10.192.0.63 scope global slw0";
        assert_eq!(free_network("00000000", used).unwrap(), Ipv4Addr::new(10, 192, 0, 65));
        assert_eq!(free_network("0000ffff", "").unwrap(), Ipv4Addr::new(10, 255, 255, 193));
    }
}
