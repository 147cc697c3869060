//! What builds find of each other's on one engine.

use slipway_domain::spec::JobSpec;

use super::*;
use crate::attempt::sharing::confined;
use crate::tests::fake::spec;

/// A build of this project.
async fn built_for(site: &Site, project: &JobSpec, dockerfile: &str) -> Outcome {
    let built = site.build(dockerfile, confined(project, offline())).await;
    assert!(built.result.is_ok(), "{:?}", built.result);
    built
}

#[tokio::test]
async fn cache_mounts_are_a_projects_own_and_leave_layers_alone() {
    let Some(site) = site().await else { return };
    let (one, other) = (spec("https://x/one.git"), spec("https://x/other.git"));
    // One id for both, as if they knew of each other.
    let mount = salted("--mount=type=cache,id=SALT,target=/cache");
    let text = |word: &str| {
        format!(
            "FROM {BASE}\nRUN echo plain {mount}\nRUN {mount} echo {word}; test -e /cache/mark && echo found || echo none; echo x > /cache/mark\n"
        )
    };
    for (project, word, found, plain_cached) in [
        (&one, "first", "none", false),
        (&one, "second", "found", true),
        // Steps without such a mount are found, whoever made them.
        (&other, "third", "none", true),
        (&one, "fourth", "found", true),
    ] {
        let built = built_for(&site, project, &text(word)).await;
        assert!(built.log.contains(&format!("{word}\n{found}")), "{word}: {}", built.log);
        assert_eq!(built.step("RUN echo plain").cached, plain_cached, "{word}");
        assert!(!built.step(&format!("echo {word}")).cached, "{word}");
    }
    // Nothing has changed: the step with the mount is not run again either.
    assert!(built_for(&site, &one, &text("fourth")).await.step("echo fourth").cached);
    // What another made with its own mount is not taken over.
    assert!(!built_for(&site, &other, &text("fourth")).await.step("echo fourth").cached);
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}
