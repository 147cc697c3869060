//! `slipway secrets`: what builds may read as secret mounts.

use std::io::{self, IsTerminal, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slipway_domain::secret::MAX_VALUE_BYTES;

use crate::client::Setting;
use crate::client::api::Api;
use crate::client::exit::{Exit, Failed};
use crate::client::names::{as_page, project_id};
use crate::client::screen::Screen;
use crate::client::shapes::{Page, Secret, read};
use crate::client::span::ago;
use crate::client::table::{Cell, table};

/// How a build gets at a secret.
const USE: &str = "A build reads a secret as a file: RUN --mount=type=secret,id=NAME cat /run/secrets/NAME. It stays out \
    of the image, and the log shows *** instead of it.";

#[derive(Debug, clap::Subcommand)]
pub enum SecretsCommand {
    /// List the names of secrets; values never come back
    List(Owner),
    /// Give a secret a value, read from standard input or a file
    #[command(after_help = USE)]
    Set(SetArgs),
    /// Forget a secret
    Remove {
        /// Name of the secret
        name: String,
        #[command(flatten)]
        owner: Owner,
    },
}

/// Whose secret: a project's, or else the tenant's for all of its projects.
#[derive(Debug, Default, clap::Args)]
pub struct Owner {
    /// Name or id of the project; without it, all projects of the tenant have the secret
    #[arg(long)]
    project: Option<String>,
    /// Name or id of the tenant; yours unless given
    #[arg(long, conflicts_with = "project")]
    tenant: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// Name of the secret
    name: String,
    #[command(flatten)]
    owner: Owner,
    /// File with the value, byte for byte; standard input, without its last line break, unless given
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Branch whose builds get it, as a pattern, may be repeated; all branches and tags unless --branch or --tag is given
    #[arg(long = "branch", value_name = "PATTERN")]
    branches: Vec<String>,
    /// Tag whose builds get it, as a pattern, may be repeated
    #[arg(long = "tag", value_name = "PATTERN")]
    tags: Vec<String>,
    /// Give it to pull and merge requests of the repository's own branches, too; those of strangers never get it
    #[arg(long)]
    changes: bool,
}

impl Default for SecretsCommand {
    fn default() -> Self {
        Self::List(Owner::default())
    }
}

/// Where the API has them.
struct Place {
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Place {
    async fn of(owner: Owner, name: Option<String>, api: &Api) -> Result<Self, Failed> {
        let mut path = match owner.project {
            Some(project) => vec!["projects".to_owned(), project_id(api, &project).await?],
            None => Vec::new(),
        };
        path.push("secrets".to_owned());
        path.extend(name);
        Ok(Self { path, query: owner.tenant.map(|tenant| ("tenant", tenant)).into_iter().collect() })
    }

    fn path(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

/// Runs one of them.
pub async fn run(
    command: SecretsCommand,
    api: &Api,
    setting: &Setting<'_>,
    screen: &mut Screen,
) -> Result<Exit, Failed> {
    match command {
        SecretsCommand::List(owner) => list(Place::of(owner, None, api).await?, api, setting, screen).await,
        SecretsCommand::Set(args) => set(args, api, screen).await,
        SecretsCommand::Remove { name, owner } => {
            let place = Place::of(owner, Some(name.clone()), api).await?;
            api.delete(&place.path(), &place.query).await?;
            screen.say(&format!("The secret {name} is forgotten; builds that run keep it."));
            Ok(Exit::Fine)
        }
    }
}

async fn list(place: Place, api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let page: Page = read(&api.get(&place.path(), &place.query).await?)?;
    if screen.wants_json() {
        screen.object(&as_page(page.items))?;
        return Ok(Exit::Fine);
    }
    if page.items.is_empty() {
        screen.say("There is no secret here yet; `slipway secrets set --help` says how to make one.");
        return Ok(Exit::Fine);
    }
    let mut rows = Vec::with_capacity(page.items.len());
    for item in &page.items {
        rows.push(row(&read(item)?, setting));
    }
    let head = ["NAME", "BRANCHES", "TAGS", "CHANGES", "SET"];
    screen.bytes(table(&head, &rows, screen.shows_colour()).as_bytes())?;
    Ok(Exit::Fine)
}

fn row(secret: &Secret, setting: &Setting<'_>) -> Vec<Cell> {
    let is_open = secret.branches.is_none() && secret.tags.is_none();
    let patterns = |set: &Option<Vec<String>>| match set {
        Some(patterns) => patterns.join(" "),
        None if is_open => "all".to_owned(),
        None => "none".to_owned(),
    };
    vec![
        Cell::text(&secret.name),
        Cell::text(patterns(&secret.branches)),
        Cell::text(patterns(&secret.tags)),
        Cell::text(if secret.changes { "yes" } else { "no" }),
        Cell::text(ago(secret.updated_at, setting.clock.now())),
    ]
}

async fn set(args: SetArgs, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let value = match &args.from {
        Some(path) => of_file(path)?,
        None => of_input()?,
    };
    let patterns = |list: Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
    let body = json!({
        "value": value,
        "branches": patterns(args.branches),
        "tags": patterns(args.tags),
        "changes": args.changes,
    });
    let place = Place::of(args.owner, Some(args.name.clone()), api).await?;
    let made = api.put(&place.path(), &place.query, &body).await?;
    if screen.wants_json() {
        screen.object(&made)?;
    } else {
        screen.say(&format!("The secret {} is set. {USE}", args.name));
    }
    Ok(Exit::Fine)
}

fn of_file(path: &Path) -> Result<String, Failed> {
    let bad = |why: &dyn std::fmt::Display| Failed::usage(format!("--from {}: {why}.", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| bad(&error))?;
    file.take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| bad(&error))?;
    checked(bytes).map_err(|why| bad(&why))
}

/// What is typed is not shown.
fn of_input() -> Result<String, Failed> {
    let bad = |why: &dyn std::fmt::Display| Failed::usage(format!("The value on standard input: {why}."));
    if io::stdin().is_terminal() {
        let typed = rpassword::prompt_password("Value (one line, it is not shown; --from reads a file): ");
        return checked(typed.map_err(|error| bad(&error))?.into_bytes()).map_err(|why| bad(&why));
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_VALUE_BYTES as u64 + 2).read_to_end(&mut bytes).map_err(|error| bad(&error))?;
    // `echo` adds one.
    if bytes.ends_with(b"\n") {
        bytes.truncate(bytes.len() - if bytes.ends_with(b"\r\n") { 2 } else { 1 });
    }
    checked(bytes).map_err(|why| bad(&why))
}

fn checked(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.is_empty() || bytes.len() > MAX_VALUE_BYTES {
        return Err(format!("a secret has 1 to {MAX_VALUE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "a secret is text; encode bytes, for example with base64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_that_are_neither_empty_nor_too_long() {
        assert_eq!(checked(b"a\n".to_vec()), Ok("a\n".to_owned()));
        for bad in [Vec::new(), vec![b'x'; MAX_VALUE_BYTES + 1], vec![0xff, 0xfe]] {
            assert!(checked(bad).is_err());
        }
    }
}
