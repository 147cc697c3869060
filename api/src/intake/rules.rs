//! What a delivery leads to: pure decisions over the parsed event and what its project is.

use chrono::{DateTime, Utc};
use slipway_domain::build::Trigger;
use slipway_domain::event::{ChangeAction, ChangeEvent, Event, ForgeKind, Outcome, RefEvent, RefKind, RefOp};
use slipway_domain::git_ref::{GitRef, is_commit_id};
use slipway_domain::ids::ProjectId;
use slipway_domain::rules::{Rules, Strangers};
use slipway_domain::spec::ChangeSpec;
use slipway_domain::tenant::ProjectState;
use slipway_forges::change_ref::change_ref;
use slipway_forges::hook::{ParseError, Parsed};
use slipway_store::deliveries::Verdict;
use slipway_store::delivery_moves::Move;
use slipway_store::ref_heads::RefMove;

/// What one event leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// A build of this push.
    Push(Push),
    /// A build of this pull or merge request.
    Change(Proposed),
    /// Nothing; says why. A ref that moved nevertheless is noted.
    Ignore(String, Option<RefMoved>),
}

/// What of a project decides about its deliveries.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProjectFacts<'a> {
    /// Its repository on the forge.
    pub(super) repo_path: &'a str,
    pub(super) forge: ForgeKind,
    pub(super) state: ProjectState,
    pub(super) rules: &'a Rules,
}

impl Decision {
    /// True if something is built.
    pub(super) fn builds(&self) -> bool {
        matches!(self, Self::Push(_) | Self::Change(_))
    }
}

/// A pull or merge request that shall be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposed {
    pub(super) change: ChangeSpec,
    pub(super) needs_approval: bool,
    /// Where the base repository has its head.
    pub(super) git_ref: GitRef,
    /// Its id, or the beginning of it where the forge tells no more.
    pub(super) commit: String,
    /// Equal for equal words about it; together with its number it is the build's dedupe key.
    pub(super) told: Move,
}

/// A branch or tag that shall be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Push {
    pub(super) trigger: Trigger,
    pub(super) moved: RefMoved,
    /// Equal for equal moves; together with its number it is the build's dedupe key.
    pub(super) told: Move,
    pub(super) commit: String,
    pub(super) after: String,
    pub(super) title: Option<String>,
    pub(super) actor: Option<String>,
}

/// A move of a ref, `None` meaning "did not exist".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefMoved {
    pub(super) git_ref: GitRef,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl RefMoved {
    /// As it is noted for a project.
    pub(super) fn noted(&self, project: ProjectId, now: DateTime<Utc>) -> RefMove<'_> {
        let (before, after) = (self.before.as_deref(), self.after.as_deref());
        RefMove { project, git_ref: &self.git_ref, before, after, now }
    }
}

/// What intake can say of a delivery before its project is looked at.
pub(super) fn verdict(parsed: &Result<Parsed, ParseError>) -> Verdict {
    match parsed.as_ref().map(|parsed| &parsed.outcome) {
        Ok(Outcome::Events(events)) if events.is_empty() => {
            Verdict::Ignored("the delivery tells of no change".to_owned())
        }
        Ok(Outcome::Events(_)) => Verdict::Work,
        Ok(Outcome::Ping) => Verdict::Ignored("ping".to_owned()),
        Ok(Outcome::Lifecycle(reason) | Outcome::Ignored(reason)) => Verdict::Ignored(reason.clone()),
        Err(error) => Verdict::Failed(error.to_string()),
    }
}

/// The moves of the project's refs that a delivery tells of, to be numbered. A mirror's equal moves must
/// not count: a number more would be a build more.
pub(super) fn moves(outcome: &Outcome, repo_path: &str) -> Vec<Move> {
    let own = events(outcome).iter().zip(0..).filter(|(event, _)| is_same_repo(repo_of(event), repo_path));
    own.filter_map(|(event, index)| told(event, index)).collect()
}

/// The events of an outcome.
pub(super) fn events(outcome: &Outcome) -> &[Event] {
    match outcome {
        Outcome::Events(events) => events,
        Outcome::Ping | Outcome::Lifecycle(_) | Outcome::Ignored(_) => &[],
    }
}

/// What the event at `index` leads to in this project. A hook of a group or an organisation tells of many
/// repositories; only the project's own is built.
pub(super) fn decide(event: &Event, index: i64, project: &ProjectFacts<'_>) -> Decision {
    let ignore = |reason: &str| Decision::Ignore(reason.to_owned(), None);
    let (told_of, own) = (repo_of(event), project.repo_path);
    if !is_same_repo(told_of, own) {
        return ignore(&format!("the delivery is about {}, the project builds {}", shown(told_of), shown(own)));
    }
    match event {
        Event::Ref(moved) => decide_ref(moved, told(event, index), project),
        Event::Change(change) => match decide_change(change, told(event, index), project) {
            Ok(proposed) => Decision::Change(proposed),
            Err(reason) => ignore(&reason),
        },
        Event::Release(_) => ignore("releases are not built; the push of their tag is"),
        Event::Rerun(_) => ignore("asking for a build again on the forge is not supported yet; retry it here"),
    }
}

fn decide_ref(event: &RefEvent, told: Option<Move>, project: &ProjectFacts<'_>) -> Decision {
    let ignore = |reason: String| Decision::Ignore(reason, None);
    let trigger = match event.kind {
        RefKind::Branch => Trigger::Push,
        RefKind::Tag => Trigger::Tag,
        RefKind::Other => return ignore(format!("{} is neither a branch nor a tag", shown(&event.name))),
    };
    let git_ref = match full_ref(event) {
        Ok(git_ref) => git_ref,
        Err(reason) => return ignore(reason),
    };
    let moved = RefMoved { git_ref, before: event.before.clone(), after: event.after.clone() };
    let noted = |reason: String| Decision::Ignore(reason, Some(moved.clone()));
    if event.op == RefOp::Deleted {
        return noted(format!("{} {} was deleted", event.kind, shown(&event.name)));
    }
    if project.state == ProjectState::Paused {
        return noted("the project is paused".to_owned());
    }
    if !project.rules.builds(&moved.git_ref) {
        return noted(format!("the project's rules leave out {} {}", event.kind, shown(&event.name)));
    }
    if event.skip_ci {
        return noted(event.skip_marker.clone().unwrap_or_else(|| "the push asks not to be built".to_owned()));
    }
    let (Some(after), Some(told)) = (event.after.clone(), told) else {
        return ignore("the delivery does not say where the ref points to".to_owned());
    };
    let commit = event.commit.clone().unwrap_or_else(|| after.clone());
    if !is_commit_id(&commit) {
        return ignore("the delivery names no full commit id".to_owned());
    }
    Decision::Push(Push { trigger, moved, told, commit, after, title: event.title.clone(), actor: event.actor.clone() })
}

/// What is built of a change, or why nothing is.
fn decide_change(event: &ChangeEvent, told: Option<Move>, project: &ProjectFacts<'_>) -> Result<Proposed, String> {
    let number = event.number;
    match event.action {
        ChangeAction::Opened
        | ChangeAction::Reopened
        | ChangeAction::HeadUpdated
        | ChangeAction::Retargeted
        | ChangeAction::ReadyForReview => {}
        ChangeAction::Closed => return Err(format!("pull request {number} was closed")),
        ChangeAction::Merged => {
            return Err(format!("pull request {number} was merged; the push of its target is built"));
        }
        ChangeAction::Metadata => return Err(format!("nothing that is built of pull request {number} has changed")),
        ChangeAction::Other => return Err(format!("nothing is built for this news of pull request {number}")),
    }
    if project.state == ProjectState::Paused {
        return Err("the project is paused".to_owned());
    }
    if !project.rules.builds_changes() {
        return Err("the project's rules leave out pull requests".to_owned());
    }
    if event.from_fork && project.rules.strangers() == Strangers::Ignore {
        return Err("the project's rules leave out pull requests from other repositories".to_owned());
    }
    // Bitbucket Cloud names only its first twelve digits; the work on the delivery asks for the rest.
    let names_one = |head: &String| is_commit_id(head) || project.forge == ForgeKind::Bitbucket && is_prefix(head);
    let (Some(commit), Some(told)) = (event.head.clone().filter(names_one), told) else {
        return Err(format!("the delivery names no full commit id of pull request {number}"));
    };
    let branch = |name: &Option<String>| {
        let full = format!("refs/heads/{}", name.as_deref()?);
        GitRef::parse(&full).ok()
    };
    // A branch of the repository itself can be fetched by its own name as well.
    let own = if event.from_fork { None } else { branch(&event.source_branch) };
    let git_ref = change_ref(project.forge, number).or(own).ok_or_else(|| {
        format!("{} keeps no ref of pull request {number}, which comes from another repository", project.forge)
    })?;
    let change = ChangeSpec { number, target: branch(&event.target_branch), trusted: !event.from_fork };
    let needs_approval = !change.trusted && project.rules.strangers() == Strangers::Approve;
    Ok(Proposed { change, needs_approval, git_ref, commit, told })
}

/// True for the beginning of a commit's id, as short as forges write it.
fn is_prefix(head: &str) -> bool {
    (7..40).contains(&head.len()) && head.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn repo_of(event: &Event) -> &str {
    match event {
        Event::Ref(event) => &event.repo,
        Event::Change(event) => &event.repo,
        Event::Release(event) => &event.repo,
        Event::Rerun(event) => &event.repo,
    }
}

/// Forges find a repository whatever the case of its path.
fn is_same_repo(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The key and place of a ref's move, or of news of a change; other events are not numbered.
fn told(event: &Event, event_index: i64) -> Option<Move> {
    let id = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
    let key = match event {
        Event::Ref(moved) => {
            let git_ref = full_ref(moved).ok()?;
            format!("push:{git_ref}:{}:{}", id(&moved.before), id(&moved.after))
        }
        Event::Change(change) => {
            let ChangeEvent { number, action, head, target_branch, .. } = change;
            let target = target_branch.as_ref().and_then(|name| GitRef::parse(&format!("refs/heads/{name}")).ok());
            let target = target.map_or_else(|| "none".to_owned(), |target| target.to_string());
            format!("change:{number}:{action}:{}:{target}", id(head))
        }
        Event::Release(_) | Event::Rerun(_) => return None,
    };
    Some(Move { event_index, key })
}

fn full_ref(event: &RefEvent) -> Result<GitRef, String> {
    let full = match event.kind {
        RefKind::Branch => format!("refs/heads/{}", event.name),
        RefKind::Tag => format!("refs/tags/{}", event.name),
        RefKind::Other => event.name.clone(),
    };
    GitRef::parse(&full).map_err(|error| error.to_string())
}

/// A stranger's name, short enough for a sentence.
fn shown(name: &str) -> String {
    format!("\"{}\"", name.chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push() -> RefEvent {
        RefEvent {
            repo: "acme/app".to_owned(),
            kind: RefKind::Branch,
            name: "main".to_owned(),
            op: RefOp::Updated,
            commit: Some("b".repeat(40)),
            forced: None,
            skip_ci: false,
            before: Some("a".repeat(40)),
            after: Some("b".repeat(40)),
            skip_marker: None,
            title: Some("a title".to_owned()),
            actor: Some("anna".to_owned()),
        }
    }

    fn decided(event: RefEvent, state: ProjectState) -> Decision {
        decide(
            &Event::Ref(event),
            0,
            &ProjectFacts { repo_path: "acme/app", forge: ForgeKind::Github, state, rules: &Rules::default() },
        )
    }

    #[test]
    fn branches_and_tags_are_built() {
        let Decision::Push(branch) = decided(push(), ProjectState::Active) else { panic!("a branch is built") };
        assert_eq!((branch.trigger, branch.moved.git_ref.as_str()), (Trigger::Push, "refs/heads/main"));
        assert_eq!(branch.told.key, format!("push:refs/heads/main:{}:{}", "a".repeat(40), "b".repeat(40)));

        // An annotated tag: the ref points to the tag object, the build is of the commit.
        let tag = RefEvent {
            kind: RefKind::Tag,
            name: "v1".to_owned(),
            op: RefOp::Created,
            before: None,
            after: Some("c".repeat(40)),
            ..push()
        };
        let Decision::Push(tag) = decided(tag, ProjectState::Active) else { panic!("a tag is built") };
        assert_eq!((tag.trigger, tag.commit, tag.after), (Trigger::Tag, "b".repeat(40), "c".repeat(40)));
        assert_eq!(tag.told.key, format!("push:refs/tags/v1:none:{}", "c".repeat(40)));

        // A forge that does not peel the tag.
        let unpeeled = RefEvent { commit: None, after: Some("c".repeat(40)), ..push() };
        let Decision::Push(unpeeled) = decided(unpeeled, ProjectState::Active) else { panic!("built") };
        assert_eq!(unpeeled.commit, "c".repeat(40));
    }

    #[test]
    fn what_is_not_built_says_why_and_still_moves_its_ref() {
        let skipped = RefEvent { skip_ci: true, skip_marker: Some("[skip ci]".to_owned()), ..push() };
        let by_option = RefEvent { skip_ci: true, ..push() };
        let deleted = RefEvent { op: RefOp::Deleted, after: None, commit: None, ..push() };
        for (event, state, words, moves) in [
            (push(), ProjectState::Paused, "the project is paused", true),
            (skipped, ProjectState::Active, "[skip ci]", true),
            (by_option, ProjectState::Active, "asks not to be built", true),
            (deleted, ProjectState::Active, "branch \"main\" was deleted", true),
            (
                RefEvent { name: "a..b".to_owned(), ..push() },
                ProjectState::Active,
                "is not a ref that git accepts",
                false,
            ),
            (
                RefEvent { kind: RefKind::Other, name: "refs/notes/x".to_owned(), ..push() },
                ProjectState::Active,
                "neither a branch nor a tag",
                false,
            ),
            (RefEvent { after: None, ..push() }, ProjectState::Active, "does not say", false),
            (RefEvent { commit: Some("abc".to_owned()), ..push() }, ProjectState::Active, "no full commit id", false),
        ] {
            let Decision::Ignore(reason, moved) = decided(event.clone(), state) else { panic!("{event:?}") };
            assert!(reason.contains(words), "{reason}");
            assert_eq!(moved.is_some(), moves, "{reason}");
        }
    }

    fn change() -> ChangeEvent {
        ChangeEvent {
            repo: "acme/app".to_owned(),
            number: 5,
            action: ChangeAction::Opened,
            head: Some("d".repeat(40)),
            source_branch: Some("feature".to_owned()),
            target_branch: Some("main".to_owned()),
            from_fork: false,
        }
    }

    fn proposed(event: ChangeEvent, forge: ForgeKind, state: ProjectState) -> Decision {
        decide(
            &Event::Change(event),
            0,
            &ProjectFacts { repo_path: "acme/app", forge, state, rules: &Rules::default() },
        )
    }

    #[test]
    fn a_change_is_built_from_the_ref_of_the_base_repository() {
        for (forge, from_fork, git_ref) in [
            (ForgeKind::Github, false, Some("refs/pull/5/head")),
            (ForgeKind::Github, true, Some("refs/pull/5/head")),
            (ForgeKind::Gitlab, true, Some("refs/merge-requests/5/head")),
            (ForgeKind::Gitea, true, Some("refs/pull/5/head")),
            (ForgeKind::Bitbucket, false, Some("refs/heads/feature")),
            (ForgeKind::Bitbucket, true, None),
        ] {
            match (proposed(ChangeEvent { from_fork, ..change() }, forge, ProjectState::Active), git_ref) {
                (Decision::Change(built), Some(git_ref)) => {
                    assert_eq!((built.git_ref.as_str(), built.commit), (git_ref, "d".repeat(40)));
                    assert_eq!(built.change.target.as_ref().map(GitRef::as_str), Some("refs/heads/main"));
                    assert_eq!((built.change.number, built.change.trusted), (5, !from_fork));
                    let key = format!("change:5:opened:{}:refs/heads/main", "d".repeat(40));
                    assert_eq!(built.told.key, key);
                }
                (Decision::Ignore(reason, None), None) => assert!(reason.contains("another repository"), "{reason}"),
                (decision, _) => panic!("{forge} {from_fork}: {decision:?}"),
            }
        }
    }

    #[test]
    fn the_projects_rules_decide() {
        let rules = |text: &str| serde_json::from_str::<Rules>(text).expect("rules");
        let decided = |event: Event, text: &str| {
            let rules = rules(text);
            let state = ProjectState::Active;
            decide(&event, 0, &ProjectFacts { repo_path: "acme/app", forge: ForgeKind::Github, state, rules: &rules })
        };
        let fork = ChangeEvent { from_fork: true, ..change() };
        for (event, text, words) in [
            (Event::Ref(push()), r#"{"branches":["release/*"]}"#, "leave out branch \"main\""),
            (Event::Change(change()), r#"{"changes":false}"#, "leave out pull requests"),
            (Event::Change(fork.clone()), r#"{"strangers":"ignore"}"#, "from other repositories"),
        ] {
            let moves = matches!(event, Event::Ref(_));
            let Decision::Ignore(reason, moved) = decided(event, text) else { panic!("{text}") };
            assert!(reason.contains(words), "{reason}");
            assert_eq!(moved.is_some(), moves, "a ref that is left out moves all the same");
        }
        assert!(decided(Event::Ref(push()), r#"{"branches":["ma*"],"changes":false}"#).builds());
        for (text, waits) in [("{}", true), (r#"{"strangers":"build"}"#, false)] {
            let Decision::Change(built) = decided(Event::Change(fork.clone()), text) else { panic!("{text}") };
            assert_eq!((built.needs_approval, built.change.trusted), (waits, false), "{text}");
        }
    }

    #[test]
    fn news_of_a_change_that_build_nothing_say_why() {
        let news = |action| ChangeEvent { action, ..change() };
        for (event, state, words) in [
            (news(ChangeAction::Closed), ProjectState::Active, "was closed"),
            (news(ChangeAction::Merged), ProjectState::Active, "was merged"),
            (news(ChangeAction::Metadata), ProjectState::Active, "nothing that is built"),
            (news(ChangeAction::Other), ProjectState::Active, "nothing is built"),
            (change(), ProjectState::Paused, "the project is paused"),
            (
                ChangeEvent { head: Some("abcdef012345".to_owned()), ..change() },
                ProjectState::Active,
                "no full commit id",
            ),
            (ChangeEvent { head: None, ..change() }, ProjectState::Active, "no full commit id"),
        ] {
            let Decision::Ignore(reason, None) = proposed(event.clone(), ForgeKind::Github, state) else {
                panic!("{event:?}")
            };
            assert!(reason.contains(words), "{reason}");
        }
        for action in
            [ChangeAction::Reopened, ChangeAction::HeadUpdated, ChangeAction::Retargeted, ChangeAction::ReadyForReview]
        {
            assert!(proposed(news(action), ForgeKind::Github, ProjectState::Active).builds(), "{action}");
        }
        let short = ChangeEvent { head: Some("abcdef012345".to_owned()), ..change() };
        assert!(proposed(short, ForgeKind::Bitbucket, ProjectState::Active).builds());
        let strange = ChangeEvent { target_branch: Some("a..b".to_owned()), ..change() };
        let Decision::Change(built) = proposed(strange, ForgeKind::Github, ProjectState::Active) else {
            panic!("built")
        };
        assert_eq!(built.change.target, None, "what git does not take is no target");
    }

    #[test]
    fn odd_names_are_refs_or_reasons_but_never_more() {
        for name in ["feature/ü 1", "-rf", "$(id)", "a\"b", "x;y", "日本", ".lock", "a.lock", "@{u}"] {
            match decided(RefEvent { name: name.to_owned(), ..push() }, ProjectState::Active) {
                Decision::Push(push) => assert_eq!(push.moved.git_ref.branch(), Some(name)),
                Decision::Ignore(reason, moved) => {
                    assert!(reason.contains("git accepts") && moved.is_none(), "{reason}")
                }
                Decision::Change(_) => panic!("it is a push"),
            }
        }
    }

    #[test]
    fn only_moves_of_refs_are_numbered_at_their_place() {
        let outcome = Outcome::Events(vec![release("acme/app"), Event::Ref(push())]);
        let found = moves(&outcome, "acme/app");
        assert_eq!(found.iter().map(|told| told.event_index).collect::<Vec<_>>(), [1]);
        let active = ProjectFacts {
            repo_path: "acme/app",
            forge: ForgeKind::Github,
            state: ProjectState::Active,
            rules: &Rules::default(),
        };
        assert!(
            matches!(decide(&release("acme/app"), 0, &active), Decision::Ignore(reason, _) if reason.contains("tag"))
        );
        assert!(moves(&Outcome::Ping, "acme/app").is_empty());
    }

    #[test]
    fn only_the_projects_own_repository_is_built_and_numbered() {
        let outcome = Outcome::Events(vec![Event::Ref(push())]);
        for (repo_path, own) in [
            ("acme/app", true),
            ("Acme/APP", true),
            ("acme/app2", false),
            ("acme/ap", false),
            ("group/acme/app", false),
            ("app", false),
        ] {
            let decision = decide(
                &events(&outcome)[0],
                0,
                &ProjectFacts {
                    repo_path,
                    forge: ForgeKind::Github,
                    state: ProjectState::Active,
                    rules: &Rules::default(),
                },
            );
            assert_eq!(matches!(decision, Decision::Push(_)), own, "{repo_path}");
            assert_eq!(moves(&outcome, repo_path).len(), usize::from(own), "{repo_path}");
            let Decision::Ignore(reason, moved) = decision else { continue };
            assert!(reason.contains("\"acme/app\"") && reason.contains(&format!("\"{repo_path}\"")), "{reason}");
            assert_eq!(moved, None, "another repository's refs are not ours");
        }
    }

    fn release(repo: &str) -> Event {
        Event::Release(slipway_domain::event::ReleaseEvent { repo: repo.to_owned(), tag: "v1".to_owned() })
    }
}
