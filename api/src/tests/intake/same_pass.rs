//! Moves of one ref that are worked together.

use super::*;

#[tokio::test]
async fn what_follows_in_the_same_pass_from_what_is_built_moves_the_ref_behind_it() {
    let hooked = Hooked::new().await;
    hooked.pushed("0", &push("refs/heads/main", ZERO, &id('a'))).await;
    hooked.deliver("push", "1", &push("refs/heads/main", &id('a'), &id('b'))).await;
    let mut skipped = push("refs/heads/main", &id('b'), &id('c'));
    skipped["head_commit"]["message"] = json!("docs [skip ci]");
    hooked.deliver("push", "2", &skipped).await;
    assert_eq!(hooked.work().await, 2);
    assert_eq!((hooked.builds().await.len(), hooked.head().await), (2, Some(id('c'))));
}
