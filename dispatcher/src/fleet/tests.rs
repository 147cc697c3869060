//! Room, offers and silence.

use slipway_runtime::clock::Clock;
use slipway_runtime::ids::{new_id, random_id};

use super::warm::WARM_WAIT;
use super::*;

fn session(id: SessionId) -> Session {
    let pool = "a/b/c".parse().expect("valid");
    Session { id, builder_id: new_id(), pool, open: true, shared_engine: false }
}

fn room(free: i64) -> Said {
    Said { free, ..Said::default() }
}

#[tokio::test]
async fn an_offer_holds_a_slot_until_it_is_decided_or_too_old() {
    let fleet = Fleet::default();
    let (channel, mut inbox) = mpsc::channel(CHANNEL_BUFFER);
    let (session, now) = (new_id::<SessionId>(), Clock::system().monotonic());
    fleet.connect(&self::session(session), Vec::new(), channel.clone());
    assert!(fleet.takers(now).is_empty(), "nothing before the first heartbeat");
    fleet.heard(session, room(1), now);
    let offer = Offer { job: new_id(), dispatch: random_id() };
    assert!(fleet.offer(session, offer, now));
    assert!(fleet.takers(now).is_empty(), "its slot is spoken for");
    let later = now + timing::DISPATCH_DEADLINE;
    fleet.heard(session, room(1), later);
    assert_eq!(fleet.takers(later).len(), 1, "an old offer holds nothing");
    assert!(fleet.offer(session, offer, now));
    fleet.decided(session, offer.dispatch, false);
    assert_eq!(fleet.takers(now)[0].free, 1);
    fleet.decided(session, offer.dispatch, true);
    assert_eq!(fleet.takers(now)[0].free, 1, "an offer is decided once");
    assert!(fleet.offer(session, offer, now));
    fleet.decided(session, offer.dispatch, true);
    assert!(fleet.takers(now).is_empty());
    assert!(matches!(inbox.recv().await, Some(ToBuilder::Offer(got)) if got == offer));
    assert!(fleet.disconnect(session, &channel).is_some() && !fleet.offer(session, offer, now));
}

#[test]
fn a_session_that_fell_silent_gets_no_offers() {
    let fleet = Fleet::default();
    let (channel, _inbox) = mpsc::channel(1);
    let (session, now) = (new_id::<SessionId>(), Clock::system().monotonic());
    fleet.connect(&self::session(session), Vec::new(), channel);
    fleet.heard(session, room(4), now);
    assert_eq!(fleet.takers(now + timing::HEARTBEAT).len(), 1);
    assert!(fleet.takers(now + SILENT).is_empty());
    fleet.heard(session, room(4), now + SILENT);
    assert_eq!(fleet.takers(now + SILENT).len(), 1, "it is back");
}

#[test]
fn who_declines_gets_no_offers_until_its_next_heartbeat() {
    let fleet = Fleet::default();
    let (channel, _inbox) = mpsc::channel(1);
    let (session, now) = (new_id::<SessionId>(), Clock::system().monotonic());
    fleet.connect(&self::session(session), Vec::new(), channel);
    fleet.heard(session, room(2), now);
    let offer = Offer { job: new_id(), dispatch: random_id() };
    assert!(fleet.offer(session, offer, now));
    assert_eq!(fleet.takers(now)[0].free, 1);
    fleet.declined(session, offer.dispatch);
    assert!(fleet.takers(now).is_empty());
    fleet.heard(session, room(1), now);
    assert_eq!(fleet.takers(now)[0].free, 1, "the declined offer holds no slot");
}

#[test]
fn an_offer_for_warmth_is_decided_soon_or_late() {
    let fleet = Fleet::default();
    let (channel, _inbox) = mpsc::channel(8);
    let (session, now, project) = (new_id::<SessionId>(), Clock::system().monotonic(), new_id());
    fleet.connect(&self::session(session), Vec::new(), channel.clone());
    fleet.heard(session, room(4), now);
    let send = |at| {
        let offer = Offer { job: new_id(), dispatch: random_id() };
        assert!(fleet.offer_for_warmth(session, offer, project, at));
        offer
    };
    fleet.decided(session, send(now).dispatch, true);
    fleet.declined(session, send(now).dispatch);
    fleet.heard(session, room(4), now);
    assert_eq!((fleet.next_late(now), fleet.late(now + WARM_WAIT)), (None, vec![]), "both are decided");
    let (first, second) = (send(now), send(now + WARM_WAIT / 2));
    assert_eq!(fleet.next_late(now), Some(WARM_WAIT));
    assert_eq!(fleet.late(now + WARM_WAIT / 2), []);
    assert_eq!(fleet.late(now + WARM_WAIT), [first]);
    assert!(fleet.takers(now + WARM_WAIT).is_empty(), "it says nothing, so it has no room");
    fleet.heard(session, room(4), now + WARM_WAIT);
    assert_eq!(fleet.takers(now + WARM_WAIT)[0].free, 3, "the other one is on its way");
    assert_eq!(fleet.disconnect(session, &channel), Some(vec![second]));
    assert_eq!(fleet.late(now + WARM_WAIT * 9), []);
}

#[test]
fn an_older_channel_does_not_disconnect_a_newer_one() {
    let fleet = Fleet::default();
    let (old, _old_inbox) = mpsc::channel(1);
    let (new, _new_inbox) = mpsc::channel(1);
    let session = new_id::<SessionId>();
    fleet.connect(&self::session(session), vec![1], old.clone());
    fleet.connect(&self::session(session), vec![2], new.clone());
    assert!(fleet.is_session(session, &[2]) && !fleet.is_session(session, &[1]));
    assert_eq!(fleet.disconnect(session, &old), None);
    assert_eq!(fleet.disconnect(session, &new), Some(vec![]));
}
