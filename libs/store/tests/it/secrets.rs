//! Secrets of projects and tenants: one of a name, sealed, and only for their owner.

use slipway_domain::secret::{MAX_SECRETS, Reach};
use slipway_domain::tenant::Role;
use slipway_runtime::ids::new_id;
use slipway_store::secrets::{NewSecret, SecretOwner};
use slipway_store::{Scope, StoreError};

use crate::env::{both, later, start};

fn new_secret(owner: SecretOwner, name: &str, value: &str) -> NewSecret {
    let (name, value) = (name.to_owned(), value.to_owned());
    NewSecret { id: new_id(), owner, name, value, reach: Reach::default(), now: start() }
}

both! {
    async fn a_name_has_one_value_and_a_projects_goes_before_its_tenants(env) {
        let world = env.world("own").await;
        let (tenant, project) = (world.project.tenant_id, world.project.id);
        let (shared, own) = (SecretOwner { tenant, project: None }, SecretOwner { tenant, project: Some(project) });
        let put = async |owner, name: &str, value: &str| {
            env.db.put_secret(&env.key, &new_secret(owner, name, value)).await.unwrap()
        };
        let first = put(shared, "npm", "of all").await;
        assert!(!first.replaced);
        assert!(!put(shared, "only", "shared").await.replaced);
        let open = async || {
            let names = ["npm", "only", "unknown"].map(str::to_owned);
            let open = env.db.open_secrets(&env.key, (tenant, project), &names).await.unwrap();
            Vec::from_iter(open.into_iter().map(|secret| (secret.name, secret.value)))
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(open().await, [pair("npm", "of all"), pair("only", "shared")]);

        put(own, "npm", "old").await;
        let reach = Reach { branches: Some(vec!["main".to_owned()]), ..Reach::default() };
        let newer = NewSecret { reach: reach.clone(), now: later(9), ..new_secret(own, "npm", "new") };
        let newer = env.db.put_secret(&env.key, &newer).await.unwrap();
        assert!(newer.replaced && newer.secret.id != first.secret.id);
        assert_eq!((newer.secret.reach.0, newer.secret.created_at, newer.secret.updated_at), (reach, start(), later(9)));
        assert_eq!(open().await, [pair("npm", "new"), pair("only", "shared")]);
        let none = env.db.open_secrets(&env.key, (tenant, project), &[]).await.unwrap();
        assert!(none.is_empty(), "only what is asked for");
    }
}

both! {
    async fn secrets_are_listed_and_forgotten_by_their_tenant_only(env) {
        let world = env.world("own").await;
        let other = env.tenant("other").await;
        let (tenant, project) = (world.project.tenant_id, world.project.id);
        let own = SecretOwner { tenant, project: Some(project) };
        env.db.put_secret(&env.key, &new_secret(own, "npm", "value")).await.unwrap();
        let member = Scope::Member { tenant, role: Role::Maintainer };
        let names = async |scope: &Scope, owner| {
            let secrets = env.db.list_secrets(scope, owner).await.unwrap();
            Vec::from_iter(secrets.into_iter().map(|secret| secret.name))
        };
        assert_eq!(names(&member, own).await, ["npm"]);
        assert!(names(&member, SecretOwner { tenant, project: None }).await.is_empty());
        for scope in [Scope::Member { tenant: other, role: Role::Owner }, Scope::Public] {
            assert!(names(&scope, own).await.is_empty());
            assert!(matches!(env.db.delete_secret(&scope, own, "npm").await, Err(StoreError::NotFound(_))));
        }
        let open = env.db.open_secrets(&env.key, (other, new_id()), &["npm".to_owned()]).await.unwrap();
        assert!(open.is_empty());
        env.db.delete_secret(&member, own, "npm").await.unwrap();
        assert!(matches!(env.db.delete_secret(&member, own, "npm").await, Err(StoreError::NotFound(_))));
    }
}

both! {
    async fn there_are_so_many_secrets_and_no_more(env) {
        let world = env.world("own").await;
        let own = SecretOwner { tenant: world.project.tenant_id, project: Some(world.project.id) };
        for n in 0..MAX_SECRETS {
            env.db.put_secret(&env.key, &new_secret(own, &format!("s{n}"), "value")).await.unwrap();
        }
        let more = env.db.put_secret(&env.key, &new_secret(own, "more", "value")).await;
        assert!(matches!(more, Err(StoreError::Conflict(_))));
        assert!(env.db.put_secret(&env.key, &new_secret(own, "s1", "other")).await.unwrap().replaced);
    }
}
