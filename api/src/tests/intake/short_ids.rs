//! Commits of which a forge names only the beginning.

use super::*;

#[tokio::test]
async fn the_beginning_of_a_commits_id_is_completed_by_the_forge() {
    let (hooked, forge) = Hooked::with_forge_of("bitbucket").await;
    let whole: &'static str = "0123456789ab0123456789ab0123456789ab0123";
    let news = |number: u64| {
        json!({
            "repository": {"uuid": "{1}", "full_name": "acme/app"},
            "pullrequest": {
                "id": number, "title": "a title", "state": "OPEN",
                "source": {"branch": {"name": "feature"}, "commit": {"hash": "0123456789ab"},
                           "repository": {"uuid": "{1}", "full_name": "acme/app"}},
                "destination": {"branch": {"name": "main"}, "commit": {"hash": "ffffffffffff"},
                                "repository": {"uuid": "{1}", "full_name": "acme/app"}},
            },
        })
        .to_string()
    };
    let deliver = async |number: u64| {
        let body = news(number);
        let mut request = hooked.request("", &number.to_string(), &body);
        let tag = request.headers()["x-hub-signature-256"].clone();
        request.headers_mut().insert("x-hub-signature", tag);
        request.headers_mut().insert("x-event-key", "pullrequest:created".parse().expect("a value"));
        request.headers_mut().insert("x-request-uuid", number.to_string().parse().expect("a value"));
        let answer = hooked.app.send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        hooked.work().await;
        hooked.delivery(&answer).await
    };
    let unknown = deliver(1).await;
    let reason = unknown["reason"].as_str().unwrap_or_default();
    assert!(unknown["state"] == "ignored" && reason.contains("0123456789ab"), "{unknown}");
    forge.seen.lock().expect("not poisoned").head = Some(whole);
    let known = deliver(2).await;
    assert_eq!(known["state"], "done", "{known}");
    let build = &hooked.builds().await[0];
    assert_eq!((build["commit"].as_str(), build["ref"].as_str()), (Some(whole), Some("refs/heads/feature")));
    assert_eq!(build["trigger"], "change");
}
