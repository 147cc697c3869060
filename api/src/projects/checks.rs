//! Checks of a project's fields that need no IO.

use slipway_domain::dockerfile::is_reserved_arg;
use slipway_domain::known_keys;
use slipway_domain::rules::Rules;
use slipway_domain::spec::BuildOptions;
use slipway_domain::tag_template::check;
use slipway_domain::timing::JOB_TIMEOUT_MAX;
use slipway_runtime::problem::ApiError;

use crate::projects::images::check_chosen;

/// Most tags of one image.
const MAX_TAGS: usize = 20;
/// Longest path or name in build options.
const MAX_TEXT: usize = 1024;

/// The repository's path on its forge, `team/app`.
pub fn check_repo_path(path: &str) -> Result<(), ApiError> {
    let ok = !path.is_empty()
        && path.len() <= MAX_TEXT
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.chars().any(|c| c.is_control() || c.is_whitespace());
    if ok {
        return Ok(());
    }
    Err(ApiError::Invalid("repo.full_path: write the repository's path on its forge, such as team/app.".to_owned()))
}

/// Tags as a registry takes them, after their words are filled in.
pub fn check_tags(field: &str, tags: &[String]) -> Result<(), ApiError> {
    if tags.len() > MAX_TAGS {
        return Err(ApiError::Invalid(format!("{field}: at most {MAX_TAGS} tags.")));
    }
    match tags.iter().find_map(|tag| check(tag).err()) {
        None => Ok(()),
        Some(bad) => Err(ApiError::Invalid(format!("{field}: {bad}."))),
    }
}

/// The `rules` object.
pub fn check_rules(rules: &Rules) -> Result<(), ApiError> {
    rules.check().map_err(|error| ApiError::Invalid(format!("{error}.")))
}

/// The `build` object.
pub fn check_options(options: &BuildOptions) -> Result<(), ApiError> {
    for (field, path) in [("build.dockerfile", &options.dockerfile), ("build.context", &options.context)] {
        if let Some(path) = path {
            check_path(field, path)?;
        }
    }
    check_target("build.target", options.target.as_deref())?;
    check_chosen(options.images.as_deref().unwrap_or_default())?;
    if let Some(bad) = options.args.iter().flatten().map(|(name, _)| name).find(|name| !is_arg_name(name)) {
        let shown: String = bad.chars().take(100).collect();
        return Err(ApiError::Invalid(format!("build.args: \"{shown}\" is no name; use letters, digits and _.")));
    }
    let key = options.args.iter().flatten().find_map(|(name, value)| Some((name, known_keys::find(value)?)));
    if let Some((name, what)) = key {
        return Err(ApiError::Invalid(format!(
            "build.args: the value of {name} looks like {what}. Arguments are no secrets: they end up in the image's history. \
             Store it under /api/v1/projects/{{id}}/secrets, and mount it with RUN --mount=type=secret."
        )));
    }
    if let Some(reserved) = options.args.iter().flatten().map(|(name, _)| name).find(|name| is_reserved_arg(name)) {
        return Err(ApiError::Invalid(format!(
            "build.args: names that begin with BUILDKIT_ steer the engine and are the service's own; remove {reserved}."
        )));
    }
    check_tags("build.tags", options.tags.as_deref().unwrap_or_default())?;
    match options.timeout_secs {
        Some(secs) if secs == 0 || secs > JOB_TIMEOUT_MAX.as_secs() => Err(ApiError::Invalid(format!(
            "build.timeout_secs must be 1 to {}; it is {secs}.",
            JOB_TIMEOUT_MAX.as_secs()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The name of a stage, where one is given.
pub fn check_target(field: &str, target: Option<&str>) -> Result<(), ApiError> {
    match target {
        Some(name) if name.is_empty() || name.len() > MAX_TEXT || name.chars().any(char::is_control) => {
            Err(ApiError::Invalid(format!("{field}: write the name of a stage.")))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_path(field: &str, path: &str) -> Result<(), ApiError> {
    let leaves = path.starts_with('/') || path.split('/').any(|part| part == "..");
    if path.is_empty() || path.len() > MAX_TEXT || path.chars().any(char::is_control) || leaves {
        return Err(ApiError::Invalid(format!(
            "{field}: write a path inside the repository, such as deploy/Dockerfile; it may not begin with / or hold \"..\"."
        )));
    }
    Ok(())
}

fn is_arg_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_repository() {
        for good in ["Dockerfile", "deploy/Dockerfile", ".", "a..b/c"] {
            assert!(check_path("f", good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/../../b", "a\0b"] {
            assert!(check_path("f", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn wrong_options_are_named() {
        let bad = [
            ("build.dockerfile", r#"{"dockerfile":"/abs"}"#),
            ("build.context", r#"{"context":"../up"}"#),
            ("build.target", r#"{"target":""}"#),
            ("build.args", r#"{"args":{"a=b":"c"}}"#),
            ("build.args", r#"{"args":{"BUILDKIT_CACHE_MOUNT_NS":"c"}}"#),
            ("build.tags", r#"{"tags":["a b"]}"#),
            ("build.args: the value of KEY looks like an AWS", r#"{"args":{"KEY":"AKIA0123456789ABCDEF"}}"#),
            ("build.timeout_secs", r#"{"timeout_secs":0}"#),
            ("build.images.repository", r#"{"images":[{"repository":""}]}"#),
            ("build.images.target", r#"{"images":[{"repository":"r/a","target":""}]}"#),
            ("build.images.tags", r#"{"images":[{"repository":"r/a","tags":["a b"]}]}"#),
        ];
        for (field, json) in bad {
            let options: BuildOptions = serde_json::from_str(json).expect("reads");
            match check_options(&options) {
                Err(ApiError::Invalid(detail)) => assert!(detail.starts_with(field), "{detail}"),
                other => panic!("{field}: {other:?}"),
            }
        }
        assert!(check_options(&BuildOptions::default()).is_ok());
        // Which frontends are allowed, builders know.
        let asked: BuildOptions = serde_json::from_str(r#"{"args":{"BUILDKIT_SYNTAX":"a/b"}}"#).expect("reads");
        assert!(check_options(&asked).is_ok());
    }

    #[test]
    fn repository_paths() {
        for good in ["team/app", "group/sub/app", "app"] {
            assert!(check_repo_path(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "a/../b", "a b"] {
            assert!(check_repo_path(bad).is_err(), "{bad}");
        }
    }
}
