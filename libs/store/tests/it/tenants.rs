//! Tenants see themselves.

use slipway_domain::plan::Plans;
use slipway_domain::tenant::Role;
use slipway_runtime::ids::new_id;
use slipway_store::tenants::{DEFAULT_TENANT, NewTenant, TenantRunning};
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
        assert_eq!(running, TenantRunning { running: 0, running_limit: 10, own_limit: false });
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
            NewTenant { id: new_id(), name: "own".to_owned(), class: "big".to_owned(), running_limit: 1, plan: "team".to_owned(), own_limit: true, now: start() };
        assert!(matches!(env.db.create_tenant(&again).await, Err(StoreError::Conflict(_))));
        assert!(matches!(env.db.tenant_running(again.id).await, Err(StoreError::NotFound(_))));
        let plans = Plans::default();
        env.db.change_tenant(id, Some("team"), Some(Some(7)), &plans).await.unwrap();
        assert_eq!(env.db.tenant_running(id).await.unwrap().running_limit, 7);
        let unknown = env.db.change_tenant(again.id, Some("team"), None, &plans).await;
        assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    }
}

both! {
    async fn jobs_at_once_follow_the_plan_unless_a_tenant_has_a_number_of_its_own(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        env.db.change_tenant(other, Some("team"), Some(None), &Plans::default()).await.unwrap();
        let limit = async |id| env.db.tenant_running(id).await.unwrap().running_limit;
        let plans = Plans::with(serde_json::from_str(r#"{"team": {"jobs": 30}, "free": {"jobs": 2}}"#).unwrap()).unwrap();
        env.db.follow_plans(&plans).await.unwrap();
        assert_eq!((limit(own).await, limit(other).await), (2, 30), "the number of its own stays");
        for id in [own, other] {
            env.db.change_tenant(id, Some("free"), None, &plans).await.unwrap();
        }
        assert_eq!((limit(own).await, limit(other).await), (2, 2));
        assert_eq!(env.db.tenant(&Scope::Operator, other).await.unwrap().plan, "free");
        env.db.change_tenant(own, None, Some(Some(5)), &plans).await.unwrap();
        assert_eq!(env.db.tenant(&Scope::Operator, own).await.unwrap().plan, "free", "what is not named stays");
        env.db.follow_plans(&Plans::default()).await.unwrap();
        assert_eq!((limit(own).await, limit(other).await), (5, 1));
    }
}
