//! Where stories begin, when the way there is long.

use super::super::model::Model;
use super::super::ops::{AClaim, Op, Said, Step, Try};

/// A story goes on from what happened before it.
pub fn after(before: Vec<Step>) -> Model {
    let mut model = Model::default();
    before.iter().for_each(|step| model.take(step));
    Model { before, ..model }
}

/// One job each of two builds of a ref, on a builder each: the way here is long.
pub fn two_builds_run() -> Vec<Step> {
    let open = |builder, session| Op::Open { builder, session, held: Vec::new(), claiming: Vec::new() };
    let (look, dispatch) = (Op::Look { process: 0 }, |job, dispatch| Op::Dispatch { process: 0, job, dispatch });
    let claim = |session, job, dispatch| AClaim { session, job, dispatch, claim: dispatch };
    let ops = [
        open(0, 1),
        open(1, 2),
        Op::Enqueue { build: 0 },
        Op::Enqueue { build: 1 },
        Op::Lead { process: 0 },
        look.clone(),
        Op::Admit { process: 0, jobs: vec![0, 2] },
        look,
        dispatch(0, 1),
        dispatch(2, 2),
        Op::Claims(vec![claim(1, 0, 1), claim(2, 2, 2)]),
    ];
    ops.into_iter().map(|op| Step { op, said: Said::Once }).collect()
}

/// The newer one moved a tag, and its word does not come through for as long as its leave lasts.
pub fn nobody_hears_the_newer() -> Vec<Step> {
    let (attempt, tag) = (Try(2, 1), 0);
    let renew = Op::Renew { sessions: vec![1, 2], draining: false };
    let ops = [
        Op::AskLeave { attempt, tag },
        Op::Put { attempt, tag },
        Op::Wait { secs: 20 },
        renew.clone(),
        Op::Wait { secs: 11 },
        renew,
    ];
    let steps = ops.into_iter().map(|op| Step { op, said: Said::Once });
    two_builds_run().into_iter().chain(steps).collect()
}

/// A job that was lost three times.
pub fn the_last_try() -> Vec<Step> {
    let mut ops: Vec<Op> = Vec::new();
    for epoch in 1..=3 {
        let dispatch = 10 + epoch as u32;
        let claim = AClaim { session: 2, job: 0, dispatch, claim: dispatch };
        ops.extend([
            Op::Lose { attempt: Try(0, epoch) },
            Op::Wait { secs: 20 },
            Op::Renew { sessions: vec![2], draining: false },
            Op::Lead { process: 0 },
            Op::Look { process: 0 },
            Op::Admit { process: 0, jobs: vec![0] },
            Op::Look { process: 0 },
            Op::Dispatch { process: 0, job: 0, dispatch },
            Op::Claims(vec![claim]),
        ]);
    }
    let steps = ops.into_iter().map(|op| Step { op, said: Said::Once });
    two_builds_run().into_iter().chain(steps).collect()
}
