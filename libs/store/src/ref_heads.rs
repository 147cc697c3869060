//! Moves of a ref that make no build. They still move the ref's head: otherwise the next move would look as
//! if it came late, and a build by hand would take an old commit.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::ProjectId;

use crate::Db;
use crate::batches;
use crate::builds::ORDER_STEP;
use crate::db::{Tx, execute};
use crate::error::Result;
use crate::ref_order::first_noted;

/// A move of a ref.
#[derive(Debug, Clone, Copy)]
pub struct RefMove<'a> {
    /// The project.
    pub project: ProjectId,
    /// The ref.
    pub git_ref: &'a GitRef,
    /// What it pointed to; `None` when created.
    pub before: Option<&'a str>,
    /// What it points to; `None` when deleted.
    pub after: Option<&'a str>,
    /// When we heard of it.
    pub now: DateTime<Utc>,
}

impl Db {
    /// Moves refs' heads, of one ref in this order: each if it stands where the move began, or was never
    /// heard of. A move that comes late or twice changes nothing. Gives the number of heads that moved.
    pub async fn note_moves(&self, moves: &[RefMove<'_>]) -> Result<usize> {
        if moves.is_empty() {
            return Ok(0);
        }
        // Most repetitions end here, without a write.
        let mut moves = promising(moves, batches::heads(self, moves).await?);
        if moves.is_empty() {
            return Ok(0);
        }
        // Rows are locked in one order everywhere; the sort leaves the moves of one ref in theirs.
        moves.sort_by_key(|moved| (moved.project, moved.git_ref.as_str()));
        let mut tx = self.begin_write().await?;
        let mut changed = 0;
        for moved in moves {
            changed += usize::from(note_move(&mut tx, moved).await?);
        }
        tx.commit().await?;
        Ok(changed)
    }
}

/// The moves that can change something, the heads being as they were read.
fn promising<'a, 'b>(
    moves: &'a [RefMove<'b>],
    heads: Vec<(ProjectId, String, Option<String>)>,
) -> Vec<&'a RefMove<'b>> {
    let mut heads: BTreeMap<(ProjectId, String), Option<String>> =
        heads.into_iter().map(|(project, git_ref, head)| ((project, git_ref), head)).collect();
    let changes = |moved: &&RefMove<'_>| {
        let place = (moved.project, moved.git_ref.as_str().to_owned());
        let fits = heads.get(&place).is_none_or(|head| head.as_deref() == moved.before);
        if fits {
            heads.insert(place, moved.after.map(str::to_owned));
        }
        fits
    };
    moves.iter().filter(changes).collect()
}

async fn note_move(tx: &mut Tx, moved: &RefMove<'_>) -> Result<bool> {
    const FIRST: &str = "insert into ref_heads (project_id, ref, head, head_order, updated_at) \
        values ($1, $2, $3, $4, $5) on conflict (project_id, ref) do nothing";
    const MOVE: &str = "update ref_heads set head = $4, head_order = head_order + $5, updated_at = $6 \
        where project_id = $1 and ref = $2 and head is not distinct from $3";
    let mut changed =
        execute!(tx, FIRST, moved.project, moved.git_ref, moved.after, first_noted(moved.before.is_none()), moved.now);
    if changed == 0 {
        changed = execute!(tx, MOVE, moved.project, moved.git_ref, moved.before, moved.after, ORDER_STEP, moved.now);
    }
    Ok(changed == 1)
}
