//! Who gets an offer: among the sessions with room the one whose cache is warmest for the project, unless it is much
//! busier than its pool; else whoever has the most room. Plain functions over what is known of the sessions.

use std::collections::HashMap;

use slipway_domain::ids::{BuilderId, ProjectId, SessionId, TenantId};
use slipway_domain::placement::Pool;

use crate::fleet::Taker;

/// What a job wants of its builder.
pub struct Wish<'a> {
    /// Its pool.
    pub pool: &'a Pool,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its project.
    pub project: ProjectId,
    /// A builder that shall not have it now.
    pub avoided: Option<BuilderId>,
}

impl Wish<'_> {
    /// Whether this session may have it, with or without room.
    pub fn may_have(&self, taker: &Taker) -> bool {
        taker.pool == *self.pool && Some(taker.builder) != self.avoided && !taker.refuses.contains(&self.tenant)
    }
}

/// How much the sessions of a pool do, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crowd {
    /// Jobs that they run, and offers on their way.
    pub busy: i64,
    /// Jobs that they could run.
    pub slots: i64,
}

impl Crowd {
    /// Whether this taker does so much more than the pool's mean that its warm cache is not worth it: it is more than
    /// half full, and half as full again as the mean.
    fn passes_over(self, taker: &Taker) -> bool {
        let slots = taker.busy + taker.free;
        taker.busy * 2 > slots && taker.busy * 2 * self.slots > self.busy * 3 * slots
    }
}

/// What caches and pools are like at the moment.
#[derive(Debug, Clone, Default)]
pub struct Climate {
    /// The sessions whose caches know a project, the warmest first.
    pub warm: HashMap<ProjectId, Vec<SessionId>>,
    /// How busy the pools are; empty where no cache is warm.
    pub crowds: HashMap<Pool, Crowd>,
}

/// The sessions with room, as one pass gives it away.
pub struct Room {
    takers: Vec<Taker>,
    places: HashMap<SessionId, usize>,
    climate: Climate,
}

impl Room {
    /// The room that these sessions have.
    pub fn new(takers: Vec<Taker>, climate: Climate) -> Self {
        let places = takers.iter().enumerate().map(|(place, taker)| (taker.session, place));
        let places = if climate.warm.is_empty() { HashMap::new() } else { places.collect() };
        Self { takers, places, climate }
    }

    /// Whether somebody of the pool has room and may not have the job.
    pub fn is_mixed(&self, wish: &Wish<'_>) -> bool {
        self.takers.iter().any(|taker| taker.pool == *wish.pool && !wish.may_have(taker))
    }

    /// Takes a place where the cache is warm.
    pub fn warmest(&mut self, wish: &Wish<'_>) -> Option<SessionId> {
        let warm = self.climate.warm.get(&wish.project)?;
        let crowd = self.climate.crowds.get(wish.pool).copied().unwrap_or_default();
        let takers = &self.takers;
        let fits = |place: &usize| {
            let taker = &takers[*place];
            taker.free > 0 && wish.may_have(taker) && !crowd.passes_over(taker)
        };
        let place = warm.iter().filter_map(|session| self.places.get(session).copied()).find(fits)?;
        Some(self.takers[place].take())
    }

    /// Takes a place where the most are free.
    pub fn roomiest(&mut self, wish: &Wish<'_>) -> Option<SessionId> {
        let open = self.takers.iter_mut().filter(|taker| taker.free > 0 && wish.may_have(taker));
        open.max_by_key(|taker| taker.free).map(Taker::take)
    }
}

#[cfg(test)]
mod tests {
    use slipway_runtime::ids::new_id;

    use super::*;

    fn pool() -> Pool {
        "a/b/c".parse().expect("valid")
    }

    fn taker(busy: i64, free: i64, pool: &str) -> Taker {
        Taker {
            session: new_id(),
            builder: new_id(),
            pool: pool.parse().expect("valid"),
            refuses: [].into(),
            free,
            busy,
            from_queue: false,
        }
    }

    #[test]
    fn the_roomiest_gets_the_job_unless_it_is_avoided_or_refuses_the_tenant() {
        let mut takers = [taker(0, 1, "a/b/c"), taker(0, 3, "a/b/c"), taker(0, 9, "x/b/c"), taker(0, 2, "a/b/c")];
        let [small, large, _, middle] = takers.each_ref().map(|taker| (taker.session, taker.builder));
        let (tenant, project, pool) = (new_id(), new_id(), pool());
        takers[3].refuses.insert(tenant);
        let mut room = Room::new(takers.into(), Climate::default());
        let mut chosen = |tenant, avoided| room.roomiest(&Wish { pool: &pool, tenant, project, avoided });
        assert_eq!(chosen(new_id(), None), Some(large.0));
        assert_eq!(chosen(new_id(), Some(large.1)), Some(middle.0));
        assert_eq!(chosen(tenant, Some(large.1)), Some(small.0));
    }

    #[test]
    fn a_warm_cache_is_preferred_where_it_has_room_and_may_have_the_job() {
        let (tenant, project, pool) = (new_id(), new_id(), pool());
        let mut takers = [taker(0, 9, "a/b/c"), taker(1, 2, "a/b/c"), taker(0, 1, "a/b/c"), taker(0, 5, "x/b/c")];
        let [cold, first, second, elsewhere] = takers.each_ref().map(|taker| taker.session);
        let refusing = new_id();
        takers[1].refuses.insert(refusing);
        let builder = takers[1].builder;
        let gone = new_id();
        let climate = Climate {
            warm: HashMap::from([(project, vec![gone, elsewhere, first, second])]),
            crowds: HashMap::from([(pool.clone(), Crowd { busy: 1, slots: 13 })]),
        };
        let room = || Room::new(takers.clone().into(), climate.clone());
        let wish = |project, tenant, avoided| Wish { pool: &pool, tenant, project, avoided };
        assert_eq!(room().warmest(&wish(project, tenant, None)), Some(first));
        assert_eq!(room().warmest(&wish(new_id(), tenant, None)), None, "a cold project");
        assert_eq!(room().warmest(&wish(project, refusing, None)), Some(second));
        assert_eq!(room().warmest(&wish(project, tenant, Some(builder))), Some(second));
        let mut room = room();
        let mut given = Vec::new();
        while let Some(session) = room.warmest(&wish(project, tenant, None)) {
            given.push(session);
        }
        assert_eq!(given, [first, second], "with two of three busy, among idle ones, the first is passed over");
        assert_eq!(room.roomiest(&wish(project, tenant, None)), Some(cold));
    }

    #[test]
    fn a_warm_builder_is_passed_over_when_it_does_much_more_than_the_others() {
        for (busy, free, crowd, wanted) in [
            // An idle one, or one that is at most half full, is never too busy.
            (0, 1, (0, 10), false),
            (1, 1, (1, 20), false),
            (2, 2, (2, 40), false),
            // More than half full while the others idle.
            (2, 1, (2, 40), true),
            (3, 1, (3, 40), true),
            // All are busy alike.
            (3, 1, (30, 40), false),
            // 3 of 4 against a mean of one half, and of a little less.
            (3, 1, (20, 40), false),
            (3, 1, (19, 40), true),
            // It is its pool.
            (3, 1, (3, 4), false),
        ] {
            let crowd = Crowd { busy: crowd.0, slots: crowd.1 };
            assert_eq!(crowd.passes_over(&taker(busy, free, "a/b/c")), wanted, "{busy} busy, {free} free, {crowd:?}");
        }
    }
}
