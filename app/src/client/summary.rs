//! A build in words: all of it for `builds show`, and the last lines of a followed one.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use slipway_domain::size;

use crate::client::shapes::{Build, Built, Failure, Job, PushedImage};
use crate::client::span::{ago, took};
use crate::client::table::{Cell, fields, table};
use crate::client::terminal::on_one_line;

/// Everything about a build.
pub fn whole(build: &Build, now: DateTime<Utc>, colours: bool) -> String {
    let mut text = fields(&head(build, now), colours);
    for job in &build.jobs {
        text.push('\n');
        text.push_str(&job_text(job, now, colours));
    }
    text
}

fn head(build: &Build, now: DateTime<Utc>) -> Vec<(&'static str, Cell)> {
    let created = format!("{} ({})", build.created_at.format("%Y-%m-%d %H:%M:%S UTC"), ago(build.created_at, now));
    let mut pairs = vec![
        ("build", Cell::text(&build.id)),
        ("project", Cell::text(build.project_name.as_ref().unwrap_or(&build.project))),
        ("state", Cell::state(&build.state)),
        ("trigger", Cell::text(&build.trigger)),
        ("ref", Cell::maybe(build.git_ref.as_ref())),
        ("commit", Cell::text(&build.commit)),
    ];
    let extra = [
        ("title", build.title.clone()),
        ("created", Some(created)),
        ("took", took(build.started_at, build.finished_at, now)),
        ("waits", waiting(build)),
        ("page", build.url.clone()),
    ];
    pairs.extend(extra.into_iter().filter_map(|(name, value)| Some((name, Cell::text(value?)))));
    pairs
}

/// Why a build waits, in words.
pub fn waiting(build: &Build) -> Option<String> {
    build.waiting.as_ref().map(|waiting| match waiting.position {
        Some(position) => format!("{} (place {position} in the queue)", waiting.reason),
        None => waiting.reason.clone(),
    })
}

fn job_text(job: &Job, now: DateTime<Utc>, colours: bool) -> String {
    let attempts = match job.attempts.iter().rev().find_map(|attempt| attempt.outcome.as_ref()) {
        Some(outcome) => format!("{} (last outcome: {outcome})", job.attempts.len()),
        None => job.attempts.len().to_string(),
    };
    let mut text = fields(
        &[
            ("job", Cell::text(&job.id)),
            ("kind", Cell::text(&job.kind)),
            ("state", Cell::state(&job.state)),
            ("pool", Cell::text(&job.pool)),
            ("attempts", Cell::text(attempts)),
        ],
        colours,
    );
    if !job.steps.is_empty() {
        let rows: Vec<Vec<Cell>> = job
            .steps
            .iter()
            .map(|step| {
                let took =
                    if step.cached { Some("cached".to_owned()) } else { took(step.ran_since(), step.finished_at, now) };
                let code = step.exit_code.map(|code| code.to_string());
                vec![Cell::state(&step.state), Cell::maybe(took), Cell::maybe(code), Cell::text(&step.name)]
            })
            .collect();
        text.push_str(&table(&["STATE", "TOOK", "EXIT", "STEP"], &rows, colours));
    }
    for image in &job.images {
        let _ = writeln!(text, "{}", image_line(image));
    }
    for image in &job.built {
        text.push_str(&layers_text(image, colours));
    }
    if let Some(failure) = &job.failure {
        let _ = writeln!(text, "{}", failure_lines(failure, &failure.last_lines));
    }
    text
}

/// An image's layers, and how it differs from the build before.
fn layers_text(image: &Built, colours: bool) -> String {
    let rows: Vec<Vec<Cell>> = image
        .layers
        .iter()
        .map(|layer| {
            let pushed = layer.compressed_bytes.map(size::bytes);
            let new = layer.new.filter(|new| *new).map(|_| "new".to_owned());
            vec![
                Cell::text(size::bytes(layer.size_bytes)),
                Cell::maybe(pushed),
                Cell::maybe(new),
                Cell::text(&layer.instruction),
            ]
        })
        .collect();
    let target = image.target.as_ref().map(|target| format!(" of {target}")).unwrap_or_default();
    let mut text = on_one_line(&format!("layers{target}, {} unpacked", size::bytes(image.size_bytes))) + "\n";
    if let Some(difference) = &image.difference {
        let (change, build) = (size::change(difference.size_bytes_change), on_one_line(&difference.build));
        let (shared, new, gone) = (difference.shared_layers, difference.new_layers, difference.gone_layers);
        let _ = writeln!(text, "{change} since {build}: {shared} layers shared, {new} new, {gone} gone");
    }
    text.push_str(&table(&["SIZE", "PUSHED", "", "MADE BY"], &rows, colours));
    text
}

/// How a build ended: a sentence, then its images or failures. The last lines of a step are left out where `is_told` says
/// that its job's log ends with them.
pub fn ending(build: &Build, now: DateTime<Utc>, is_told: impl Fn(&Job, &String) -> bool) -> String {
    let took = took(build.started_at, build.finished_at, now).map(|took| format!(" in {took}")).unwrap_or_default();
    let mut lines = vec![format!("Build {} {}{took}.", build.id, verb(&build.state))];
    for job in &build.jobs {
        lines.extend(job.images.iter().map(image_line));
        lines.extend(job.failure.as_ref().map(|failure| {
            let is_told = failure.step.as_ref().is_some_and(|step| is_told(job, step));
            failure_lines(failure, if is_told { &[] } else { &failure.last_lines })
        }));
    }
    lines.extend(build.url.as_ref().map(|url| format!("  {}", on_one_line(url))));
    lines.join("\n")
}

fn verb(state: &str) -> &str {
    match state {
        "cancelled" => "was cancelled",
        "superseded" => "was superseded by a newer build",
        "skipped" => "was skipped",
        "errored" => "ended by a fault of the service",
        other => other,
    }
}

fn image_line(image: &PushedImage) -> String {
    let note = if image.moved { "" } else { " (tag not moved: it shows a newer build)" };
    on_one_line(&format!("  image {}@{}{note}", image.reference, image.digest))
}

fn failure_lines(failure: &Failure, last_lines: &[String]) -> String {
    let message = failure.message.as_deref().unwrap_or(&failure.class);
    let mut place = Vec::new();
    place.extend(failure.step.as_ref().map(|step| format!("step {step}")));
    place.extend(failure.exit_code.map(|code| format!("exit code {code}")));
    let dockerfile = failure.dockerfile.as_deref();
    place.extend(failure.dockerfile_line.map(|line| match dockerfile {
        Some(path) => format!("{path}:{line}"),
        None => format!("Dockerfile line {line}"),
    }));
    let mut lines = vec![format!("  {}: {}", on_one_line(&failure.class), on_one_line(message))];
    if !place.is_empty() {
        lines.push(format!("  at {}", on_one_line(&place.join(", "))));
    }
    lines.extend(failure.hint.as_ref().map(|hint| format!("  {}", on_one_line(hint))));
    if !failure.excerpt.is_empty() {
        lines.push(format!("  {}:", on_one_line(dockerfile.unwrap_or("Dockerfile"))));
        lines.extend(failure.excerpt.iter().map(|line| {
            let mark = if line.failing { '>' } else { ' ' };
            format!("  {mark} {:>5} | {}", line.line, as_written(&line.text)).trim_end().to_owned()
        }));
    }
    if !last_lines.is_empty() {
        lines.push("  Last lines of the step:".to_owned());
        lines.extend(last_lines.iter().map(|line| format!("  | {}", as_written(line)).trim_end().to_owned()));
    }
    lines.join("\n")
}

/// A line with its tabs as blanks, which move nothing else.
fn as_written(line: &str) -> String {
    on_one_line(&line.replace('\t', "    "))
}

/// The branch or tag, without what git puts before it.
pub fn short_ref(git_ref: &str) -> &str {
    git_ref.strip_prefix("refs/heads/").or_else(|| git_ref.strip_prefix("refs/tags/")).unwrap_or(git_ref)
}

/// The first digits of a commit id.
pub fn short_commit(commit: &str) -> String {
    commit.chars().take(12).collect()
}
