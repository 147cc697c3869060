//! Moves that make no build still move the head, so that what follows is not taken for late.

use slipway_domain::git_ref::GitRef;
use slipway_store::Scope;
use slipway_store::builds::{NewBuild, RefOrder};
use slipway_store::deliveries::NewDelivery;
use slipway_store::delivery_moves::Move;
use slipway_store::ref_heads::RefMove;

use crate::env::{both, commit, later, new_build, new_delivery};

both! {
    async fn a_move_without_a_build_moves_the_head_once_and_only_from_where_it_began(env) {
        let world = env.world("own").await;
        let git_ref = GitRef::parse("refs/heads/main").unwrap();
        let (a, b) = (commit('a'), commit('b'));
        let step = async |before: Option<&str>, after: Option<&str>| {
            let moved = RefMove { project: world.project.id, git_ref: &git_ref, before, after, now: later(1) };
            env.db.note_moves(&[moved]).await.unwrap() == 1
        };
        let head = async || env.db.ref_head(world.project.id, &git_ref).await.unwrap();
        assert!(step(None, Some(&a)).await);
        assert!(!step(None, Some(&a)).await, "heard twice");
        assert!(step(Some(&a), Some(&b)).await);
        assert!(!step(Some(&a), None).await, "late");
        assert_eq!(head().await, Some(b.clone()));
        assert!(step(Some(&b), None).await);
        assert_eq!(head().await, None);
        assert!(step(None, Some(&a)).await);
        assert_eq!(head().await, Some(a));
    }
}

both! {
    async fn a_push_after_a_skipped_one_is_the_newest(env) {
        let world = env.world("own").await;
        let git_ref = GitRef::parse("refs/heads/main").unwrap();
        let [a, b, e, c] = ['a', 'b', 'e', 'c'].map(commit);
        let push = async |before: &String, after: &String, key: &str| {
            let new = NewBuild {
                before: Some(before.clone()),
                order: RefOrder::Move { before: Some(before.clone()), after: after.clone() },
                ..new_build(&world.project, key, after.clone())
            };
            let build = env.db.create_build(&new).await.unwrap().build;
            env.db.build(&Scope::Operator, build).await.unwrap().ref_order.unwrap()
        };
        push(&a, &b, "1").await;
        let newest = push(&b, &e, "2").await;
        let skipped =
            RefMove { project: world.project.id, git_ref: &git_ref, before: Some(&e), after: Some(&c), now: later(1) };
        assert_eq!(env.db.note_moves(&[skipped]).await.unwrap(), 1);
        assert!(push(&c, &b, "3").await > newest, "back to b is the newest state of the branch");
    }
}

both! {
    async fn what_came_before_the_first_moves_that_were_noted_goes_before_all_and_takes_no_head(env) {
        let world = env.world("own").await;
        let git_ref = GitRef::parse("refs/heads/main").unwrap();
        let [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map(commit);
        let moves = [(&a, &b), (&b, &c)];
        // Told, as deliveries tell it, and noted: that the branch was made and pushed to is only worked later.
        let told = |before: Option<&String>, after: &String| Move {
            event_index: 0,
            key: format!("push:refs/heads/main:{}:{after}", before.map_or("", String::as_str)),
        };
        for (index, (before, after)) in moves.iter().enumerate() {
            let new = NewDelivery {
                moves: vec![told(Some(before), after)],
                ..new_delivery(&world.hook, &index.to_string())
            };
            env.db.accept_delivery(&new).await.unwrap();
        }
        let noted = moves.map(|(before, after)| RefMove {
            project: world.project.id,
            git_ref: &git_ref,
            before: Some(before),
            after: Some(after),
            now: later(1),
        });
        assert_eq!(env.db.note_moves(&noted).await.unwrap(), 2);
        let push = async |before: Option<&String>, after: &String, key: &str| {
            let new = NewBuild {
                before: before.cloned(),
                order: RefOrder::Move { before: before.cloned(), after: after.clone() },
                ..new_build(&world.project, key, after.clone())
            };
            let build = env.db.create_build(&new).await.unwrap().build;
            env.db.build(&Scope::Operator, build).await.unwrap().ref_order.unwrap()
        };
        let head = async || env.db.ref_head(world.project.id, &git_ref).await.unwrap();
        let older = commit('9');
        let first = push(Some(&older), &a, "1").await;
        assert_eq!(head().await, Some(c.clone()), "what was noted came after it");
        let newest = push(Some(&c), &d, "2").await;
        let made = push(None, &older, "3").await;
        assert!(made < first && first < newest, "{made} {first} {newest}");
        assert_eq!(head().await, Some(d.clone()));
        assert!(push(Some(&d), &e, "4").await > newest);
    }
}
