//! What happens when Redis does not behave: each test has a server of its own and takes it apart.

mod server;

use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal;
use slipway_domain::attempt::AttemptRef;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::new_id;
use slipway_runtime::lifecycle::Life;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::server::Server;
use crate::contract::{PATIENCE, healthy, message, next, text, until};
use crate::limit::{Counted, Limit};
use crate::{Event, Live, Topic, WakeKind};

/// One process of the installation.
struct Process {
    live: Live,
    life: Life,
}

fn open(url: &str) -> Process {
    let life = Life::new();
    let live = Live::open(url, &life, &Clock::system()).expect("a good URL");
    Process { live, life }
}

async fn started(server: &Server) -> Process {
    let process = open(&server.url());
    healthy(&process.live).await;
    process
}

/// Waits until what is wrong is told so.
async fn told(live: &Live, expected: &str) {
    let mut last = String::new();
    let waited = until("a problem in words", || {
        last = live.health().err().unwrap_or_default();
        last.contains(expected)
    });
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "waited for \"{expected}\", but: {last}");
    assert!(!last.contains(server::PASSWORD), "{last}");
}

/// A message goes from one to the other, whatever else a listener is told before it.
async fn hears_again(ours: &Live, theirs: &Live) {
    let topic = Topic::Build(new_id());
    let mut subscription = theirs.subscribe(topic).await;
    ours.publish(topic, text("again"));
    while next(&mut subscription).await != message("again") {}
}

#[tokio::test]
async fn a_killed_and_restarted_redis_is_taken_up_again_and_its_listeners_told() {
    let Some(mut server) = Server::start() else { return };
    let (ours, theirs) = (started(&server).await, started(&server).await);
    let topic = Topic::Wake(WakeKind::Ready);
    let mut here = ours.live.subscribe(topic).await;
    let mut there = theirs.live.subscribe(topic).await;
    server.kill();
    told(&ours.live, "nothing listens at 127.0.0.1").await;
    told(&theirs.live, "nothing listens at 127.0.0.1").await;
    // In the same process everything goes on.
    ours.live.publish(topic, text("alone"));
    assert_eq!(next(&mut here).await, message("alone"));
    let late = ours.live.subscribe(topic);
    let mut late = tokio::time::timeout(Duration::from_millis(500), late).await.expect("nobody waits for the dead");
    until("the loss to be counted", || ours.live.dropped() > 0).await;
    server.restart();
    healthy(&ours.live).await;
    healthy(&theirs.live).await;
    for listener in [&mut here, &mut there, &mut late] {
        assert_eq!(next(listener).await, Event::Lagged);
    }
    ours.live.publish(topic, text("together"));
    for listener in [&mut here, &mut there, &mut late] {
        while next(listener).await != message("together") {}
    }
}

#[tokio::test]
async fn a_stopped_redis_is_noticed_and_forgiven() {
    let Some(server) = Server::start() else { return };
    let (ours, theirs) = (started(&server).await, started(&server).await);
    let mut there = theirs.live.subscribe(Topic::Wake(WakeKind::Jobs)).await;
    server.signal(Signal::STOP);
    told(&ours.live, "does not answer within 2 s").await;
    told(&theirs.live, "does not answer within 2 s").await;
    server.signal(Signal::CONT);
    healthy(&ours.live).await;
    healthy(&theirs.live).await;
    assert_eq!(next(&mut there).await, Event::Lagged);
    hears_again(&ours.live, &theirs.live).await;
}

#[tokio::test]
async fn who_listens_while_redis_hangs_is_told_that_something_may_be_missing() {
    let Some(server) = Server::start() else { return };
    let process = started(&server).await;
    server.signal(Signal::STOP);
    let topic = Topic::Build(new_id());
    let mut subscription = process.live.subscribe(topic).await;
    server.signal(Signal::CONT);
    assert_eq!(next(&mut subscription).await, Event::Lagged);
}

#[tokio::test]
async fn killed_connections_come_back_and_everybody_is_told() {
    let Some(server) = Server::start() else { return };
    let (ours, theirs) = (started(&server).await, started(&server).await);
    let topic = Topic::Build(new_id());
    let mut there = theirs.live.subscribe(topic).await;
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(next(&mut there).await, Event::Lagged, "by its own connection");
    hears_again(&ours.live, &theirs.live).await;
    // What the publisher could not send is told by it once it is back.
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    ours.live.publish(topic, text("into the void"));
    let heard = next(&mut there).await;
    assert!([Event::Lagged, message("into the void")].contains(&heard), "{heard:?}");
    hears_again(&ours.live, &theirs.live).await;
}

#[tokio::test]
async fn what_a_publisher_dropped_is_told_to_everybody() {
    let Some(server) = Server::start() else { return };
    let (ours, theirs) = (started(&server).await, started(&server).await);
    let mut there = theirs.live.subscribe(Topic::Wake(WakeKind::Jobs)).await;
    let topic = Topic::Log(AttemptRef { job: new_id(), epoch: 1 });
    // Faster than any connection: beyond the queue's bytes it is dropped, and publishing never waits.
    for _ in 0..1000 {
        ours.live.publish(topic, Bytes::from(vec![7; 64 * 1024]));
    }
    assert!(ours.live.dropped() > 0);
    assert_eq!(next(&mut there).await, Event::Lagged);
    hears_again(&ours.live, &theirs.live).await;
}

#[tokio::test]
async fn a_wiped_redis_loses_nothing() {
    let Some(server) = Server::start() else { return };
    let (ours, theirs) = (started(&server).await, started(&server).await);
    let topic = Topic::Build(new_id());
    let mut there = theirs.live.subscribe(topic).await;
    server.ask(&["FLUSHALL"]).await;
    server.ask(&["SCRIPT", "FLUSH"]).await;
    ours.live.publish(topic, text("still"));
    assert_eq!(next(&mut there).await, message("still"));
}

#[tokio::test]
async fn a_connection_that_redis_cuts_for_being_slow_comes_back() {
    let Some(server) = Server::start() else { return };
    let (ours, theirs) = (started(&server).await, started(&server).await);
    let topic = Topic::Log(AttemptRef { job: new_id(), epoch: 1 });
    let mut there = theirs.live.subscribe(topic).await;
    server.ask(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 32kb 0 0"]).await;
    ours.live.publish(topic, Bytes::from(vec![7; 64 * 1024]));
    assert_eq!(next(&mut there).await, Event::Lagged);
    hears_again(&ours.live, &theirs.live).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_heals() {
    let Some(server) = Server::start() else { return };
    let process = open(&server.url().replace(server::PASSWORD, "wrong-secret"));
    told(&process.live, "refused the user or the password").await;
    let without = open(&server.url().replace(&format!(":{}@", server::PASSWORD), ""));
    told(&without.live, "refused the user or the password").await;
    let topic = Topic::Wake(WakeKind::Jobs);
    let mut here = process.live.subscribe(topic).await;
    process.live.publish(topic, text("alone"));
    assert_eq!(next(&mut here).await, message("alone"));
    server.ask(&["CONFIG", "SET", "requirepass", "wrong-secret"]).await;
    healthy(&process.live).await;
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_are_missing() {
    let Some(server) = Server::start() else { return };
    server.ask(&["ACL", "SETUSER", "poor", "on", ">poor-secret", "+@all", "resetchannels"]).await;
    let url = server.url().replace(&format!(":{}@", server::PASSWORD), "poor:poor-secret@");
    let process = open(&url);
    told(&process.live, "&slipway:*").await;
    server.ask(&["ACL", "SETUSER", "poor", "&slipway:*"]).await;
    healthy(&process.live).await;
}

#[tokio::test]
async fn what_is_no_redis_is_told_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let life = Life::new();
    let web_server = life.task("web server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 64];
            // Whoever hangs up is served no worse.
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        }
    });
    let process = open(&format!("redis://127.0.0.1:{port}"));
    told(&process.live, "does not answer as Redis does").await;
    drop(web_server);
}

#[tokio::test]
async fn a_redis_without_tls_is_told_so() {
    let Some(server) = Server::start() else { return };
    // As every `main` does; another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let process = open(&server.url().replace("redis://", "rediss://"));
    told(&process.live, "does it speak TLS, as rediss:// says?").await;
}

#[tokio::test]
async fn installations_with_other_prefixes_do_not_hear_each_other() {
    let Some(server) = Server::start() else { return };
    let ours = started(&server).await;
    let others = open(&format!("{}?prefix=stage:", server.url()));
    healthy(&others.live).await;
    let topic = Topic::Wake(WakeKind::Ready);
    let mut here = ours.live.subscribe(topic).await;
    others.live.publish(topic, text("theirs"));
    let second = started(&server).await;
    second.live.publish(topic, text("ours"));
    assert_eq!(next(&mut here).await, message("ours"));
}

/// How many of a fresh key pass, and that nobody waits for it.
async fn passes_of(live: &Live, limit: Limit) -> u32 {
    let (key, mut passed) = (Counted::Write(new_id()), 0);
    let counted = async {
        while live.allow(key, limit).await.is_ok() {
            passed += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), counted).await.expect("nobody waits for the dead");
    passed
}

/// Waits until each counts what the other does.
async fn count_together(ours: &Live, theirs: &Live) {
    let once = Limit::new(1, Duration::from_secs(3600));
    let waited = async {
        loop {
            let (one, other) = (Counted::Write(new_id()), Counted::Write(new_id()));
            let told = [ours.allow(one, once).await, theirs.allow(other, once).await];
            assert_eq!(told, [Ok(()); 2]);
            if theirs.allow(one, once).await.is_err() && ours.allow(other, once).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "waited for them to count together");
}

#[tokio::test]
async fn who_is_alone_still_counts_and_never_waits() {
    let Some(mut server) = Server::start() else { return };
    let (ours, theirs) = (started(&server).await, started(&server).await);
    let limit = Limit::new(5, Duration::from_secs(3600));
    assert_eq!(passes_of(&ours.live, limit).await, 5);
    server.signal(Signal::STOP);
    assert_eq!(passes_of(&ours.live, limit).await, 5, "neither open nor shut");
    told(&ours.live, "127.0.0.1").await;
    server.signal(Signal::CONT);
    healthy(&ours.live).await;
    server.kill();
    assert_eq!(passes_of(&ours.live, limit).await, 5, "neither open nor shut");
    server.restart();
    count_together(&ours.live, &theirs.live).await;
    let key = Counted::Build(new_id());
    for live in [&ours.live, &theirs.live, &ours.live, &theirs.live, &ours.live] {
        assert_eq!(live.allow(key, limit).await, Ok(()));
    }
    assert!(theirs.live.allow(key, limit).await.is_err(), "they count together again");
    assert_eq!(server.ask(&["KEYS", "slipway:limit:build:*"]).await.lines().count(), 1, "under a name that ends");
    assert_ne!(server.ask(&["PTTL", &format!("slipway:limit:{}", key.name())]).await, "int(-1)");
    server.ask(&["FLUSHALL"]).await;
    assert_eq!(theirs.live.allow(key, limit).await, Ok(()), "wiped: it begins anew");
}

#[tokio::test]
async fn a_user_who_may_not_count_is_told_so_and_counts_alone() {
    let Some(server) = Server::start() else { return };
    server.ask(&["ACL", "SETUSER", "poor", "on", ">poor-secret", "+@all", "&slipway:*"]).await;
    let process = open(&server.url().replace(&format!(":{}@", server::PASSWORD), "poor:poor-secret@"));
    healthy(&process.live).await;
    assert_eq!(passes_of(&process.live, Limit::new(5, Duration::from_secs(3600))).await, 5);
    told(&process.live, "~slipway:limit:*").await;
    server.ask(&["ACL", "SETUSER", "poor", "~slipway:*"]).await;
    assert_eq!(process.live.allow(Counted::Build(new_id()), Limit::new(1, Duration::from_secs(1))).await, Ok(()));
    healthy(&process.live).await;
}

#[tokio::test]
async fn topics_without_listeners_are_let_go_of() {
    let Some(server) = Server::start() else { return };
    let process = started(&server).await;
    let mut subscriptions = Vec::new();
    for _ in 0..600 {
        subscriptions.push(process.live.subscribe(Topic::Build(new_id())).await);
    }
    let channels = async || server.ask(&["PUBSUB", "CHANNELS"]).await.lines().count();
    assert_eq!(channels().await, 601, "each of them, and the one for losses");
    drop(subscriptions);
    let waited = async { while channels().await != 1 {} };
    assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok());
}

#[tokio::test]
async fn a_process_that_stops_is_not_held_up() {
    let Some(server) = Server::start() else { return };
    let Process { live, life } = started(&server).await;
    let topic = Topic::Wake(WakeKind::Finished);
    let other = started(&server).await;
    let mut there = other.live.subscribe(topic).await;
    live.publish(topic, text("last words"));
    drop(live);
    life.stop();
    tokio::time::timeout(Duration::from_secs(1), life.wait(Duration::ZERO)).await.expect("both connections ended");
    assert_eq!(next(&mut there).await, message("last words"));
    // And where a handle is kept, it ends a little later.
    other.life.stop();
    tokio::time::timeout(Duration::from_secs(10), other.life.wait(Duration::ZERO)).await.expect("it ended");
}
