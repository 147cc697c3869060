//! What happened on a forge, in words.

use slipway_domain::event::{ChangeAction, ChangeEvent, Event, ForgeKind, RefEvent, RefKind, RefOp};

use crate::pages::view::short_commit;
use crate::texts::Texts;

/// How events of a forge are told, and in which language.
#[derive(Clone, Copy)]
pub struct Telling {
    pub forge: ForgeKind,
    pub texts: Texts,
}

impl Telling {
    /// One event as people say it. The repository is only named where it is not the project's own.
    pub fn sentence(self, event: &Event, own_repo: &str) -> String {
        let texts = self.texts;
        let told = match event {
            Event::Ref(event) => self.ref_words(event),
            Event::Change(event) => self.change_words(event),
            Event::Release(event) => texts.t("event-release").with("tag", &event.tag).to_string(),
            Event::Rerun(event) => texts.t("event-rerun").with("commit", short_commit(&event.commit)).to_string(),
        };
        let repo = event.repo();
        if repo == own_repo { told } else { texts.t("event-in-repo").with("what", told).with("repo", repo).to_string() }
    }

    fn ref_words(self, event: &RefEvent) -> String {
        let texts = self.texts;
        let kind = match event.kind {
            RefKind::Branch => "event-branch",
            RefKind::Tag => "event-tag",
            RefKind::Other => "event-ref",
        };
        let name = texts.t(kind).with("name", &event.name);
        let before = event.before.as_deref().map(short_commit);
        let now = event.after.as_ref().or(event.commit.as_ref()).map(|id| short_commit(id));
        let moved = match (event.op, &before, &now) {
            (RefOp::Created, _, None) => "event-ref-created",
            (RefOp::Created, _, Some(_)) => "event-ref-created-at",
            (RefOp::Updated, None, None) => "event-ref-moved",
            (RefOp::Updated, None, Some(_)) => "event-ref-moved-to",
            (RefOp::Updated, Some(_), None) => "event-ref-moved-from",
            (RefOp::Updated, Some(_), Some(_)) => "event-ref-moved-from-to",
            (RefOp::Deleted, _, _) => "event-ref-deleted",
        };
        let (before, now) = (before.unwrap_or_default(), now.unwrap_or_default());
        let mut told = texts.t(moved).with("ref", name).with("before", before).with("commit", now);
        if event.forced == Some(true) {
            told = texts.t("event-forced").with("what", told);
        }
        match (&event.skip_marker, event.skip_ci) {
            (Some(marker), true) => texts.t("event-skipped-by").with("what", told).with("marker", marker),
            (None, true) => texts.t("event-skipped").with("what", told),
            (_, false) => told,
        }
        .to_string()
    }

    fn change_words(self, event: &ChangeEvent) -> String {
        let texts = self.texts;
        let kind = match self.forge {
            ForgeKind::Gitlab | ForgeKind::Coding => "event-merge-request",
            ForgeKind::Github | ForgeKind::Bitbucket | ForgeKind::BitbucketDc | ForgeKind::Gitea | ForgeKind::Gitee => {
                "event-pull-request"
            }
        };
        let action = match event.action {
            ChangeAction::Opened => "event-opened",
            ChangeAction::Reopened => "event-reopened",
            ChangeAction::HeadUpdated => "event-new-commits",
            ChangeAction::Retargeted => "event-retargeted",
            ChangeAction::ReadyForReview => "event-ready",
            ChangeAction::Metadata => "event-metadata",
            ChangeAction::Closed => "event-closed",
            ChangeAction::Merged => "event-merged",
            ChangeAction::Other => "event-changed",
        };
        let change = texts.t(kind).with("number", event.number.to_string());
        let mut told = texts.t(action).with("change", change);
        if event.from_fork {
            told = texts.t("event-from-fork").with("what", told);
        }
        told = match (&event.source_branch, &event.target_branch) {
            (Some(source), Some(target)) => {
                texts.t("event-from-into").with("what", told).with("source", source).with("target", target)
            }
            (Some(source), None) => texts.t("event-from").with("what", told).with("source", source),
            (None, Some(target)) => texts.t("event-into").with("what", told).with("target", target),
            (None, None) => told,
        };
        if let Some(head) = event.head.as_deref() {
            told = texts.t("event-head").with("what", told).with("commit", short_commit(head));
        }
        told.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::texts::ENGLISH;

    fn told(mut event: serde_json::Value, forge: ForgeKind) -> String {
        let fields = event.as_object_mut().expect("an object");
        fields.entry("repo").or_insert(json!("acme/app"));
        Telling { forge, texts: ENGLISH }.sentence(&serde_json::from_value(event).expect("an event"), "acme/app")
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
