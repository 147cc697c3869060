//! One credential per tenant and registry host.

use slipway_domain::ids::TenantId;
use slipway_domain::tenant::Role;
use slipway_runtime::ids::new_id;
use slipway_store::registries::NewRegistry;
use slipway_store::{Scope, StoreError};

use crate::env::{both, start};

fn new_registry(tenant: TenantId, user: &str, password: &str) -> NewRegistry {
    NewRegistry {
        id: new_id(),
        tenant,
        host: "registry.example:5000".to_owned(),
        username: user.to_owned(),
        password: password.to_owned(),
        now: start(),
    }
}

both! {
    async fn a_host_has_one_credential_and_the_newest_wins(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        let first = new_registry(own, "anna", "old");
        let put = env.db.put_registry(&env.key, &first).await.unwrap();
        assert!(!put.replaced);
        let second = env.db.put_registry(&env.key, &new_registry(own, "bert", "new")).await.unwrap();
        assert!(second.replaced);
        assert_eq!((second.registry.id, second.registry.username.as_str()), (first.id, "bert"));
        env.db.put_registry(&env.key, &new_registry(other, "carl", "his")).await.unwrap();

        let credentials = env.db.registry_credentials(&env.key, own).await.unwrap();
        let found: Vec<_> =
            credentials.iter().map(|found| (found.host.as_str(), found.username.as_str(), found.password.as_str())).collect();
        assert_eq!(found, [("registry.example:5000", "bert", "new")]);
    }
}

both! {
    async fn a_credential_is_listed_and_deleted_by_its_tenant_only(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        let registry = env.db.put_registry(&env.key, &new_registry(own, "anna", "pw")).await.unwrap().registry;
        let member = Scope::Member { tenant: own, role: Role::Maintainer };
        let foreign = Scope::Member { tenant: other, role: Role::Owner };
        assert_eq!(env.db.list_registries(&member, None).await.unwrap(), std::slice::from_ref(&registry));
        for scope in [foreign, Scope::Public] {
            assert!(env.db.list_registries(&scope, None).await.unwrap().is_empty());
            assert!(matches!(env.db.delete_registry(&scope, registry.id).await, Err(StoreError::NotFound(_))));
        }
        env.db.delete_registry(&member, registry.id).await.unwrap();
        assert!(env.db.list_registries(&Scope::Operator, Some(own)).await.unwrap().is_empty());
    }
}
