//! A key stands for one request and its one answer.

use slipway_domain::ids::TokenId;
use slipway_runtime::ids::{new_id, token_hash};
use slipway_store::idempotency::{IdempotencyStart, KeyedRequest};

use crate::env::{Env, both, later};

async fn begin(env: &Env, request: KeyedRequest<'_>, secs: i64) -> IdempotencyStart {
    env.db.begin_idempotent(&env.key, request, later(secs)).await.unwrap()
}

both! {
    async fn a_repeated_request_gets_the_first_answer(env) {
        let (token, hash, other_hash) = (new_id::<TokenId>(), token_hash("one"), token_hash("two"));
        let request = KeyedRequest { token, key: "k", request_hash: &hash };
        let other = KeyedRequest { request_hash: &other_hash, ..request };
        assert!(begin(&env, request, 0).await == IdempotencyStart::Fresh);
        assert!(begin(&env, request, 1).await == IdempotencyStart::Running);
        assert!(begin(&env, other, 1).await == IdempotencyStart::Mismatch);
        assert!(begin(&env, KeyedRequest { token: new_id(), ..other }, 1).await == IdempotencyStart::Fresh);

        env.db.complete_idempotent(&env.key, request, 201, "{\"secret\":\"once\"}").await.unwrap();
        env.db.complete_idempotent(&env.key, request, 500, "late").await.unwrap();
        let replay = IdempotencyStart::Replay { status: 201, body: "{\"secret\":\"once\"}".to_owned() };
        assert!(begin(&env, request, 5000).await == replay);
        assert!(begin(&env, other, 5000).await == IdempotencyStart::Mismatch);
        assert_eq!(env.db.delete_old_idempotency_keys(later(2)).await.unwrap(), 2);
        assert!(begin(&env, request, 6000).await == IdempotencyStart::Fresh);
    }
}

both! {
    async fn an_abandoned_key_is_free_again(env) {
        let (token, hash) = (new_id::<TokenId>(), token_hash("one"));
        let request = KeyedRequest { token, key: "k", request_hash: &hash };
        assert!(begin(&env, request, 0).await == IdempotencyStart::Fresh);
        env.db.abandon_idempotent(request).await.unwrap();
        assert!(begin(&env, request, 1).await == IdempotencyStart::Fresh);
        // Its process died: after a minute one of two callers takes over.
        assert!(begin(&env, request, 60).await == IdempotencyStart::Running);
        let (one, two) = tokio::join!(begin(&env, request, 62), begin(&env, request, 62));
        assert!((one == IdempotencyStart::Fresh) != (two == IdempotencyStart::Fresh));
    }
}

both! {
    async fn of_two_equal_requests_at_once_one_is_fresh(env) {
        let (token, hash) = (new_id::<TokenId>(), token_hash("one"));
        let request = KeyedRequest { token, key: "k", request_hash: &hash };
        let starts = futures_util::future::join_all((0..8).map(|_| begin(&env, request, 0))).await;
        assert_eq!(starts.iter().filter(|start| **start == IdempotencyStart::Fresh).count(), 1);
    }
}
