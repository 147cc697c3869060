//! A base image made here, because nothing can be pulled: Debian's static busybox with its applets.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};

use super::{engine, host, process};

/// The name under which the image is imported.
pub const BASE_IMAGE: &str = "slipway-test/base:1";

/// What `FROM` must say; the tag is fixed, the content follows the installed busybox.
const BUSYBOX: (&str, &str) = ("busybox", "busybox-static");

/// Imports the image into the engine at `host` under `name`, which has a tag.
pub async fn import(host: &str, name: &str) -> Result<()> {
    let tar = Bytes::from(root_filesystem()?);
    import_tar(host, name, stream::iter([Ok(tar)]), Vec::new()).await
}

/// Imports a tar of a root file system; `changes` are instructions of a Dockerfile.
pub(super) async fn import_tar(
    host: &str,
    name: &str,
    tar: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    changes: Vec<String>,
) -> Result<()> {
    let (repository, tag) = name.rsplit_once(':').context("the image's name needs a tag")?;
    let docker = engine::connect(host).await?;
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(tag).changes(changes).build();
    let messages: Vec<_> = docker
        .create_image(Some(options), Some(bollard::body_try_stream(tar)), None)
        .try_collect()
        .await
        .with_context(|| format!("importing {name}"))?;
    if let Some(detail) = messages.into_iter().find_map(|message| message.error_detail) {
        anyhow::bail!("importing {name}: {}", detail.message.unwrap_or_default());
    }
    Ok(())
}

/// A tar of a small root file system.
fn root_filesystem() -> Result<Vec<u8>> {
    let busybox = host::need(BUSYBOX.0, BUSYBOX.1)?;
    let mut tar = tar::Builder::new(Vec::new());
    for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr/bin", 0o755)] {
        add(&mut tar, folder, tar::EntryType::Directory, mode, &[])?;
    }
    add(&mut tar, "etc/passwd", tar::EntryType::Regular, 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    add(&mut tar, "etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\n")?;
    add(&mut tar, "bin/busybox", tar::EntryType::Regular, 0o755, &fs::read(&busybox).context("reading busybox")?)?;
    for applet in applets(&busybox)?.iter().filter(|applet| *applet != "busybox") {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    tar.into_inner().context("finishing the tar")
}

fn applets(busybox: &Path) -> Result<Vec<String>> {
    let output = process::run(Command::new(busybox).arg("--list"))?;
    Ok(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect())
}

pub(super) fn add(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = header(kind, mode, content.len() as u64);
    tar.append_data(&mut header, path, content).with_context(|| format!("adding {path}"))
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    // A fixed time keeps the layer, and so every cache key above it, the same from run to run.
    header.set_mtime(0);
    header
}
