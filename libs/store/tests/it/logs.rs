//! Logs: `durable` only moves forward, from where it was, and a closed log stays as it is.

use chrono::TimeDelta;
use slipway_domain::agent::LogEnd;
use slipway_domain::attempt::{AttemptOutcome, AttemptRef, AttemptState};
use slipway_domain::job::JobState;
use slipway_domain::plan::Plans;
use slipway_domain::tenant::Role;
use slipway_store::logs::{Booked, LogState, NewSegment};
use slipway_store::{Scope, StoreError};

use crate::env::{Env, World, both, commit, later, start};

async fn attempt(env: &Env) -> (World, AttemptRef) {
    let world = env.world("own").await;
    let crew = env.crew(start()).await;
    let lead = env.lead(start()).await;
    let build = env.build(&world, "one", commit('a')).await;
    let attempt = env.running(&crew, &lead, env.job_of(build).await.id, start()).await;
    (world, attempt)
}

fn segment(attempt: AttemptRef, start: i64, end: i64, lines: i64) -> NewSegment {
    NewSegment { attempt, start, end, lines, outline: None, object_bytes: end - start + 30, whole: false }
}

/// Whether a segment became part of its log.
async fn add(env: &Env, segment: NewSegment) -> bool {
    env.db.add_log_segments(&[segment], later(7)).await.unwrap() == [Booked::Yes]
}

async fn end_log(env: &Env, attempt: AttemptRef, end: LogEnd) -> Option<LogEnd> {
    env.db.end_logs(&[(attempt, end)], start()).await.unwrap().remove(0)
}

fn end(end: i64) -> LogEnd {
    LogEnd { end, sha256: "ab".repeat(32) }
}

both! {
    async fn durable_moves_only_from_where_it_is(env) {
        let (_, attempt) = attempt(&env).await;
        let log = env.db.attempt_log(attempt).await.unwrap();
        assert_eq!((log.state, log.durable, log.attempt_state), (LogState::Open, 0, AttemptState::Open));
        assert!(!log.token_hash.is_empty());
        assert!(!add(&env, segment(attempt, 5, 9, 1)).await, "a gap");
        assert!(add(&env, segment(attempt, 0, 10, 2)).await);
        assert!(!add(&env, segment(attempt, 0, 12, 3)).await, "somebody else was first");
        assert!(add(&env, segment(attempt, 10, 30, 3)).await);
        let log = env.db.attempt_log(attempt).await.unwrap();
        assert_eq!((log.durable, log.lines), (30, 5));
    }
}

both! {
    async fn of_two_writers_of_one_segment_one_wins(env) {
        let (_, attempt) = attempt(&env).await;
        let (one, two) = (segment(attempt, 0, 10, 1), segment(attempt, 0, 20, 2));
        let (one, two) = tokio::join!(add(&env, one), add(&env, two));
        assert!(one ^ two);
        let log = env.db.attempt_log(attempt).await.unwrap();
        let segment = env.db.log_segment_at(attempt, 0).await.unwrap().expect("it is booked");
        assert_eq!((segment.end_offset, segment.lines), (log.durable, log.lines));
    }
}

both! {
    async fn bytes_and_lines_are_found_in_their_segments(env) {
        let (_, attempt) = attempt(&env).await;
        // The middle one holds no line break.
        for (start, end, lines) in [(0, 10, 2), (10, 20, 0), (20, 30, 3)] {
            assert!(add(&env, segment(attempt, start, end, lines)).await);
        }
        for (offset, found) in [(0, Some(0)), (9, Some(0)), (10, Some(10)), (29, Some(20)), (30, None)] {
            let segment = env.db.log_segment_at(attempt, offset).await.unwrap();
            assert_eq!(segment.map(|segment| segment.start_offset), found, "byte {offset}");
        }
        for (line_break, found) in [(1, Some(0)), (2, Some(0)), (3, Some(20)), (5, Some(20)), (6, None)] {
            let segment = env.db.log_segment_of_break(attempt, line_break).await.unwrap();
            assert_eq!(segment.map(|segment| segment.start_offset), found, "line break {line_break}");
        }
    }
}

both! {
    async fn the_first_announced_end_counts(env) {
        let (_, attempt) = attempt(&env).await;
        assert_eq!(end_log(&env, attempt, end(10)).await, Some(end(10)));
        assert_eq!(end_log(&env, attempt, end(20)).await, Some(end(10)));
        env.finish(attempt, AttemptOutcome::Succeeded, later(1)).await;
        let log = env.db.attempt_log(attempt).await.unwrap();
        assert_eq!((log.end_offset, log.sha256), (Some(10), Some(end(10).sha256)));
        assert_eq!((log.attempt_state, log.finished_at), (AttemptState::Closed, Some(later(1))));
    }
}

both! {
    async fn a_log_is_sealed_when_whole_or_given_up_and_then_stays(env) {
        let (_, attempt) = attempt(&env).await;
        let unsealed = async |cut_before| env.db.unsealed_logs(start(), cut_before, 10).await.unwrap();
        let before = start() - TimeDelta::seconds(600);
        assert!(add(&env, segment(attempt, 0, 10, 1)).await);
        assert_eq!(unsealed(later(9_999)).await, [], "the attempt still runs");
        end_log(&env, attempt, end(20)).await;
        assert_eq!(unsealed(before).await, [], "not all bytes are durable");
        let stale = env.db.attempt_log(attempt).await.unwrap();
        assert!(add(&env, segment(attempt, 10, 20, 1)).await);
        let whole = unsealed(before).await;
        assert_eq!(whole.iter().map(|log| (log.attempt(), log.durable)).collect::<Vec<_>>(), [(attempt, 20)]);
        assert!(!env.db.seal_log(&stale, LogState::Cut, start()).await.unwrap(), "it has grown");
        assert!(env.db.seal_log(&whole[0], LogState::Sealed, start()).await.unwrap());
        assert!(!env.db.seal_log(&whole[0], LogState::Damaged, start()).await.unwrap(), "closed for good");
        assert!(!add(&env, segment(attempt, 20, 30, 1)).await);
        assert_eq!(env.db.attempt_log(attempt).await.unwrap().state, LogState::Sealed);
        assert_eq!(unsealed(later(9_999)).await, []);
    }
}

both! {
    async fn a_log_without_its_end_is_given_up_after_its_attempt(env) {
        let (_, attempt) = attempt(&env).await;
        env.db.lose_attempt(attempt, "gone", later(10)).await.unwrap();
        assert_eq!(env.db.unsealed_logs(later(10), later(10), 10).await.unwrap(), []);
        assert_eq!(env.db.unsealed_logs(later(11), later(11), 10).await.unwrap().len(), 1);
        env.db.postpone_seal(attempt, later(11)).await.unwrap();
        assert_eq!(env.db.unsealed_logs(later(40), later(40), 10).await.unwrap(), [], "others come first");
        assert_eq!(env.db.unsealed_logs(later(41), later(41), 10).await.unwrap().len(), 1);
        let grown = env.db.add_log_segments(&[segment(attempt, 0, 10, 1)], later(100)).await.unwrap();
        assert_eq!(grown, [Booked::Yes], "a builder that was lost hands in what it has");
        assert_eq!(env.db.unsealed_logs(later(100), later(100), 10).await.unwrap(), [], "it still comes");
        assert_eq!(env.db.unsealed_logs(later(101), later(101), 10).await.unwrap().len(), 1);
    }
}

both! {
    async fn only_who_may_see_the_build_sees_the_log(env) {
        let (world, attempt) = attempt(&env).await;
        let other = env.tenant("other").await;
        let job = attempt.job;
        for scope in [Scope::Member { tenant: other, role: Role::Owner }, Scope::Public] {
            let refused = env.db.log_view(&scope, job, None).await;
            assert!(matches!(refused, Err(StoreError::NotFound("job"))), "{refused:?}");
        }
        let member = Scope::Member { tenant: world.tenant, role: Role::Viewer };
        for scope in [member, Scope::Operator] {
            let view = env.db.log_view(&scope, job, None).await.unwrap();
            assert_eq!((view.job_state, view.newest_epoch), (JobState::Running, attempt.epoch));
            assert_eq!(view.log.map(|log| log.attempt()), Some(attempt));
        }
        let missing = env.db.log_view(&member, job, Some(9)).await;
        assert!(matches!(missing, Err(StoreError::NotFound("attempt"))), "{missing:?}");
        let unclaimed = env.build(&world, "two", commit('b')).await;
        let view = env.db.log_view(&member, env.job_of(unclaimed).await.id, None).await.unwrap();
        assert_eq!((view.newest_epoch, view.log), (0, None));
    }
}

both! {
    async fn the_segment_that_ends_a_whole_stream_seals_its_log_and_no_neighbours(env) {
        let world = env.world("own").await;
        env.db.change_tenant(world.tenant, None, Some(Some(4)), &Plans::default()).await.unwrap();
        let (crew, lead) = (env.crew(start()).await, env.lead(start()).await);
        let mut attempts = Vec::new();
        for key in ["one", "two", "three", "four"] {
            let build = env.build(&world, key, commit('a')).await;
            attempts.push(env.running(&crew, &lead, env.job_of(build).await.id, start()).await);
        }
        let [whole, early, broken, late] = attempts[..] else { panic!("four attempts") };
        let ends = [whole, broken].map(|attempt| (attempt, end(10)));
        env.db.end_logs(&ends, start()).await.unwrap();
        let whole_segment = |attempt| NewSegment { whole: true, ..segment(attempt, 0, 10, 2) };
        let new = [whole_segment(whole), whole_segment(early), segment(broken, 0, 10, 1), segment(late, 5, 10, 1)];
        let booked = env.db.add_log_segments(&new, later(3)).await.unwrap();
        assert_eq!(booked, [Booked::Sealed, Booked::Yes, Booked::Yes, Booked::No], "no end, another hash, a gap");
        let mut states = Vec::new();
        for attempt in attempts {
            let log = env.db.attempt_log(attempt).await.unwrap();
            states.push((log.state, log.durable, log.lines));
        }
        let open = LogState::Open;
        assert_eq!(states, [(LogState::Sealed, 10, 2), (open, 10, 2), (open, 10, 1), (open, 0, 0)]);
        let first = env.db.log_segment_at(early, 3).await.unwrap().expect("booked");
        assert_eq!((first.first_line, first.lines), (0, 2));
        assert_eq!(env.db.add_log_segments(&[segment(whole, 10, 20, 1)], later(4)).await.unwrap(), [Booked::No]);
    }
}

both! {
    async fn a_sealed_log_of_many_segments_is_archived_once_and_then_settled(env) {
        let (_, attempt) = attempt(&env).await;
        assert!(add(&env, segment(attempt, 0, 10, 1)).await);
        end_log(&env, attempt, end(30)).await;
        assert!(!env.db.archive_log(attempt, later(1), later(2)).await.unwrap(), "it is open");
        let last = NewSegment { whole: true, ..segment(attempt, 10, 30, 2) };
        assert_eq!(env.db.add_log_segments(&[last], later(5)).await.unwrap(), [Booked::Sealed]);
        let segments = env.db.log_segments(attempt, 9, 10).await.unwrap();
        let lies: Vec<_> = segments.iter().map(|row| (row.object_start, row.object_bytes, row.archived)).collect();
        assert_eq!(lies, [(Some(0), Some(40), false), (Some(40), Some(50), false)]);
        assert_eq!(env.db.log_segments(attempt, 10, 10).await.unwrap(), segments[1..]);
        assert_eq!(env.db.log_segments(attempt, 30, 10).await.unwrap(), []);

        assert_eq!(env.db.lease_archives(later(4), later(9), 10).await.unwrap(), [], "not yet due");
        let due = env.db.lease_archives(later(5), later(9), 10).await.unwrap();
        assert_eq!(due.iter().map(|due| (due.attempt(), due.archived)).collect::<Vec<_>>(), [(attempt, false)]);
        assert_eq!(env.db.lease_archives(later(8), later(9), 10).await.unwrap(), [], "somebody else looks");
        assert!(env.db.archive_log(attempt, later(8), later(20)).await.unwrap());
        assert!(!env.db.archive_log(attempt, later(9), later(30)).await.unwrap(), "it was so already");
        assert!(env.db.log_segment_at(attempt, 3).await.unwrap().unwrap().archived);
        assert_eq!(env.db.lease_archives(later(19), later(40), 10).await.unwrap(), []);
        let late = due[0];
        let due = env.db.lease_archives(later(20), later(40), 10).await.unwrap();
        assert!(matches!(due[..], [due] if due.archived));

        env.db.unarchive_log(late, later(21)).await.unwrap();
        env.db.settle_archive(late).await.unwrap();
        assert!(env.db.log_segment_at(attempt, 3).await.unwrap().unwrap().archived, "whose lease is over changes nothing");
        env.db.unarchive_log(due[0], later(21)).await.unwrap();
        assert!(!env.db.log_segment_at(attempt, 3).await.unwrap().unwrap().archived);
        let due = env.db.lease_archives(later(21), later(40), 10).await.unwrap();
        assert!(matches!(due[..], [due] if !due.archived));
        env.db.settle_archive(due[0]).await.unwrap();
        assert_eq!(env.db.lease_archives(later(99), later(100), 10).await.unwrap(), []);
    }
}

both! {
    async fn a_log_of_one_segment_needs_no_archive(env) {
        let (_, attempt) = attempt(&env).await;
        end_log(&env, attempt, end(30)).await;
        let whole = NewSegment { whole: true, ..segment(attempt, 0, 30, 2) };
        assert_eq!(env.db.add_log_segments(&[whole], later(5)).await.unwrap(), [Booked::Sealed]);
        assert_eq!(env.db.lease_archives(later(99), later(100), 10).await.unwrap(), []);
    }
}
