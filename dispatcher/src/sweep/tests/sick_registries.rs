//! A registry that hangs or fails keeps its own leaves waiting, and no other's.

use super::*;

/// A registry that takes connections and says nothing; ended on drop.
async fn silent_registry() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

#[tokio::test]
async fn a_registry_that_hangs_keeps_only_its_own_leaves_waiting() {
    let scene = Scene::new().await;
    let (_silent, sick) = silent_registry().await;
    let dead = scene.running('a').await;
    let digest = manifest("a").1;
    for n in 0..40 {
        scene.grant_of(dead, &scene.leave_of(&sick, &format!("t{n}"), &digest)).await;
    }
    scene.deps.clock.advance(Duration::from_secs(1));
    scene.fake.show("main", "a");
    scene.grant(dead, &digest).await;
    scene.deps.clock.advance(timing::LEAVE_LEASE * 2);
    let looks = take(&scene.deps, &scene.registries, AT_ONCE).await.expect("a pass");
    let (hanging, well): (Vec<_>, Vec<_>) = looks.into_iter().partition(|look| look.leave.registry == sick);
    assert_eq!((hanging.len(), well.len()), (2, 1), "the older leaves of the other fill no queue");
    // The calls that hang never end, and the other registry is asked meanwhile.
    let deps = scene.deps.clone();
    let _hanging = scene.deps.life.task("hanging", async move {
        join_all(hanging.into_iter().map(|look| look.settle(&deps))).await;
    });
    for look in well {
        look.settle(&scene.deps).await;
    }
    assert_eq!(scene.left(&scene.registry).await, 0);
    let more = take(&scene.deps, &scene.registries, AT_ONCE).await.expect("a pass");
    assert_eq!(more.len(), 0, "it has all the places that it gets");
}

#[tokio::test]
async fn a_registry_that_is_out_is_asked_by_one_look_and_its_old_leaves_end() {
    let scene = Scene::new().await;
    let dead = scene.running('a').await;
    let digest = manifest("a").1;
    for n in 0..12 {
        scene.grant_of(dead, &scene.leave_of(&scene.registry, &format!("t{n}"), &digest)).await;
    }
    *scene.fake.broken.lock().expect("a lock") = Some(503);
    while !scene.registries.is_out(&scene.registry) {
        scene.sweep().await;
    }
    let looks = async || take(&scene.deps, &scene.registries, AT_ONCE).await.expect("a pass");
    assert_eq!(looks().await.len(), 0, "nothing is taken while it is out");
    scene.deps.clock.advance(timing::LEAVE_LEASE * 2);
    let look = looks().await;
    assert_eq!((look.len(), looks().await.len()), (1, 0), "one looks");
    drop(look);

    // Well again.
    *scene.fake.broken.lock().expect("a lock") = None;
    for _ in 0..4 {
        scene.sweep().await;
    }
    assert!(scene.left(&scene.registry).await < 12 && !scene.registries.is_out(&scene.registry));

    // Out again, and for good: leaves of jobs that ended the day before end without a word of it.
    *scene.fake.broken.lock().expect("a lock") = Some(503);
    scene.grant(dead, &digest).await;
    let (db, now) = (&scene.deps.db, scene.deps.clock.now());
    db.lose_attempt(dead, "on purpose", now).await.expect("lost");
    let build = db.job(dead.job).await.expect("a job").build_id;
    db.cancel_build(build, CancelledBy::User, now).await.expect("cancelled");
    while !scene.registries.is_out(&scene.registry) {
        scene.sweep().await;
    }
    scene.deps.clock.advance(Duration::from_secs(24 * 3600));
    while scene.left(&scene.registry).await > 0 {
        scene.sweep_now().await;
    }
}
