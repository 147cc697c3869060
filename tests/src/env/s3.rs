//! An S3 server of our own on a free port: objects in a folder, buckets by a word, faults by a switch.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use slipway_runtime::ids::random_bytes;
use tokio::net::TcpStream;

use super::host;
use super::process::{self, Process};
use super::room::Room;
use crate::s3_server::{Credentials, Fault};

/// How long it may take to answer.
const READY: Duration = Duration::from_secs(30);

/// How often another port is tried when somebody else took it first.
const TRIES: u32 = 3;

/// A running server.
#[derive(Debug)]
pub struct S3 {
    // Stopped by its drop, before the room goes.
    process: Process,
    room: Room,
    port: u16,
    credentials: Credentials,
}

impl S3 {
    /// Starts an empty server and waits until it answers.
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

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where buckets are made and faults are switched.
    pub fn control_url(&self) -> String {
        format!("{}/-", self.endpoint())
    }

    /// Who may read and write.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Makes a bucket; the URL by which Slipway uses it, with the [`credentials`](Self::credentials) in
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    pub async fn bucket(&self, name: &str) -> Result<String> {
        self.control(reqwest::Method::PUT, &format!("buckets/{name}")).await?;
        Ok(format!("s3://{name}?endpoint={}", self.endpoint()))
    }

    /// Makes a bucket's requests go wrong from now on; [`ALL`](crate::s3_server::ALL) stands for every bucket.
    pub async fn harm(&self, bucket: &str, fault: Fault) -> Result<()> {
        self.control(reqwest::Method::PUT, &format!("faults/{bucket}/{}", fault.word())).await
    }

    /// Ends that.
    pub async fn heal(&self, bucket: &str) -> Result<()> {
        self.control(reqwest::Method::DELETE, &format!("faults/{bucket}")).await
    }

    /// Sends it a signal, such as SIGSTOP.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Dies as by `kill -9`; its objects stay.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and objects.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = launch(&self.room, self.port, &self.credentials)?;
        self.ready().await
    }

    async fn try_start() -> Result<Self> {
        let room = Room::new()?;
        fs::create_dir(room.path().join("objects"))?;
        let (access_key, secret_key) = (hex::encode(random_bytes::<10>()), hex::encode(random_bytes::<20>()));
        let credentials = Credentials { access_key, secret_key };
        let port = host::free_port()?;
        let process = launch(&room, port, &credentials)?;
        let mut server = Self { process, room, port, credentials };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> Result<()> {
        let port = self.port;
        self.process
            .ready(READY, || async move { Ok(TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)) })
            .await
    }

    async fn control(&self, method: reqwest::Method, path: &str) -> Result<()> {
        let url = format!("{}/{path}", self.control_url());
        let answer = reqwest::Client::new().request(method, &url).send().await.context("asking the S3 server")?;
        ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
        Ok(())
    }
}

fn launch(room: &Room, port: u16, credentials: &Credentials) -> Result<Process> {
    let mut command = process::guarded(&binary()?);
    command.arg(format!("127.0.0.1:{port}")).arg(room.path().join("objects"));
    command.env("S3_ACCESS_KEY", &credentials.access_key).env("S3_SECRET_KEY", &credentials.secret_key);
    Process::start("the S3 server", command, &room.path().join("s3.log"))
}

/// The program beside this one.
fn binary() -> Result<PathBuf> {
    let here = env::current_exe().context("asking for the test program's own path")?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join("slipway-s3")).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("there is no slipway-s3 beside {}; run `cargo build --workspace` first", here.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3_server::ALL;

    #[tokio::test]
    async fn it_asks_for_credentials_breaks_heals_and_keeps_its_buckets() {
        let mut s3 = S3::start().await.unwrap();
        let url = s3.bucket("kept").await.unwrap();
        assert_eq!(url, format!("s3://kept?endpoint={}", s3.endpoint()));
        let endpoint = s3.endpoint();
        let status = async |path: &str| {
            let answer = reqwest::get(format!("{endpoint}/{path}")).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        assert_eq!(status("kept/x").await.0, 403);
        assert!(status("made-by-nobody/x").await.1.contains("NoSuchBucket"));
        s3.harm(ALL, Fault::Unavailable).await.unwrap();
        assert_eq!(status("kept/x").await.0, 503);
        s3.heal(ALL).await.unwrap();
        s3.harm("kept", Fault::Conflict).await.unwrap();
        assert_eq!((status("kept/x").await.0, status("other/x").await.0), (409, 404));
        s3.kill();
        assert!(reqwest::get(format!("{endpoint}/kept/x")).await.is_err());
        s3.restart().await.unwrap();
        assert_eq!(status("kept/x").await.0, 403, "a restart heals, and the bucket is still there");
    }
}
