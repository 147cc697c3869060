//! `slipway.yml`, the pipeline file at the root of a repository. It holds only `build` and `region`;
//! anything else is an error that names its line and the nearest key that exists.

use serde::Deserialize;

use crate::nearest::nearest;
use crate::spec::{BuildOptions, as_written};

/// Where the file lies in a repository.
pub const FILE_NAME: &str = "slipway.yml";
/// A longer file is not read.
pub const MAX_BYTES: usize = 64 * 1024;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pipeline {
    /// How to build; wins over the project's options.
    #[serde(deserialize_with = "as_written")]
    pub build: BuildOptions,
    /// The region that shall build it.
    pub region: Option<String>,
}

/// What is wrong with the file, for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{FILE_NAME}{}: {message}", .line.map(|line| format!(" line {line}")).unwrap_or_default())]
pub struct PipelineError {
    /// Line, from 1, if one is known.
    pub line: Option<u64>,
    /// What is wrong there and what would be right.
    pub message: String,
}

/// Reads the file. An empty one says nothing, which is allowed.
pub fn parse(text: &str) -> Result<Pipeline, PipelineError> {
    if text.len() > MAX_BYTES {
        let message = format!("the file is {} bytes long; at most {MAX_BYTES} are read", text.len());
        return Err(PipelineError { line: None, message });
    }
    // An empty or commented-out document is null, which is "nothing said", not a type error.
    let pipeline: Option<Pipeline> = serde_saphyr::from_str(text).map_err(|error| explain(&error))?;
    Ok(pipeline.unwrap_or_default())
}

fn explain(error: &serde_saphyr::Error) -> PipelineError {
    let error = error.without_snippet();
    let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
    let message = match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let shown: String = field.chars().take(80).collect();
            match nearest(field, expected) {
                Some(name) => format!("unknown key \"{shown}\"; did you mean \"{name}\"?"),
                None => format!("unknown key \"{shown}\"; known here are {}", expected.join(", ")),
            }
        }
        other => {
            // The parser ends its sentence with the place, which we name ourselves.
            let text = other.to_string();
            text.split(" at line ").next().unwrap_or(&text).to_owned()
        }
    };
    PipelineError { line, message }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::NetworkMode;

    #[test]
    fn reads_every_field() {
        let text = "# how to build\nregion: eu\nbuild:\n  dockerfile: docker/Dockerfile\n  context: app\n  target: run\n  args: {A: '1', B: two}\n  tags: [latest]\n  images:\n  - repository: r/app\n  - {repository: r/app, target: debug, tags: ['{{sha7}}-debug']}\n  no_cache: true\n  submodules: true\n  lfs: true\n  network: none\n  timeout_secs: 60\n";
        let pipeline = parse(text).expect("a good file");
        assert_eq!(pipeline.region.as_deref(), Some("eu"));
        assert_eq!(pipeline.build.dockerfile.as_deref(), Some("docker/Dockerfile"));
        assert_eq!(pipeline.build.context.as_deref(), Some("app"));
        assert_eq!(pipeline.build.args.as_ref().map(|args| args["B"].as_str()), Some("two"));
        assert_eq!(pipeline.build.tags.as_deref(), Some(["latest".to_owned()].as_slice()));
        let images = pipeline.build.images.as_deref().expect("images");
        assert_eq!((images.len(), images[0].tags.as_ref(), images[1].target.as_deref()), (2, None, Some("debug")));
        assert_eq!(pipeline.build.no_cache, Some(true));
        assert_eq!((pipeline.build.submodules, pipeline.build.lfs), (Some(true), Some(true)));
        assert_eq!(pipeline.build.network, Some(NetworkMode::None));
        assert_eq!(pipeline.build.timeout_secs, Some(60));
    }

    #[test]
    fn nothing_said_is_allowed() {
        for text in ["", "# only a comment\n", "---\n", "region:\nbuild: {}\n"] {
            assert_eq!(parse(text), Ok(Pipeline::default()), "{text:?}");
        }
    }

    #[test]
    fn errors_name_line_and_nearest_key() {
        for (text, line, words) in [
            ("region: eu\nbiuld: {}\n", 2, "did you mean \"build\"?"),
            ("build:\n  docker_file: x\n", 2, "did you mean \"dockerfile\"?"),
            ("build:\n  context: .\n  steps: []\n", 3, "known here are dockerfile, context"),
            ("build:\n  no_cache: maybe\n", 2, ""),
            ("build:\n  network: host\n", 2, ""),
            ("build: [\n", 1, "expected mapping"),
            ("region: a\nregion: b\n", 2, ""),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.line, Some(line), "{text:?}: {error}");
            assert!(error.to_string().contains(words), "{text:?}: {error}");
            assert!(error.to_string().starts_with(&format!("slipway.yml line {line}: ")), "{error}");
        }
        let long = format!("# {}", "x".repeat(MAX_BYTES));
        assert!(parse(&long).expect_err("too long").to_string().contains("65536"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "([a-z]{1,6}|build|region|: |\n|  |- |&a |\\*a|[{}\\[\\],'\"|>]){0,40}") {
            let _ = parse(&text);
        }
    }
}
