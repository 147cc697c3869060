//! Tables of what events lead to.

use super::*;
use slipway_domain::event::ChangeDetails;

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
        &ProjectFacts {
            repo_path: "acme/app",
            is_same_id: false,
            forge: ForgeKind::Github,
            state,
            rules: &Rules::default(),
        },
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
        (RefEvent { name: "a..b".to_owned(), ..push() }, ProjectState::Active, "is not a ref that git accepts", false),
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
        details: ChangeDetails::default(),
    }
}

fn proposed(event: ChangeEvent, forge: ForgeKind, state: ProjectState) -> Decision {
    decide(
        &Event::Change(event),
        0,
        &ProjectFacts { repo_path: "acme/app", is_same_id: false, forge, state, rules: &Rules::default() },
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

fn by_rules(event: Event, text: &str) -> Decision {
    let (rules, state): (Rules, _) = (serde_json::from_str(text).expect("rules"), ProjectState::Active);
    let facts =
        ProjectFacts { repo_path: "acme/app", is_same_id: false, forge: ForgeKind::Github, state, rules: &rules };
    decide(&event, 0, &facts)
}

#[test]
fn the_projects_rules_decide() {
    let fork = ChangeEvent { from_fork: true, ..change() };
    for (event, text, words) in [
        (Event::Ref(push()), r#"{"branches":["release/*"]}"#, "leave out branch \"main\""),
        (Event::Change(change()), r#"{"changes":false}"#, "leave out pull requests"),
        (Event::Change(fork.clone()), r#"{"strangers":"ignore"}"#, "from other repositories"),
    ] {
        let moves = matches!(event, Event::Ref(_));
        let Decision::Ignore(reason, moved) = by_rules(event, text) else { panic!("{text}") };
        assert!(reason.contains(words), "{reason}");
        assert_eq!(moved.is_some(), moves, "a ref that is left out moves all the same");
    }
    assert!(by_rules(Event::Ref(push()), r#"{"branches":["ma*"],"changes":false}"#).acts());
    for (text, waits) in [("{}", true), (r#"{"strangers":"build"}"#, false)] {
        let Decision::Change(built) = by_rules(Event::Change(fork.clone()), text) else { panic!("{text}") };
        assert_eq!((built.needs_approval, built.change.trusted), (waits, false), "{text}");
    }
}

#[test]
fn news_of_a_change_that_build_nothing_say_why() {
    let news = |action| ChangeEvent { action, ..change() };
    for (event, state, words) in [
        (news(ChangeAction::Metadata), ProjectState::Active, "nothing that is built"),
        (news(ChangeAction::Other), ProjectState::Active, "nothing is built"),
        (change(), ProjectState::Paused, "the project is paused"),
        (ChangeEvent { head: Some("abcdef012345".to_owned()), ..change() }, ProjectState::Active, "no full commit id"),
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
        assert!(proposed(news(action), ForgeKind::Github, ProjectState::Active).acts(), "{action}");
    }
    let short = ChangeEvent { head: Some("abcdef012345".to_owned()), ..change() };
    assert!(proposed(short, ForgeKind::Bitbucket, ProjectState::Active).acts());
    let strange = ChangeEvent { target_branch: Some("a..b".to_owned()), ..change() };
    let Decision::Change(built) = proposed(strange, ForgeKind::Github, ProjectState::Active) else { panic!("built") };
    assert_eq!(built.change.target, None, "what git does not take is no target");
}

#[test]
fn a_change_that_is_over_stops_its_builds_even_while_the_project_is_paused() {
    for (action, words) in [(ChangeAction::Closed, "was closed"), (ChangeAction::Merged, "was merged")] {
        for state in [ProjectState::Active, ProjectState::Paused] {
            let event = ChangeEvent { action, ..change() };
            let Decision::Close(5, None, reason) = proposed(event, ForgeKind::Github, state) else {
                panic!("{action}")
            };
            assert!(reason.contains(words), "{reason}");
        }
    }
}

#[test]
fn drafts_and_markers_are_left_out() {
    let told = |details: ChangeDetails| Event::Change(ChangeEvent { details, ..change() });
    let draft = told(ChangeDetails { draft: true, ..ChangeDetails::default() });
    assert!(by_rules(draft.clone(), "{}").acts(), "built unless set");
    let Decision::Ignore(reason, _) = by_rules(draft, r#"{"drafts":false}"#) else { panic!("built") };
    assert!(reason.contains("drafts"), "{reason}");
    let marked = told(ChangeDetails { skip_marker: Some("[skip ci]".to_owned()), ..ChangeDetails::default() });
    assert!(matches!(by_rules(marked, "{}"), Decision::Ignore(reason, _) if reason == "[skip ci]"));
}

#[test]
fn a_repository_is_known_by_its_id_whatever_it_is_called() {
    let facts = ProjectFacts {
        repo_path: "acme/old",
        is_same_id: true,
        forge: ForgeKind::Github,
        state: ProjectState::Active,
        rules: &Rules::default(),
    };
    let outcome = Outcome::Events(vec![Event::Ref(push())]);
    assert!(decide(&events(&outcome)[0], 0, &facts).acts());
    assert_eq!((moves(&outcome, "acme/old", true).len(), moves(&outcome, "acme/old", false).len()), (1, 0));
}

#[test]
fn a_wish_to_run_again_is_one_unless_the_project_is_paused() {
    let again = Event::Rerun(slipway_domain::event::RerunEvent {
        repo: "acme/app".to_owned(),
        commit: "b".repeat(40),
        ours: None,
    });
    assert_eq!(by_rules(again.clone(), "{}"), Decision::Rerun("b".repeat(40), None));
    let paused = ProjectFacts {
        repo_path: "acme/app",
        is_same_id: false,
        forge: ForgeKind::Github,
        state: ProjectState::Paused,
        rules: &Rules::default(),
    };
    assert!(!decide(&again, 0, &paused).acts());
}

#[test]
fn odd_names_are_refs_or_reasons_but_never_more() {
    for name in ["feature/ü 1", "-rf", "$(id)", "a\"b", "x;y", "日本", ".lock", "a.lock", "@{u}"] {
        match decided(RefEvent { name: name.to_owned(), ..push() }, ProjectState::Active) {
            Decision::Push(push) => assert_eq!(push.moved.git_ref.branch(), Some(name)),
            Decision::Ignore(reason, moved) => {
                assert!(reason.contains("git accepts") && moved.is_none(), "{reason}")
            }
            other => panic!("it is a push: {other:?}"),
        }
    }
}

#[test]
fn only_moves_of_refs_are_numbered_at_their_place() {
    let outcome = Outcome::Events(vec![release("acme/app"), Event::Ref(push())]);
    let found = moves(&outcome, "acme/app", false);
    assert_eq!(found.iter().map(|told| told.event_index).collect::<Vec<_>>(), [1]);
    let active = ProjectFacts {
        repo_path: "acme/app",
        is_same_id: false,
        forge: ForgeKind::Github,
        state: ProjectState::Active,
        rules: &Rules::default(),
    };
    assert!(matches!(decide(&release("acme/app"), 0, &active), Decision::Ignore(reason, _) if reason.contains("tag")));
    assert!(moves(&Outcome::Ping, "acme/app", false).is_empty());
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
                is_same_id: false,
                forge: ForgeKind::Github,
                state: ProjectState::Active,
                rules: &Rules::default(),
            },
        );
        assert_eq!(matches!(decision, Decision::Push(_)), own, "{repo_path}");
        assert_eq!(moves(&outcome, repo_path, false).len(), usize::from(own), "{repo_path}");
        let Decision::Ignore(reason, moved) = decision else { continue };
        assert!(reason.contains("\"acme/app\"") && reason.contains(&format!("\"{repo_path}\"")), "{reason}");
        assert_eq!(moved, None, "another repository's refs are not ours");
    }
}

fn release(repo: &str) -> Event {
    Event::Release(slipway_domain::event::ReleaseEvent { repo: repo.to_owned(), tag: "v1".to_owned() })
}
