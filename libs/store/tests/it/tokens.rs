//! Tokens open a scope, until they are revoked.

use slipway_domain::ids::TokenId;
use slipway_domain::tenant::Role;
use slipway_runtime::ids::{new_id, token_hash};
use slipway_store::tokens::{NewToken, TokenOwner};
use slipway_store::{Scope, StoreError};

use crate::env::{both, later, start};

fn new_token(owner: TokenOwner, text: &str) -> NewToken {
    NewToken { id: new_id(), owner, name: text.to_owned(), hash: token_hash(text), now: start() }
}

both! {
    async fn the_bootstrap_token_is_an_operators_once_and_stays_revoked(env) {
        let hash = token_hash("first");
        assert!(!env.db.has_tokens().await.unwrap());
        assert!(env.db.ensure_bootstrap_token(&hash, start()).await.unwrap());
        assert!(!env.db.ensure_bootstrap_token(&hash, later(1)).await.unwrap());
        assert!(env.db.has_tokens().await.unwrap());
        let (id, scope) = env.db.scope_for_token(&hash).await.unwrap().expect("known");
        assert_eq!(scope, Scope::Operator);

        env.db.revoke_token(&Scope::Operator, id, later(3)).await.unwrap();
        assert!(!env.db.ensure_bootstrap_token(&hash, later(4)).await.unwrap());
        assert_eq!(env.db.scope_for_token(&hash).await.unwrap(), None);
    }
}

both! {
    async fn a_members_token_opens_its_tenant_only(env) {
        let (own, other) = (env.tenant("own").await, env.tenant("other").await);
        let viewer = new_token(TokenOwner::Member { tenant: own, role: Role::Viewer }, "viewer");
        let foreign = new_token(TokenOwner::Member { tenant: other, role: Role::Owner }, "foreign");
        let operator = new_token(TokenOwner::Operator, "operator");
        for token in [&viewer, &foreign, &operator] {
            env.db.create_token(token).await.unwrap();
        }
        let scope = Scope::Member { tenant: own, role: Role::Viewer };
        assert_eq!(env.db.scope_for_token(&viewer.hash).await.unwrap(), Some((viewer.id, scope)));
        assert_eq!(env.db.scope_for_token(&token_hash("unknown")).await.unwrap(), None);

        let ids = |tokens: Vec<slipway_store::tokens::Token>| tokens.into_iter().map(|token| token.id).collect::<Vec<TokenId>>();
        assert_eq!(ids(env.db.list_tokens(&scope).await.unwrap()), [viewer.id]);
        assert_eq!(ids(env.db.list_tokens(&Scope::Public).await.unwrap()), []);
        let all = env.db.list_tokens(&Scope::Operator).await.unwrap();
        assert_eq!(all.iter().map(|token| token.role).collect::<Vec<_>>(), [Some(Role::Viewer), Some(Role::Owner), None]);

        let refused = env.db.revoke_token(&scope, foreign.id, later(1)).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))));
        assert!(env.db.scope_for_token(&foreign.hash).await.unwrap().is_some());
    }
}
