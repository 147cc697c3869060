//! What both kinds of bus promise.

use std::collections::HashSet;

use futures_util::future::join_all;

use super::*;

const USUAL: Limits = Limits { queue_length: 10_000, ttl: PATIENCE };

/// Each test on both kinds, with its own bounds.
macro_rules! on_both {
    ($($name:ident($limits:expr)),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let place = Place::new(Kind::Memory, $limits).await.expect("always there");
                super::$name(&place).await;
            })*
        }
        mod rabbitmq {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(place) = Place::new(Kind::RabbitMq, $limits).await {
                    super::$name(&place).await;
                }
            })*
        }
    };
}

on_both!(
    offers_come_in_order_and_once(USUAL),
    competing_consumers_get_each_offer_once(USUAL),
    nothing_comes_without_credit(USUAL),
    credit_is_exact_and_an_ack_gives_none(USUAL),
    credit_taken_away_gives_back(USUAL),
    what_is_given_back_comes_first(USUAL),
    what_is_dropped_comes_back(USUAL),
    a_dropped_consumer_gives_back_what_nobody_took(USUAL),
    dropping_next_loses_nothing(USUAL),
    pools_do_not_mix(USUAL),
    many_at_once_are_all_confirmed(USUAL),
    an_offer_is_void_after_its_time(Limits { queue_length: 1, ttl: Duration::from_millis(300) }),
    a_full_queue_says_so(Limits { queue_length: 2, ttl: PATIENCE }),
);

async fn offers_come_in_order_and_once(place: &Place) {
    let mut published = Vec::new();
    for _ in 0..20 {
        published.push(place.publish().await);
    }
    let mut consumer = place.consumer();
    consumer.credit(30).await;
    assert_eq!(take(&mut consumer, 20).await, published);
    let last = place.publish().await;
    assert_eq!(take(&mut consumer, 1).await, [last], "nothing came twice");
}

async fn competing_consumers_get_each_offer_once(place: &Place) {
    const ALL: usize = 200;
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (mut consumer, said) = (place.consumer(), said.clone());
            place.life.task("taker", async move {
                loop {
                    consumer.credit(2).await;
                    let delivery = consumer.next().await;
                    let offer = delivery.offer;
                    delivery.ack().await;
                    assert!(said.send(offer).is_ok());
                }
            })
        })
        .collect();
    let published: HashSet<_> = join_all((0..ALL).map(|_| place.publish())).await.into_iter().map(dispatch).collect();
    let mut taken = Vec::new();
    while taken.len() < ALL {
        taken.push(dispatch(timeout(PATIENCE, heard.recv()).await.expect("in time").expect("takers live")));
    }
    let last = place.publish().await;
    let next = timeout(PATIENCE, heard.recv()).await.expect("in time");
    assert_eq!(next, Some(last), "none came twice");
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), published);
    drop(tasks);
}

fn dispatch(offer: Offer) -> String {
    offer.dispatch.to_string()
}

async fn nothing_comes_without_credit(place: &Place) {
    let mut idle = place.consumer();
    let mut other = place.consumer();
    let first = place.publish().await;
    other.credit(1).await;
    assert_eq!(take(&mut other, 1).await, [first], "only one of them had credit");
    idle.credit(5).await;
    idle.credit(0).await;
    let second = place.publish().await;
    other.credit(1).await;
    assert_eq!(take(&mut other, 1).await, [second], "the other's was taken away");
    idle.credit(1).await;
    let third = place.publish().await;
    assert_eq!(take(&mut idle, 1).await, [third]);
}

async fn credit_is_exact_and_an_ack_gives_none(place: &Place) {
    let mut published = Vec::new();
    for _ in 0..5 {
        published.push(place.publish().await);
    }
    let mut full = place.consumer();
    full.credit(2).await;
    assert_eq!(take(&mut full, 2).await, published[..2]);
    let mut other = place.consumer();
    other.credit(10).await;
    assert_eq!(take(&mut other, 3).await, published[2..], "the first has no credit left");
    let held = place.publish().await;
    let delivery = next(&mut other).await;
    assert_eq!(delivery.offer, held);
    full.credit(1).await;
    let last = place.publish().await;
    other.credit(0).await;
    delivery.ack().await;
    let end = tokio::select! {
        delivery = next(&mut full) => delivery,
        // It may have been on its way to the other one already, which then gave it back.
        delivery = next(&mut other) => delivery,
    };
    assert_eq!(end.offer, last);
}

async fn credit_taken_away_gives_back(place: &Place) {
    let mut busy = place.consumer();
    busy.credit(3).await;
    let first = place.publish().await;
    let (second, third) = (place.publish().await, place.publish().await);
    let delivery = next(&mut busy).await;
    assert_eq!(delivery.offer, first);
    busy.credit(0).await;
    let mut other = place.consumer();
    other.credit(3).await;
    assert_eq!(take(&mut other, 2).await, [second, third], "in their old order");
    delivery.ack().await;
}

async fn what_is_given_back_comes_first(place: &Place) {
    let (first, second) = (place.publish().await, place.publish().await);
    let mut consumer = place.consumer();
    consumer.credit(1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.offer, first);
    delivery.give_back().await;
    consumer.credit(2).await;
    assert_eq!(take(&mut consumer, 2).await, [first, second]);
}

async fn what_is_dropped_comes_back(place: &Place) {
    let mut consumer = place.consumer();
    let offer = place.publish().await;
    for _ in 0..3 {
        consumer.credit(1).await;
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.offer, offer);
        drop(delivery);
    }
    consumer.credit(1).await;
    assert_eq!(take(&mut consumer, 1).await, [offer]);
}

async fn a_dropped_consumer_gives_back_what_nobody_took(place: &Place) {
    let mut gone = place.consumer();
    gone.credit(3).await;
    let first = place.publish().await;
    let rest = [place.publish().await, place.publish().await];
    let delivery = next(&mut gone).await;
    assert_eq!(delivery.offer, first);
    drop(gone);
    let mut other = place.consumer();
    other.credit(4).await;
    assert_eq!(take(&mut other, 2).await, rest);
    delivery.ack().await;
    let last = place.publish().await;
    assert_eq!(take(&mut other, 1).await, [last], "what was taken stayed good");
}

async fn dropping_next_loses_nothing(place: &Place) {
    let mut consumer = place.consumer();
    consumer.credit(50).await;
    let mut published = Vec::new();
    let mut taken = Vec::new();
    let end = now() + PATIENCE;
    while taken.len() < 50 {
        if published.len() < 50 {
            published.push(place.publish().await);
        }
        if let Ok(delivery) = timeout(Duration::from_micros(200), consumer.next()).await {
            taken.push(delivery.offer);
            delivery.ack().await;
        }
        assert!(now() < end, "{} of 50 came", taken.len());
    }
    assert_eq!(taken, published);
}

async fn pools_do_not_mix(place: &Place) {
    let other = some_pool();
    eventually("the other queue", async || place.bus.declare(&other).await.ok()).await;
    let mut consumer = place.bus.consume(&other);
    consumer.credit(1).await;
    place.publish().await;
    let here = offer();
    place.bus.publish_offer(&other, here).await.expect("published");
    assert_eq!(take(&mut consumer, 1).await, [here]);
}

async fn many_at_once_are_all_confirmed(place: &Place) {
    const ALL: usize = 2000;
    let mut consumer = place.consumer();
    consumer.credit(u32::MAX).await;
    let published: HashSet<_> = join_all((0..ALL).map(|_| place.publish())).await.into_iter().map(dispatch).collect();
    let taken: HashSet<_> = take(&mut consumer, ALL).await.into_iter().map(dispatch).collect();
    assert_eq!(taken, published);
}

async fn an_offer_is_void_after_its_time(place: &Place) {
    place.publish().await;
    let second = offer();
    // The queue holds one; there is room again when the first is gone.
    eventually("the first to be void", async || place.bus.publish_offer(&place.pool, second).await.ok()).await;
    let mut consumer = place.consumer();
    consumer.credit(2).await;
    let third = loop {
        // The second is void soon, too; whatever comes, it is never the first.
        let third = offer();
        if place.bus.publish_offer(&place.pool, third).await.is_ok() {
            break third;
        }
    };
    let delivery = next(&mut consumer).await;
    assert!([second, third].contains(&delivery.offer));
}

async fn a_full_queue_says_so(place: &Place) {
    let first = place.publish().await;
    place.publish().await;
    let refused = place.bus.publish_offer(&place.pool, offer()).await;
    assert_eq!(refused, Err(BusError::Full(place.pool.clone())));
    let mut consumer = place.consumer();
    consumer.credit(1).await;
    assert_eq!(take(&mut consumer, 1).await, [first]);
    place.publish().await;
}
