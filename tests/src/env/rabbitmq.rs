//! A RabbitMQ broker of our own: free ports of the loopback address, a node name, folders, cookie and port mapper
//! (`epmd`) of its own, so that it meets no other broker of this host. Commands go over Erlang's own protocol by
//! `erl_call`, which takes milliseconds where `rabbitmqctl` takes a second.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use slipway_runtime::ids::random_bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::host;
use super::process::{self, Process};
use super::room::Room;
use crate::wait::eventually_blocking;

/// How long a try may take to answer; it takes 7 s on an idle machine.
const READY: Duration = Duration::from_secs(60);
/// How long a command is tried that the broker did not hear.
const CONNECTS: Duration = Duration::from_secs(20);
/// What `erl_call` says then.
const UNHEARD: &str = "failed to connect to node";
/// How often a start is tried, should another process take a port or its runtime not come up.
const TRIES: usize = 3;
/// The system user of Debian's package; a broker needs no root.
const SYSTEM_USER: &str = "rabbitmq";
/// The programs of Debian's package without its wrappers, which insist on the system's own broker.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Who may do everything.
const USER: &str = "slipway";
/// Who may do nothing but read the queue of [`READABLE_POOL`].
const READER: &str = "reader";
/// Who may log in and has no permission in any vhost.
const STRANGER: &str = "stranger";
/// The pool whose queue the reader may read, in the default vhost.
pub const READABLE_POOL: &str = "readable/standard/linux-amd64";

/// A running broker; ended, with everything that belongs to it, on drop.
#[derive(Debug)]
pub struct RabbitMq {
    // Ended in this order.
    server: Option<Process>,
    _mapper: Process,
    room: Room,
    port: u16,
    password: String,
    control: Control,
    ports: Ports,
}

/// How to reach the broker's own runtime: `node:port mapper's port:home folder`.
#[derive(Debug, Clone)]
pub struct Control {
    node: String,
    mapper_port: u16,
    home: PathBuf,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    tls: u16,
    mapper: u16,
    distribution: u16,
}

impl RabbitMq {
    /// Why there can be none on this host.
    pub fn missing() -> Option<String> {
        let has_programs = ["epmd", "erl_call", "openssl"].iter().all(|program| host::find(program).is_some());
        (!has_programs || !Path::new(SERVER).is_file())
            .then(|| "RabbitMQ is not installed; on Debian: apt-get install rabbitmq-server openssl".to_owned())
    }

    /// Starts a broker and waits until it answers.
    pub async fn start() -> Result<Self> {
        let mut result = Self::try_start().await;
        for _ in 1..TRIES {
            if result.is_ok() {
                break;
            }
            result = Self::try_start().await;
        }
        result
    }

    /// The default vhost, with every right.
    pub fn url(&self) -> String {
        self.url_of(USER, &self.password, "%2F")
    }

    /// The default vhost, for a user that may only read the queue of [`READABLE_POOL`].
    pub fn reader_url(&self) -> String {
        self.url_of(READER, &self.password, "%2F")
    }

    /// The default vhost, for a user that has no permission there.
    pub fn stranger_url(&self) -> String {
        self.url_of(STRANGER, &self.password, "%2F")
    }

    /// The default vhost over TLS, with the authority that signed for it.
    pub fn tls_url(&self) -> String {
        let certificate = self.room.path().join("home/certificate.pem");
        let (port, path) = (self.ports.tls, certificate.display());
        format!("amqps://{USER}:{}@localhost:{port}/%2F?cacertfile={path}", self.password)
    }

    /// An address with these parts.
    pub fn url_of(&self, user: &str, password: &str, vhost: &str) -> String {
        format!("amqp://{user}:{password}@127.0.0.1:{}/{vhost}", self.port)
    }

    /// The port at which it takes connections.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How to command it.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Ends it as a crash would. The port stays ours, nobody answers there.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Freezes it, or lets it go on.
    pub fn freeze(&self, is_frozen: bool) -> Result<()> {
        let server = self.server.as_ref().context("the broker does not run")?;
        if is_frozen { server.freeze() } else { server.signal(Signal::CONT) }
    }

    /// Starts it again after [`RabbitMq::kill`], with what it had stored.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        let mut result = self.try_restart().await;
        for _ in 1..TRIES {
            let Err(error) = &result else { break };
            eprintln!("starting the broker once more: {error:#}");
            result = self.try_restart().await;
        }
        result
    }

    async fn try_restart(&mut self) -> Result<()> {
        let mut server = launch(&self.room, self.ports, &self.control)?;
        server.ready(READY, || greeting(self.ports.amqp)).await?;
        self.server = Some(server);
        Ok(())
    }

    async fn try_start() -> Result<Self> {
        let room = Room::new()?;
        let password = hex::encode(random_bytes::<16>());
        let ports = Ports {
            amqp: host::free_port()?,
            tls: host::free_port()?,
            mapper: host::free_port()?,
            distribution: host::free_port()?,
        };
        let control = Control {
            node: format!("slipway{}@localhost", room.id()),
            mapper_port: ports.mapper,
            home: room.path().join("home"),
        };
        furnish(&room, ports, &password)?;
        let epmd = host::need("epmd", "rabbitmq-server")?;
        let mut mapper = process::guarded_as(&epmd, host::is_root().then_some(SYSTEM_USER));
        mapper.env("ERL_EPMD_ADDRESS", "127.0.0.1").arg("-port").arg(ports.mapper.to_string());
        let mut mapper = Process::start("epmd", mapper, &room.path().join("epmd.log"))?;
        // The broker would start one that outlives it if it found none.
        mapper.ready(READY, || async { Ok(TcpStream::connect(("127.0.0.1", ports.mapper)).await.ok()) }).await?;
        let mut server = launch(&room, ports, &control)?;
        server.ready(READY, || greeting(ports.amqp)).await?;
        Ok(Self { server: Some(server), _mapper: mapper, room, port: ports.amqp, password, control, ports })
    }
}

impl Control {
    /// As text for a variable.
    pub fn to_text(&self) -> String {
        format!("{}:{}:{}", self.node, self.mapper_port, self.home.display())
    }

    /// From that text.
    pub fn from_text(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, ':');
        let (Some(node), Some(port), Some(home)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("\"{text}\" is not node:port:folder");
        };
        Ok(Self { node: node.to_owned(), mapper_port: port.parse()?, home: PathBuf::from(home) })
    }

    /// A new empty vhost of its own for the user of `url`; the address of it.
    pub fn fresh_vhost(&self, url: &str) -> Result<String> {
        let name = format!("test-{}", hex::encode(random_bytes::<6>()));
        let mut fresh = url::Url::parse(url).context("reading the address of RabbitMQ")?;
        self.evaluate(&format!("rabbit_vhost:add(<<\"{name}\">>, <<\"tests\">>)"))?;
        let user = fresh.username().to_owned();
        self.permit(&user, &name, ["", "", ""].map(|_| ".*"))?;
        fresh.set_path(&name);
        Ok(fresh.into())
    }

    /// Sets what a user may configure, write and read in a vhost, as patterns.
    pub fn permit(&self, user: &str, vhost: &str, [configure, write, read]: [&str; 3]) -> Result<()> {
        self.evaluate(&format!(
            "rabbit_auth_backend_internal:set_permissions(<<\"{user}\">>, <<\"{vhost}\">>, <<\"{configure}\">>, \
             <<\"{write}\">>, <<\"{read}\">>, <<\"tests\">>)"
        ))
        .map(drop)
    }

    /// Lets it believe that its memory is full, or not; it then reads nothing from who publishes.
    pub fn pretend_memory_is_full(&self, is_full: bool) -> Result<()> {
        let mark = if is_full { "0.0000001" } else { "{absolute, 1000000000}" };
        self.evaluate(&format!("vm_memory_monitor:set_vm_memory_high_watermark({mark})")).map(drop)
    }

    /// Evaluates an Erlang expression in the broker; what it answered.
    pub fn evaluate(&self, expression: &str) -> Result<String> {
        let mut told = self.ask(expression);
        // Of several that connect in one moment only some get through.
        eventually_blocking(CONNECTS, || {
            let unheard = matches!(&told, Err(error) if format!("{error:#}").contains(UNHEARD));
            if unheard {
                told = self.ask(expression);
            }
            !unheard
        });
        told
    }

    fn ask(&self, expression: &str) -> Result<String> {
        let mut command = Command::new(host::need("erl_call", "rabbitmq-server")?);
        command.env_clear().env("HOME", &self.home).env("ERL_EPMD_PORT", self.mapper_port.to_string());
        command.args(["-sname", &self.node, "-timeout", "20", "-e"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting erl_call")?;
        if let Some(mut input) = child.stdin.take() {
            writeln!(input, "{expression}.").context("speaking to erl_call")?;
        }
        let output = child.wait_with_output().context("waiting for erl_call")?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success() && answer.starts_with("{ok,"),
            "RabbitMQ answered {expression} with {answer}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(answer)
    }
}

/// The broker's process itself, without a shell around it.
fn launch(room: &Room, ports: Ports, control: &Control) -> Result<Process> {
    let mut server = process::guarded_as(Path::new(SERVER), host::is_root().then_some(SYSTEM_USER));
    let folder = room.path();
    server
        // Its parent is listed at every start, by the broker's own user.
        .current_dir(folder.join("home/work"))
        .env("HOME", &control.home)
        .env("ERL_EPMD_PORT", ports.mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", &control.node)
        .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", folder.join("home/data"))
        .env("RABBITMQ_LOG_BASE", folder.join("home/log"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("home/rabbitmq.conf"))
        // None of the system's own settings or plugins.
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("home/no-such-file"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("home/no-plugins"))
        // The start script then becomes the broker instead of waiting beside it.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        // Idle schedulers sleep instead of spinning.
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
        );
    Process::start("rabbitmq-server", server, &folder.join("rabbitmq.log"))
}

/// Folders, settings, users and permissions, all there before the first start.
fn furnish(room: &Room, ports: Ports, password: &str) -> Result<()> {
    let home = room.path().join("home");
    let work = home.join("work");
    fs::create_dir_all(&work)?;
    let definitions = home.join("definitions.json");
    fs::write(&definitions, serde_json::to_vec(&self::definitions(password))?)?;
    let (certificate, key) = (home.join("certificate.pem"), home.join("key.pem"));
    certify(&certificate, &key)?;
    let settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\n\
         listeners.ssl.1 = 127.0.0.1:{}\n\
         ssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\n\
         load_definitions = {}\n\
         loopback_users = none\n\
         log.console = true\n\
         log.file = false\n\
         vm_memory_high_watermark.absolute = 1GB\n\
         disk_free_limit.absolute = 1MB\n\
         raft.wal_max_size_bytes = 16000000\n\
         num_acceptors.tcp = 2\n",
        ports.amqp,
        ports.tls,
        certificate.display(),
        key.display(),
        definitions.display(),
    );
    fs::write(home.join("rabbitmq.conf"), settings)?;
    let cookie = home.join(".erlang.cookie");
    fs::write(&cookie, hex::encode(random_bytes::<16>()))?;
    fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    if host::is_root() {
        // Debian's package makes the user; its home belongs to it.
        let owner = fs::metadata("/var/lib/rabbitmq").context("looking for the system user of RabbitMQ")?;
        for path in [&home, &work, &definitions, &home.join("rabbitmq.conf"), &certificate, &key, &cookie] {
            chown(path, Some(owner.uid()), Some(owner.gid()))
                .with_context(|| format!("handing over {}", path.display()))?;
        }
    }
    Ok(())
}

/// A certificate for `localhost` that signs for itself.
fn certify(certificate: &Path, key: &Path) -> Result<()> {
    let mut openssl = Command::new(host::need("openssl", "openssl")?);
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]);
    process::run(openssl.arg("-out").arg(certificate).arg("-keyout").arg(key)).map(drop)
}

fn definitions(password: &str) -> serde_json::Value {
    let user = |name: &str| serde_json::json!({ "name": name, "password": password, "tags": [] });
    let permission = |user: &str, configure: &str, write: &str, read: &str| serde_json::json!({ "user": user, "vhost": "/", "configure": configure, "write": write, "read": read });
    let readable = format!("^slipway\\.offers\\.{}$", READABLE_POOL.replace('/', "\\."));
    serde_json::json!({
        "users": [user(USER), user(READER), user(STRANGER)],
        "vhosts": [{ "name": "/" }],
        "permissions": [permission(USER, ".*", ".*", ".*"), permission(READER, "^$", "^$", &readable)],
    })
}

/// Whether it speaks AMQP yet: it answers our header with a method frame.
async fn greeting(port: u16) -> Result<Option<()>> {
    let greeted = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await.ok()?;
        let mut first = [0_u8; 1];
        stream.read_exact(&mut first).await.ok()?;
        (first == [1]).then_some(())
    };
    // One that listens but does not speak is asked again.
    Ok(tokio::time::timeout(Duration::from_secs(2), greeted).await.ok().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_that_belongs_to_a_broker_ends_with_it() {
        if RabbitMq::missing().is_some() {
            eprintln!("SKIPPED: RabbitMQ is not installed");
            return;
        }
        let mut broker = RabbitMq::start().await.unwrap();
        let node = broker.control.node.clone();
        let folder = broker.room.path().to_owned();
        let url = broker.control.fresh_vhost(&broker.url()).unwrap();
        assert!(url.contains("/test-"), "{url}");
        assert_eq!(Control::from_text(&broker.control.to_text()).unwrap().node, node);
        broker.restart().await.unwrap();
        let name = url.rsplit('/').next().unwrap();
        let is_there = broker.control.evaluate(&format!("rabbit_vhost:exists(<<\"{name}\">>)")).unwrap();
        assert_eq!(is_there, "{ok, true}", "what it stored outlives it");
        assert!(processes_with(&folder, &node) > 0);
        drop(broker);
        assert_eq!(processes_with(&folder, &node), 0);
        assert!(!folder.exists());
    }

    /// Living processes whose arguments or environment carry the room's folder.
    fn processes_with(folder: &Path, node: &str) -> usize {
        let folder = folder.display().to_string();
        let mentions = |path: PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            text.contains(&folder) || text.contains(node)
        };
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let others = all.filter(|path| {
            path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) != Some(std::process::id())
        });
        others.filter(|path| mentions(path.join("cmdline")) || mentions(path.join("environ"))).count()
    }
}
