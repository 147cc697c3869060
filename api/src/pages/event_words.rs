//! What happened on a forge, in words.

use slipway_domain::event::{ChangeAction, ChangeEvent, Event, ForgeKind, RefEvent, RefKind, RefOp};

use crate::pages::view::short_commit;

/// One event as people say it. The repository is only named where it is not the project's own.
pub fn sentence(event: &Event, forge: ForgeKind, own_repo: &str) -> String {
    let told = match event {
        Event::Ref(event) => ref_words(event),
        Event::Change(event) => change_words(event, forge),
        Event::Release(event) => format!("release {} published", event.tag),
        Event::Rerun(event) => format!("commit {} to be built again", short_commit(&event.commit)),
    };
    let repo = event.repo();
    if repo == own_repo { told } else { format!("{told} (in {repo})") }
}

fn ref_words(event: &RefEvent) -> String {
    let kind = match event.kind {
        RefKind::Branch => "branch",
        RefKind::Tag => "tag",
        RefKind::Other => "ref",
    };
    let from = event.before.as_deref().map(|id| format!(" from {}", short_commit(id))).unwrap_or_default();
    let now = event.after.as_ref().or(event.commit.as_ref()).map(|id| short_commit(id));
    let moved = match (event.op, now) {
        (RefOp::Created, None) => "created".to_owned(),
        (RefOp::Created, Some(now)) => format!("created at {now}"),
        (RefOp::Updated, None) => format!("moved{from}"),
        (RefOp::Updated, Some(now)) => format!("moved{from} to {now}"),
        (RefOp::Deleted, _) => "deleted".to_owned(),
    };
    let forced = if event.forced == Some(true) { ", its history rewritten" } else { "" };
    let skips = match (&event.skip_marker, event.skip_ci) {
        (Some(marker), true) => format!(", not to be built ({marker})"),
        (None, true) => ", not to be built".to_owned(),
        (_, false) => String::new(),
    };
    format!("{kind} {} {moved}{forced}{skips}", event.name)
}

fn change_words(event: &ChangeEvent, forge: ForgeKind) -> String {
    let kind = match forge {
        ForgeKind::Gitlab | ForgeKind::Coding => "merge request",
        ForgeKind::Github | ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee => {
            "pull request"
        }
    };
    let action = match event.action {
        ChangeAction::Opened => "opened",
        ChangeAction::Reopened => "opened again",
        ChangeAction::HeadUpdated => "has new commits",
        ChangeAction::Retargeted => "goes to another branch",
        ChangeAction::ReadyForReview => "is ready for review",
        ChangeAction::Metadata => "has another title, label or reviewer",
        ChangeAction::Closed => "closed",
        ChangeAction::Merged => "merged",
        ChangeAction::Other => "changed",
    };
    let branches = [("from", &event.source_branch), ("into", &event.target_branch)]
        .into_iter()
        .filter_map(|(word, branch)| Some(format!(" {word} {}", branch.as_ref()?)))
        .collect::<String>();
    let branches = if branches.is_empty() { branches } else { format!(",{branches}") };
    let head = event.head.as_deref().map(|id| format!(", head {}", short_commit(id))).unwrap_or_default();
    let fork = if event.from_fork { ", from a fork" } else { "" };
    format!("{kind} {} {action}{fork}{branches}{head}", event.number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(mut event: serde_json::Value, forge: ForgeKind) -> String {
        let fields = event.as_object_mut().expect("an object");
        fields.entry("repo").or_insert(json!("acme/app"));
        sentence(&serde_json::from_value(event).expect("an event"), forge, "acme/app")
    }

    #[test]
    fn events_are_told_in_words() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let cases = [
            (
                json!({"type": "ref", "kind": "branch", "name": "main", "op": "updated", "commit": b, "forced": false,
                    "skip_ci": false, "before": a, "after": b}),
                "branch main moved from aaaaaaaaaa to bbbbbbbbbb",
            ),
            (
                json!({"type": "ref", "kind": "branch", "name": "main", "op": "updated", "commit": b, "forced": true,
                    "skip_ci": true, "before": a, "after": b, "skip_marker": "[skip ci]"}),
                "branch main moved from aaaaaaaaaa to bbbbbbbbbb, its history rewritten, not to be built ([skip ci])",
            ),
            (
                json!({"type": "ref", "kind": "tag", "name": "v1", "op": "created", "commit": b, "forced": null,
                    "skip_ci": false}),
                "tag v1 created at bbbbbbbbbb",
            ),
            (
                json!({"type": "ref", "kind": "other", "name": "refs/notes/x", "op": "deleted", "commit": null,
                    "forced": null, "skip_ci": false, "before": a}),
                "ref refs/notes/x deleted",
            ),
            (
                json!({"type": "change", "number": 5, "action": "opened", "head": b, "source_branch": "topic",
                    "target_branch": "main", "from_fork": true}),
                "pull request 5 opened, from a fork, from topic into main, head bbbbbbbbbb",
            ),
            (
                json!({"type": "change", "number": 5, "action": "merged", "head": null, "source_branch": null,
                    "target_branch": null, "from_fork": false}),
                "pull request 5 merged",
            ),
            (json!({"type": "release", "tag": "v1", "repo": "acme/other"}), "release v1 published (in acme/other)"),
            (json!({"type": "rerun", "commit": b}), "commit bbbbbbbbbb to be built again"),
        ];
        for (event, words) in cases {
            assert_eq!(told(event, ForgeKind::Github), words);
        }
        let change = json!({"type": "change", "number": 7, "action": "head_updated", "head": null,
            "source_branch": null, "target_branch": "main", "from_fork": false});
        assert_eq!(told(change, ForgeKind::Gitlab), "merge request 7 has new commits, into main");
    }
}
