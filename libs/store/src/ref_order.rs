//! A build's place within its ref: that of its move in the before/after chain, whatever order the moves are told
//! in. A move from the head goes to the end. One that ends where a known move began, whose own past nobody told of
//! yet, goes before that; and where its past stands behind that move, the move and what follows it go there, too.
//! Moves that made no build lead on like others, and where they are all that is known of a ref, what they followed from
//! goes before them. Between moves that nothing links, arrival counts.
//!
//! A ref that was found elsewhere than all moves told has a build of its own for that (`found:` begins its key). It
//! stands for moves that are lost or late: one that ends where it ends becomes its move, by taking its key over, and
//! others that do not leave the head go before it, for as long as [`LATE`].
//!
//! All of it is decided under the lock of the ref's row.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use slipway_domain::git_ref::GitRef;
use slipway_domain::ids::BuildId;
use sqlx::FromRow;

use crate::builds::{NewBuild, ORDER_STEP, RefOrder};
use crate::db::{Tx, execute, on_tx};
use crate::error::{Result, StoreError};

/// What is told later than this of a move that was found is told of another one. Forges deliver again for three days.
const LATE: TimeDelta = TimeDelta::days(4);

/// Where a new build stands.
pub(crate) struct Standing {
    /// Its order within the ref; `None` for a bare commit.
    pub(crate) order: Option<i64>,
    /// Its move began where no known one ended.
    pub(crate) unlinked: bool,
    /// The build that was made for this move before anybody told of it.
    pub(crate) joins: Option<BuildId>,
}

/// The order of the head of a ref of which nobody knew, after a move that makes no build. It is negative, and stays so
/// for a thousand million of such moves, where something may have gone before.
pub(crate) fn first_noted(is_created: bool) -> i64 {
    if is_created { 0 } else { -(1 << 50) }
}

/// Builds of one order: a move's, with its reruns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    order: i64,
    builds: Vec<BuildId>,
    before: Option<String>,
    after: String,
    unlinked: bool,
    /// Nobody told of it yet.
    found: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
struct Head {
    #[sqlx(rename = "head")]
    commit: Option<String>,
    #[sqlx(rename = "head_order")]
    order: i64,
}

impl Head {
    /// True while all that is known of the ref are moves that made no build, and that began nobody knows where.
    fn is_only_noted(&self) -> bool {
        self.order < 0
    }
}

/// A move that is to be placed.
#[derive(Debug, Clone, Copy)]
struct Move<'a> {
    before: Option<&'a str>,
    after: &'a str,
    /// What it led to by moves that made no build.
    onward: &'a [String],
}

impl Move<'_> {
    /// True if what begins there follows from the move.
    fn leads_to(&self, before: Option<&str>) -> bool {
        before == Some(self.after) || self.leads_on_to(before)
    }

    /// The same, over moves that made no build.
    fn leads_on_to(&self, commit: Option<&str>) -> bool {
        commit.is_some_and(|commit| self.onward.iter().any(|onward| onward == commit))
    }
}

/// What placing a move changes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    order: i64,
    unlinked: bool,
    /// The place that the move leads up to, by its index.
    successor: Option<usize>,
    /// Places that get another order, by their index.
    reordered: Vec<(usize, i64)>,
    /// The ref's new head.
    head: Option<Head>,
}

impl Plan {
    /// The place whose past the move is. One that it only leads to over moves without a build stays open: one of them
    /// may have its build still to come.
    fn linked<'a>(&self, places: &'a [Place], moved: Move<'_>) -> Option<&'a Place> {
        let successor = self.successor.and_then(|index| places.get(index));
        successor.filter(|place| place.before.as_deref() == Some(moved.after))
    }
}

/// The build's order within its ref, moving the ref's head where the build is a move.
pub(crate) async fn place_in_ref(tx: &mut Tx, new: &NewBuild) -> Result<Standing> {
    const ORDER_OF: &str = "select ref_order from builds where id = $1";
    let standing = |order| Standing { order, unlinked: false, joins: None };
    let Some(git_ref) = &new.git_ref else { return Ok(standing(None)) };
    match &new.order {
        RefOrder::None => Ok(standing(None)),
        RefOrder::SameAs(build) => {
            let order: Option<Option<i64>> =
                on_tx!(tx, conn => sqlx::query_scalar(ORDER_OF).bind(*build).fetch_optional(conn).await?);
            Ok(standing(order.flatten()))
        }
        RefOrder::Head => Ok(standing(head(tx, new, git_ref).await?.map(|head| head.order))),
        RefOrder::Move { before, after } => {
            place_move(tx, new, git_ref, Move { before: before.as_deref(), after, onward: &[] }).await
        }
        RefOrder::Found { known, after, version } => {
            let moved = Move { before: known.as_deref(), after, onward: &[] };
            Ok(standing(Some(place_found(tx, new, git_ref, moved, *version).await?)))
        }
    }
}

async fn place_move(tx: &mut Tx, new: &NewBuild, git_ref: &GitRef, moved: Move<'_>) -> Result<Standing> {
    lock_head(tx, new, git_ref).await?;
    let head = head(tx, new, git_ref).await?.unwrap_or(Head { commit: None, order: 0 });
    // Nearly every move leaves the head and leads up to nothing that is known; then nothing else counts.
    let is_late = head.commit.as_deref() != moved.before
        || head.is_only_noted()
        || leads_up(tx, new, git_ref, moved.after).await?;
    let places = if is_late { places(tx, new, git_ref).await? } else { Vec::new() };
    if head.commit.as_deref() != moved.before
        && let Some(found) =
            places.iter().rev().find(|place| place.found && (place.after == moved.after || place.after == new.commit))
        && let Some(build) = join(tx, new, found).await?
    {
        return Ok(Standing { order: Some(found.order), unlinked: false, joins: Some(build) });
    }
    let onward = if is_late { onward(tx, new, git_ref, (moved.after, &places)).await? } else { Vec::new() };
    let plan = plan(&places, &head, Move { onward: &onward, ..moved });
    apply(tx, (new, git_ref), (&places, moved), &plan).await?;
    Ok(Standing { order: Some(plan.order), unlinked: plan.unlinked, joins: None })
}

/// The place of what a ref was found to point to: its end, if nothing moved it since it was read.
async fn place_found(tx: &mut Tx, new: &NewBuild, git_ref: &GitRef, moved: Move<'_>, version: i64) -> Result<i64> {
    lock_head(tx, new, git_ref).await?;
    let head = head(tx, new, git_ref).await?.unwrap_or(Head { commit: None, order: 0 });
    if head.order != version || head.commit.as_deref() != moved.before {
        return Err(StoreError::Stale("ref"));
    }
    let places = if head.is_only_noted() { places(tx, new, git_ref).await? } else { Vec::new() };
    let plan = Plan { unlinked: false, ..append(&places, &head, moved) };
    apply(tx, (new, git_ref), (&places, moved), &plan).await?;
    Ok(plan.order)
}

/// Makes the found build the one of this move; `None` where the move has a build, or somebody told of the other.
async fn join(tx: &mut Tx, new: &NewBuild, found: &Place) -> Result<Option<BuildId>> {
    const KNOWN: &str = "select count(*) from builds where project_id = $1 and dedupe_key = $2";
    const JOIN: &str = "update builds set dedupe_key = $2, before_id = $3, unlinked = $4, title = coalesce(title, $5), \
        actor = coalesce(actor, $6) where id = $1 and substr(dedupe_key, 1, 6) = 'found:'";
    let known: i64 = on_tx!(tx, conn => sqlx::query_scalar(KNOWN)
        .bind(new.project)
        .bind(&new.dedupe_key)
        .fetch_one(conn)
        .await?);
    let Some(build) = found.builds.first().filter(|_| known == 0) else { return Ok(None) };
    let unlinked = found.before != new.before && new.before.is_some();
    let joined = execute!(tx, JOIN, *build, &new.dedupe_key, &new.before, unlinked, &new.title, &new.actor);
    Ok((joined == 1).then_some(*build))
}

/// Decides where a move stands among the places, which are sorted by order.
fn plan(places: &[Place], head: &Head, moved: Move<'_>) -> Plan {
    let follows = head.commit.as_deref() == moved.before;
    let is_past = |place: &Place| Some(place.after.as_str()) == moved.before;
    let successor = places.iter().rposition(|place| place.unlinked && moved.leads_to(place.before.as_deref()));
    let Some(successor) = successor else {
        if head.is_only_noted() && !follows && moved.leads_on_to(head.commit.as_deref()) {
            let unlinked = moved.before.is_some() && !places.iter().any(is_past);
            return Plan { order: end(places, head), unlinked, ..Plan::default() };
        }
        // What was found is newer than what does not leave the head.
        return match places.iter().rposition(|place| place.found).filter(|_| !follows) {
            Some(found) => before_found(places, moved, found),
            None => append(places, head, moved),
        };
    };
    let tail = tail_of(places, successor);
    let past_behind = places.iter().rposition(is_past).filter(|past| *past > successor && !tail.contains(past));
    let past_before = places.get(..successor).unwrap_or_default().iter().any(is_past);
    match past_behind {
        Some(past) if follows || !past_before => behind(places, head, moved, (successor, past, &tail)),
        Some(_) | None if follows => append(places, head, moved),
        Some(_) | None => {
            let order = order_before(places, successor);
            let unlinked = !past_before && moved.before.is_some();
            Plan { order, unlinked, successor: Some(successor), reordered: Vec::new(), head: None }
        }
    }
}

fn before_found(places: &[Place], moved: Move<'_>, found: usize) -> Plan {
    let is_past = |place: &Place| Some(place.after.as_str()) == moved.before;
    let begins = |place: &Place| place.before.as_deref() == moved.before;
    let known_past =
        places.get(..found).unwrap_or_default().iter().any(is_past) || places.get(found).is_some_and(begins);
    let unlinked = !known_past && moved.before.is_some();
    Plan { order: order_before(places, found), unlinked, successor: None, reordered: Vec::new(), head: None }
}

/// The move becomes the ref's head.
fn append(places: &[Place], head: &Head, moved: Move<'_>) -> Plan {
    let order = end(places, head);
    let is_known = match head.commit.as_deref() == moved.before {
        true => !head.is_only_noted() || moved.before.is_none(),
        false => has_free_past(places, moved),
    };
    let head = Some(Head { commit: Some(moved.after.to_owned()), order });
    Plan { order, unlinked: !is_known, successor: None, reordered: Vec::new(), head }
}

/// The order behind everything.
fn end(places: &[Place], head: &Head) -> i64 {
    places.last().map_or(0, |last| last.order).max(head.order).max(0) + ORDER_STEP
}

/// True if nothing is missing before the move: it begins a ref, or more moves came to where it begins than left.
fn has_free_past(places: &[Place], moved: Move<'_>) -> bool {
    let came = places.iter().filter(|place| Some(place.after.as_str()) == moved.before).count();
    let left = places.iter().filter(|place| place.before.as_deref() == moved.before).count();
    moved.before.is_none() || came > left
}

/// A place and those that follow from it.
fn tail_of(places: &[Place], start: usize) -> HashSet<usize> {
    let mut tail = HashSet::new();
    let mut commits = HashSet::new();
    for (index, place) in places.iter().enumerate().skip(start) {
        let follows = match place.before.as_deref() {
            Some(before) if commits.contains(before) => true,
            // What left a head that no build shows came by moves that made none, and stands right behind them.
            Some(before) if places.iter().all(|other| other.after != before) => {
                index.checked_sub(1).is_some_and(|left| tail.contains(&left))
            }
            Some(_) | None => false,
        };
        if index == start || (follows && !place.unlinked) {
            tail.insert(index);
            commits.insert(place.after.as_str());
        }
    }
    tail
}

fn order_before(places: &[Place], index: usize) -> i64 {
    let order_at = |index: usize| places.get(index).map(|place| place.order);
    let next = order_at(index).unwrap_or_default();
    index.checked_sub(1).and_then(order_at).map_or(next - ORDER_STEP, |left| left.midpoint(next))
}

/// The move goes behind its past, and its successor with what follows goes behind the move. The places between
/// keep their order; all of them share out the orders that they had, and one more.
fn behind(places: &[Place], head: &Head, moved: Move<'_>, at: (usize, usize, &HashSet<usize>)) -> Plan {
    let (successor, past, tail) = at;
    let past_order = places.get(past).map_or(0, |place| place.order);
    let (stay, go): (Vec<usize>, Vec<usize>) = (successor..=past).partition(|index| !tail.contains(index));
    let (one_more, is_end) = match places.get(past + 1) {
        Some(next) => (past_order.midpoint(next.order), false),
        None if head.order > past_order => (past_order.midpoint(head.order), false),
        None => (end(places, head), !head.is_only_noted()),
    };
    let had = places.iter().map(|place| place.order).skip(successor).take(past + 1 - successor);
    let mut orders = had.chain([one_more]);
    let mut reordered: Vec<(usize, i64)> = stay.into_iter().zip(orders.by_ref()).collect();
    let order = orders.next().unwrap_or(one_more);
    reordered.extend(go.iter().copied().zip(orders));
    let last = go.last().and_then(|index| places.get(*index)).map(|place| place.after.clone());
    let head = is_end.then(|| Head { commit: last.or_else(|| Some(moved.after.to_owned())), order: one_more });
    Plan { order, unlinked: false, successor: Some(successor), reordered, head }
}

/// Makes sure that the ref's row exists and that no other move of it is decided at the same time.
async fn lock_head(tx: &mut Tx, new: &NewBuild, git_ref: &GitRef) -> Result<()> {
    const INSERT: &str = "insert into ref_heads (project_id, ref, head_order, updated_at) values ($1, $2, 0, $3) \
        on conflict (project_id, ref) do update set updated_at = excluded.updated_at";
    execute!(tx, INSERT, new.project, git_ref, new.now);
    Ok(())
}

async fn head(tx: &mut Tx, new: &NewBuild, git_ref: &GitRef) -> Result<Option<Head>> {
    const HEAD: &str = "select head, head_order from ref_heads where project_id = $1 and ref = $2";
    Ok(on_tx!(tx, conn => sqlx::query_as(HEAD).bind(new.project).bind(git_ref).fetch_optional(conn).await?))
}

/// True if a move is known that begins here and whose past is not.
async fn leads_up(tx: &mut Tx, new: &NewBuild, git_ref: &GitRef, after: &str) -> Result<bool> {
    const UNLINKED: &str = "select count(*) from builds where project_id = $1 and ref = $2 and before_id = $3 \
        and unlinked";
    let found: i64 = on_tx!(tx, conn => sqlx::query_scalar(UNLINKED)
        .bind(new.project)
        .bind(git_ref)
        .bind(after)
        .fetch_one(conn)
        .await?);
    Ok(found > 0)
}

async fn places(tx: &mut Tx, new: &NewBuild, git_ref: &GitRef) -> Result<Vec<Place>> {
    const PLACES: &str = "select ref_order, id, before_id, commit_id, unlinked, \
        substr(dedupe_key, 1, 6) = 'found:' and created_at > $3 as found from builds where project_id = $1 \
        and ref = $2 and ref_order is not null order by ref_order, id";
    type Row = (i64, BuildId, Option<String>, String, bool, bool);
    let rows: Vec<Row> = on_tx!(tx, conn => sqlx::query_as(PLACES)
        .bind(new.project)
        .bind(git_ref)
        .bind(new.now - LATE)
        .fetch_all(conn)
        .await?);
    let mut places: Vec<Place> = Vec::new();
    for (order, build, before, after, unlinked, found) in rows {
        match places.last_mut().filter(|last| last.order == order) {
            Some(place) => {
                place.builds.push(build);
                place.unlinked |= unlinked;
                place.found |= found;
            }
            None => places.push(Place { order, builds: vec![build], before, after, unlinked, found }),
        }
    }
    Ok(places)
}

/// Where the ref went on from a commit by moves that somebody told and that have no build.
async fn onward(
    tx: &mut Tx,
    new: &NewBuild,
    git_ref: &GitRef,
    (from, places): (&str, &[Place]),
) -> Result<Vec<String>> {
    // Keys are `push:{ref}:{before}:{after}`; a ref has no colon.
    const TOLD: &str = "select m.move_key from delivery_moves m where m.hook_id in \
        (select id from hooks where project_id = $1) and substr(m.move_key, 1, cast($3 as integer)) = $2";
    let prefix = format!("push:{git_ref}:");
    let length = i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX);
    let told: Vec<String> = on_tx!(tx, conn => sqlx::query_scalar(TOLD)
        .bind(new.project)
        .bind(&prefix)
        .bind(length)
        .fetch_all(conn)
        .await?);
    let built: HashSet<(&str, &str)> =
        places.iter().filter_map(|place| Some((place.before.as_deref()?, place.after.as_str()))).collect();
    let mut leads: HashMap<&str, Vec<&str>> = HashMap::new();
    let told = told.iter().filter_map(|key| key.get(prefix.len()..)?.split_once(':'));
    for (before, after) in told.filter(|step| !built.contains(step)) {
        leads.entry(before).or_default().push(after);
    }
    let (mut reached, mut next) = (HashSet::from([from]), vec![from]);
    while let Some(at) = next.pop() {
        next.extend(leads.get(at).into_iter().flatten().copied().filter(|after| reached.insert(after)));
    }
    reached.remove(from);
    Ok(reached.into_iter().map(str::to_owned).collect())
}

async fn apply(
    tx: &mut Tx,
    (new, git_ref): (&NewBuild, &GitRef),
    (places, moved): (&[Place], Move<'_>),
    plan: &Plan,
) -> Result<()> {
    const LINK: &str = "update builds set unlinked = $2 where id = $1";
    const REORDER: &str = "update builds set ref_order = $2 where id = $1";
    const HEAD: &str = "update ref_heads set head = $3, head_order = $4 where project_id = $1 and ref = $2";
    for build in plan.linked(places, moved).iter().flat_map(|place| &place.builds) {
        execute!(tx, LINK, *build, false);
    }
    for (index, order) in &plan.reordered {
        for build in places.get(*index).iter().flat_map(|place| &place.builds) {
            execute!(tx, REORDER, *build, *order);
        }
    }
    if let Some(head) = &plan.head {
        execute!(tx, HEAD, new.project, git_ref, &head.commit, head.order);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
