//! Counts of live jobs.

use slipway_domain::attempt::AttemptOutcome;
use slipway_domain::job::JobState;
use slipway_store::builds::NewBuild;
use slipway_store::census::JobCount;

use crate::crew::pool;
use crate::env::{both, commit, later, new_build, start};

both! {
    async fn live_jobs_are_counted_by_pool_and_state_with_the_oldest(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        assert_eq!(env.db.job_counts().await.unwrap(), []);
        for (key, secs) in [("3", 7), ("1", 5), ("2", 6)] {
            let new = NewBuild { now: later(secs), ..new_build(&world.project, key, commit('a')) };
            env.db.create_build(&new).await.unwrap();
        }
        let running = env.job_of(env.build(&world, "4", commit('a')).await).await.id;
        let done = env.job_of(env.build(&world, "5", commit('a')).await).await.id;
        env.running(&crew, &lead, running, start()).await;
        let done = env.running(&crew, &lead, done, start()).await;
        env.finish(done, AttemptOutcome::Succeeded, later(1)).await;
        let count = |state, jobs, oldest| JobCount { pool: pool(), state, jobs, oldest };
        let counts = env.db.job_counts().await.unwrap();
        assert_eq!(counts, [count(JobState::Queued, 3, later(5)), count(JobState::Running, 1, start())]);
    }
}
