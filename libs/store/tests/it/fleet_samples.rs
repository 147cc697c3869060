//! The past of the pools: written once per minute, read in steps, forgotten in time.

use chrono::TimeDelta;
use slipway_store::fleet_samples::{FleetSample, KEPT, SampleFilter, minute_of};

use crate::crew::pool;
use crate::env::{both, commit, later, start};

fn since(minutes_ago: i64, step: i64) -> SampleFilter {
    SampleFilter { pool: None, since: minute_of(start()) - minutes_ago, step }
}

both! {
    async fn a_minute_is_written_once_however_many_write(env) {
        let world = env.world("own").await;
        assert_eq!(env.db.sample_fleet(start()).await.unwrap(), 0, "nothing is there");
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        for key in ["1", "2", "3"] {
            env.build(&world, key, commit('a')).await;
        }
        let running = env.job_of(env.build(&world, "4", commit('a')).await).await.id;
        env.running(&crew, &lead, running, start()).await;
        assert_eq!(env.db.sample_fleet(start()).await.unwrap(), 1);
        env.db.drain_builder(crew.builder, true).await.unwrap();
        assert_eq!(env.db.sample_fleet(later(1)).await.unwrap(), 0, "the minute has its sample");
        let sample = |minute, slots| FleetSample { pool: pool(), minute, slots, running: 1, wanted: 4, short_minutes: 1 };
        let first = minute_of(start());
        assert_eq!(env.db.fleet_samples(&since(0, 1)).await.unwrap(), [sample(first, 2)]);
        assert_eq!(env.db.sample_fleet(later(60)).await.unwrap(), 1);
        let samples = env.db.fleet_samples(&since(0, 1)).await.unwrap();
        assert_eq!(samples, [sample(first, 2), sample(first + 1, 0)], "a drained builder has no slots");
        let none = SampleFilter { pool: Some("eu/large/linux-arm64".parse().unwrap()), ..since(0, 1) };
        assert!(env.db.fleet_samples(&none).await.unwrap().is_empty());
        assert_eq!(env.db.fleet_samples(&SampleFilter { pool: Some(pool()), ..since(0, 1) }).await.unwrap().len(), 2);
    }
}

both! {
    async fn minutes_are_read_in_steps_and_forgotten(env) {
        let world = env.world("own").await;
        env.crew(start()).await;
        let first = minute_of(start()) / 10 * 10;
        let at = |minute: i64| start() + TimeDelta::minutes(first + minute - minute_of(start()));
        env.db.sample_fleet(at(0)).await.unwrap();
        env.build(&world, "1", commit('a')).await;
        env.db.sample_fleet(at(9)).await.unwrap();
        env.db.sample_fleet(at(10)).await.unwrap();
        let wanted = async |filter: SampleFilter| {
            let samples = env.db.fleet_samples(&filter).await.unwrap();
            samples.into_iter().map(|sample| (sample.minute - first, sample.wanted)).collect::<Vec<_>>()
        };
        assert_eq!(wanted(since(60, 10)).await, [(0, 1), (10, 1)], "the most of each step");
        let samples = env.db.fleet_samples(&since(60, 10)).await.unwrap();
        assert!(samples.iter().all(|sample| sample.short_minutes == 0), "there were slots in each minute");
        assert_eq!(wanted(since(60, 1)).await, [(0, 0), (9, 1), (10, 1)]);
        assert_eq!(wanted(since(60, 0)).await.len(), 3, "a step is a minute at least");
        env.db.sample_fleet(at(9) + KEPT).await.unwrap();
        assert_eq!(wanted(since(60, 1)).await[0], (9, 1), "what is older than it is kept is gone");
    }
}
