//! `slipway deliveries`: what the forges sent, what became of it, and once more.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use slipway_domain::delivery::DeliveryState;

use crate::client::Setting;
use crate::client::api::Api;
use crate::client::exit::{Exit, Failed, REPLAY_CODES};
use crate::client::names::delivery_id;
use crate::client::pages::{Listing, PageArgs, show_page};
use crate::client::screen::Screen;
use crate::client::shapes::{Delivery, Payload, read};
use crate::client::span::ago;
use crate::client::table::{Cell, fields};
use crate::client::terminal::{on_one_line, printable};

/// Between two looks at a delivery that is not worked yet.
const LOOK: Duration = Duration::from_millis(200);
/// How long a server may be away, a restart included, before we give up.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Subcommand)]
pub enum DeliveriesCommand {
    /// List deliveries, newest first
    List(ListArgs),
    /// Show one delivery and what became of it
    Show {
        /// Id of the delivery
        delivery: String,
        /// Also what came in and what it means; secrets are masked
        #[arg(long)]
        payload: bool,
    },
    /// Work a stored delivery once more; what it had already caused is not doubled
    #[command(after_help = REPLAY_CODES)]
    Replay {
        /// Id of the delivery
        delivery: String,
        /// Wait until it is worked and end with its result
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Default, clap::Args)]
pub struct ListArgs {
    /// Only of this project, by name or id
    #[arg(long)]
    project: Option<String>,
    /// Only in this state: received, done, ignored or failed
    #[arg(long)]
    state: Option<DeliveryState>,
    #[command(flatten)]
    page: PageArgs,
}

impl Default for DeliveriesCommand {
    fn default() -> Self {
        Self::List(ListArgs::default())
    }
}

/// Runs one of them.
pub async fn run(
    command: DeliveriesCommand,
    api: &Api,
    setting: &Setting<'_>,
    screen: &mut Screen,
) -> Result<Exit, Failed> {
    match command {
        DeliveriesCommand::List(args) => list(args, api, setting, screen).await,
        DeliveriesCommand::Show { delivery, payload } => {
            show(&delivery_id(&delivery)?, payload, api, setting, screen).await
        }
        DeliveriesCommand::Replay { delivery, wait } => {
            replay(&delivery_id(&delivery)?, wait, api, setting, screen).await
        }
    }
}

async fn list(args: ListArgs, api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let listing = Listing {
        path: "deliveries",
        empty: "There is no such delivery. Add the project's webhook on its forge and push; the forge's own list of \
             deliveries shows what was refused.",
        head: &["ID", "STATE", "PROJECT", "EVENT", "CAME IN", "BUILDS", "REASON"],
        row: &|item| row(item, setting),
    };
    let state = args.state.map(|state| state.to_string());
    show_page(listing, (args.project.as_deref(), state), args.page, (api, screen)).await
}

fn row(delivery: &Delivery, setting: &Setting<'_>) -> Vec<Cell> {
    vec![
        Cell::text(&delivery.id),
        Cell::state(&delivery.state),
        Cell::text(delivery.project_name.as_ref().unwrap_or(&delivery.project)),
        Cell::text(&delivery.event),
        Cell::text(ago(delivery.received_at, setting.clock.now())),
        Cell::text(delivery.builds.len().to_string()),
        Cell::maybe(delivery.reason.as_ref()),
    ]
}

async fn show(
    id: &str,
    with_payload: bool,
    api: &Api,
    setting: &Setting<'_>,
    screen: &mut Screen,
) -> Result<Exit, Failed> {
    let mut answer = api.get(&["deliveries", id], &[]).await?;
    let payload = if with_payload { Some(api.get(&["deliveries", id, "payload"], &[]).await?) } else { None };
    if screen.wants_json() {
        // One document, with what was asked for beside the rest.
        if let (Some(object), Some(payload)) = (answer.as_object_mut(), payload) {
            object.insert("payload".to_owned(), payload);
        }
        screen.object(&answer)?;
        return Ok(Exit::Fine);
    }
    let delivery: Delivery = read(&answer)?;
    screen.bytes(fields(&facts(&delivery, setting), screen.shows_colour()).as_bytes())?;
    if let Some(payload) = payload {
        let payload: Payload = read(&payload)?;
        screen.bytes(payload_text(&payload).as_bytes())?;
        if !payload.kept {
            screen.say("The body is not kept any more; let the forge deliver it again to replay it.");
        } else if payload.truncated {
            screen.say("The body is longer; this is its beginning.");
        }
    }
    Ok(Exit::Fine)
}

fn facts(delivery: &Delivery, setting: &Setting<'_>) -> Vec<(&'static str, Cell)> {
    let now = setting.clock.now();
    let at = |at: chrono::DateTime<chrono::Utc>| format!("{} ({})", at.format("%Y-%m-%d %H:%M:%S UTC"), ago(at, now));
    let mut pairs = vec![
        ("delivery", Cell::text(&delivery.id)),
        ("project", Cell::text(delivery.project_name.as_ref().unwrap_or(&delivery.project))),
        ("state", Cell::state(&delivery.state)),
        ("event", Cell::text(&delivery.event)),
        ("came in", Cell::text(at(delivery.received_at))),
    ];
    let extra = [
        ("worked", delivery.finished_at.map(at)),
        ("reason", delivery.reason.clone()),
        ("tries", delivery.attempts.map(|attempts| attempts.to_string())),
        ("verified", delivery.auth.clone()),
        ("forge's id", delivery.delivery.clone()),
    ];
    pairs.extend(extra.into_iter().filter_map(|(name, value)| Some((name, Cell::text(value?)))));
    pairs.extend(delivery.builds.iter().map(|build| ("build", Cell::text(build))));
    pairs
}

/// What it means, its headers, and its body as it is kept; what could steer the terminal is made visible.
fn payload_text(payload: &Payload) -> String {
    let mut text = String::new();
    if let Some(inspection) = &payload.inspection {
        let _ = writeln!(text, "\n{}", on_one_line(&inspection.to_string()));
    }
    text.push('\n');
    for (name, value) in &payload.headers {
        let _ = writeln!(text, "{}", on_one_line(&format!("{name}: {value}")));
    }
    if payload.kept {
        let _ = writeln!(text, "\n{}", printable(&payload.body));
    }
    text
}

async fn replay(id: &str, waits: bool, api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let answer = api.post(&["deliveries", id, "replay"], None).await?;
    if !waits {
        if screen.wants_json() {
            screen.object(&answer)?;
        } else {
            screen.line(&format!("{id} waits to be worked again"))?;
            screen.say(&format!("Next: slipway deliveries show {id}"));
        }
        return Ok(Exit::Fine);
    }
    tokio::select! {
        exit = wait(id, answer, api, setting, screen) => exit,
        _ = tokio::signal::ctrl_c() => {
            screen.say(&format!("It is worked all the same. What became of it: slipway deliveries show {id}"));
            Ok(Exit::Cancelled)
        }
    }
}

/// Waits until the delivery is worked, over a server that restarts.
async fn wait(
    id: &str,
    mut answer: Value,
    api: &Api,
    setting: &Setting<'_>,
    screen: &mut Screen,
) -> Result<Exit, Failed> {
    let (mut said, mut failing_since): (Option<String>, Option<Instant>) = (None, None);
    loop {
        let delivery: Delivery = read(&answer)?;
        if let Some(exit) = Exit::of_delivery(&delivery.state) {
            return end(&answer, &delivery, exit, screen);
        }
        if let Some(reason) = delivery.reason.filter(|reason| said.as_ref() != Some(reason)) {
            screen.say(&reason);
            said = Some(reason);
        }
        setting.clock.sleep(LOOK).await;
        match api.get(&["deliveries", id], &[]).await {
            Ok(newer) => (answer, failing_since) = (newer, None),
            Err(failed) => {
                let now = setting.clock.monotonic();
                let since = *failing_since.get_or_insert(now);
                if failed.exit() != Exit::ServerError || now.duration_since(since) >= PATIENCE {
                    return Err(failed);
                }
            }
        }
    }
}

fn end(answer: &Value, delivery: &Delivery, exit: Exit, screen: &mut Screen) -> Result<Exit, Failed> {
    if screen.wants_json() {
        screen.object(answer)?;
        return Ok(exit);
    }
    screen.line(&on_one_line(&format!("{} is {}", delivery.id, delivery.state)))?;
    for build in &delivery.builds {
        screen.line(&on_one_line(&format!("  build {build}")))?;
    }
    if let Some(reason) = &delivery.reason {
        screen.say(reason);
    }
    Ok(exit)
}
