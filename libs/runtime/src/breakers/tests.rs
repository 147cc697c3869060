//! Places and memory; when a breaker opens and closes is tested beside it.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    rules: Rules { failures: 2, first_pause: Duration::from_secs(2), longest_pause: Duration::from_secs(8) },
    trusted_places: 4,
    doubtful_places: 2,
    all_doubtful_places: 3,
    remembered: 3,
};

fn breakers() -> Breakers {
    Breakers::new(Kind::Forge, LIMITS, Clock::system())
}

/// Places, as many as there are up to `at_most`.
fn reserve(breakers: &Breakers, upstream: &str, at_most: usize) -> Vec<Permit> {
    (0..at_most).map_while(|_| breakers.reserve(upstream)).collect()
}

/// Two failures.
fn break_down(breakers: &Breakers, upstream: &str) {
    for _ in 0..2 {
        breakers.ask(upstream).expect("not out yet").failed();
    }
    assert!(breakers.is_out(upstream));
}

fn answer(breakers: &Breakers, upstream: &str) {
    breakers.reserve(upstream).expect("a place").answered();
}

#[test]
fn who_is_out_is_left_alone_and_nobody_else() {
    let breakers = breakers();
    break_down(&breakers, "sick");
    let out = breakers.ask("sick").expect_err("it is out");
    assert!(out.retry_in <= LIMITS.rules.first_pause && !out.retry_in.is_zero(), "{out}");
    assert!(reserve(&breakers, "sick", 9).is_empty());
    assert!(breakers.ask("well").is_ok());

    breakers.clock.advance(LIMITS.rules.first_pause);
    let look = reserve(&breakers, "sick", 9);
    assert_eq!(look.len(), 1, "one looks");
    assert!(breakers.ask("sick").is_err() && reserve(&breakers, "sick", 9).is_empty(), "the others wait");
    look.into_iter().for_each(Permit::answered);
    assert!(!breakers.is_out("sick"));
    assert_eq!(reserve(&breakers, "sick", 9).len(), 4);
}

#[test]
fn places_go_to_those_who_answered() {
    let breakers = breakers();
    assert_eq!(reserve(&breakers, "new", 9).len(), 2, "in doubt until it answered");
    answer(&breakers, "well");
    let taken = reserve(&breakers, "well", 3);
    assert_eq!((taken.len(), reserve(&breakers, "well", 9).len()), (3, 1), "four in all");
    drop(taken);
    reserve(&breakers, "well", 1).remove(0).failed();
    let taken = reserve(&breakers, "well", 9);
    assert_eq!(taken.len(), 2, "in doubt again");
    // All that are in doubt share three places.
    let (one, none) = (reserve(&breakers, "new", 9), reserve(&breakers, "newer", 9));
    assert_eq!((one.len(), none.len()), (1, 0));
    drop(taken);
    assert_eq!(reserve(&breakers, "newer", 9).len(), 2);
    assert!(breakers.ask("newest").is_ok(), "who bounds its calls itself needs no place");
}

#[test]
fn answers_to_calls_without_a_place_earn_none() {
    let breakers = breakers();
    breakers.ask("half sick").expect("closed").answered();
    assert_eq!(reserve(&breakers, "half sick", 9).len(), 2);
}

#[test]
fn memory_is_bounded_and_keeps_who_is_out() {
    let breakers = breakers();
    break_down(&breakers, "sick");
    for n in 0..100 {
        breakers.ask(&format!("https://{n}.example")).expect("new").answered();
    }
    assert_eq!(breakers.lock().upstreams.len(), 3);
    assert!(breakers.is_out("sick"), "those that are well are forgotten first");
    let old = reserve(&breakers, "forgotten", 2);
    for n in 0..100 {
        break_down(&breakers, &format!("https://{n}.example"));
    }
    assert_eq!(breakers.lock().upstreams.len(), 3);
    assert_eq!(breakers.report().len(), 3);
    // What was allowed before it was forgotten says nothing about who has its name now.
    let new = reserve(&breakers, "forgotten", 1);
    old.into_iter().for_each(Permit::failed);
    assert_eq!((new.len(), breakers.is_out("forgotten"), breakers.lock().doubtful), (1, false, 1));
}

#[tokio::test]
async fn health_tells_of_who_is_out_without_its_address() {
    let (breakers, health) = (breakers(), Health::default());
    breakers.watch(&health);
    assert!(health.remarks().is_empty());
    break_down(&breakers, "https://secret.example");
    let remarks = health.remarks();
    assert!(
        remarks.len() == 1
            && remarks[0].starts_with("upstream forge 1 degraded: out for ")
            && !remarks[0].contains("secret"),
        "{remarks:?}"
    );
    assert!(crate::health::is_ready(&health.examine().await));
}

proptest! {
    /// Whatever is asked, told or dropped: no upstream and no doubt takes more places than its share, and all
    /// are free again in the end.
    #[test]
    fn places_are_never_lost_nor_doubled(
        steps in prop::collection::vec((0usize..5, 0usize..4, any::<prop::sample::Index>()), 0..200),
    ) {
        let breakers = breakers();
        let mut held: Vec<Permit> = Vec::new();
        for (upstream, step, index) in steps {
            if step == 0 {
                held.extend(reserve(&breakers, &format!("upstream {upstream}"), 3));
            } else if !held.is_empty() {
                let permit = held.swap_remove(index.index(held.len()));
                match step {
                    1 => permit.answered(),
                    2 => permit.failed(),
                    _ => drop(permit),
                }
            }
            breakers.clock.advance(Duration::from_secs(1));
            let known = breakers.lock();
            prop_assert!(known.upstreams.len() <= LIMITS.remembered);
            let doubtful = held.iter().filter(|permit| permit.place == Some(Place::Doubtful)).count();
            prop_assert!(doubtful == known.doubtful && doubtful <= LIMITS.all_doubtful_places);
            for (name, entry) in &known.upstreams {
                let taken = held.iter().filter(|permit| permit.upstream == *name && permit.number == entry.number).count();
                prop_assert_eq!(taken, entry.taken);
                prop_assert!(taken <= LIMITS.trusted_places);
            }
        }
        drop(held);
        let known = breakers.lock();
        prop_assert!(known.doubtful == 0 && known.upstreams.values().all(|entry| entry.taken == 0));
    }
}
