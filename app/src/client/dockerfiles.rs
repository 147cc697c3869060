//! `slipway dockerfile inspect`: what Slipway makes of a Dockerfile, without a server and without an engine.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_domain::dockerfile::{Inspection, MAX_BYTES, scan_for};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::client::exit::{Exit, Failed};
use crate::client::screen::Screen;

/// What the help says about the end.
const INSPECT_CODES: &str = "Exit codes: 0 the engine takes the file, 1 it refuses it, 2 it cannot be read.";
/// A named pipe into which nothing is written for so long is given up.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Subcommand)]
pub enum DockerfileCommand {
    /// Print stages, instructions and what the engine would refuse, as one JSON object
    #[command(after_help = INSPECT_CODES)]
    Inspect(InspectArgs),
}

#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The Dockerfile; - reads standard input
    file: PathBuf,
    /// The stage that is to be built; the last one unless given
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
}

/// Prints the outline; the exit code says whether the engine takes it.
pub async fn run(command: DockerfileCommand, screen: &mut Screen) -> Result<Exit, Failed> {
    let DockerfileCommand::Inspect(args) = command;
    let bytes = read(&args.file, SILENCE).await?;
    // The engine reads bytes, and so takes a file that is not UTF-8; what is none becomes a sign of its own here.
    let outline = scan_for(&String::from_utf8_lossy(&bytes), args.target.as_deref());
    let exit = if outline.problems.is_empty() { Exit::Fine } else { Exit::BuildFailed };
    screen.object(&Inspection::from(outline))?;
    Ok(exit)
}

/// The whole file, unless it is too long or stops coming.
async fn read(path: &Path, silence: Duration) -> Result<Vec<u8>, Failed> {
    let bad = |why: String| Failed::usage(format!("{} cannot be read: {why}.", path.display()));
    let is_pipe = path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    let read = if path.as_os_str() == "-" {
        whole(io::stdin())
    } else if is_pipe {
        whole_pipe(path, silence).await
    } else {
        File::open(path).and_then(whole)
    };
    let bytes = read.map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(bad(format!("it is longer than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// What can be read, up to one byte too many.
fn whole(source: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same for a pipe. To open it as a file would wait for a writer, and nobody could end that.
async fn whole_pipe(path: &Path, silence: Duration) -> io::Result<Vec<u8>> {
    let mut source = pipe::OpenOptions::new().open_receiver(path)?.take(MAX_BYTES + 1);
    let mut bytes = Vec::new();
    loop {
        let read = tokio::time::timeout(silence, source.read_buf(&mut bytes)).await;
        let silent = || io::Error::other(format!("nothing came for {} s", silence.as_secs()));
        if read.map_err(|_| silent())?? == 0 {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    async fn why(path: &Path) -> String {
        match read(path, Duration::from_millis(50)).await {
            Err(Failed::Said { exit: Exit::Usage, message }) => message,
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        assert!(why(&path("gone")).await.contains("No such file"));
        assert!(why(folder.path()).await.contains("directory"));
        assert!(why(Path::new("/dev/zero")).await.contains("longer than 1048576 bytes"));
        let sized = |name: &str, len: u64| File::create(path(name)).and_then(|file| file.set_len(len)).expect("a file");
        sized("long", MAX_BYTES + 1);
        sized("most", MAX_BYTES);
        assert!(why(&path("long")).await.contains("longer than"));
        assert_eq!(read(&path("most"), SILENCE).await.map(|bytes| bytes.len() as u64).ok(), Some(MAX_BYTES));
    }

    #[tokio::test]
    async fn pipes_are_read_while_somebody_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success());
        assert!(why(&path).await.contains("nothing came"), "there is no writer");
        // Opened for both, it has one as long as this lives.
        let mut writer = File::options().read(true).write(true).open(&path).expect("a pipe");
        assert!(why(&path).await.contains("nothing came"), "it is silent");
        let write = async {
            writer.write_all(b"FROM scratch\n").expect("it lies in the pipe");
            drop(writer);
        };
        let (read, ()) = tokio::join!(read(&path, SILENCE), write);
        assert_eq!(read.ok().as_deref(), Some(b"FROM scratch\n".as_slice()));
    }
}
