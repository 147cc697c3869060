//! The ref part of a push: what it is called, how it moved, and what its head commit says.

use serde::Deserialize;
use slipway_domain::event::{RefEvent, RefKind, RefOp, skip_marker};

use crate::body::{ParseError, first_line, need_text, object_id, told_id};

/// Longest ref that we take; git itself stops earlier.
const MAX_REF_BYTES: usize = 4096;

/// A commit as pushes name it.
#[derive(Debug, Default, Clone, Deserialize)]
pub(crate) struct Commit {
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

/// The ref part of a push with a full ref and two ids, as most forges tell it. The caller adds the head
/// commit and who it was.
pub(crate) fn ref_event(
    repo: String,
    full_ref: Option<String>,
    before: Option<String>,
    after: Option<String>,
) -> Result<RefEvent, ParseError> {
    let named = full_name(full_ref, "ref")?;
    Ok(moved(repo, named, object_id(before, "before")?, object_id(after, "after")?))
}

/// Kind and short name of a full ref such as `refs/heads/main`.
pub(crate) fn full_name(full_ref: Option<String>, place: &str) -> Result<(RefKind, String), ParseError> {
    let full_ref = ref_name(full_ref, place)?;
    let (kind, name) = if let Some(branch) = full_ref.strip_prefix("refs/heads/") {
        (RefKind::Branch, branch)
    } else if let Some(tag) = full_ref.strip_prefix("refs/tags/") {
        (RefKind::Tag, tag)
    } else if full_ref.starts_with("refs/") {
        (RefKind::Other, full_ref.as_str())
    } else {
        return Err(ParseError::at(place, "is not a full ref name such as refs/heads/main"));
    };
    if name.is_empty() {
        return Err(ParseError::at(place, "has no name after its prefix"));
    }
    Ok((kind, name.to_owned()))
}

/// A ref's name, full or short.
pub(crate) fn ref_name(name: Option<String>, place: &str) -> Result<String, ParseError> {
    let name = need_text(name, place)?;
    if name.len() > MAX_REF_BYTES {
        return Err(ParseError::at(place, "is longer than any ref that git can keep"));
    }
    Ok(name)
}

/// A ref that moved from one object to another, `None` meaning that it is not there.
pub(crate) fn moved(
    repo: String,
    (kind, name): (RefKind, String),
    before: Option<String>,
    after: Option<String>,
) -> RefEvent {
    let op = match (&before, &after) {
        (_, None) => RefOp::Deleted,
        (None, Some(_)) => RefOp::Created,
        (Some(_), Some(_)) => RefOp::Updated,
    };
    RefEvent {
        repo,
        kind,
        name,
        op,
        commit: None,
        forced: None,
        skip_ci: false,
        before,
        after,
        skip_marker: None,
        title: None,
        actor: None,
    }
}

/// Adds the commit and what it says, unless the ref is gone. A branch always points to a commit; `after` of
/// an annotated tag is the tag object, so that only `head`, which stands at `place`, tells the commit.
pub(crate) fn tell_head(
    event: &mut RefEvent,
    (head, place): (Option<&Commit>, &str),
    others: &[Commit],
) -> Result<(), ParseError> {
    if event.op == RefOp::Deleted {
        return Ok(());
    }
    let told = told_id(head.and_then(|head| head.id.clone()), place)?;
    event.commit = if event.kind == RefKind::Branch { event.after.clone() } else { told };
    let is_head = |commit: &&Commit| commit.id.is_some() && commit.id == event.commit;
    let message = head.into_iter().chain(others).find(is_head).and_then(|commit| commit.message.clone());
    tell_message(event, &message.unwrap_or_default());
    Ok(())
}

/// Adds what the head commit's message says.
pub(crate) fn tell_message(event: &mut RefEvent, message: &str) {
    event.title = first_line(message);
    event.skip_marker = skip_marker(message);
    event.skip_ci = event.skip_marker.is_some();
}
