//! Hooks give all that a delivery needs in one read.

use slipway_domain::tenant::{ProjectState, Role};
use slipway_runtime::ids::random_id;
use slipway_store::hooks::NewHook;
use slipway_store::{Scope, StoreError};

use crate::env::{both, later, start};

both! {
    async fn both_secrets_hold_during_a_rotation(env) {
        let world = env.world("own").await;
        let member = Scope::Member { tenant: world.tenant, role: Role::Owner };
        assert_eq!(world.hook.secrets, ["hook-secret"]);
        env.db.rotate_hook_secret(&env.key, &member, world.hook.id, "second").await.unwrap();
        assert_eq!(env.db.hook(&env.key, world.hook.id).await.unwrap().secrets, ["second", "hook-secret"]);
        env.db.rotate_hook_secret(&env.key, &member, world.hook.id, "third").await.unwrap();
        assert_eq!(env.db.hook(&env.key, world.hook.id).await.unwrap().secrets, ["third", "second"]);
        let refused = env.db.rotate_hook_secret(&env.key, &Scope::Public, world.hook.id, "stolen").await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))));
    }
}

both! {
    async fn a_hook_knows_whether_its_project_is_paused(env) {
        let world = env.world("own").await;
        assert_eq!(world.hook.project_state, ProjectState::Active);
        env.db.set_project_state(&Scope::Operator, world.project.id, ProjectState::Paused, later(1)).await.unwrap();
        let hook = env.db.hook(&env.key, world.hook.id).await.unwrap();
        assert_eq!((hook.project_state, hook.tenant_id), (ProjectState::Paused, world.tenant));
        assert!(matches!(env.db.hook(&env.key, random_id()).await, Err(StoreError::NotFound("hook"))));
    }
}

both! {
    async fn a_project_may_have_a_second_hook(env) {
        let world = env.world("own").await;
        let new = NewHook { id: random_id(), secret: "other".to_owned(), now: start() };
        let refused = env.db.add_hook(&env.key, &Scope::Public, world.project.id, &new).await;
        assert!(matches!(refused, Err(StoreError::NotFound("project"))));
        env.db.add_hook(&env.key, &Scope::Operator, world.project.id, &new).await.unwrap();
        assert_eq!(env.db.hooks_of_project(&Scope::Operator, world.project.id).await.unwrap().len(), 2);
        assert_eq!(env.db.hook(&env.key, new.id).await.unwrap().secrets, ["other"]);
    }
}
