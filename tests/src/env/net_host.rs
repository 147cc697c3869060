//! A test host of its own: a network namespace without an uplink, joined to this machine by one cable (a veth
//! pair) that can be cut or made slow. Inside, the loopback ports of this run's services lead through the cable,
//! so that programs in it use the same addresses as those outside.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::host;
use super::process::{self, Process};
use super::room::Room;

/// The word by which `slipway-testenv` forwards inside a namespace.
pub const FORWARD: &str = "forward";

/// A namespace with its cable; all of it goes on drop.
#[derive(Debug)]
pub struct NetHost {
    _inside: Process,
    outside: Vec<JoinHandle<()>>,
    name: String,
    _room: Room,
}

impl NetHost {
    /// What is missing on this host, if anything.
    pub fn missing() -> Option<String> {
        let missing = || "network namespaces: only root can make them".to_owned();
        host::need("ip", "iproute2")
            .map(|_| ())
            .map_err(|error| error.to_string())
            .err()
            .or_else(|| (!host::is_root()).then(missing))
    }

    /// A host from which these ports of our loopback can be reached on its own loopback. `number` is from 1 to
    /// 250 and its own within the machine.
    pub async fn start(number: u8, ports: &[u16]) -> Result<Self> {
        let room = Room::new()?;
        let name = format!("slw{}", room.id());
        let (near, far) = (format!("10.213.{number}.1"), format!("10.213.{number}.2"));
        let cable = format!("v{}", room.id());
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["addr", "add", &format!("{near}/30"), "dev", &cable])?;
        ip(&["link", "set", &cable, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{far}/30"), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        let mut outside = Vec::new();
        for port in ports {
            let listener = TcpListener::bind((near.as_str(), *port)).await.with_context(|| format!("{near}:{port}"))?;
            outside.push(tokio::spawn(forward(listener, format!("127.0.0.1:{port}"))));
        }
        let mut command = within(&name, &forwarder()?);
        command.arg(FORWARD);
        for port in ports {
            command.arg(format!("127.0.0.1:{port}")).arg(format!("{near}:{port}"));
        }
        let inside = Process::start("a forwarder", command, &room.path().join("forward.log"))?;
        Ok(Self { _inside: inside, outside, name, _room: room })
    }

    /// A command that runs on this host, with a clean environment and bound to the calling thread.
    pub fn command(&self, program: &Path) -> Command {
        within(&self.name, program)
    }

    /// Cuts the cable: nothing passes, and neither end is told.
    pub fn cut(&self) -> Result<()> {
        self.firewall("-I")
    }

    /// Mends it.
    pub fn heal(&self) -> Result<()> {
        self.firewall("-D")
    }

    fn firewall(&self, action: &str) -> Result<()> {
        for (chain, direction) in [("INPUT", "-i"), ("OUTPUT", "-o")] {
            let rule = ["iptables", "-w", action, chain, direction, "eth0", "-j", "DROP"];
            ip(&[&["netns", "exec", &self.name], rule.as_slice()].concat())?;
        }
        Ok(())
    }
}

impl Drop for NetHost {
    fn drop(&mut self) {
        for task in &self.outside {
            task.abort();
        }
        // The cable goes with the namespace.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// Forwards for ever from each first address to the second; what [`FORWARD`] does.
pub async fn forward_all(arguments: &[String]) -> Result<()> {
    let (pairs, rest) = arguments.as_chunks::<2>();
    ensure!(rest.is_empty() && !pairs.is_empty(), "usage: {FORWARD} FROM TO [FROM TO]...");
    let mut forwards = Vec::new();
    for [from, to] in pairs {
        let listener = TcpListener::bind(from).await.with_context(|| format!("listening on {from}"))?;
        forwards.push(forward(listener, to.clone()));
    }
    join_all(forwards).await;
    Ok(())
}

async fn forward(listener: TcpListener, to: String) {
    while let Ok((mut near, _)) = listener.accept().await {
        let to = to.clone();
        tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(&to).await {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

fn within(name: &str, program: &Path) -> Command {
    let ip = host::find("ip").unwrap_or_else(|| "ip".into());
    let mut command = process::guarded(&ip);
    command.args(["netns", "exec", name]).arg(program);
    command
}

/// The program that forwards: this one, or the one beside this test.
fn forwarder() -> Result<std::path::PathBuf> {
    let here = std::env::current_exe()?;
    let found =
        here.ancestors().skip(1).take(2).map(|folder| folder.join("slipway-testenv")).find(|path| path.is_file());
    found.context("there is no slipway-testenv beside this program; run `cargo build --workspace` first")
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    process::run(command.env("PATH", host::PATH).args(arguments)).map(|_| ())
}
