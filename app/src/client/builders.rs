//! `slipway builders`: list, drain, resume, and tokens by which they join.

use serde_json::json;

use crate::client::Setting;
use crate::client::api::Api;
use crate::client::exit::{Exit, Failed};
use crate::client::names::builder_id;
use crate::client::screen::Screen;
use crate::client::shapes::{Builder, JoinToken, Page, read};
use crate::client::span::ago;
use crate::client::table::{Cell, table};

#[derive(Debug, clap::Subcommand)]
pub enum BuildersCommand {
    /// List the builders of the installation
    List,
    /// Let a builder finish what it has and leave; it takes nothing new until it is resumed
    Drain {
        /// Name or id of the builder
        builder: String,
    },
    /// Let a drained builder take jobs again
    Resume {
        /// Name or id of the builder
        builder: String,
    },
    /// Make a token by which builders join a pool
    Token {
        /// The pool, region/class/platform; the installation's own unless given
        #[arg(long)]
        pool: Option<String>,
    },
}

/// Runs one of them.
pub async fn run(
    command: BuildersCommand,
    api: &Api,
    setting: &Setting<'_>,
    screen: &mut Screen,
) -> Result<Exit, Failed> {
    match command {
        BuildersCommand::List => list(api, setting, screen).await,
        BuildersCommand::Drain { builder } => drain(&builder, api, screen).await,
        BuildersCommand::Resume { builder } => resume(&builder, api, screen).await,
        BuildersCommand::Token { pool } => token(pool, api, screen).await,
    }
}

async fn list(api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let answer = api.get(&["builders"], &[]).await?;
    if screen.wants_json() {
        screen.object(&answer)?;
        return Ok(Exit::Fine);
    }
    let page: Page = read(&answer)?;
    if page.items.is_empty() {
        screen.say("There is no builder yet; `slipway builders token` makes a token by which one can join.");
        return Ok(Exit::Fine);
    }
    let now = setting.clock.now();
    let mut rows = Vec::with_capacity(page.items.len());
    for item in &page.items {
        let builder: Builder = read(item)?;
        rows.push(vec![
            Cell::text(&builder.name),
            Cell::state(&builder.state),
            Cell::text(format!("{}/{}/{}", builder.region, builder.class, builder.platform)),
            Cell::text(format!("{} of {}", builder.busy, builder.slots)),
            Cell::maybe(builder.last_seen_at.map(|at| ago(at, now))),
            Cell::text(&builder.id),
        ]);
    }
    let head = ["NAME", "STATE", "POOL", "BUSY", "SEEN", "ID"];
    screen.bytes(table(&head, &rows, screen.shows_colour()).as_bytes())?;
    Ok(Exit::Fine)
}

async fn drain(named: &str, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let id = builder_id(api, named).await?;
    api.post(&["builders", &id, "drain"], None).await?;
    if screen.wants_json() {
        screen.object(&json!({ "id": id, "draining": true }))?;
    } else {
        screen.line(&format!("{named} finishes what it has and takes nothing new"))?;
    }
    Ok(Exit::Fine)
}

async fn resume(named: &str, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let id = builder_id(api, named).await?;
    api.post(&["builders", &id, "resume"], None).await?;
    if screen.wants_json() {
        screen.object(&json!({ "id": id, "draining": false }))?;
    } else {
        screen.line(&format!("{named} takes jobs again; if it has left already, as soon as it is started"))?;
    }
    Ok(Exit::Fine)
}

async fn token(pool: Option<String>, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let body = pool.map_or_else(|| json!({}), |pool| json!({ "pool": pool }));
    let answer = api.post(&["builders", "tokens"], Some(&body)).await?;
    if screen.wants_json() {
        screen.object(&answer)?;
        return Ok(Exit::Fine);
    }
    let made: JoinToken = read(&answer)?;
    screen.line(&made.token)?;
    let pool = made.pool.map(|pool| format!(" of pool {pool}")).unwrap_or_default();
    screen.say(&format!(
        "The token is shown only this once. Next, on the builder{pool}: set SLIPWAY_JOIN_TOKEN to it (or \
         SLIPWAY_JOIN_TOKEN_FILE to a file that holds it) and SLIPWAY_SERVER_URL to this server's address for \
         builders, then run `slipway builder`."
    ));
    Ok(Exit::Fine)
}
