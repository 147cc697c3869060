//! The page of a build whose job was tried again.

use axum::body::Body;
use chrono::TimeDelta;
use http::{Request, StatusCode, header};
use slipway_domain::attempt::{Phase, StepState};
use slipway_domain::failure::{Failure, FailureClass};

use super::App;
use super::crew::step;

#[tokio::test]
async fn a_page_shows_the_attempt_that_is_asked_for() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "private").await, app.crew("alpha").await);
    let build = app.build(&project).await;
    let (id, job) = (build["id"].as_str().expect("an id"), build["jobs"][0]["id"].as_str().expect("an id"));
    let began = app.state.clock.now();
    let first = app.start(&crew, id.parse().expect("an id")).await;
    app.report(first, Phase::Building, vec![step(1, "RUN make hull", StepState::Failed, began)]).await;
    app.finish(first, Some(Failure::new(FailureClass::RegistryUnreachable, "The registry is away.")), Vec::new()).await;
    let second = app.start_at(&crew, id.parse().expect("an id"), began + TimeDelta::minutes(5)).await;
    app.report(second, Phase::Building, vec![step(1, "RUN make deck", StepState::Failed, began)]).await;
    app.finish(second, Some(Failure::new(FailureClass::RunFailed, "The deck leaks.")), Vec::new()).await;

    let newest = app.get(&format!("/builds/{id}")).await.text;
    let older = app.get(&format!("/builds/{id}?attempt={}", first.epoch)).await.text;
    for page in [&newest, &older] {
        for attempt in [first, second] {
            let link = format!("href=\"?attempt={}#log-title-{job}\"", attempt.epoch);
            assert!(page.contains(&link), "{link} is missing in {page}");
        }
    }
    let note = format!("This is attempt {} of {}", first.epoch, second.epoch);
    assert!(
        newest.contains("RUN make deck") && !newest.contains("RUN make hull") && !newest.contains(&note),
        "{newest}"
    );
    assert!(newest.contains("<h2 lang=\"en\">The deck leaks.</h2>") && !newest.contains("data-attempt"), "{newest}");
    assert!(older.contains("RUN make hull") && !older.contains("RUN make deck") && older.contains(&note), "{older}");
    assert!(!older.contains("<h2 lang=\"en\">"), "a failure of the job is not this attempt's: {older}");
    for part in [
        format!("data-log=\"/api/v1/jobs/{job}/log\" data-job=\"{job}\" data-attempt=\"{}\"", first.epoch),
        format!("href=\"/builds/{id}#log-title-{job}\""),
        format!("name=\"epoch\" value=\"{}\"", first.epoch),
    ] {
        assert!(older.contains(&part), "{part} is missing in {older}");
    }
    let older = older.replace("&amp;", "&").replace("&#38;", "&");
    for what in ["/log?epoch=", "/log.log?epoch=", "/log.zst?epoch=", "/log?tail=500&epoch="] {
        let part = format!("\"/api/v1/jobs/{job}{what}{}\"", first.epoch);
        assert!(older.contains(&part), "{part} is missing in {older}");
    }
    let same = app.get(&format!("/builds/{id}?attempt={}", second.epoch)).await.text;
    assert!(
        same.contains("The deck leaks.") && same.contains("data-attempt") && !same.contains("This is attempt"),
        "{same}"
    );

    let missing = app.get(&format!("/builds/{id}?attempt=9")).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND, "{}", missing.text);
    assert!(missing.text.contains("<html") && missing.text.contains("no attempt 9"), "{}", missing.text);
    assert_eq!(app.get(&format!("/builds/{id}?attempt=x")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_scripts_a_page_leads_to_all_lines() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "private").await, app.crew("alpha").await);
    let build = app.build(&project).await;
    let (id, job) = (build["id"].as_str().expect("an id"), build["jobs"][0]["id"].as_str().expect("an id"));
    let attempt = app.start(&crew, id.parse().expect("an id")).await;
    let began = app.state.clock.now();
    app.report(attempt, Phase::Building, vec![step(4, "RUN make hull", StepState::Running, began)]).await;
    let page = async |query: &str| {
        let page = app.get(&format!("/builds/{id}{query}")).await.text;
        page.replace("&amp;", "&").replace("&#38;", "&")
    };
    let end = page("").await;
    assert!(end.contains(&format!("src=\"/api/v1/jobs/{job}/log?tail=500\"")), "{end}");
    assert!(end.contains(&format!("id=\"s4:L1\" href=\"?step=4#log-title-{job}\"")), "{end}");
    let middle = page("?step=4&from=501").await;
    assert!(middle.contains(&format!("src=\"/api/v1/jobs/{job}/log?from=501&to=1000&step=4\"")), "{middle}");
    for (kind, from) in [("prev", 1), ("next", 1001)] {
        let link = format!("<a rel=\"{kind}\" href=\"?step=4&from={from}#log-title-{job}\">");
        assert!(middle.contains(&link), "{link} is missing in {middle}");
    }
}

#[tokio::test]
async fn a_page_keeps_how_long_each_attempt_was_waited_for_and_how_its_failure_is_reproduced() {
    let app = App::new().await;
    let (project, crew) = (app.project("app", "public").await, app.crew("alpha").await);
    let build = app.build(&project).await;
    let id = build["id"].as_str().expect("an id");
    let path = format!("/builds/{id}");
    assert!(!app.get(&path).await.text.contains("before attempt"), "none has begun");
    let made = app.state.clock.now();
    let first = app.start_at(&crew, id.parse().expect("an id"), made + TimeDelta::seconds(185)).await;
    let page = app.get(&path).await.text;
    assert!(page.contains(" before attempt 1</li>") && !page.contains("Reproduce"), "{page}");
    app.finish(first, Some(Failure::new(FailureClass::RegistryUnreachable, "The registry is away.")), Vec::new()).await;
    let second = app.start_at(&crew, id.parse().expect("an id"), made + TimeDelta::minutes(5)).await;
    app.finish(second, Some(Failure::new(FailureClass::RunFailed, "The deck leaks.")), Vec::new()).await;

    let page = app.get(&path).await.text;
    for part in ["<dt>Waited</dt>", "<li>3 min 5 s before attempt 1</li>"] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert_eq!(page.matches(" before attempt ").count(), 2, "{page}");
    let (_, card) = page.split_once("<div class=\"failure\">").expect("a card");
    let (card, _) = card.split_once("</dl>").expect("facts");
    let command = "<dt>Reproduce</dt><dd class=\"copyable\"><code data-copy>docker build ";
    assert!(card.contains(command), "{command} is missing in {card}");
    let public = app.get_public(&path).await.text;
    assert!(public.contains("3 min 5 s before attempt 1") && !public.contains("docker build"), "{public}");
    let chinese = Request::get(&path).header(header::ACCEPT_LANGUAGE, "zh-CN").body(Body::empty());
    let chinese = app.send(chinese.expect("a request")).await.text;
    assert!(chinese.contains("<li>第 1 次尝试前等待了 3 分 5 秒</li>"), "{chinese}");
}
