//! Tenants see themselves.

use slipway_domain::tenant::Role;
use slipway_runtime::ids::new_id;
use slipway_store::tenants::{DEFAULT_RUNNING_LIMIT, DEFAULT_TENANT, NewTenant, TenantRunning};
use slipway_store::{Scope, StoreError};

use crate::env::{both, later, start};

both! {
    async fn the_default_tenant_is_made_once_even_by_two_processes(env) {
        let (one, two) = tokio::join!(env.db.ensure_default_tenant(start()), env.db.ensure_default_tenant(later(1)));
        let id = one.unwrap();
        assert_eq!(two.unwrap(), id);
        assert_eq!(env.db.ensure_default_tenant(later(2)).await.unwrap(), id);
        let tenant = env.db.tenant_by_name(&Scope::Operator, DEFAULT_TENANT).await.unwrap();
        assert_eq!((tenant.id, tenant.class.as_str()), (id, "standard"));
        let running = env.db.tenant_running(id).await.unwrap();
        assert_eq!(running, TenantRunning { running: 0, running_limit: DEFAULT_RUNNING_LIMIT });
    }
}

both! {
    async fn a_member_sees_only_the_own_tenant(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        let member = Scope::Member { tenant: own, role: Role::Owner };
        assert_eq!(env.db.tenant(&member, own).await.unwrap().name, "own");
        assert!(matches!(env.db.tenant(&member, other).await, Err(StoreError::NotFound(_))));
        assert!(matches!(env.db.tenant_by_name(&member, "other").await, Err(StoreError::NotFound(_))));
        assert!(matches!(env.db.tenant(&Scope::Public, own).await, Err(StoreError::NotFound(_))));
        assert_eq!(env.db.list_tenants(&member).await.unwrap().len(), 1);
        assert_eq!(env.db.list_tenants(&Scope::Public).await.unwrap().len(), 0);
        assert_eq!(env.db.list_tenants(&Scope::Operator).await.unwrap().len(), 2);
    }
}

both! {
    async fn a_name_is_taken_once_and_a_limit_can_be_set(env) {
        let id = env.tenant("own").await;
        let again =
            NewTenant { id: new_id(), name: "own".to_owned(), class: "big".to_owned(), running_limit: 1, now: start() };
        assert!(matches!(env.db.create_tenant(&again).await, Err(StoreError::Conflict(_))));
        assert!(matches!(env.db.tenant_running(again.id).await, Err(StoreError::NotFound(_))));
        env.db.set_running_limit(id, 7).await.unwrap();
        assert_eq!(env.db.tenant_running(id).await.unwrap().running_limit, 7);
        assert!(matches!(env.db.set_running_limit(again.id, 7).await, Err(StoreError::NotFound(_))));
    }
}
