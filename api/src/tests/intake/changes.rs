//! Changes that are updated and closed, told in any order.

use super::*;

fn pull_request(action: &str, head: char, updated_at: Option<&str>) -> Value {
    json!({
        "action": action, "number": 5, "repository": {"id": 1, "full_name": "acme/app"}, "sender": {"login": "eve"},
        "pull_request": {
            "number": 5, "title": "A change", "user": {"login": "eve"}, "updated_at": updated_at, "merged": false,
            "head": {"ref": "fix", "sha": id(head), "repo": {"id": 2}},
            "base": {"ref": "main", "sha": id('a'), "repo": {"id": 1}},
        },
    })
}

#[tokio::test]
async fn what_was_told_before_a_change_was_closed_is_not_built_however_late_it_is_worked() {
    for (name, opened_at, closed_at) in [
        ("by the order in which it came in", None, None),
        ("within the same second", Some("2026-01-01T00:00:00Z"), Some("2026-01-01T00:00:00Z")),
    ] {
        let hooked = Hooked::new().await;
        let opened = hooked.deliver("pull_request", "1", &pull_request("opened", 'b', opened_at)).await;
        // Ids tell milliseconds apart.
        while hooked.now().timestamp_millis() == hooked.received(&opened).await.timestamp_millis() {}
        let closed = hooked.deliver("pull_request", "2", &pull_request("closed", 'b', closed_at)).await;
        hooked.work().await;
        assert_eq!(hooked.builds().await[0]["state"], "cancelled", "{name}");
        assert_eq!(hooked.delivery(&closed).await["state"], "ignored");
    }
    let hooked = Hooked::new().await;
    let at = |second| Some(["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"][second]);
    let closed = hooked.pushed_as("pull_request", "1", &pull_request("closed", 'b', at(1))).await;
    assert_eq!(closed["reason"], "pull request 5 was closed");
    hooked.pushed_as("pull_request", "2", &pull_request("opened", 'b', at(0))).await;
    assert_eq!(hooked.builds().await[0]["state"], "cancelled", "it was opened before, and told late");
    hooked.pushed_as("pull_request", "3", &pull_request("reopened", 'b', at(2))).await;
    assert_eq!(hooked.builds().await[0]["state"], "pending", "and opened again afterwards");
}

#[tokio::test]
async fn the_newest_head_by_the_forges_clock_stays() {
    let hooked = Hooked::new().await;
    let rules = json!({"rules": {"supersede": "waiting"}});
    let path = format!("/api/v1/projects/{}", hooked.project);
    let patched = hooked.app.call_as(http::Method::PATCH, &hooked.app.admin, &path, rules).await;
    assert_eq!(patched.status, StatusCode::OK, "{}", patched.text);
    let at = |second: u8| format!("2026-01-01T00:00:0{second}Z");
    hooked.pushed_as("pull_request", "1", &pull_request("synchronize", 'c', Some(&at(2)))).await;
    hooked.pushed_as("pull_request", "2", &pull_request("synchronize", 'b', Some(&at(1)))).await;
    let states: Vec<(Value, Value)> =
        hooked.builds().await.iter().map(|build| (build["commit"].clone(), build["state"].clone())).collect();
    assert_eq!(states, [(json!(id('b')), json!("superseded")), (json!(id('c')), json!("pending"))]);
}

#[tokio::test]
async fn replaying_what_made_its_build_asks_nothing_again() {
    let hooked = Hooked::new().await;
    let ready = hooked.pushed_as("pull_request", "1", &pull_request("ready_for_review", 'b', None)).await;
    assert_eq!(ready["state"], "done");
    let path = format!("/api/v1/deliveries/{}/replay", ready["id"].as_str().expect("an id"));
    assert_eq!(hooked.app.post(&path, json!({})).await.status, StatusCode::OK);
    hooked.work().await;
    let again = &hooked.deliveries().await[0];
    assert_eq!((&again["state"], &again["reason"], &again["builds"]), (&json!("done"), &Value::Null, &ready["builds"]));
    // Another word of the same, which the draft's build answers.
    let other = hooked.pushed_as("pull_request", "2", &pull_request("ready_for_review", 'b', None)).await;
    assert_eq!(other["reason"], "pull request 5 was built as a draft");
}

impl Hooked {
    async fn pushed_as(&self, event: &str, delivery: &str, body: &Value) -> Value {
        let answer = self.deliver(event, delivery, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        self.work().await;
        self.delivery(&answer).await
    }

    async fn received(&self, answer: &Answer) -> DateTime<Utc> {
        let text = self.delivery(answer).await["received_at"].as_str().expect("a time").to_owned();
        DateTime::parse_from_rfc3339(&text).expect("a time").to_utc()
    }
}
