//! What a build does and says.

use bollard_buildkit_proto::moby::buildkit::v1::PruneRequest;
use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::*;

#[tokio::test]
async fn args_labels_and_a_target_reach_the_image() {
    // As long as the build runs in which a base was first used, engines before BuildKit 0.32 reuse nothing above that
    // base (moby/buildkit#4674).
    let Some(site) = Site::alone().await else { return };
    let dockerfile = "FROM BASE AS one\nARG A\nARG B\nRUN echo $A-$B SALT; cat /etc/hosts; printf 'a\\377b' >&2\n\
                      COPY hello /\nFROM scratch AS two\nCOPY --from=one /hello /\nFROM BASE\nRUN exit 1\n";
    let word = |text: &str| text.to_owned();
    let request = Solve {
        args: [(word("A"), word("first")), (word("B"), word("sec ond,x=y"))].into(),
        labels: [(word("l.a"), word("1")), (word("l.b"), word("two, three"))].into(),
        hosts: [(word("own.example"), std::net::IpAddr::from([10, 1, 2, 3]))].into(),
        target: Some(word("two")),
        inline_cache: true,
        ..site.request(dockerfile)
    };
    let built = site.build(request.clone()).await;
    let image = built.result.as_ref().expect("built").image.clone().expect("an image");
    assert!(built.text().contains(&format!("first-sec ond,x=y {}", site.salt)), "{}", built.text());
    assert!(built.text().contains("10.1.2.3"), "{}", built.text());
    assert!(built.log.windows(3).any(|bytes| bytes == b"a\xffb"));
    let run = built.step("RUN echo");
    assert!(run.started.is_some() && run.completed.is_some() && run.error.is_empty() && !run.cached, "{run:?}");
    let held = site.docker().inspect_image(&site.image()).await.expect("there");
    assert_eq!(held.id.as_ref(), Some(&image));
    let labels = held.config.and_then(|config| config.labels).expect("labels");
    assert_eq!((labels["l.a"].as_str(), labels["l.b"].as_str()), ("1", "two, three"));

    let again = site.build(request.clone()).await;
    assert!(again.step("RUN echo").cached, "{:?}", again.vertices);
    let anew = site.build(Solve { no_cache: true, export: Export::Nothing, ..request }).await;
    assert_eq!(anew.result.as_ref().expect("built").image, None);
    assert!(!anew.step("RUN echo").cached);
    site.remove_image().await;
}

#[tokio::test]
async fn another_definition_than_the_contexts_is_built_and_the_context_stays() {
    let Some(site) = Site::beside().await else { return };
    // As long as each other: an engine that kept the one before would not see the difference.
    for word in ["one", "two"] {
        let definition = format!("FROM BASE\nCOPY Dockerfile /seen\nRUN cat /seen; echo {word} SALT\n");
        let request = site.request("FROM BASE\nRUN exit 3 # the context's own\n");
        let request = Solve { definition: Some(site.written(&definition).into()), ..request };
        let built = site.build(request).await;
        built.result.as_ref().expect("built");
        assert!(built.text().contains(&format!("{word} {}", site.salt)), "{}", built.text());
        assert!(built.text().contains("# the context's own"), "{}", built.text());
    }
    site.remove_image().await;
}

#[tokio::test]
async fn a_secret_is_seen_by_its_step_and_nowhere_else() {
    let Some(site) = Site::beside().await else { return };
    let secret = format!("canary-{}", site.salt.repeat(2));
    // The session is asked for after so long that an engine would have ended an unhealthy one.
    let dockerfile = "FROM BASE\nRUN sleep 2\nRUN --mount=type=secret,id=s,required=true \
         test \"$(cut -c1-7 /run/secrets/s)\" = canary- && echo SALT $(wc -c < /run/secrets/s) && ls -l /run/secrets/s\n\
         RUN test ! -e /run/secrets/s && ! env | grep canary\nCOPY hello /\n";
    let secrets = [("s".to_owned(), Bytes::from(secret.clone()))];
    let built = site.build(Solve { secrets: secrets.into(), ..site.request(dockerfile) }).await;
    built.result.as_ref().expect("built");
    assert!(built.text().contains(&format!("{} {}", site.salt, secret.len())), "{}", built.text());
    assert!(built.text().contains("-r--------"), "{}", built.text());
    assert!(!built.text().contains(&secret) && !format!("{:?}", built.vertices).contains(&secret));
    let history = site.docker().image_history(&site.image()).await.expect("a history");
    assert!(!format!("{history:?}").contains(&secret));
    let layers: Vec<Bytes> = site.docker().export_image(&site.image()).try_collect().await.expect("exported");
    let layers = layers.concat();
    assert!(layers.len() > 1000 && !layers.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
    site.remove_image().await;

    let missing = site.build(Solve { no_cache: true, ..site.request(dockerfile) }).await;
    assert!(missing.said().message.contains("secret s not found"), "{:?}", missing.result);
    assert!(matches!(
        site.build(Solve { export: Export::Image("a,b".to_owned()), ..site.request(dockerfile) }).await.result,
        Err(SolveError::Invalid(_))
    ));
}

#[tokio::test]
async fn what_the_engine_says_is_told_whole() {
    let Some(site) = Site::beside().await else { return };
    for (dockerfile, part) in [
        ("FROM BASE\nRUN echo SALT; exit 42\n", "exit code: 42"),
        ("FROM BASE\nRUNN true\n", "line 2: unknown instruction: RUNN"),
        ("FROM 127.0.0.1:1/nothing:SALT\n", "connection refused"),
        ("FROM BASE\nCOPY gone-SALT /\n", "not found"),
    ] {
        let failed = site.build(site.request(dockerfile)).await;
        let said = failed.said();
        assert!(said.message.contains(part) && !said.session_lost, "{said:?}");
    }
    let failed = site.build(site.request("FROM BASE\nRUN echo SALT; exit 43\n")).await;
    assert!(failed.step("RUN echo").error.contains("exit code: 43"), "{:?}", failed.vertices);
    let target = Solve { target: Some("zzz".to_owned()), ..site.request("FROM BASE\n") };
    assert!(site.build(target).await.said().message.contains("target stage zzz could not be found"));
    let elsewhere = Solve { dockerfile: "sub/Nothing".to_owned(), ..site.request("FROM BASE\n") };
    assert!(site.build(elsewhere).await.said().message.contains("failed to read dockerfile"));
}

#[tokio::test]
async fn a_cache_is_measured_and_emptied() {
    let Some(site) = Site::alone().await else { return };
    let request = Solve { export: Export::Nothing, ..site.request("FROM BASE\nRUN echo SALT > /x\n") };
    site.build(request).await.result.expect("built");
    let before = site.buildkit().disk_usage(PATIENCE).await.expect("records");
    assert!(before.iter().any(|record| record.description.contains(&site.salt) && record.size > 0), "{before:?}");
    let nothing = PruneRequest { filter: vec!["id==none".to_owned()], ..PruneRequest::default() };
    assert_eq!(site.buildkit().prune(nothing, PATIENCE).await.expect("pruned"), []);
    let removed = site.buildkit().prune(PruneRequest::default(), PATIENCE).await.expect("pruned");
    assert!(!removed.is_empty());
    let after = site.buildkit().disk_usage(PATIENCE).await.expect("records");
    assert!(after.iter().all(|record| !record.description.contains(&site.salt)), "{after:?}");
}

#[tokio::test]
async fn an_engine_says_whether_it_keeps_caches() {
    let Some(site) = Site::beside().await else { return };
    let buildkit = BuildKit::new(site.life.clone(), Endpoint::Docker(site.address.clone()));
    let keeps = buildkit.keeps_caches(PATIENCE).await.expect("an answer");
    let info = site.docker().info().await.expect("an answer");
    let by_containerd =
        info.driver_status.unwrap_or_default().iter().flatten().any(|word| word.contains("snapshotter"));
    assert_eq!(keeps, by_containerd, "{:?}", info.server_version);
}
