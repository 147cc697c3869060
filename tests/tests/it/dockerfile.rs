//! The Dockerfile scan against a real engine: what one refuses the other refuses, at the same line. Only cheap
//! instructions upon `scratch`; nothing is fetched and no command is run.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::models::BuildInfoAux;
use bollard::query_parameters::{BuildImageOptions, BuilderVersion, RemoveImageOptions};
use futures_util::{StreamExt as _, stream};
use slipway_domain::dockerfile::{Outline, Problem, ProblemClass, scan};
use slipway_tests::env::engine;
use slipway_tests::env::services::{ENGINE, shared};
use uuid::Uuid;

mod files;

use files::{OLDER, SAME, generated};

/// Files that are made anew from the corpus.
const GENERATED: usize = 100;
/// Builds at once.
const TOGETHER: usize = 8;

/// What the engine said.
#[derive(Debug)]
enum Said {
    Taken,
    /// With the line, if it names one.
    Refused(String, Option<usize>),
}

/// Builds upon the engine, with one file in the context.
async fn ask(docker: &Docker, dockerfile: &[u8]) -> Result<Said> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in [("Dockerfile", dockerfile), ("f", b"x".as_slice())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes)?;
    }
    let options = BuildImageOptions {
        version: BuilderVersion::BuilderBuildKit,
        session: Some(Uuid::new_v4().simple().to_string()),
        networkmode: Some("none".to_owned()),
        ..BuildImageOptions::default()
    };
    let body = bollard::body_full(tar.into_inner()?.into());
    let mut answers = docker.build_image(options, None, Some(body));
    let mut image = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(info) => {
                if let Some(BuildInfoAux::Default(id)) = info.aux {
                    image = id.id;
                }
            }
            Err(error) => {
                let message = error.to_string();
                let line = message.split_once("parse error ").and_then(|(_, rest)| {
                    let rest = rest.trim_start_matches("on ").strip_prefix("line ")?;
                    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
                });
                return Ok(Said::Refused(message, line));
            }
        }
    }
    let image = image.context("neither an image nor an error")?;
    let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
    // Two files may make one image; whoever is second finds it gone.
    let _ = docker.remove_image(&image, Some(options), None).await;
    Ok(Said::Taken)
}

/// In what the scan differs from the engine, in words; nothing if they agree.
fn difference(text: &str, outline: &Outline, said: &Said) -> Option<String> {
    let problems = &outline.problems;
    let ours: Vec<_> = problems.iter().map(|it| (it.line, it.class, it.message.as_str())).collect();
    let differ = match said {
        Said::Taken => problems.iter().any(|problem| !is_newer(outline, problem)),
        Said::Refused(message, None) => problems.is_empty() && !hangs_on_more(message),
        Said::Refused(message, Some(line)) => {
            !problems.iter().any(|problem| problem.line == *line) && !message.contains("--retries")
        }
    };
    differ.then(|| format!("{text:?}\n  the engine: {said:?}\n  the scan: {ours:?}"))
}

/// Refused for what a file alone does not tell, or for syntax that only newer engines have.
fn hangs_on_more(message: &str) -> bool {
    const MORE: [&str; 6] = [
        "failed to compute cache key",
        "should not be blank",
        "invalid user",
        "missing ':' in substitution",
        "no such file",
        "not found",
    ];
    MORE.iter().any(|words| message.contains(words))
}

/// Refused by newer engines only: BuildKit 0.8 reads JSON up to its end and passes over what follows, and never minds
/// what it cannot read in an ARG before FROM.
fn is_newer(outline: &Outline, problem: &Problem) -> bool {
    let instruction = outline.instructions.iter().find(|it| it.line == problem.line);
    instruction.is_some_and(|it| {
        let is_global = it.keyword == "ARG" && it.stage.is_none() && problem.class == ProblemClass::BadSyntax;
        is_global || it.arguments.contains('[')
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scan_refuses_what_the_engine_refuses() -> Result<()> {
    let Some(host) = shared(ENGINE)? else { return Ok(()) };
    let docker = engine::connect(&host).await?;
    let files: BTreeSet<Vec<u8>> =
        SAME.iter().map(|text| text.as_bytes().to_vec()).chain(generated(GENERATED)).collect();
    let compared = stream::iter(files).map(|bytes| {
        let docker = docker.clone();
        async move {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let outline = scan(&text);
            let said = ask(&docker, &bytes).await?;
            anyhow::Ok((matches!(said, Said::Taken), difference(&text, &outline, &said)))
        }
    });
    let compared: Vec<_> = compared.buffer_unordered(TOGETHER).collect().await;
    let compared: Vec<_> = compared.into_iter().collect::<Result<_>>()?;
    let differences: Vec<_> = compared.iter().filter_map(|(_, difference)| difference.as_deref()).collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    let taken = compared.iter().filter(|(taken, _)| *taken).count();
    assert!(taken > 40 && compared.len() - taken > 80, "{taken} of {} were taken", compared.len());
    Ok(())
}

/// Where the scan follows newer engines, the engine of Debian 12 is known to differ.
#[tokio::test(flavor = "multi_thread")]
async fn known_differences_of_older_engines_are_still_there() -> Result<()> {
    let Some(host) = shared(ENGINE)? else { return Ok(()) };
    let docker = engine::connect(&host).await?;
    let version = docker.version().await?.version.unwrap_or_default();
    if !version.starts_with("20.10.") {
        eprintln!("SKIPPED: the engine is {version}, of which no differences are known");
        return Ok(());
    }
    for (text, takes) in OLDER {
        let (ours, said) = (scan(text).problems.is_empty(), ask(&docker, text.as_bytes()).await?);
        assert_eq!((ours, matches!(said, Said::Taken)), (!takes, *takes), "{text:?}: {said:?}");
    }
    Ok(())
}
