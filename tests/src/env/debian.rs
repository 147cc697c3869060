//! A Debian base image, made here by debootstrap from the package mirror that this machine uses, and set up to use the
//! machine's own sources of packages. The bare system is kept beside the build's output: making it takes half a minute.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio_util::io::ReaderStream;

use super::base_image::{add, import_tar};
use super::room::Room;
use super::{host, process};

/// The name under which the image is imported.
pub const DEBIAN_IMAGE: &str = "slipway-test/debian:1";

/// Where apt's own settings lie.
const APT: &str = "/etc/apt";

/// Keys that sources may name.
const KEYRINGS: [&str; 2] = ["/usr/share/keyrings", "/etc/apt/keyrings"];

/// The authorities that the machine believes, and where the image has them: not where Debian's own package would write.
const AUTHORITIES: (&str, &str) = ("/etc/ssl/certs/ca-certificates.crt", "etc/machine-authorities.crt");

/// Variables by which programs find authorities.
const AUTHORITY_VARIABLES: [&str; 5] =
    ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"];

/// Where npm looks unless it is told otherwise.
const NPM_REGISTRY: &str = "https://registry.npmjs.org";

/// What is missing on this host for such an image, if anything.
pub fn missing() -> Option<String> {
    if !host::is_root() {
        return Some("debootstrap can only be run by root".to_owned());
    }
    host::need("debootstrap", "debootstrap").err().map(|error| error.to_string())
}

/// Imports the image into the engine at `host`.
pub async fn import(host: &str) -> Result<()> {
    let base = tokio::task::spawn_blocking(bare_system).await??;
    let base = tokio::fs::File::open(&base).await.with_context(|| format!("opening {}", base.display()))?;
    let machine = Bytes::from(machine_files()?);
    let tar = stream::iter([Ok(machine)]).chain(ReaderStream::new(base));
    import_tar(host, DEBIAN_IMAGE, tar, machine_variables()).await
}

/// A tar of the bare system, made if it is not there yet.
fn bare_system() -> Result<PathBuf> {
    let codename = codename()?;
    let folder = output_folder()?;
    let kept = folder.join(format!("debian-{codename}.tar"));
    let lock = File::create(folder.join("debian.lock")).context("making a lock for the Debian system")?;
    lock.lock().context("waiting for whoever makes the Debian system")?;
    if kept.exists() {
        return Ok(kept);
    }
    let room = Room::new()?;
    let root = room.path().join("debian");
    let mut command = process::guarded(&host::need("debootstrap", "debootstrap")?);
    command.envs(env::vars().filter(|(name, _)| name.to_lowercase().ends_with("_proxy")));
    command.arg("--variant=minbase").arg(&codename).arg(&root).arg(mirror(&codename)?);
    process::run(&mut command)?;
    let half = room.path().join("debian.tar");
    let mut command = Command::new("tar");
    // Of packages only what is installed; the sources are the machine's.
    for left_out in ["dev/*", "proc/*", "sys/*", "etc/apt/sources.list", "var/cache/apt/*", "var/lib/apt/lists/*"] {
        command.arg(format!("--exclude=./{left_out}"));
    }
    process::run(command.arg("-C").arg(&root).arg("-cf").arg(&half).arg("."))?;
    // The temporary folder may be on another disk.
    let partial = kept.with_extension("partial");
    fs::copy(&half, &partial).and_then(|_| fs::rename(&partial, &kept)).context("keeping the Debian system")?;
    Ok(kept)
}

/// Cargo's output folder, `target`.
fn output_folder() -> Result<PathBuf> {
    let here = env::current_exe().context("asking for the test program's own path")?;
    let found = here.ancestors().find(|folder| folder.join(".rustc_info.json").exists());
    found.map(Path::to_path_buf).with_context(|| format!("{} is not in cargo's output folder", here.display()))
}

fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("reading the name of this release")?;
    let found = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    found.map(|name| name.trim_matches('"').to_owned()).context("this is no release of Debian with a code name")
}

/// Where this machine gets the packages of its release.
fn mirror(codename: &str) -> Result<String> {
    let sources = files(APT, &["list", "sources"])?;
    let found = sources.values().find_map(|text| mirror_in(text, codename));
    found.with_context(|| format!("no source below {APT} has packages of {codename}"))
}

/// The first address with exactly this suite; both of apt's formats (sources.list(5)).
fn mirror_in(text: &str, codename: &str) -> Option<String> {
    let one_line = text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "deb").skip(1);
        let mut address = words.next()?;
        if address.starts_with('[') {
            address = words.find(|word| word.contains("://"))?;
        }
        (words.next() == Some(codename)).then(|| address.to_owned())
    });
    let stanzas = || {
        text.split("\n\n").find_map(|stanza| {
            let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let suites = field("Suites:")?;
            let address = field("URIs:")?.split_whitespace().next()?;
            suites.split_whitespace().any(|suite| suite == codename).then(|| address.to_owned())
        })
    };
    one_line.or_else(stanzas)
}

/// What the machine's package managers need, as the beginning of a tar.
fn machine_files() -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut file =
        |path: &str, bytes: &[u8]| add(&mut tar, path.trim_start_matches('/'), tar::EntryType::Regular, 0o644, bytes);
    for (path, text) in files(APT, &["list", "sources"])? {
        let name = path.file_name().and_then(|name| name.to_str()).context("a source has a name")?;
        file(&format!("{APT}/sources.list.d/machine-{name}"), text.as_bytes())?;
    }
    // How packages are got is the machine's matter, what is done with them is not.
    let settings: String = files(APT, &["conf", ""])?.into_values().collect();
    let mut settings: String =
        settings.lines().filter(|line| line.starts_with("Acquire::")).map(|line| format!("{line}\n")).collect();
    settings.push_str(&format!("Acquire::https::CaInfo \"/{}\";\n", AUTHORITIES.1));
    file(&format!("{APT}/apt.conf.d/zz-machine"), settings.as_bytes())?;
    for folder in KEYRINGS {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // Debian's own come with the system.
            if path.is_file() && !entry.file_name().to_string_lossy().starts_with("debian-") {
                file(&path.display().to_string(), &fs::read(&path)?)?;
            }
        }
    }
    file(AUTHORITIES.1, &fs::read(AUTHORITIES.0).context("reading the machine's authorities")?)?;
    let mut bytes = tar.into_inner().context("finishing the tar")?;
    // The system's files follow; without this its reader would take two empty blocks for the end.
    bytes.truncate(bytes.len().saturating_sub(1024));
    Ok(bytes)
}

/// Text files of a folder and of those directly below it, by their ending.
fn files(folder: &str, endings: &[&str]) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let list = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in list(Path::new(folder)).flat_map(|path| if path.is_dir() { list(&path).collect() } else { vec![path] })
    {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if endings.contains(&ending.as_str()) && path.is_file() {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            found.insert(path, text);
        }
    }
    ensure!(!found.is_empty(), "nothing is configured in {folder}");
    Ok(found)
}

/// Where the machine's package managers look, as instructions of a Dockerfile.
fn machine_variables() -> Vec<String> {
    let authorities = AUTHORITY_VARIABLES.iter().map(|name| format!("ENV {name}=/{}", AUTHORITIES.1));
    let pip = asked(&["pip", "config", "get", "global.index-url"]).map(|url| format!("ENV PIP_INDEX_URL={url}"));
    let npm = [format!("ENV NPM_CONFIG_REGISTRY={}", npm_registry())];
    authorities.chain(pip).chain(npm).collect()
}

/// Where the machine's npm looks, without a slash at the end.
pub fn npm_registry() -> String {
    let configured = asked(&["npm", "config", "get", "registry"]);
    configured.map_or_else(|| NPM_REGISTRY.to_owned(), |url| url.trim_end_matches('/').to_owned())
}

/// An address that a program of this machine is set to; `None` where it is not installed or has none.
fn asked(question: &[&str]) -> Option<String> {
    let (program, arguments) = question.split_first()?;
    let answer = process::run(Command::new(program).args(arguments)).ok()?;
    let answer = String::from_utf8_lossy(&answer).trim().to_owned();
    answer.contains("://").then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_formats() {
        let old = "# x\ndeb http://other.example/y stable main\ndeb [arch=amd64 signed-by=/a] http://a.example/debian b main\n";
        assert_eq!(mirror_in(old, "b").as_deref(), Some("http://a.example/debian"));
        let new = "Types: deb\nURIs: http://s.example/security\nSuites: b-security\n\n\
                   Types: deb\nURIs: http://a.example/debian http://b.example\nSuites: b b-updates\nComponents: main\n";
        assert_eq!(mirror_in(new, "b").as_deref(), Some("http://a.example/debian"));
        assert_eq!(mirror_in(new, "c"), None);
        assert_eq!(mirror_in("deb http://a.example/debian c main\n", "b"), None);
    }
}
