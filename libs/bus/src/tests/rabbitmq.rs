//! What only a broker can do to us, on one that all tests share. What kills or blocks a broker is tested with one
//! of its own, beside the stories of the whole app.

use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::*;
use crate::message::{Body, decode};

/// The only queue that `TEST_AMQP_READER_URL` may read.
const READABLE_POOL: &str = "readable/standard/linux-amd64";

/// A channel that does what we do not.
struct Raw {
    channel: Channel,
    _connection: Connection,
}

impl Raw {
    async fn open(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker answers");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { channel, _connection: connection }
    }

    async fn publish(&self, pool: &Pool, body: &[u8]) {
        let properties = BasicProperties::default();
        let sent = self.channel.basic_publish("".into(), queue(pool), BasicPublishOptions::default(), body, properties);
        sent.await.expect("sent").await.expect("confirmed");
    }

    /// Takes this offer from the queue, where it has lain since it came.
    async fn gets_untouched(&self, pool: &Pool, offer: Offer) {
        let options = BasicGetOptions { no_ack: true };
        let got = eventually("an offer in the queue", async || {
            self.channel.basic_get(queue(pool), options).await.expect("asked")
        });
        let got = got.await;
        assert_eq!(decode(&got.data), Body::Offer(offer));
        assert!(!got.redelivered, "somebody had it in hand");
    }

    /// How many offers wait in the queue, and how many consume from it.
    async fn counts(&self, pool: &Pool) -> (u32, u32) {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = self.channel.queue_declare(queue(pool), options, FieldTable::default());
        let queue = asked.await.expect("the queue is there");
        (queue.message_count(), queue.consumer_count())
    }

    async fn delete(&self, pool: &Pool) {
        self.channel.queue_delete(queue(pool), QueueDeleteOptions::default()).await.expect("deleted");
    }
}

fn queue(pool: &Pool) -> lapin::types::ShortString {
    format!("slipway.offers.{}.{}.{}", pool.region, pool.class, pool.platform).into()
}

async fn place() -> Option<(Place, Raw)> {
    let url = broker("TEST_AMQP_URL")?;
    let place = Place::new(Kind::RabbitMq, Limits::default()).await?;
    Some((place, Raw::open(&url).await))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_offer_is_skipped_for_good() {
    let Some((place, raw)) = place().await else { return };
    for body in [&b"hello"[..], b"", b"{}", br#"{"v":1,"job":7}"#] {
        raw.publish(&place.pool, body).await;
    }
    let mut consumer = place.consumer();
    consumer.credit(1).await;
    let offer = place.publish().await;
    assert_eq!(take(&mut consumer, 1).await, [offer]);
    drop(consumer);
    place.life.stop();
    timeout(PATIENCE, place.life.wait(PATIENCE)).await.expect("its connection ends");
    assert_eq!(raw.counts(&place.pool).await, (0, 0), "none came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_drawn_that_was_not_wanted() {
    let Some((place, raw)) = place().await else { return };
    let mut consumer = place.consumer();
    for _ in 0..20 {
        consumer.credit(2).await;
        place.publish().await;
        take(&mut consumer, 1).await;
        // One is wanted yet; the ack must not have made room for two.
        eventually("a subscription", async || (raw.counts(&place.pool).await.1 == 1).then_some(())).await;
        let (wanted, other) = (place.publish().await, place.publish().await);
        raw.gets_untouched(&place.pool, other).await;
        assert_eq!(take(&mut consumer, 1).await, [wanted]);
        consumer.credit(3).await;
        consumer.credit(0).await;
        let other = place.publish().await;
        raw.gets_untouched(&place.pool, other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_release_wrote_is_left_for_a_newer_consumer() {
    let Some((place, raw)) = place().await else { return };
    let newer = br#"{"v":2,"place":"unknown to us"}"#;
    let mut consumer = place.consumer();
    consumer.credit(2).await;
    raw.publish(&place.pool, newer).await;
    let offer = place.publish().await;
    assert_eq!(take(&mut consumer, 1).await, [offer], "it holds up nothing");
    let options = BasicConsumeOptions::default();
    let consuming = raw.channel.basic_consume(queue(&place.pool), "newer".into(), options, FieldTable::default());
    let mut newer_release = consuming.await.expect("consuming");
    let got = timeout(PATIENCE, newer_release.next()).await.expect("in time").expect("consuming").expect("no error");
    assert_eq!(got.data, newer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_under_everybody_is_made_again() {
    let Some((place, raw)) = place().await else { return };
    let mut consumer = place.consumer();
    consumer.credit(1).await;
    health_says(&place.bus, "ok").await;
    raw.delete(&place.pool).await;
    health_says(&place.bus, "queue").await;
    let refused = place.bus.publish_offer(&place.pool, offer()).await;
    assert_eq!(refused, Err(BusError::NoQueue(place.pool.clone())));
    let offer = eventually("the queue to be there again", async || {
        let offer = offer();
        place.bus.publish_offer(&place.pool, offer).await.ok().map(|()| offer)
    })
    .await;
    assert_eq!(take(&mut consumer, 1).await, [offer]);
    health_says(&place.bus, "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_somebody_else_made_is_used_as_it_is() {
    let Some(url) = broker("TEST_AMQP_URL") else { return };
    let limits = Limits { queue_length: 10, ttl: Duration::from_millis(500) };
    let (raw, place) = (Raw::open(&url).await, Place::at(&url, limits));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    raw.channel.queue_declare(queue(&place.pool), options, FieldTable::default()).await.expect("made");
    place.declare().await;
    let mut consumer = place.consumer();
    consumer.credit(1).await;
    let offer = place.publish().await;
    assert_eq!(take(&mut consumer, 1).await, [offer]);
    health_says(&place.bus, "ok").await;
    place.publish().await;
    eventually("the offer to be void although the queue has no limit", async || {
        (raw.counts(&place.pool).await.0 == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quorum_queues_serve_too() {
    let Some(url) = broker("TEST_AMQP_URL") else { return };
    let place = Place::at(&format!("{url}?queues=quorum"), Limits::default());
    place.declare().await;
    let offers = [place.publish().await, place.publish().await];
    let mut consumer = place.consumer();
    consumer.credit(1).await;
    next(&mut consumer).await.give_back().await;
    consumer.credit(2).await;
    assert_eq!(take(&mut consumer, 2).await.len(), offers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builders_user_reads_its_queue_and_nothing_else() {
    let (Some(url), Some(reader_url)) = (broker("TEST_AMQP_URL"), broker("TEST_AMQP_READER_URL")) else { return };
    let mut ours = Place::at(&url, Limits::default());
    ours.pool = READABLE_POOL.parse().expect("valid");
    ours.declare().await;
    let reader = Place::at(&reader_url, Limits::default());
    let mut consumer = reader.bus.consume(&ours.pool);
    consumer.credit(1).await;
    let offer = ours.publish().await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.offer, offer);
    delivery.give_back().await;
    consumer.credit(1).await;
    assert_eq!(take(&mut consumer, 1).await, [offer]);
    assert_eq!(reader.bus.health(), Ok(()));

    let strange = Place::at(&reader_url, Limits::default());
    let others = strange.bus.consume(&reader.pool);
    others.credit(1).await;
    health_says(&strange.bus, "lacks a permission").await;
    let refused = eventually("an answer to declare", async || match strange.bus.declare(&reader.pool).await {
        Err(BusError::Unavailable(why)) if why.contains("connecting") => None,
        answer => Some(answer),
    });
    assert!(matches!(refused.await, Err(BusError::Unavailable(why)) if why.contains("lacks a permission")));
    let refused = eventually("an answer to publish", async || {
        match strange.bus.publish_offer(&ours.pool, super::offer()).await {
            Err(BusError::Unavailable(why)) if !why.contains("lacks a permission") => None,
            answer => Some(answer),
        }
    });
    assert!(matches!(refused.await, Err(BusError::Unavailable(_))));
    let last = ours.publish().await;
    consumer.credit(1).await;
    assert_eq!(take(&mut consumer, 1).await, [last], "what the reader published is not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_to_set_right() {
    let (Some(url), Some(stranger)) = (broker("TEST_AMQP_URL"), broker("TEST_AMQP_STRANGER_URL")) else { return };
    let good = url::Url::parse(&url).expect("a URL");
    let with = |change: fn(&mut url::Url)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed.to_string()
    };
    let wrong_password = with(|url| assert!(url.set_password(Some("geheim")).is_ok()));
    let table = [
        (wrong_password.clone(), "refused the credentials of user slipway"),
        (with(|url| url.set_path("nowhere")), "has no vhost nowhere"),
        (stranger, "user stranger has no permission in vhost /"),
        (with(|url| assert!(url.set_port(Some(1)).is_ok())), "cannot reach RabbitMQ at 127.0.0.1:1"),
        (with(|url| assert!(url.set_host(Some("no-such-host.invalid")).is_ok())), "cannot reach"),
        (with(|url| *url = url.as_str().replacen("amqp:", "amqps:", 1).parse().expect("a URL")), "TLS"),
    ];
    for (url, words) in table {
        let place = Place::at(&url, Limits::default());
        let consumer = place.consumer();
        health_says(&place.bus, words).await;
        assert!(place.bus.declare(&place.pool).await.is_err());
        drop(consumer);
        health_says(&place.bus, words).await;
        let mut since = now();
        let refused = eventually("a reason", async || {
            since = now();
            match place.bus.publish_offer(&place.pool, offer()).await {
                Err(BusError::Unavailable(why)) if why.starts_with("connecting") => None,
                answer => Some(answer),
            }
        })
        .await;
        assert!(matches!(&refused, Err(BusError::Unavailable(why)) if why.contains(words)), "{refused:?}");
        assert!(since.elapsed() < Duration::from_secs(1), "at once");
        let shown = format!("{:?} {refused:?} {:?}", place.bus, place.bus.health());
        assert!(!shown.contains("geheim"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_ends_its_connections() {
    let Some((place, _raw)) = place().await else { return };
    let consumer = place.consumer();
    consumer.credit(1).await;
    place.publish().await;
    drop(consumer);
    place.life.stop();
    timeout(PATIENCE, place.life.wait(PATIENCE)).await.expect("everything ends by itself");
    let refused = place.bus.publish_offer(&place.pool, offer()).await;
    assert!(matches!(refused, Err(BusError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked() {
    let Some(url) = broker("TEST_AMQP_TLS_URL") else { return };
    let place = Place::at(&url, Limits::default());
    place.declare().await;
    let mut consumer = place.consumer();
    consumer.credit(1).await;
    let offer = place.publish().await;
    assert_eq!(take(&mut consumer, 1).await, [offer]);
    let (unchecked, _) = url.split_once('?').expect("it names its authority");
    let strange = Place::at(unchecked, Limits::default());
    let _consumer = strange.consumer();
    health_says(&strange.bus, "TLS failed").await;
}
