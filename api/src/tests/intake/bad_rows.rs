//! A row that does not read.

use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::*;

#[tokio::test]
async fn one_bad_row_never_stops_the_pass_and_is_given_up_in_the_end() {
    let hooked = Hooked::new().await;
    let second = hooked.app.post("/api/v1/projects", project_body("second")).await.json();
    let hook: HookId =
        second["hook"]["url"].as_str().and_then(|url| url.rsplit('/').next()).expect("a hook").parse().expect("an id");
    let secret = second["hook"]["secret"].as_str().expect("a secret");
    let body = push("refs/heads/main", &id('a'), &id('b'));
    let broken = hooked.deliver("push", "1", &body).await;
    let fine = hooked.app.send(signed(hook, secret, "push", "1", &body.to_string())).await;
    damage(&hooked).await;
    assert_eq!(hooked.work().await, 2);
    assert_eq!(hooked.delivery(&fine).await["state"], "done");
    let waiting = hooked.delivery(&broken).await;
    assert_eq!(waiting["state"], "received");
    assert!(waiting["reason"].as_str().expect("a reason").contains("tried again"), "{waiting}");

    assert_eq!(hooked.work().await, 0, "not before its time");
    let mut now = hooked.now();
    for _ in 1..10 {
        now += TimeDelta::seconds(301);
        assert_eq!(hooked.work_at(now).await, 1);
    }
    let given_up = hooked.delivery(&broken).await;
    assert_eq!(given_up["state"], "failed", "{given_up}");
    assert!(given_up["reason"].as_str().expect("a reason").contains("10 tries"), "{given_up}");
    assert_eq!(hooked.work_at(now + TimeDelta::seconds(301)).await, 0);
}

/// Makes the project's row unreadable, as nothing of ours would.
async fn damage(hooked: &Hooked) {
    let url = format!("sqlite://{}", hooked.app.dir.path().join("slipway.db").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("opens");
    let damaged =
        connection.execute("update projects set options = '[1]' where name = 'hooked'").await.expect("damages");
    assert_eq!(damaged.rows_affected(), 1);
}
