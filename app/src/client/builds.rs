//! `slipway builds`, `build`, `cancel` and `retry`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slipway_domain::build::BuildState;
use slipway_domain::spec::BuildOptions;

use crate::client::Setting;
use crate::client::api::Api;
use crate::client::exit::{Exit, Failed};
use crate::client::follow::{Followed, follow};
use crate::client::names::{id, project_id};
use crate::client::pages::{Listing, PageArgs, show_page};
use crate::client::progress::{Form, ProgressArgs};
use crate::client::screen::Screen;
use crate::client::shapes::{Build, read};
use crate::client::span::{ago, took};
use crate::client::summary::{short_commit, short_ref, whole};
use crate::client::table::Cell;

#[derive(Debug, clap::Subcommand)]
pub enum BuildsCommand {
    /// List builds, newest first
    List(ListArgs),
    /// Show one build with its jobs, steps, images and failure
    Show {
        /// Id of the build
        build: String,
    },
}

#[derive(Debug, Default, clap::Args)]
pub struct ListArgs {
    /// Only of this project, by name or id
    #[arg(long)]
    project: Option<String>,
    /// Only in this state: pending, running, succeeded, failed, errored, cancelled, superseded or skipped
    #[arg(long)]
    state: Option<BuildState>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// Name or id of the project
    project: String,
    /// Branch, or full ref such as refs/tags/v1
    #[arg(long = "ref", value_name = "REF", conflicts_with = "commit", required_unless_present = "commit")]
    git_ref: Option<String>,
    /// Full commit id
    #[arg(long)]
    commit: Option<String>,
    /// Show the log while it grows and end with the build's result
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    progress: ProgressArgs,
    /// Path of the Dockerfile, for this build
    #[arg(long, value_name = "PATH")]
    dockerfile: Option<String>,
    /// Stage to build, for this build
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Build argument, may be repeated, for this build; it ends up in the image's history, so never a secret
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = pair)]
    args: Vec<(String, String)>,
    /// Tag of the image instead of the project's, may be repeated, for this build
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Ignore the layer cache, for this build
    #[arg(long)]
    no_cache: bool,
    /// Ask registries for newer base images, for this build
    #[arg(long)]
    pull: bool,
    /// Fetch the repository's submodules, too, for this build
    #[arg(long)]
    submodules: bool,
    /// Fetch the content of files that lie in LFS, for this build
    #[arg(long)]
    lfs: bool,
}

#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// Id of the build
    build: String,
}

#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// Id of the build to repeat
    build: String,
    /// Run every step anew, whatever the cache has
    #[arg(long)]
    no_cache: bool,
    /// Show the log while it grows and end with the build's result
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    progress: ProgressArgs,
}

impl Default for BuildsCommand {
    fn default() -> Self {
        Self::List(ListArgs::default())
    }
}

/// Runs one of them.
pub async fn run(
    command: BuildsCommand,
    api: &Api,
    setting: &Setting<'_>,
    screen: &mut Screen,
) -> Result<Exit, Failed> {
    match command {
        BuildsCommand::List(args) => list(args, api, setting, screen).await,
        BuildsCommand::Show { build } => {
            let answer = api.get(&["builds", &id(&build, "build")?], &[]).await?;
            if screen.wants_json() {
                screen.object(&answer)?;
            } else {
                let text = whole(&read(&answer)?, setting.clock.now(), screen.shows_colour());
                screen.bytes(text.as_bytes())?;
            }
            Ok(Exit::Fine)
        }
    }
}

async fn list(args: ListArgs, api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let listing = Listing {
        path: "builds",
        empty: "There is no such build yet; push a commit, or run `slipway build PROJECT --commit COMMIT`.",
        head: &["ID", "STATE", "PROJECT", "REF", "COMMIT", "TRIGGER", "CREATED", "TOOK"],
        row: &|item| row(item, setting),
    };
    let state = args.state.map(|state| state.to_string());
    show_page(listing, (args.project.as_deref(), state), args.page, (api, screen)).await
}

fn row(build: &Build, setting: &Setting<'_>) -> Vec<Cell> {
    let now = setting.clock.now();
    vec![
        Cell::text(&build.id),
        Cell::state(&build.state),
        Cell::text(build.project_name.as_ref().unwrap_or(&build.project)),
        Cell::maybe(build.git_ref.as_deref().map(short_ref)),
        Cell::text(short_commit(&build.commit)),
        Cell::text(&build.trigger),
        Cell::text(ago(build.created_at, now)),
        Cell::maybe(took(build.started_at, build.finished_at, now)),
    ]
}

/// `slipway build`.
pub async fn build(args: BuildArgs, api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let form = followed_form(args.follow, &args.progress, screen)?;
    let project = project_id(api, &args.project).await?;
    let mut body = match (&args.git_ref, &args.commit) {
        (Some(git_ref), _) => json!({ "ref": git_ref }),
        (None, commit) => json!({ "commit": commit }),
    };
    let options = options(&args);
    if let (Some(body), true) = (body.as_object_mut(), options != BuildOptions::default()) {
        body.insert("build".to_owned(), json!(options));
    }
    let made = api.post(&["projects", &project, "builds"], Some(&body)).await?;
    started(&made, form, api, setting, screen).await
}

fn options(args: &BuildArgs) -> BuildOptions {
    let pairs: BTreeMap<String, String> = args.args.iter().cloned().collect();
    BuildOptions {
        dockerfile: args.dockerfile.clone(),
        target: args.target.clone(),
        args: (!pairs.is_empty()).then_some(pairs),
        tags: (!args.tags.is_empty()).then(|| args.tags.clone()),
        no_cache: args.no_cache.then_some(true),
        pull: args.pull.then_some(true),
        submodules: args.submodules.then_some(true),
        lfs: args.lfs.then_some(true),
        ..BuildOptions::default()
    }
}

/// `slipway retry`.
pub async fn retry(args: RetryArgs, api: &Api, setting: &Setting<'_>, screen: &mut Screen) -> Result<Exit, Failed> {
    let form = followed_form(args.follow, &args.progress, screen)?;
    let query: Vec<(&str, String)> = args.no_cache.then(|| ("no_cache", "true".to_owned())).into_iter().collect();
    let made = api.post_with(&["builds", &id(&args.build, "build")?, "retry"], &query, None).await?;
    started(&made, form, api, setting, screen).await
}

/// In what form the log is followed, if it is; found out before anything is made.
fn followed_form(follows: bool, progress: &ProgressArgs, screen: &Screen) -> Result<Option<Form>, Failed> {
    follows.then(|| progress.form(Form::Live, Form::Plain, screen)).transpose()
}

/// A build was made: show its id, or follow it.
async fn started(
    made: &Value,
    form: Option<Form>,
    api: &Api,
    setting: &Setting<'_>,
    screen: &mut Screen,
) -> Result<Exit, Failed> {
    let build: Build = read(made)?;
    if let Some(form) = form {
        screen.say(&format!("Build {} of {}", build.id, short_commit(&build.commit)));
        // The one JSON document of this command is the finished build; its log goes to standard error.
        let followed = Followed::Build { id: build.id, ends_with_object: true };
        return follow(followed, form, api, setting, screen).await;
    }
    if screen.wants_json() {
        screen.object(made)?;
    } else {
        screen.line(&build.id)?;
        screen.say(&format!("Next: slipway logs -f {}", build.id));
    }
    Ok(Exit::Fine)
}

/// `slipway cancel`.
pub async fn cancel(args: CancelArgs, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let answer = api.post(&["builds", &id(&args.build, "build")?, "cancel"], None).await?;
    if screen.wants_json() {
        screen.object(&answer)?;
        return Ok(Exit::Fine);
    }
    let build: Build = read(&answer)?;
    let is_over = Exit::of_build(&build.state).is_some();
    screen.line(&format!("{} is {}", build.id, if is_over { build.state.as_str() } else { "being cancelled" }))?;
    Ok(Exit::Fine)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE".to_owned()),
    }
}
