//! What every fan-out promises, on each of them. Two handles stand for two processes; on memory they are one.

use std::time::Duration;

use bytes::Bytes;
use slipway_domain::attempt::AttemptRef;
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::{new_id, random_bytes};
use slipway_runtime::lifecycle::Life;

use crate::limit::{Counted, Limit};
use crate::{Event, Live, Subscription, Topic, WakeKind};

/// Longest wait for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Address of a Redis that tests may use beside each other.
const VARIABLE: &str = "TEST_REDIS_URL";

/// Two processes of one installation.
struct Pair {
    ours: Live,
    theirs: Live,
}

fn memory() -> Pair {
    let live = Live::memory();
    Pair { ours: live.clone(), theirs: live }
}

/// `None` where no Redis is and none is required.
async fn redis() -> Option<Pair> {
    let url = match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => url,
        _ if required() => panic!("{VARIABLE} is not set although REQUIRE_BACKENDS=1; run the tests by `make test`"),
        _ => {
            eprintln!("SKIPPED: {VARIABLE} is not set; run the tests by `make test`");
            return None;
        }
    };
    let url = format!("{url}?prefix=test-{}:", random_bytes::<8>().map(|byte| format!("{byte:02x}")).concat());
    let (life, clock) = (Life::new(), Clock::system());
    let open = || Live::open(&url, &life, &clock).expect("a good URL");
    let pair = Pair { ours: open(), theirs: open() };
    healthy(&pair.ours).await;
    healthy(&pair.theirs).await;
    Some(pair)
}

/// True when a missing component must fail the run.
pub(crate) fn required() -> bool {
    std::env::var("REQUIRE_BACKENDS").is_ok_and(|value| value == "1")
}

/// Waits until both connections serve.
pub(crate) async fn healthy(live: &Live) {
    until("it to be healthy", || live.health().is_ok()).await;
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // A little longer than a caller that says it better.
    assert!(tokio::time::timeout(PATIENCE * 2, waited).await.is_ok(), "waited for {what}");
}

/// The next event, which must come.
pub(crate) async fn next(subscription: &mut Subscription) -> Event {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("an event in time")
}

pub(crate) fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(crate) fn message(words: &'static str) -> Event {
    Event::Message(text(words))
}

/// Everything that was published before on `topic` has arrived once this has.
async fn is_silent(pair: &Pair, topic: Topic, subscription: &mut Subscription) {
    pair.theirs.publish(topic, text("end"));
    assert_eq!(next(subscription).await, message("end"), "nothing was to be heard before the end");
}

async fn everybody_who_listens_hears_it_and_nobody_else(pair: Pair) {
    let (topic, another) = (Topic::Build(new_id()), Topic::Build(new_id()));
    pair.ours.publish(topic, text("before"));
    let mut first = pair.ours.subscribe(topic).await;
    let mut second = pair.theirs.clone().subscribe(topic).await;
    let mut other = pair.theirs.subscribe(another).await;
    pair.ours.publish(topic, text("one"));
    pair.ours.publish(topic, text("two"));
    for subscription in [&mut first, &mut second] {
        assert_eq!(next(subscription).await, message("one"));
        assert_eq!(next(subscription).await, message("two"));
    }
    pair.theirs.publish(topic, text("three"));
    for subscription in [&mut first, &mut second] {
        assert_eq!(next(subscription).await, message("three"), "once");
    }
    is_silent(&pair, another, &mut other).await;
}

async fn topics_of_every_kind_reach_their_listeners(pair: Pair) {
    let topics = [
        Topic::Log(AttemptRef { job: new_id(), epoch: 3 }),
        Topic::Wake(WakeKind::Ready),
        Topic::Build(new_id()),
        Topic::Session(new_id()),
    ];
    for topic in topics {
        let mut subscription = pair.theirs.subscribe(topic).await;
        pair.ours.publish(topic, Bytes::new());
        assert_eq!(next(&mut subscription).await, Event::Message(Bytes::new()), "{topic:?}");
    }
}

async fn a_slow_listener_is_told_and_never_waited_for(pair: Pair) {
    let topic = Topic::Wake(WakeKind::Jobs);
    let mut slow = pair.ours.subscribe(topic).await;
    for _ in 0..10_000 {
        pair.ours.publish(topic, text("x"));
    }
    assert_eq!(next(&mut slow).await, Event::Lagged);
    assert_eq!(next(&mut slow).await, message("x"));
}

async fn large_messages_arrive_whole_and_in_order(pair: Pair) {
    let topic = Topic::Log(AttemptRef { job: new_id(), epoch: 1 });
    let mut subscription = pair.theirs.subscribe(topic).await;
    // Fewer than a listener may be behind.
    for part in 0..50u8 {
        pair.ours.publish(topic, Bytes::from(vec![part; 64 * 1024]));
    }
    for part in 0..50u8 {
        assert_eq!(next(&mut subscription).await, Event::Message(Bytes::from(vec![part; 64 * 1024])));
    }
}

async fn who_comes_again_hears_again(pair: Pair) {
    let topic = Topic::Session(new_id());
    for _ in 0..50 {
        let first = pair.theirs.subscribe(topic).await;
        let mut second = pair.theirs.subscribe(topic).await;
        drop(first);
        pair.ours.publish(topic, text("still"));
        assert_eq!(next(&mut second).await, message("still"));
    }
}

async fn listeners_that_come_and_go_at_once_lose_nothing(pair: Pair) {
    let topics: Vec<Topic> = (0..40).map(|_| Topic::Build(new_id())).collect();
    let visits = (0..400).map(|visit| {
        let (pair, topic) = (&pair, topics[visit % topics.len()]);
        async move {
            let mut subscription = pair.theirs.subscribe(topic).await;
            pair.ours.publish(topic, text("here"));
            // Of the others' on the same topic some may come before ours.
            assert_eq!(next(&mut subscription).await, message("here"));
        }
    });
    futures_util::future::join_all(visits).await;
}

async fn so_many_may_happen_over_all_processes_and_then_no_more(pair: Pair) {
    let limit = Limit::new(6, Duration::from_secs(3600));
    let (tenant, other) = (new_id(), new_id());
    for live in [&pair.ours, &pair.theirs, &pair.ours, &pair.theirs, &pair.ours, &pair.theirs] {
        assert_eq!(live.allow(Counted::Build(tenant), limit).await, Ok(()));
    }
    for live in [&pair.ours, &pair.theirs] {
        let exceeded = live.allow(Counted::Build(tenant), limit).await.expect_err("the seventh");
        let secs = exceeded.retry_after.as_secs();
        assert!((500..=600).contains(&secs), "{exceeded:?}");
    }
    for another in [Counted::Write(tenant), Counted::Build(other)] {
        assert_eq!(pair.ours.allow(another, limit).await, Ok(()), "{another:?}");
    }
}

async fn room_comes_back_evenly(pair: Pair) {
    let limit = Limit::new(4, Duration::from_secs(2));
    let key = Counted::FailedSignIn(std::net::Ipv6Addr::from(random_bytes::<16>()).into());
    let mut passed = 0;
    while pair.ours.allow(key, limit).await.is_ok() {
        passed += 1;
    }
    assert!(passed >= 4, "{passed}");
    let waited = async {
        while let Err(exceeded) = pair.theirs.allow(key, limit).await {
            assert!(exceeded.retry_after <= Duration::from_millis(500), "{exceeded:?}");
            tokio::time::sleep(exceeded.retry_after).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "room for one");
}

macro_rules! on_every_fan_out {
    ($($test:ident),+ $(,)?) => {
        mod on_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::memory()).await;
            })+
        }

        mod on_redis {
            $(#[tokio::test]
            async fn $test() {
                if let Some(pair) = super::redis().await {
                    super::$test(pair).await;
                }
            })+
        }
    };
}

on_every_fan_out!(
    everybody_who_listens_hears_it_and_nobody_else,
    topics_of_every_kind_reach_their_listeners,
    a_slow_listener_is_told_and_never_waited_for,
    large_messages_arrive_whole_and_in_order,
    who_comes_again_hears_again,
    listeners_that_come_and_go_at_once_lose_nothing,
    so_many_may_happen_over_all_processes_and_then_no_more,
    room_comes_back_evenly,
);

#[tokio::test]
async fn topics_without_listeners_take_no_room() {
    let live = Live::memory();
    let Live::Memory(memory) = &live else { panic!("it is memory") };
    let topic = Topic::Session(new_id());
    let first = live.subscribe(topic).await;
    let second = live.subscribe(topic).await;
    live.publish(Topic::Session(new_id()), text("nobody"));
    assert_eq!(memory.topics(), [topic]);
    drop(first);
    assert_eq!(memory.topics(), [topic]);
    drop(second);
    assert!(memory.topics().is_empty());
}
