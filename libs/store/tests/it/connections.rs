//! Credentials of connections leave the store only with the key.

use slipway_domain::event::ForgeKind;
use slipway_domain::tenant::Role;
use slipway_runtime::ids::new_id;
use slipway_runtime::secret_key::SecretKey;
use slipway_store::connections::NewConnection;
use slipway_store::{Scope, StoreError};

use crate::env::{both, start};

both! {
    async fn a_credential_opens_with_the_key_and_for_no_other_tenant(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        let new = NewConnection {
            id: new_id(),
            tenant: own,
            kind: ForgeKind::Gitlab,
            base_url: Some("https://git.example/forge".to_owned()),
            token: Some("s3cret".to_owned()), installation: None,
            now: start(),
        };
        let silent = NewConnection { id: new_id(), token: None, base_url: None, ..new.clone() };
        env.db.create_connection(&env.key, &new).await.unwrap();
        env.db.create_connection(&env.key, &silent).await.unwrap();

        let member = Scope::Member { tenant: own, role: Role::Viewer };
        let foreign = Scope::Member { tenant: other, role: Role::Owner };
        let connection = env.db.connection(&member, new.id).await.unwrap();
        assert_eq!((connection.kind, connection.has_token), (ForgeKind::Gitlab, true));
        assert_eq!(connection.base_url, new.base_url);
        assert_eq!(connection.created_at, start());
        assert!(!env.db.connection(&Scope::Operator, silent.id).await.unwrap().has_token);
        for scope in [foreign, Scope::Public] {
            assert!(matches!(env.db.connection(&scope, new.id).await, Err(StoreError::NotFound(_))));
            assert!(env.db.list_connections(&scope, None).await.unwrap().is_empty());
        }
        assert_eq!(env.db.list_connections(&member, None).await.unwrap().len(), 2);
        assert_eq!(env.db.list_connections(&member, Some(other)).await.unwrap().len(), 0);
        assert_eq!(env.db.list_connections(&Scope::Operator, Some(own)).await.unwrap().len(), 2);

        let access = env.db.connection_access(&env.key, new.id).await.unwrap();
        assert_eq!(access.token.as_deref(), Some("s3cret"));
        assert_eq!(env.db.connection_access(&env.key, silent.id).await.unwrap().token, None);
        let wrong = env.db.connection_access(&SecretKey::generate(), new.id).await;
        assert!(matches!(wrong, Err(StoreError::Damaged(..))));
    }
}
