//! Deliveries that were lost, found and sent again.

use chrono::TimeDelta;
use serde_json::json;
use slipway_runtime::clock::Clock;

use super::super::fake::{GitHub, Try as FakeTry};
use super::super::tests::meet;
use super::*;

/// Tries (guid, answer), newest first, a minute apart.
fn tries(now: DateTime<Utc>, all: &[(&'static str, u16)]) -> Vec<FakeTry> {
    let count = all.len() as u64;
    let one = |(n, (guid, code)): (u64, &(&'static str, u16))| {
        let at = now - TimeDelta::minutes(i64::try_from(n).expect("few"));
        FakeTry { id: 9_007_199_254_740_993 + count - n, guid, at, code: *code }
    };
    (0..).zip(all).map(one).collect()
}

fn guids(failed: &[FailedDelivery]) -> Vec<&str> {
    failed.iter().map(|one| one.guid.as_str()).collect()
}

#[tokio::test]
async fn what_was_never_taken_is_found_and_sent_again() {
    let now = Clock::system().now();
    let all =
        tries(now, &[("a", 200), ("b", 502), ("c", 0), ("b", 500), ("a", 503), ("d", 401), ("e", 202), ("f", 500)]);
    let (fake, api, inside) = meet(GitHub { tries: all.clone(), ..GitHub::default() }).await;
    let work = async {
        let since = now - TimeDelta::seconds(330);
        let failed = api.failed_deliveries(since).await.expect("listed");
        assert_eq!(guids(&failed), ["b", "c", "d"], "a was made good, e was taken, f is older");
        let first = FailedDelivery {
            id: all[1].id,
            guid: "b".to_owned(),
            event: "push".to_owned(),
            delivered_at: all[1].at,
            tries: 2,
        };
        assert_eq!(failed[0], first, "its last try");
        api.redeliver(failed[0].id).await.expect("there");
        assert_eq!(guids(&api.failed_deliveries(since).await.expect("listed")), ["c", "d"]);
        assert!(matches!(api.redeliver(1).await, Err(ForgeError::NotFound(_))));
    };
    fake.during(work).await;
    let requests = inside.with(|github| github.requests.clone());
    assert!(requests.contains(&format!("POST /app/hook/deliveries/{}/attempts", all[1].id)), "{requests:?}");
}

#[tokio::test]
async fn pages_are_followed_by_their_cursor_to_a_bound() {
    let now = Clock::system().now();
    let names: Vec<&'static str> = (0..450).map(|n| &*format!("guid-{n}").leak()).collect();
    let failed: Vec<(&'static str, u16)> = names.iter().map(|guid| (*guid, 500)).collect();
    let (fake, api, inside) = meet(GitHub { tries: tries(now, &failed), ..GitHub::default() }).await;
    let asked =
        |inside: &crate::github::fake::Inside<GitHub>| inside.with(|github| std::mem::take(&mut github.requests).len());
    let work = async {
        let all = api.failed_deliveries(DateTime::UNIX_EPOCH).await.expect("listed");
        assert_eq!(guids(&all), names[..300]);
        assert_eq!(asked(&inside), 3);
        let some = api.failed_deliveries(now - TimeDelta::minutes(149)).await.expect("listed");
        assert_eq!(guids(&some), names[..150]);
        assert_eq!(asked(&inside), 2, "no page that is too old as a whole");
        inside.with(|github| github.tries.clear());
        assert_eq!(api.failed_deliveries(DateTime::UNIX_EPOCH).await, Ok(vec![]));
        assert_eq!(asked(&inside), 1);
    };
    fake.during(work).await;
}

#[tokio::test]
async fn the_hook_is_pointed_to_us() {
    let (fake, api, inside) = meet(GitHub::default()).await;
    fake.during(async { api.set_hook("https://ci.example/hooks/x", "s3cret").await.expect("set") }).await;
    let expected =
        json!({"url": "https://ci.example/hooks/x", "content_type": "json", "secret": "s3cret", "insecure_ssl": "0"});
    assert_eq!(inside.with(|github| github.hook.clone()), expected);
}

#[test]
fn the_next_page_is_one_parameter_of_its_link() {
    let link = |text: &str| HeaderMap::from_iter([(header::LINK, text.parse().expect("a header value"))]);
    let table = [
        (r#"<https://x.example/a?per_page=100&cursor=v1_7>; rel="next""#, Some("v1_7")),
        (r#"<https://x.example/a?cursor=1>; rel="prev", <https://x.example/a?cursor=a%2Bb>; rel="next""#, Some("a+b")),
        (r#"<https://x.example/a?cursor=1>; rel="prev""#, None),
        (r#"<https://x.example/a?page=2>; rel="next""#, None),
        (r#"</a?cursor=2>; rel="next""#, None),
        (r#"https://x.example/a?cursor=2; rel="next""#, None),
        ("", None),
    ];
    for (text, expected) in table {
        assert_eq!(next_cursor(&link(text)).as_deref(), expected, "{text}");
    }
    assert_eq!(next_cursor(&HeaderMap::new()), None);
}
