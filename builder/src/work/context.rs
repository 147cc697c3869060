//! The build context: the files of the checkout that the engine gets, as one deterministic tar. The walk
//! never follows a symbolic link; links are sent as links, as docker does, and only paths that we open
//! ourselves (the context, the Dockerfile, the ignore file) must end inside the checkout.
//!
//! The checkout's own `.git` is left out, as docker leaves it out of contexts that it clones itself: it
//! differs from fetch to fetch and would spoil the cache of every `COPY . .`.

mod absence;
mod contents;
mod pack;
mod unfetched;
mod walk;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_runtime::lifecycle::Life;
use tokio_util::sync::CancellationToken;

pub use crate::work::context::absence::why_absent;
pub use crate::work::context::contents::Contents;
use crate::work::context::pack::Packing;
use crate::work::context::walk::{Limits, Plan, Scope};
use crate::work::dockerignore::Dockerignore;
use crate::work::{internal, io_failure};

/// Longest Dockerfile or ignore file, bytes.
const MAX_TEXT_BYTES: u64 = slipway_domain::dockerfile::MAX_BYTES;

/// What to send.
#[derive(Debug, Clone)]
pub struct ContextRequest {
    /// The checkout.
    pub checkout: PathBuf,
    /// Folder of the checkout that is the context; the root unless set.
    pub context: Option<String>,
    /// Path of the Dockerfile inside the context; `Dockerfile` unless set.
    pub dockerfile: Option<String>,
    /// The file to write.
    pub tar: PathBuf,
    /// Most bytes that the files may have together.
    pub max_bytes: u64,
    /// Most files, folders and links.
    pub max_entries: u64,
    /// The modification time of everything.
    pub mtime: DateTime<Utc>,
}

/// A context that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextTar {
    /// The tar.
    pub path: PathBuf,
    /// Its size.
    pub tar_bytes: u64,
    /// What is in it.
    pub contents: Contents,
    /// Where the Dockerfile lies in it.
    pub dockerfile: String,
    /// What the Dockerfile says.
    pub dockerfile_text: String,
    /// The checkout that it was made from.
    pub checkout: PathBuf,
    /// The folder of the checkout that it was made of.
    pub folder: PathBuf,
}

impl ContextTar {
    /// The Dockerfile's path from the repository's root, as people look for it.
    pub fn dockerfile_in_repository(&self) -> String {
        let folder = self.folder.strip_prefix(&self.checkout).unwrap_or(Path::new(""));
        folder.join(&self.dockerfile).to_string_lossy().into_owned()
    }
}

/// A context that is not sent.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub failure: Failure,
    /// What it holds, as far as that was counted.
    pub contents: Contents,
}

impl From<Failure> for Box<Refused> {
    fn from(failure: Failure) -> Self {
        Box::new(Refused { failure, contents: Contents::default() })
    }
}

/// Writes the context's tar. A cut-off call stops soon and leaves a part of the file behind, in the attempt's folder.
pub async fn make_context(life: &Life, request: ContextRequest) -> Result<ContextTar, Box<Refused>> {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let made = life.blocking("make context", move || write_context(&request, &stop)).await;
    made.unwrap_or_else(|error| Err(internal("making the context", error).into()))
}

fn write_context(request: &ContextRequest, stop: &CancellationToken) -> Result<ContextTar, Box<Refused>> {
    let checkout = canonical(&request.checkout)?;
    let root = context_folder(&checkout, request.context.as_deref().unwrap_or("."))?;
    let wanted = request.dockerfile.as_deref().unwrap_or("Dockerfile");
    let dockerfile = find_dockerfile(&checkout, &root, wanted)?;
    let dockerfile_text = read_text(&checkout, &root, &dockerfile, MAX_TEXT_BYTES)?
        .ok_or_else(|| Failure::new(FailureClass::DockerfileMissing, format!("there is no {wanted} in the context")))?;
    let (_, ignore) = ignore_rules(&checkout, &root, &dockerfile)?;

    let limits = Limits { max_bytes: request.max_bytes, max_entries: request.max_entries };
    let (skip, always) = (checkout.join(".git"), [".dockerignore", dockerfile.as_str()]);
    let scope = Scope { root: &root, skip, ignore: &ignore, always, limits, stop };
    let mut plan = Plan::of(&scope)?;
    plan.contents.lfs_pointers = unfetched::lfs_pointers(&checkout, &root, &plan);
    let (mtime, target) = (request.mtime, request.tar.as_path());
    let packing = Packing { root: &root, target, mtime, dockerfile: (&dockerfile, &dockerfile_text), stop };
    let tar_bytes = pack::write(&plan, &packing)?;
    let (path, contents) = (request.tar.clone(), plan.contents);
    Ok(ContextTar { path, tar_bytes, contents, dockerfile, dockerfile_text, checkout, folder: root })
}

fn context_folder(checkout: &Path, wanted: &str) -> Result<PathBuf, Failure> {
    let folder = inside(checkout, checkout, wanted)?
        .ok_or_else(|| invalid(format!("the context {wanted:?} does not exist in the repository")))?;
    if !folder.is_dir() {
        return Err(invalid(format!("the context {wanted:?} is no folder")));
    }
    Ok(folder)
}

/// The Dockerfile's path inside the context. A path that is written from the repository's root, as other
/// systems want it, is understood too, if it leads into the context.
fn find_dockerfile(checkout: &Path, context: &Path, wanted: &str) -> Result<String, Failure> {
    let missing = || {
        let shown = context.strip_prefix(checkout).unwrap_or(context).display().to_string();
        let place = if shown.is_empty() { "the repository".to_owned() } else { format!("the context {shown:?}") };
        Failure::new(FailureClass::DockerfileMissing, format!("there is no {wanted:?} in {place}"))
    };
    let (from, real) = match inside(checkout, context, wanted)? {
        Some(real) => (context, real),
        None => (checkout, inside(checkout, checkout, wanted)?.ok_or_else(missing)?),
    };
    if !real.is_file() {
        return Err(invalid(format!("the Dockerfile {wanted:?} is no file")));
    }
    // Behind links the file itself is named; only a link out of the context stays a link, and is sent as
    // the file that it leads to.
    let named = normal(&from.join(relative(wanted)?));
    let path = real.strip_prefix(context).or_else(|_| named.strip_prefix(context)).map_err(|_| missing())?;
    path.to_str().map(str::to_owned).ok_or_else(missing)
}

/// The rules in force with the name of their file.
fn ignore_rules(checkout: &Path, context: &Path, dockerfile: &str) -> Result<(String, Dockerignore), Failure> {
    for name in [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()] {
        if let Some(bytes) = read_small(checkout, context, &name, MAX_TEXT_BYTES)? {
            // What is no UTF-8 looks the same here and in the names that it is compared with.
            let rules = Dockerignore::parse(&String::from_utf8_lossy(&bytes));
            return rules.map(|rules| (name, rules)).map_err(|error| invalid(error.to_string()));
        }
    }
    Ok((String::new(), Dockerignore::default()))
}

/// Reads a small text file of a checkout, named from one of its folders; `None` if there is none. A link
/// that leaves the checkout, a longer file or bytes that are no UTF-8 are an error.
pub(super) fn read_text(checkout: &Path, folder: &Path, name: &str, max_bytes: u64) -> Result<Option<String>, Failure> {
    let Some(bytes) = read_small(checkout, folder, name, max_bytes)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| invalid(format!("{name} is not UTF-8 text")))
}

fn read_small(checkout: &Path, folder: &Path, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, Failure> {
    let (checkout, folder) = (canonical(checkout)?, canonical(folder)?);
    let Some(path) = inside(&checkout, &folder, name)? else { return Ok(None) };
    let file = std::fs::File::open(&path).map_err(|error| io_failure("reading the checkout", &error))?;
    let mut bytes = Vec::new();
    let read = file.take(max_bytes + 1).read_to_end(&mut bytes);
    read.map_err(|error| invalid(format!("{name} cannot be read: {error}")))?;
    if bytes.len() as u64 > max_bytes {
        return Err(invalid(format!("{name} is longer than {max_bytes} bytes")));
    }
    Ok(Some(bytes))
}

/// Where `name` below `from` really is: `None` if nowhere, an error if outside `checkout`.
fn inside(checkout: &Path, from: &Path, name: &str) -> Result<Option<PathBuf>, Failure> {
    let path = from.join(relative(name)?);
    if !normal(&path).starts_with(checkout) {
        return Err(invalid(format!("{name:?} leads out of the repository")));
    }
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if missing(&error) && path.symlink_metadata().is_err() => return Ok(None),
        Err(error) if missing(&error) => {
            return Err(invalid(format!("{name:?} is a link to something that is not there")));
        }
        Err(error) => return Err(invalid(format!("{name:?} cannot be used: {error}"))),
    };
    if !real.starts_with(checkout) {
        return Err(invalid(format!("{name:?} is, or lies behind, a link that leads out of the repository")));
    }
    if real.starts_with(checkout.join(".git")) {
        return Err(invalid(format!("{name:?} lies in .git, which is not part of the repository")));
    }
    Ok(Some(real))
}

fn missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// A path that users write with `/`; a leading one means the top, as in a Dockerfile.
fn relative(name: &str) -> Result<&Path, Failure> {
    let path = Path::new(name.trim_start_matches('/'));
    let odd = name.contains('\0') || path.components().any(|part| matches!(part, Component::Prefix(_)));
    if odd { Err(invalid(format!("{name:?} is no path"))) } else { Ok(path) }
}

/// The path without `.` and `..`, by its words alone.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            part => result.push(part),
        }
    }
    result
}

fn canonical(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| io_failure("the checkout", &error))
}

fn invalid(message: String) -> Failure {
    Failure::new(FailureClass::ContextInvalid, message)
}
