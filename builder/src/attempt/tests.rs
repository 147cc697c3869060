use slipway_domain::git_ref::GitRef;
use slipway_domain::spec::{BuildOptions, ImageTarget, JobSpec};

use super::*;

fn failed(class: FailureClass) -> Result<(), Failure> {
    Err(Failure::new(class, "why"))
}

#[test]
fn the_last_word_follows_cause_and_result() {
    use AttemptOutcome as O;
    let word = |cause, result| verdict(cause, result).map(|(outcome, failure)| (outcome, failure.map(|f| f.class)));
    assert_eq!(word(None, Ok(())), Some((O::Succeeded, None)));
    assert_eq!(word(None, failed(FailureClass::RunFailed)), Some((O::Failed, Some(FailureClass::RunFailed))));
    assert_eq!(word(None, failed(FailureClass::DiskFull)), Some((O::Infra, Some(FailureClass::DiskFull))));
    let stopped = || failed(FailureClass::Cancelled);
    assert_eq!(word(Some(Halt::Cancelled), stopped()), Some((O::Cancelled, Some(FailureClass::Cancelled))));
    assert_eq!(word(Some(Halt::TimedOut), stopped()), Some((O::TimedOut, Some(FailureClass::TimedOut))));
    assert_eq!(word(Some(Halt::HandedBack), stopped()), Some((O::HandedBack, None)));
    assert_eq!(word(Some(Halt::Stopped), stopped()), None);
    assert_eq!(word(Some(Halt::Stopped), Ok(())), None);
    assert_eq!(word(Some(Halt::Cancelled), Ok(())), Some((O::Succeeded, None)), "it was published before");
}

fn spec(git_ref: Option<&str>) -> JobSpec {
    JobSpec {
        git_ref: git_ref.map(|text| GitRef::parse(text).expect("a ref")),
        ..crate::tests::fake::spec("https://x/y.git")
    }
}

#[test]
fn tags_come_from_the_options_then_the_project_then_the_commit() {
    let image = |tags: &[&str]| ImageTarget {
        repository: "r/x".to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    let options = |tags: &[&str]| BuildOptions {
        tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
        ..BuildOptions::default()
    };
    let none = BuildOptions::default();
    let main = spec(Some("refs/heads/main"));
    let wanted = |spec: &JobSpec, image: &ImageTarget, options: &BuildOptions| {
        tags::wanted_tags(spec, image, options).expect("tags")
    };
    assert_eq!(wanted(&main, &image(&["p"]), &options(&["a", "b", "a"])), ["a", "b"]);
    assert_eq!(wanted(&main, &image(&["p"]), &none), ["p"]);
    assert_eq!(wanted(&main, &image(&[]), &none), [main.commit.clone(), "main".to_owned()]);
    assert_eq!(wanted(&spec(None), &image(&[]), &none), [main.commit.as_str()], "a bare commit moves no branch");
    assert_eq!(wanted(&main, &image(&["latest", "{{branch}}-{{sha7}}", "{{tag}}"]), &none)[1..], ["latest"]);
    assert!(wanted(&main, &image(&["{{tag}}"]), &none).is_empty());
    let refused = tags::wanted_tags(&main, &image(&[]), &options(&["a b"])).expect_err("no tag");
    assert_eq!(refused.class, FailureClass::PipelineInvalid);
    assert!(refused.message.contains("\"a b\""), "{}", refused.message);
}
