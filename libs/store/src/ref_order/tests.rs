//! Chains of moves told in any order.

use proptest::prelude::*;
use slipway_runtime::ids::new_id;

use super::*;

/// A ref as the rows say it.
#[derive(Default)]
struct Ref {
    places: Vec<Place>,
    head: Option<Head>,
    onward: Vec<String>,
}

/// A chain of moves, of which some make no build.
struct Chain {
    commits: Vec<String>,
    builds: Vec<bool>,
    /// It is a new ref.
    created: bool,
}

impl Chain {
    fn before(&self, index: usize) -> Option<&str> {
        (index > 0 || !self.created).then(|| self.commits[index].as_str())
    }

    /// Where a move leads by those that have no build so far.
    fn onward(&self, index: usize, main: &Ref) -> Vec<String> {
        let is_built = |index: usize| main.places.iter().any(|place| place.after == self.commits[index + 1]);
        let next = (index + 1..self.builds.len()).take_while(|next| !is_built(*next));
        next.map(|next| self.commits[next + 1].clone()).collect()
    }

    fn built(&self) -> Vec<&str> {
        let built = self.builds.iter().zip(&self.commits[1..]).filter(|(builds, _)| **builds);
        built.map(|(_, commit)| commit.as_str()).collect()
    }
}

impl Ref {
    fn told(&mut self, before: Option<&str>, after: &str) {
        let head = self.head.clone().unwrap_or(Head { commit: None, order: 0 });
        let moved = Move { before, after, onward: &self.onward };
        let plan = plan(&self.places, &head, moved);
        if let Some(linked) = plan.linked(&self.places, moved).map(|place| place.order) {
            self.places.iter_mut().filter(|place| place.order == linked).for_each(|place| place.unlinked = false);
        }
        for (index, order) in &plan.reordered {
            self.places[*index].order = *order;
        }
        let (before, after) = (before.map(str::to_owned), after.to_owned());
        let builds = vec![new_id()];
        let (order, unlinked) = (plan.order, plan.unlinked);
        self.places.push(Place { order, builds, before, after, unlinked, found: false });
        self.places.sort_by_key(|place| place.order);
        self.head = Some(plan.head.unwrap_or(head));
    }

    /// A move without a build, see [`Db::note_moves`](crate::Db::note_moves).
    fn noted(&mut self, before: Option<&str>, after: &str) {
        let commit = Some(after.to_owned());
        match &mut self.head {
            None => self.head = Some(Head { commit, order: first_noted(before.is_none()) }),
            Some(head) if head.commit.as_deref() == before => {
                *head = Head { commit, order: head.order + ORDER_STEP };
            }
            Some(_) => {}
        }
    }

    fn shown(&self) -> Vec<&str> {
        assert!(self.places.windows(2).all(|pair| pair[0].order < pair[1].order), "{:?}", self.places);
        self.places.iter().map(|place| place.after.as_str()).collect()
    }

    fn head(&self) -> Option<&str> {
        self.head.as_ref().and_then(|head| head.commit.as_deref())
    }
}

#[test]
fn a_missing_piece_brings_its_future_behind_its_past() {
    let mut main = Ref::default();
    main.told(Some("c"), "d");
    main.told(Some("a"), "b");
    assert_eq!((main.shown(), main.head()), (vec!["d", "b"], Some("b")), "nothing links them yet");
    main.told(Some("b"), "c");
    assert_eq!((main.shown(), main.head()), (vec!["b", "c", "d"], Some("d")));
}

#[test]
fn what_is_told_late_goes_before_what_followed_from_it_over_a_move_without_a_build() {
    let mut main = Ref::default();
    main.told(Some("a"), "b");
    // b -> c comes late, c -> d is not built.
    main.told(Some("d"), "e");
    main.told(Some("e"), "f");
    main.onward = vec!["d".to_owned(), "e".to_owned(), "f".to_owned()];
    main.told(Some("b"), "c");
    assert_eq!((main.shown(), main.head()), (vec!["b", "c", "e", "f"], Some("f")));
    // And should c -> d have only been late itself, it finds its place, too.
    main.onward = Vec::new();
    main.told(Some("c"), "d");
    assert_eq!((main.shown(), main.head()), (vec!["b", "c", "d", "e", "f"], Some("f")));
}

#[test]
fn a_move_to_where_the_first_known_one_began_is_new_when_it_leaves_the_head() {
    let mut main = Ref::default();
    for (before, after) in [("a", "b"), ("b", "a"), ("a", "b"), ("b", "c"), ("c", "a")] {
        main.told(Some(before), after);
    }
    assert_eq!((main.shown(), main.head()), (vec!["b", "a", "b", "c", "a"], Some("a")));
}

proptest! {
    #[test]
    fn a_chain_told_in_any_order_is_shown_in_its_own(
        told in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
        created in any::<bool>(),
    ) {
        let commits: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let mut main = Ref::default();
        for index in told {
            let before = (index > 0 || !created).then(|| commits[index].as_str());
            main.told(before, &commits[index + 1]);
        }
        prop_assert_eq!(main.shown(), commits[1..].iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(main.head(), commits.last().map(String::as_str));
    }

    #[test]
    fn a_chain_worked_in_any_order_is_shown_in_its_own_without_what_made_no_build(
        worked in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
        builds in prop::collection::vec(any::<bool>(), 8),
        created in any::<bool>(),
    ) {
        let chain = Chain { commits: (0..9).map(|number| number.to_string()).collect(), builds, created };
        let mut main = Ref::default();
        for index in worked {
            if chain.builds[index] {
                main.onward = chain.onward(index, &main);
                main.told(chain.before(index), &chain.commits[index + 1]);
            } else {
                main.noted(chain.before(index), &chain.commits[index + 1]);
            }
        }
        prop_assert_eq!(main.shown(), chain.built());
    }

    #[test]
    fn moves_told_in_order_stay_in_order_wherever_they_lead(to in prop::collection::vec(0..4_usize, 1..20)) {
        let commits = ["a", "b", "c", "d"];
        let mut main = Ref::default();
        let mut at = "a";
        let mut to = to;
        to.dedup();
        for index in to.iter().skip_while(|index| **index == 0) {
            main.told(Some(at), commits[*index]);
            at = commits[*index];
        }
        let wanted = to.iter().skip_while(|index| **index == 0).map(|index| commits[*index]);
        prop_assert_eq!(main.shown(), wanted.collect::<Vec<_>>());
    }
}
