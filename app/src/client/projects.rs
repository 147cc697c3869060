//! `slipway projects`: list, make, pause and resume.

use serde_json::{Map, Value, json};
use slipway_domain::event::ForgeKind;
use slipway_domain::tenant::Visibility;

use crate::client::api::Api;
use crate::client::exit::{Exit, Failed};
use crate::client::names::{all, as_page, project_id};
use crate::client::screen::Screen;
use crate::client::shapes::{Hook, Project, read};
use crate::client::table::{Cell, fields, table};

#[derive(Debug, clap::Subcommand)]
pub enum ProjectsCommand {
    /// List the projects that you can see
    List,
    /// Make a project with its webhook
    Create(Box<CreateArgs>),
    /// Let pushes make no builds
    Pause {
        /// Name or id of the project
        project: String,
    },
    /// Let pushes make builds again
    Resume {
        /// Name or id of the project
        project: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Name of the project, 1 to 100 characters
    #[arg(long)]
    name: String,
    /// Forge of the repository: github, gitlab, …
    #[arg(long, required_unless_present = "connection", conflicts_with = "connection")]
    forge: Option<ForgeKind>,
    /// Address of the forge; its public one unless given
    #[arg(long, value_name = "URL", requires = "forge")]
    base_url: Option<String>,
    /// Id of a connection, which brings forge and credential, instead of --forge
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// Path of the repository on its forge, such as team/app
    #[arg(long, value_name = "PATH")]
    repo: String,
    /// Where builders fetch the repository
    #[arg(long, value_name = "URL")]
    clone_url: String,
    /// Where to push the image, host/path without a tag, may be repeated; without it nothing is pushed
    #[arg(long, value_name = "REPOSITORY")]
    image: Vec<String>,
    /// Tag of the image, may be repeated; {{branch}}, {{tag}}, {{ref}}, {{sha}}, {{sha7}} and {{build}} are filled in
    #[arg(long = "tag", value_name = "TAG", requires = "image")]
    tags: Vec<String>,
    /// Repository that keeps the layers of all stages for builders that have none of them, host/path without a tag
    #[arg(long, value_name = "REPOSITORY", requires = "image")]
    cache_repository: Option<String>,
    /// Who sees builds and logs: private or public
    #[arg(long)]
    visibility: Option<Visibility>,
    /// Name or id of the tenant; yours unless given
    #[arg(long)]
    tenant: Option<String>,
}

/// Runs one of them.
pub async fn run(command: ProjectsCommand, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    match command {
        ProjectsCommand::List => list(api, screen).await,
        ProjectsCommand::Create(args) => create(*args, api, screen).await,
        ProjectsCommand::Pause { project } => switch(&project, "pause", api, screen).await,
        ProjectsCommand::Resume { project } => switch(&project, "resume", api, screen).await,
    }
}

async fn list(api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let items = all(api, &["projects"], &[]).await?;
    if screen.wants_json() {
        screen.object(&as_page(items))?;
        return Ok(Exit::Fine);
    }
    if items.is_empty() {
        screen.say("There is no project yet; `slipway projects create --help` says how to make one.");
        return Ok(Exit::Fine);
    }
    let mut rows = Vec::with_capacity(items.len());
    for item in &items {
        rows.push(row(&read(item)?));
    }
    let head = ["NAME", "STATE", "FORGE", "REPOSITORY", "IMAGE", "VISIBILITY", "ID"];
    screen.bytes(table(&head, &rows, screen.shows_colour()).as_bytes())?;
    Ok(Exit::Fine)
}

fn row(project: &Project) -> Vec<Cell> {
    vec![
        Cell::text(&project.name),
        Cell::state(&project.state),
        Cell::text(&project.forge),
        Cell::text(&project.repo.full_path),
        Cell::maybe(images_text(project)),
        Cell::text(&project.visibility),
        Cell::text(&project.id),
    ]
}

/// The first repository, and how many more there are.
fn images_text(project: &Project) -> Option<String> {
    let first = &project.image.as_ref()?.repository;
    Some(match project.images.len() {
        0 | 1 => first.clone(),
        count => format!("{first} (+{})", count - 1),
    })
}

async fn create(args: CreateArgs, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let made = api.post(&["projects"], Some(&body(args))).await?;
    if screen.wants_json() {
        screen.object(&made)?;
        return Ok(Exit::Fine);
    }
    let project: Project = read(&made)?;
    let mut pairs = vec![("id", Cell::text(&project.id)), ("name", Cell::text(&project.name))];
    if let Some(hook) = &project.hook {
        pairs.push(("hook", Cell::text(&hook.url)));
        pairs.push(("secret", Cell::maybe(hook.secret.as_ref())));
    }
    screen.bytes(fields(&pairs, screen.shows_colour()).as_bytes())?;
    if let Some(hook) = &project.hook {
        screen.say(&next_step(&project, hook));
    }
    Ok(Exit::Fine)
}

fn body(args: CreateArgs) -> Value {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(args.name));
    body.insert("repo".to_owned(), json!({ "full_path": args.repo, "clone_url": args.clone_url }));
    if let Some(kind) = args.forge {
        let forge = match args.base_url {
            Some(base_url) => json!({ "kind": kind, "base_url": base_url }),
            None => json!({ "kind": kind }),
        };
        body.insert("forge".to_owned(), forge);
    }
    let image = |repository: &String| match args.tags.as_slice() {
        [] => json!({ "repository": repository }),
        tags => json!({ "repository": repository, "tags": tags }),
    };
    let images = match args.image.as_slice() {
        [] => None,
        [only] => Some(("image", image(only))),
        several => Some(("images", several.iter().map(image).collect())),
    };
    body.extend(images.map(|(name, value)| (name.to_owned(), value)));
    let rest = [("connection", args.connection), ("tenant", args.tenant), ("cache_repository", args.cache_repository)];
    body.extend(rest.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    if let Some(visibility) = args.visibility {
        body.insert("visibility".to_owned(), json!(visibility));
    }
    Value::Object(body)
}

fn next_step(project: &Project, hook: &Hook) -> String {
    let (place, secret, events) = match project.forge.as_str() {
        "github" => {
            ("Settings, Webhooks, Add webhook (content type application/json)", "Secret", "just the push event")
        }
        "gitlab" => ("Settings, Webhooks, Add new webhook", "Secret token", "push events and tag push events"),
        _ => ("the repository's webhook settings", "secret", "pushes"),
    };
    let shown_once = if hook.secret.is_some() { " The secret is shown only this once." } else { "" };
    format!(
        "Next: add the hook to {} under {place}: its address is the hook above, its {secret} the secret above, for \
         {events}.{shown_once}\nOr build at once: slipway build \"{}\" --commit COMMIT --follow",
        project.repo.full_path, project.name
    )
}

async fn switch(named: &str, verb: &str, api: &Api, screen: &mut Screen) -> Result<Exit, Failed> {
    let id = project_id(api, named).await?;
    let answer = api.post(&["projects", &id, verb], None).await?;
    if screen.wants_json() {
        screen.object(&answer)?;
    } else {
        let project: Project = read(&answer)?;
        screen.line(&format!("{} is {}", project.name, project.state))?;
    }
    Ok(Exit::Fine)
}
