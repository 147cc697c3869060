//! Sessions hold the lease of what their builder runs; builders are seen as they stand.

use slipway_domain::attempt::{AttemptOutcome, AttemptRef};
use slipway_domain::builder::{BuilderState, Load};
use slipway_domain::ids::SessionId;
use slipway_domain::job::JobState;
use slipway_runtime::ids::{new_id, random_id, token_hash};
use slipway_store::sessions::{Renewal, SessionRefusal};

use crate::crew::pool;
use crate::env::{both, commit, later, start};

fn renewal(session: SessionId, free: i64) -> Renewal {
    Renewal { session, free, load: Load { busy: 1, ..Load::default() }, draining: false }
}

both! {
    async fn strangers_do_not_join_and_nobody_takes_anothers_place(env) {
        env.join_token("join", start()).await;
        let builder = new_id();
        env.open(builder, "key", &[], start()).await.1.unwrap();
        assert_eq!(env.open(builder, "another key", &[], start()).await.1, Err(SessionRefusal::BuilderKey));
        assert_eq!(env.db.open_session_count().await.unwrap(), 1);
        env.db.create_join_token(new_id(), &token_hash("join"), &pool(), start()).await.unwrap();
        assert_eq!(env.db.list_builders(start()).await.unwrap().len(), 1);
    }
}

both! {
    async fn a_newer_session_closes_the_older_and_loses_what_it_does_not_present(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let kept = env.running(&crew, &lead, env.job_of(env.build(&world, "1", commit('a')).await).await.id, start()).await;
        let gone = env.running(&crew, &lead, env.job_of(env.build(&world, "2", commit('a')).await).await.id, start()).await;
        let unknown = AttemptRef { job: new_id(), epoch: 1 };
        let (session, opened) = env.open(crew.builder, "key", &[kept, unknown], later(3)).await;
        let opened = opened.unwrap();
        assert_eq!((opened.closed, opened.lost, opened.stop), (Some(crew.session), vec![gone], vec![unknown]));
        assert_eq!(env.held(session).await, [(kept, start(), false)]);
        assert_eq!(env.db.job(gone.job).await.unwrap().state, JobState::Queued);
        assert_eq!(env.db.renew_sessions(&[renewal(crew.session, 1), renewal(session, 1)], later(4)).await.unwrap(), [session]);
        assert!(!env.db.session_by_token(crew.session, &token_hash(&crew.session.to_string())).await.unwrap().unwrap().open);
        assert!(env.db.session_by_token(session, &token_hash("wrong")).await.unwrap().is_none());
    }
}

both! {
    async fn a_claim_whose_answer_is_awaited_outlives_its_session(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let (dispatch, claim) = (env.dispatched(&lead, job, start()).await, new_id());
        let won = env.claim(crew.session, job, dispatch, claim, start()).await.unwrap();
        let claiming = [new_id(), claim];
        let (session, opened) = env.open_claiming(crew.builder, "key", (&[], &claiming), later(3)).await;
        assert!(opened.unwrap().lost.is_empty());
        assert_eq!(env.held(session).await, [(won.attempt, start(), false)]);
        assert_eq!(env.claim(crew.session, job, dispatch, claim, later(4)).await, Ok(won), "by the old session's word");
    }
}

both! {
    async fn silence_and_a_closed_channel_make_a_session_overdue_and_a_heartbeat_saves_it(env) {
        let crew = env.crew(start()).await;
        let overdue = async |silent, closed| env.db.overdue_sessions(later(silent), later(closed)).await.unwrap();
        assert!(overdue(0, 0).await.is_empty());
        assert_eq!(overdue(1, 0).await, [crew.session]);
        env.db.renew_sessions(&[renewal(crew.session, 2)], later(5)).await.unwrap();
        assert!(overdue(5, 5).await.is_empty());
        env.db.channel_closed(crew.session, later(6)).await.unwrap();
        assert_eq!(overdue(0, 7).await, [crew.session]);
        env.db.renew_sessions(&[renewal(crew.session, 2)], later(8)).await.unwrap();
        assert!(overdue(0, 9).await.is_empty(), "it came back");
    }
}

both! {
    async fn a_lost_session_requeues_what_it_held_once(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let attempt = env.running(&crew, &lead, env.job_of(env.build(&world, "1", commit('a')).await).await.id, start()).await;
        let lost = env.db.lose_session(crew.session, later(20)).await.unwrap().unwrap();
        assert_eq!((lost.builder, lost.attempts), (crew.builder, vec![attempt]));
        assert!(env.db.lose_session(crew.session, later(20)).await.unwrap().is_none());
        assert_eq!(env.db.attempt(attempt).await.unwrap().outcome, Some(AttemptOutcome::Lost));
        assert_eq!(env.db.job(attempt.job).await.unwrap().state, JobState::Queued);
        assert_eq!(env.db.list_builders(later(20)).await.unwrap()[0].state, BuilderState::Lost);
    }
}

both! {
    async fn builders_and_pools_are_shown_as_they_stand(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        env.build(&world, "1", commit('a')).await;
        env.running(&crew, &lead, env.job_of(env.build(&world, "2", commit('a')).await).await.id, start()).await;
        env.db.renew_sessions(&[renewal(crew.session, 1)], start()).await.unwrap();
        let view = env.db.list_builders(later(1)).await.unwrap().remove(0);
        assert_eq!((view.state, view.busy, view.slots, view.load.busy), (BuilderState::Online, 1, 2, 1));
        assert_eq!((view.pool, view.last_seen_at), (pool(), Some(start())));
        assert_eq!(env.db.list_builders(later(60)).await.unwrap()[0].state, BuilderState::Suspect);
        let status = env.db.pools().await.unwrap().remove(0);
        assert_eq!((status.queued, status.ready, status.running, status.builders, status.free), (1, 0, 1, 1, 1));
        assert_eq!(env.db.drain_builder(crew.builder, true).await.unwrap(), Some(crew.session));
        assert_eq!(env.db.list_builders(later(1)).await.unwrap()[0].state, BuilderState::Draining);
        assert_eq!(env.db.end_session(crew.session, later(2)).await.unwrap().len(), 1, "its job is not forgotten");
        assert_eq!(env.db.list_builders(later(2)).await.unwrap()[0].state, BuilderState::Offline);
        assert!(env.db.drain_builder(new_id(), true).await.is_err());
    }
}

both! {
    async fn an_operators_drain_outlives_sessions_until_it_is_taken_back(env) {
        let crew = env.crew(start()).await;
        let builder = async || env.db.list_builders(later(3)).await.unwrap().remove(0);
        let untold = async || env.db.untold_drains().await.unwrap();
        env.db.drain_builder(crew.builder, true).await.unwrap();
        // It reconnects with nothing before it heard of the drain.
        let (session, _) = env.open(crew.builder, "key", &[], later(1)).await;
        assert_eq!((builder().await.state, builder().await.drained), (BuilderState::Draining, true));
        assert_eq!(untold().await, [(session, true)]);
        env.db.renew_sessions(&[Renewal { draining: true, ..renewal(session, 0) }], later(2)).await.unwrap();
        assert_eq!(untold().await, [], "it heard");
        env.db.drain_builder(crew.builder, false).await.unwrap();
        assert_eq!((builder().await.state, untold().await), (BuilderState::Draining, vec![(session, false)]));
        env.db.renew_sessions(&[renewal(session, 1)], later(3)).await.unwrap();
        assert_eq!((builder().await.state, untold().await), (BuilderState::Online, vec![]));
    }
}

both! {
    async fn a_builders_own_drain_ends_with_its_session(env) {
        let crew = env.crew(start()).await;
        env.db.renew_sessions(&[Renewal { draining: true, ..renewal(crew.session, 0) }], later(1)).await.unwrap();
        assert_eq!(env.db.list_builders(later(1)).await.unwrap()[0].state, BuilderState::Draining);
        let (session, _) = env.open(crew.builder, "key", &[], later(2)).await;
        assert_eq!(env.db.list_builders(later(2)).await.unwrap()[0].state, BuilderState::Online);
        assert_eq!(env.db.renew_sessions(&[renewal(session, 1)], later(3)).await.unwrap(), [session]);
    }
}

both! {
    async fn a_waiting_job_says_why(env) {
        let world = env.world("own").await;
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await;
        let why = async || env.db.waiting(&job, start()).await.unwrap().unwrap().reason.to_string();
        assert!(why().await.contains("No builder"), "{}", why().await);
        let crew = env.crew(start()).await;
        assert!(why().await.contains("in a moment"), "{}", why().await);
        let load = Load { not_taking: Some("the engine does not answer".to_owned()), ..Load::default() };
        let renewal = Renewal { session: crew.session, free: 0, load, draining: false };
        env.db.renew_sessions(&[renewal], start()).await.unwrap();
        assert!(why().await.contains("takes nothing at the moment: the engine does not answer."), "{}", why().await);
        let public = env.db.waiting(&job, start()).await.unwrap().unwrap().public_reason.to_string();
        assert_eq!(public, "No builder of pool local/standard/linux-amd64 takes it at the moment.");
    }
}

both! {
    async fn a_bound_builder_is_no_builder_for_other_tenants_until_they_are_trusted(env) {
        let (ours, theirs) = (env.world("own").await, env.tenant("other").await);
        let theirs = env.world_of(theirs, "theirs").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let other = env.job_of(env.build(&theirs, "1", commit('a')).await).await;
        env.running(&crew, &lead, env.job_of(env.build(&ours, "1", commit('a')).await).await.id, start()).await;
        assert_eq!(env.db.queued_jobs(&pool(), start(), 10).await.unwrap(), []);
        let waiting = env.db.waiting(&other, start()).await.unwrap().unwrap();
        assert!(waiting.reason.to_string().contains("another tenant"), "{}", waiting.reason);
        assert!(!waiting.public_reason.to_string().contains("tenant"), "{}", waiting.public_reason);
        // What the builder of a tenant says is for that tenant; the others hear of those that could serve them.
        let ill = |session, why: &str| Renewal {
            session,
            free: 0,
            load: Load { not_taking: Some(why.to_owned()), ..Load::default() },
            draining: false,
        };
        let (second, opened) = env.open(new_id(), "another", &[], start()).await;
        opened.expect("a second builder");
        let renewals = [ill(crew.session, "the disk of own is full"), ill(second, "its engine does not answer")];
        env.db.renew_sessions(&renewals, start()).await.unwrap();
        let reason = env.db.waiting(&other, start()).await.unwrap().unwrap().reason.to_string();
        assert!(reason.contains("its engine does not answer"), "{reason}");
        env.open_trusting(crew.builder, "key", later(1)).await;
        let queued: Vec<_> = env.db.queued_jobs(&pool(), later(1), 10).await.unwrap().iter().map(|job| job.tenant_id).collect();
        assert!(queued.contains(&other.tenant_id), "{queued:?}");
    }
}

both! {
    async fn who_was_refused_a_job_is_avoided_unless_another_one_is(env) {
        let world = env.world("own").await;
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let another = new_id();
        let (session, opened) = env.open(another, "another", &[], start()).await;
        opened.expect("a second builder");
        let job = env.job_of(env.build(&world, "1", commit('a')).await).await.id;
        let dispatch = env.dispatched(&lead, job, start()).await;
        let refuse = async |dispatch, session, secs| env.db.refuse_job(job, dispatch, session, later(secs)).await.unwrap();
        assert!(!refuse(random_id(), crew.session, 1).await, "of another dispatch");
        assert!(refuse(dispatch, crew.session, 1).await);
        assert!(!refuse(dispatch, crew.session, 1).await, "told twice");
        let avoided = async |secs| env.db.avoided_builder(&env.db.job(job).await.unwrap(), later(secs)).await.unwrap();
        assert_eq!(avoided(2).await, Some(crew.builder));
        let again = random_id();
        assert!(env.db.dispatch_job(job, again, later(2)).await.unwrap());
        assert!(refuse(again, session, 2).await);
        assert_eq!(avoided(3).await, Some(crew.builder), "one at a time");
        assert_eq!(avoided(11).await, None, "for a moment");
        let last = random_id();
        assert!(env.db.dispatch_job(job, last, later(12)).await.unwrap());
        assert!(refuse(last, session, 12).await);
        assert_eq!(env.db.job(job).await.unwrap().avoid_builder, Some(another));
        let unknown = random_id();
        assert!(env.db.dispatch_job(job, unknown, later(30)).await.unwrap());
        assert!(refuse(unknown, new_id(), 30).await, "a session that nobody knows gives it back all the same");
    }
}
