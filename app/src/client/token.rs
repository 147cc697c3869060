//! The token that proves who asks: from the environment, or from the file that `slipway login` writes.
//! A token that was saved for one server is never sent to another.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use slipway_runtime::trust::Trust;
use url::Url;

use crate::client::exit::Failed;

const TOKEN: &str = "SLIPWAY_TOKEN";
const TOKEN_FILE: &str = "SLIPWAY_TOKEN_FILE";
const CA_FILE: &str = "SLIPWAY_CA_FILE";
const FILE_NAME: &str = "credentials.json";

/// A token and where it came from, for messages. Has no `Debug`, so that it cannot be logged.
pub struct Token {
    /// Sent as `Authorization: Bearer`.
    pub secret: String,
    /// In words.
    pub origin: String,
}

/// What of the process's environment decides about tokens.
#[derive(Clone, Default)]
pub struct Environment {
    /// `SLIPWAY_TOKEN`.
    pub token: Option<String>,
    /// `SLIPWAY_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// `SLIPWAY_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// Folder of the user's configuration files.
    pub config_home: Option<PathBuf>,
}

#[derive(Default, Serialize, Deserialize)]
struct Credentials {
    #[serde(default)]
    servers: BTreeMap<String, Saved>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    token: String,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The base directory specification has relative paths ignored.
        let xdg = path("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
        Self {
            token: std::env::var(TOKEN).ok().filter(|token| !token.trim().is_empty()),
            token_file: path(TOKEN_FILE),
            ca_file: path(CA_FILE),
            config_home: xdg.or_else(|| path("HOME").map(|home| home.join(".config"))),
        }
    }

    /// Whom to believe beside the system's certificate authorities.
    pub fn trust(&self) -> Result<Trust, Failed> {
        let Some(path) = &self.ca_file else { return Ok(Trust::default()) };
        Trust::read(path).map_err(|error| Failed::usage(format!("{CA_FILE}: {error}.")))
    }

    /// The token for a server, if there is any.
    pub fn token_for(&self, server: &Url) -> Result<Option<Token>, Failed> {
        if let Some(token) = &self.token {
            return Ok(Some(Token { secret: token.trim().to_owned(), origin: format!("the variable {TOKEN}") }));
        }
        if let Some(path) = &self.token_file {
            return token_in_file(path).map(Some);
        }
        let Some(path) = self.credentials_path() else { return Ok(None) };
        let saved = read(&path)?.servers.remove(&key(server));
        Ok(saved.map(|saved| Token { secret: saved.token, origin: format!("the file {}", path.display()) }))
    }

    /// Keeps a token for a server; gives the file, which only its owner can read.
    pub fn save(&self, server: &Url, token: &str) -> Result<PathBuf, Failed> {
        let path = self.credentials_path().ok_or_else(|| {
            Failed::usage(format!(
                "There is no folder to keep the token in: set HOME or XDG_CONFIG_HOME, or pass it in {TOKEN}."
            ))
        })?;
        let mut credentials = read(&path)?;
        credentials.servers.insert(key(server), Saved { token: token.to_owned() });
        let text = serde_json::to_vec_pretty(&credentials).map_err(io::Error::from);
        text.and_then(|text| write_private(&path, &text))
            .map_err(|error| Failed::usage(format!("The token cannot be kept in {}: {error}.", path.display())))?;
        Ok(path)
    }

    fn credentials_path(&self) -> Option<PathBuf> {
        self.config_home.as_ref().map(|home| home.join("slipway").join(FILE_NAME))
    }
}

/// One server, however its address ends.
fn key(server: &Url) -> String {
    server.as_str().trim_end_matches('/').to_owned()
}

fn token_in_file(path: &Path) -> Result<Token, Failed> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Failed::usage(format!("The file {shown}, which {TOKEN_FILE} names, cannot be read: {error}."))
    })?;
    match text.trim() {
        "" => {
            Err(Failed::usage(format!("The file {shown}, which {TOKEN_FILE} names, is empty; write a token into it.")))
        }
        token => Ok(Token { secret: token.to_owned(), origin: format!("the file {shown}") }),
    }
}

fn read(path: &Path) -> Result<Credentials, Failed> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Credentials::default()),
        Err(error) => return Err(Failed::usage(format!("{} cannot be read: {error}.", path.display()))),
    };
    // What does not parse may hold a token: no word of it is shown.
    serde_json::from_slice(&text)
        .map_err(|_| Failed::usage(format!("{} is damaged; remove it and run `slipway login` again.", path.display())))
}

/// Writes beside the file and renames, so that no half-written file ever stands there.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = folder.join(format!(".{FILE_NAME}.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // Nothing more can be done about a draft that stays.
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("valid")
    }

    fn secret(found: Result<Option<Token>, Failed>) -> Option<String> {
        found.unwrap_or_else(|failed| panic!("{failed:?}")).map(|token| token.secret)
    }

    #[test]
    fn a_saved_token_is_private_and_for_its_server_only() {
        let home = tempfile::tempdir().expect("a folder");
        let environment = Environment { config_home: Some(home.path().join("new")), ..Environment::default() };
        assert_eq!(secret(environment.token_for(&url("http://a:1/"))), None);
        let path = environment.save(&url("http://a:1/"), "one").expect("saved");
        environment.save(&url("https://b/ci/"), "two").expect("saved");
        environment.save(&url("http://a:1"), "three").expect("saved");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        assert_eq!(secret(environment.token_for(&url("http://a:1/"))).as_deref(), Some("three"));
        assert_eq!(secret(environment.token_for(&url("https://b/ci"))).as_deref(), Some("two"));
        assert_eq!(secret(environment.token_for(&url("http://b/ci"))), None);
        assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("there").count(), 1, "no draft stays");
    }

    #[test]
    fn the_environment_wins_over_files() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("token");
        fs::write(&file, " from-file\n").expect("written");
        let mut environment = Environment {
            token: Some("from-variable".to_owned()),
            token_file: Some(file.clone()),
            config_home: Some(home.path().to_owned()),
            ca_file: None,
        };
        let server = url("http://a/");
        environment.save(&server, "saved").expect("saved");
        assert_eq!(secret(environment.token_for(&server)).as_deref(), Some("from-variable"));
        environment.token = None;
        assert_eq!(secret(environment.token_for(&server)).as_deref(), Some("from-file"));
        fs::write(&file, "\n").expect("written");
        assert!(environment.token_for(&server).is_err());
        environment.token_file = None;
        assert_eq!(secret(environment.token_for(&server)).as_deref(), Some("saved"));
    }

    #[test]
    fn a_file_of_authorities_that_cannot_be_used_is_named() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("ca.pem");
        let environment = Environment { ca_file: Some(file.clone()), ..Environment::default() };
        for (text, said) in [(None, "cannot be read"), (Some("\n"), "holds no certificate")] {
            if let Some(text) = text {
                fs::write(&file, text).expect("written");
            }
            match environment.trust() {
                Err(Failed::Said { exit, message }) => {
                    assert!(message.contains("SLIPWAY_CA_FILE") && message.contains(said), "{message}");
                    assert_eq!(exit.code(), 2);
                }
                _ => panic!("it was read"),
            }
        }
        assert!(Environment::default().trust().is_ok());
    }

    #[test]
    fn a_damaged_file_is_named_and_not_shown() {
        let home = tempfile::tempdir().expect("a folder");
        let environment = Environment { config_home: Some(home.path().to_owned()), ..Environment::default() };
        let path = environment.save(&url("http://a/"), "one").expect("saved");
        fs::write(&path, "{\"servers\":{\"http://a\":{\"token\":12345}}}").expect("written");
        match environment.token_for(&url("http://a/")) {
            Err(Failed::Said { message, .. }) => {
                assert!(message.contains(FILE_NAME) && !message.contains("12345"), "{message}");
            }
            _ => panic!("it was read"),
        }
    }
}
