//! `slipway logs`: the log of a build's first job, or of one job.

use serde_json::json;

use crate::client::Setting;
use crate::client::api::Api;
use crate::client::exit::{Exit, Failed};
use crate::client::follow::{Followed, follow, replay};
use crate::client::names::id;
use crate::client::progress::{Form, ProgressArgs};
use crate::client::screen::Screen;
use crate::client::shapes::{Build, Job, read};

/// Header that says how whole a log is.
const LOG_STATE: &str = "slipway-log-state";

#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// Id of a build (its first job) or of a job
    id: String,
    /// Show the log while it grows and end with the build's result
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES", conflicts_with = "follow")]
    tail: Option<u64>,
    /// Of this attempt; the newest unless given
    #[arg(long, value_name = "NUMBER", conflicts_with = "follow")]
    epoch: Option<u32>,
    #[command(flatten)]
    progress: ProgressArgs,
}

/// Prints or follows a log.
pub async fn run(args: LogsArgs, api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let form = form(&args, screen)?;
    let named = id(&args.id, "build or job")?;
    let (build, job) = find(&named, api).await?;
    if args.follow {
        let followed = match (job, build) {
            (Some(job), Some(build)) => Followed::Job { build, job },
            (_, build) => Followed::Build { id: build.unwrap_or(named), ends_with_object: false },
        };
        return follow(followed, form, api, setting, screen).await;
    }
    let job = job.ok_or_else(|| Failed::not_found("This build has no job and so no log."))?;
    if form != Form::Raw {
        let followed = Followed::Job { build: build.unwrap_or(named), job };
        return replay(followed, api, setting, screen).await;
    }
    print(&job, &args, api, screen).await
}

/// In what form the log is shown. At its end scripts read it as it is stored; who follows it sees steps and times.
fn form(args: &LogsArgs, screen: &Screen) -> Result<Form, Failed> {
    if args.follow {
        return args.progress.form(Form::Live, Form::Plain, screen);
    }
    let form = args.progress.form(Form::Raw, Form::Raw, screen)?;
    if form != Form::Raw && (args.tail.is_some() || args.epoch.is_some()) {
        return Err(Failed::usage("--tail and --epoch are for the log as it is stored; leave --progress out."));
    }
    Ok(form)
}

/// The build and the job behind an id: a build's first job, or a job and its build.
async fn find(named: &str, api: &Api) -> Result<(Option<String>, Option<String>), Failed> {
    let build = match api.get(&["builds", named], &[]).await {
        Ok(answer) => {
            let build: Build = read(&answer)?;
            return Ok((Some(build.id), build.jobs.into_iter().next().map(|job| job.id)));
        }
        Err(failed) if failed.exit() == Exit::NotFound => failed,
        Err(failed) => return Err(failed),
    };
    match api.get(&["jobs", named], &[]).await {
        Ok(answer) => {
            let job: Job = read(&answer)?;
            Ok((job.build, Some(job.id)))
        }
        Err(failed) if failed.exit() == Exit::NotFound => match build {
            Failed::Said { .. } => Err(Failed::not_found(format!(
                "There is no build or job {named} that you can see; `slipway builds list` shows the builds."
            ))),
            Failed::NobodyListens => Err(build),
        },
        Err(failed) => Err(failed),
    }
}

async fn print(job: &str, args: &LogsArgs, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let mut query = Vec::new();
    if screen.shows_colour() && !screen.wants_json() {
        query.push(("ansi", "1".to_owned()));
    }
    query.extend(args.tail.map(|lines| ("tail", lines.to_string())));
    query.extend(args.epoch.map(|epoch| ("epoch", epoch.to_string())));
    let mut answer = api.open(&["jobs", job, "log"], &query, None).await?;
    let state = answer.headers().get(LOG_STATE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if state == "none" {
        screen.say("Nothing has been logged yet; -f waits for it.");
    }
    let mut filter = screen.filter();
    let mut held = Vec::new();
    loop {
        let piece = answer.chunk().await.map_err(|error| api.broken(&error))?;
        let shown = match &piece {
            Some(piece) => filter.push(piece),
            None => filter.finish(),
        };
        if screen.wants_json() {
            held.extend(shown);
        } else {
            screen.bytes(&shown)?;
        }
        if piece.is_none() {
            break;
        }
    }
    if let Some(notice) = incomplete(&state) {
        screen.say(notice);
    }
    if screen.wants_json() {
        screen.object(&json!({ "job": job, "state": state, "text": String::from_utf8_lossy(&held) }))?;
    }
    Ok(Exit::Fine)
}

/// What to tell of a log that is not whole.
pub fn incomplete(state: &str) -> Option<&'static str> {
    match state {
        "cut" | "incomplete" => Some("The log is not complete: the builder vanished before it had sent the rest."),
        "damaged" => Some("The log is not complete: a part of what was stored is damaged."),
        _ => None,
    }
}
