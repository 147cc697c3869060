//! A build as a check run of GitHub, for connections by an App: what broke stands at its line of the Dockerfile, and
//! GitHub's buttons ask for the build again.

use anyhow::Context as _;
use slipway_domain::build::BuildState;
use slipway_domain::failure::{ExcerptLine, Failure};
use slipway_domain::spec::{BuildOptions, JobSpec};
use slipway_forges::github::checks::{Annotation, AnnotationLevel, CheckRun};
use slipway_store::Scope;
use slipway_store::builds::{BuildView, JobView};
use slipway_store::statuses::LeasedStatus;

use crate::reporter::send::describe;
use crate::state::ApiState;

/// The check run that a status is on a forge that has such.
pub(super) async fn run_of(state: &ApiState, status: &LeasedStatus) -> anyhow::Result<CheckRun> {
    let view = state.db.build_view(&Scope::Operator, status.build_id).await.context("read the build")?;
    let failed = failed_job(&view);
    let annotations = match failed {
        Some((job, failure)) if status.wanted.is_terminal() => {
            let spec = state.db.job_spec(job.job.id).await.context("read the job's spec")?;
            annotation(&spec, failure).into_iter().collect()
        }
        Some(_) | None => Vec::new(),
    };
    Ok(CheckRun {
        repo: status.key.repo_path.clone(),
        commit: status.key.commit_id.clone(),
        name: status.key.context.clone(),
        state: status.wanted,
        external_id: status.build_id.to_string(),
        details_url: Some(state.config.url(&format!("builds/{}", status.build_id))),
        title: describe(status.wanted).to_owned(),
        summary: summary(&view, failed),
        annotations,
        started_at: view.build.started_at,
        completed_at: view.build.finished_at,
    })
}

/// What a commit status says where there are no check runs: how the build is, and what broke.
pub(super) async fn description_of(state: &ApiState, status: &LeasedStatus) -> anyhow::Result<String> {
    let text = describe(status.wanted);
    if !matches!(status.wanted, BuildState::Failed | BuildState::Errored) {
        return Ok(text.to_owned());
    }
    let view = state.db.build_view(&Scope::Operator, status.build_id).await.context("read the build")?;
    Ok(failed_job(&view).map_or_else(|| text.to_owned(), |(_, failure)| with_cause(text, failure)))
}

/// On one line, the cause first: forges cut what is long.
fn with_cause(text: &str, failure: &Failure) -> String {
    let line = failure.dockerfile_line.map(|line| format!(" (Dockerfile line {line})")).unwrap_or_default();
    let cause: String = failure.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}{line}: {}", text.trim_end_matches('.'), cause.trim())
}

fn failed_job(view: &BuildView) -> Option<(&JobView, &Failure)> {
    view.jobs.iter().find_map(|job| Some((job, &job.attempts.last()?.failure.as_ref()?.0)))
}

/// Where in the Dockerfile it broke, if that is known.
fn annotation(spec: &JobSpec, failure: &Failure) -> Option<Annotation> {
    let line = failure.dockerfile_line.and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0)?;
    let mut message = failure.message.clone();
    message.push_str("\n\n");
    message.push_str(failure.advice());
    Some(Annotation {
        path: failure
            .detail
            .dockerfile
            .clone()
            .unwrap_or_else(|| dockerfile(&spec.asked.clone().or(spec.project_options.clone()))),
        start_line: line,
        end_line: line,
        level: AnnotationLevel::Failure,
        message,
        title: failure.step.clone(),
    })
}

/// The Dockerfile's path in the repository where no builder told it, as far as the service knows: a `slipway.yml` is read
/// by the builder.
fn dockerfile(options: &BuildOptions) -> String {
    let file = options.dockerfile.as_deref().unwrap_or("Dockerfile");
    let context = options.context.as_deref().unwrap_or_default().trim_matches(['.', '/']);
    if context.is_empty() { file.to_owned() } else { format!("{context}/{file}") }
}

/// What developers read beside the commit. All of it may be strangers' text: it stands as code, not as Markdown.
fn summary(view: &BuildView, failed: Option<(&JobView, &Failure)>) -> String {
    let mut lines = Vec::new();
    if let Some((_, failure)) = failed {
        lines.push(as_code(&failure.message));
        lines.extend(failure.step.as_deref().map(|step| format!("Step: {}", in_line(step))));
        // A hint of its own names what strangers wrote.
        lines.push(failure.detail.hint.as_deref().map_or_else(|| failure.class.hint().to_owned(), as_code));
        lines.extend(excerpt(failure));
        if !failure.detail.last_lines.is_empty() {
            lines.push("Last lines of the step:".to_owned());
            lines.push(as_code(&failure.detail.last_lines.join("\n")));
        }
    }
    for job in &view.jobs {
        let images = job.attempts.last().map(|attempt| attempt.images.0.as_slice()).unwrap_or_default();
        lines.extend(
            images.iter().map(|image| format!("Pushed {} as {}", in_line(&image.reference), in_line(&image.digest))),
        );
    }
    if lines.is_empty() {
        lines.push("The build's page has the log.".to_owned());
    }
    lines.join("\n\n")
}

/// The place in the Dockerfile, marked.
fn excerpt(failure: &Failure) -> Option<String> {
    let line = |line: &ExcerptLine| format!("{} {:>4}  {}", if line.failing { '>' } else { ' ' }, line.line, line.text);
    let lines: Vec<String> = failure.detail.excerpt.iter().map(line).collect();
    (!lines.is_empty()).then(|| as_code(&lines.join("\n")))
}

/// A block that no text can leave.
fn as_code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

fn in_line(text: &str) -> String {
    format!("`{}`", text.replace(['`', '\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use slipway_domain::failure::{Detail, FailureClass};

    use super::*;

    #[test]
    fn the_dockerfile_is_named_from_the_repositorys_root() {
        let at = |dockerfile: Option<&str>, context: Option<&str>| {
            let (dockerfile, context) = (dockerfile.map(str::to_owned), context.map(str::to_owned));
            super::dockerfile(&BuildOptions { dockerfile, context, ..BuildOptions::default() })
        };
        assert_eq!(at(None, None), "Dockerfile");
        assert_eq!(at(Some("deploy/Dockerfile"), Some(".")), "deploy/Dockerfile");
        assert_eq!(at(None, Some("./app/")), "app/Dockerfile");
    }

    #[test]
    fn a_status_names_the_cause_on_one_line() {
        let mut failure = Failure::new(FailureClass::RunFailed, "RUN make\n<b> ended with exit code 2");
        assert_eq!(with_cause("The build failed.", &failure), "The build failed: RUN make <b> ended with exit code 2");
        failure.dockerfile_line = Some(7);
        assert!(with_cause("The build failed.", &failure).starts_with("The build failed (Dockerfile line 7): RUN"));
    }

    #[test]
    fn the_excerpt_is_marked_and_stays_in_its_block() {
        let line = |line, text: &str, failing| ExcerptLine { line, text: text.to_owned(), failing };
        let excerpt = vec![line(1, "FROM a", false), line(2, "RUN ```<script>", true)];
        let failure = Failure {
            detail: Box::new(Detail { excerpt, ..Detail::default() }),
            ..Failure::new(FailureClass::RunFailed, "m")
        };
        let shown = super::excerpt(&failure).expect("lines");
        assert_eq!(shown, "````text\n     1  FROM a\n>    2  RUN ```<script>\n````");
        assert_eq!(super::excerpt(&Failure::new(FailureClass::RunFailed, "m")), None);
    }

    #[test]
    fn strangers_text_stays_in_its_block() {
        let hostile = "```\n# heading\n````\n<script>";
        let shown = as_code(hostile);
        let fence = shown.lines().next().unwrap_or_default().trim_end_matches("text");
        assert_eq!(fence, "`````");
        assert!(shown.ends_with(fence) && !hostile.contains(fence));
        assert_eq!(in_line("a`b\nc"), "`a b c`");
    }
}
