//! What builds find of each other's on one engine, and what it says of what it keeps.

use slipway_domain::agent::BuildSecret;
use slipway_domain::spec::{ChangeSpec, JobSpec};

use super::*;
use crate::attempt::sharing::{apart, confined};
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

#[tokio::test]
async fn what_strangers_built_is_found_by_nobody() {
    let Some(site) = site().await else { return };
    let own = spec("https://x/one.git");
    let strangers = JobSpec { change: Some(ChangeSpec { number: 1, target: None, trusted: false }), ..own.clone() };
    let text = salted(&format!(
        "FROM {BASE}\nRUN --mount=type=secret,id=s cat /run/secrets/s > /made || echo without > /made; echo SALT\n\
         RUN cat /made\n"
    ));
    let said = async |spec: &JobSpec, secret: &str| {
        let secrets = [secret].into_iter().filter(|value| !value.is_empty());
        let secrets = secrets.map(|value| BuildSecret { name: "s".to_owned(), value: value.to_owned() }).collect();
        let request = site.request(&text, confined(spec, offline())).await;
        let request = BuildRequest { apart: apart(spec), secrets, ..request };
        let built = site.build_until(request, &CancellationToken::new(), None).await;
        assert!(built.result.is_ok(), "{:?}", built.result);
        (built.step("RUN cat /made").cached, built.log)
    };
    let (cached, log) = said(&strangers, "").await;
    assert!(!cached && log.contains("without"), "{log}");
    let (cached, log) = said(&own, "of-the-project").await;
    assert!(!cached && log.contains("of-the-project"), "{log}");
    assert!(said(&own, "of-the-project").await.0);
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}

#[tokio::test]
async fn an_earlier_image_that_cannot_be_had_is_told_and_fails_nothing() {
    let Some(site) = site().await else { return };
    let empty = super::evil::Server::start("127.0.0.1", |_, _| super::evil::response(404, ("x", "y"), "{}")).await;
    let digest = "0".repeat(64);
    // Nobody listens there; there is no such image; that is no image at all.
    let images = [&format!("127.0.0.1:1/gone@sha256:{digest}"), &format!("{}/gone@sha256:{digest}", empty.at), "?:?"];
    for image in images {
        let mut request = site.request(&salted(&format!("FROM {BASE}\nRUN echo SALT\n")), offline()).await;
        request.cache_from = vec![image.to_owned()];
        request.inline_cache = true;
        let built = site.build_until(request, &CancellationToken::new(), None).await;
        assert!(built.result.is_ok(), "{image}: {:?}", built.result);
        assert_eq!(built.step("RUN echo").state, StepState::Succeeded);
        let import = built.step("importing cache manifest");
        assert_eq!(import.state, StepState::Cancelled, "{import:?}");
        assert!(built.log.contains("its layers are built anew"), "{}", built.log);
        eprintln!("{image}: {}", built.log);
    }
    assert!(!empty.seen().is_empty(), "it was asked");
    site.engine.remove_leftovers(site.builder, &[]).await.expect("removed");
}

#[tokio::test]
async fn the_cache_is_as_old_as_its_oldest_layer() {
    let Some(site) = site().await else { return };
    let dockerfile = format!("FROM {BASE}\nRUN head -c 100000 /dev/urandom > /{}\n", site.attempt.job);
    site.build(&dockerfile, offline()).await.result.expect("built");
    let built = Clock::system().now();
    let usage = site.engine.cache_usage().await.expect("an answer");
    let oldest = usage.oldest.expect("it has a layer");
    assert!(oldest <= built && oldest > chrono::DateTime::UNIX_EPOCH, "{oldest}");
    // The layer itself is the image's as well; what the step was made from is not.
    assert!(usage.bytes > 0, "{usage:?}");
}
