//! A page's session is worth what its token is worth, until either ends.

use slipway_runtime::ids::token_hash;
use slipway_store::Scope;

use crate::env::{both, later, start};

both! {
    async fn a_session_ends_with_its_time_its_goodbye_or_its_token(env) {
        let hash = token_hash("operator");
        env.db.ensure_bootstrap_token(&hash, start()).await.unwrap();
        let (token, _) = env.db.scope_for_token(&hash).await.unwrap().expect("known");
        for (cookie, ends) in [("short", 10), ("left", 1000), ("long", 1000)] {
            env.db.create_web_session(&token_hash(cookie), token, start(), later(ends)).await.unwrap();
        }
        let open = async |cookie: &str, secs: i64| {
            env.db.scope_for_web_session(&token_hash(cookie), later(secs)).await.unwrap()
        };
        assert_eq!(open("short", 9).await, Some((token, Scope::Operator)));
        assert_eq!(open("short", 10).await, None);
        assert_eq!(open("unknown", 1).await, None);

        env.db.delete_web_session(&token_hash("left")).await.unwrap();
        assert_eq!(open("left", 11).await, None);
        assert_eq!(env.db.delete_expired_web_sessions(later(11)).await.unwrap(), 1);

        assert!(open("long", 11).await.is_some());
        env.db.revoke_token(&Scope::Operator, token, later(12)).await.unwrap();
        assert_eq!(open("long", 12).await, None);
        assert_eq!(open("long", 11).await, None, "nor where a clock is behind");
    }
}
