//! A client of the outside face as a user's program would write it: its types are its own, and only what
//! is promised is read.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::hooks::Delivery;
use crate::wait::eventually;

/// How long one request may take; followed logs have their own deadline.
const REQUEST: Duration = Duration::from_secs(30);

/// A client with or without a token.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    token: Option<String>,
    client: reqwest::Client,
}

/// A project as it is told when it is made.
#[derive(Debug, Clone, Deserialize)]
pub struct Project {
    pub id: String,
    pub name: String,
    pub hook: Hook,
}

/// Where a forge sends its deliveries.
#[derive(Debug, Clone, Deserialize)]
pub struct Hook {
    pub url: String,
    pub secret: String,
}

/// A stored delivery.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredDelivery {
    pub id: String,
    pub event: String,
    pub state: String,
    pub reason: Option<String>,
    pub builds: Vec<String>,
}

/// A build.
#[derive(Debug, Clone, Deserialize)]
pub struct Build {
    pub id: String,
    pub project: String,
    pub state: String,
    pub trigger: String,
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    pub commit: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    #[serde(default)]
    pub jobs: Vec<Job>,
}

/// A part of a build.
#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub attempts: Vec<Attempt>,
    pub steps: Vec<Step>,
    pub images: Vec<Image>,
    pub failure: Option<Failure>,
}

/// One try of a job.
#[derive(Debug, Clone, Deserialize)]
pub struct Attempt {
    pub epoch: i64,
    pub builder: Option<String>,
    pub state: String,
    pub phase: Option<String>,
    pub outcome: Option<String>,
    pub failure: Option<Failure>,
    #[serde(default)]
    pub remarks: Value,
}

/// A step of an attempt.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub name: String,
    pub state: String,
    pub cached: bool,
    pub exit_code: Option<i64>,
}

/// A pushed image.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    #[serde(rename = "ref")]
    pub image_ref: String,
    pub digest: String,
    pub size_bytes: Option<u64>,
}

/// Why a job did not succeed.
#[derive(Debug, Clone, Deserialize)]
pub struct Failure {
    pub class: String,
    pub message: String,
    pub step: Option<String>,
    pub exit_code: Option<i64>,
    pub dockerfile: Option<String>,
    pub dockerfile_line: Option<u32>,
    pub hint: Option<String>,
    #[serde(default)]
    pub excerpt: Vec<ExcerptLine>,
    #[serde(default)]
    pub last_lines: Vec<String>,
}

/// A line of the Dockerfile beside the one that failed.
#[derive(Debug, Clone, Deserialize)]
pub struct ExcerptLine {
    pub line: u32,
    pub text: String,
    pub failing: bool,
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    pub id: String,
    pub event: String,
    pub data: String,
}

#[derive(Debug, Deserialize)]
struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl Api {
    /// A client of the service at `base`.
    pub fn new(base: &str, token: Option<&str>) -> Self {
        Self { base: base.to_owned(), token: token.map(str::to_owned), client: reqwest::Client::new() }
    }

    /// The same client with another token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// Any request; the status and the body, whatever they are.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let mut request = self.request(method, path).timeout(REQUEST);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("calling {path}"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("reading the answer of {path}"))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// A request that must succeed.
    pub async fn expect<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> Result<T> {
        let (status, answer) = self.call(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {path} answered {status}: {answer}");
        }
        serde_json::from_value(answer.clone()).with_context(|| format!("{method} {path} answered {answer}"))
    }

    pub async fn create_project(&self, body: &Value) -> Result<Project> {
        self.expect(Method::POST, "/api/v1/projects", Some(body)).await
    }

    /// Sends a delivery to a hook as its forge does.
    pub async fn deliver(&self, url: &str, delivery: &Delivery) -> Result<(StatusCode, Value)> {
        let mut request = self.client.post(url).timeout(REQUEST).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.context("sending a delivery")?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Sends a delivery that must be accepted, and waits until it has been worked.
    pub async fn deliver_and_wait(&self, url: &str, delivery: &Delivery) -> Result<StoredDelivery> {
        let (status, answer) = self.deliver(url, delivery).await?;
        let id = answer["delivery"].as_str().filter(|_| status == StatusCode::ACCEPTED);
        let id = id.with_context(|| format!("the delivery was answered {status}: {answer}"))?;
        self.worked_delivery(id, Duration::from_secs(30)).await
    }

    pub async fn delivery(&self, id: &str) -> Result<StoredDelivery> {
        self.expect(Method::GET, &format!("/api/v1/deliveries/{id}"), None).await
    }

    /// Waits until a delivery is no longer `received`.
    pub async fn worked_delivery(&self, id: &str, deadline: Duration) -> Result<StoredDelivery> {
        eventually("the delivery to be worked", deadline, || async {
            let delivery = self.delivery(id).await?;
            Ok((delivery.state != "received").then_some(delivery))
        })
        .await
    }

    pub async fn build(&self, id: &str) -> Result<Build> {
        self.expect(Method::GET, &format!("/api/v1/builds/{id}"), None).await
    }

    /// All builds of a project, over all pages.
    pub async fn builds(&self, project: &str) -> Result<Vec<Build>> {
        let mut builds = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/builds?project={project}{cursor}");
            let page: List<Build> = self.expect(Method::GET, &path, None).await?;
            builds.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(builds),
            }
        }
    }

    /// Waits until `wanted` holds for a build; the error tells how it stood at the end.
    pub async fn build_when(&self, id: &str, deadline: Duration, wanted: impl Fn(&Build) -> bool) -> Result<Build> {
        let waited = eventually("a build", deadline, || async {
            let build = self.build(id).await?;
            Ok(wanted(&build).then_some(build))
        });
        match waited.await {
            Ok(build) => Ok(build),
            Err(error) => {
                let last = self.call(Method::GET, &format!("/api/v1/builds/{id}"), None).await;
                Err(error.context(format!("the build stands at {last:?}")))
            }
        }
    }

    /// Waits until a build has ended, however it did.
    pub async fn finished_build(&self, id: &str, deadline: Duration) -> Result<Build> {
        self.build_when(id, deadline, |build| !matches!(build.state.as_str(), "pending" | "running")).await
    }

    /// The status and answer of a cancel.
    pub async fn cancel(&self, build: &str) -> Result<(StatusCode, Value)> {
        self.call(Method::POST, &format!("/api/v1/builds/{build}/cancel"), None).await
    }

    /// A job's whole log as plain text.
    pub async fn log(&self, job: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.log_bytes(job, "").await?).into_owned())
    }

    /// A job's log with a query such as `?ansi=1`, byte for byte.
    pub async fn log_bytes(&self, job: &str, query: &str) -> Result<Vec<u8>> {
        let path = format!("/api/v1/jobs/{job}/log{query}");
        let answer = self.request(Method::GET, &path).timeout(REQUEST).send().await?;
        let answer = answer.error_for_status().with_context(|| format!("reading {path}"))?;
        Ok(answer.bytes().await?.to_vec())
    }

    /// How many bytes a job's log has as plain text once it is sealed, read to its end and not kept.
    pub async fn sealed_log_length(&self, job: &str, deadline: Duration) -> Result<u64> {
        eventually("a sealed log", deadline, || async {
            let request = self.request(Method::HEAD, &format!("/api/v1/jobs/{job}/log"));
            let headers = request.send().await?.error_for_status().context("asking for a log")?.headers().clone();
            Ok(headers.get("slipway-log-state").is_some_and(|state| state == "complete").then_some(()))
        })
        .await?;
        let request = self.request(Method::GET, &format!("/api/v1/jobs/{job}/log")).timeout(deadline);
        let mut body = request.send().await?.error_for_status().context("reading a log")?.bytes_stream();
        let mut length = 0;
        while let Some(chunk) = body.next().await {
            length += chunk.context("reading a log")?.len() as u64;
        }
        Ok(length)
    }

    /// Follows a job's log until `event: end`; all events, the last one included.
    pub async fn log_stream(&self, job: &str, deadline: Duration) -> Result<Vec<SseEvent>> {
        self.log_stream_until(job, None, deadline, |event| event.event == "end").await
    }

    /// Follows a job's log from where `last_id` ended until an event for which `is_last` holds.
    pub async fn log_stream_until(
        &self,
        job: &str,
        last_id: Option<&str>,
        deadline: Duration,
        is_last: impl Fn(&SseEvent) -> bool,
    ) -> Result<Vec<SseEvent>> {
        let mut request = self.request(Method::GET, &format!("/api/v1/jobs/{job}/log/stream")).timeout(deadline);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let mut body = request.send().await?.error_for_status().context("following a log")?.bytes_stream();
        let mut parser = SseParser::default();
        let mut events = Vec::new();
        while let Some(chunk) = body.next().await {
            for event in parser.push(&chunk.context("reading a followed log")?) {
                let last = is_last(&event);
                events.push(event);
                if last {
                    return Ok(events);
                }
            }
        }
        bail!("the stream closed before the awaited event; {} events came", events.len())
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// The event stream format of the HTML standard, as far as servers use it.
#[derive(Debug, Default)]
struct SseParser {
    rest: Vec<u8>,
    event: SseEvent,
    has_data: bool,
}

impl SseParser {
    fn push(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<SseEvent> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let id = self.event.id.clone();
                let done = std::mem::take(&mut self.event);
                // The id stays in force for the events after it.
                self.event.id = id;
                return (std::mem::take(&mut self.has_data) || !done.event.is_empty()).then_some(done);
            }
            "id" => self.event.id = value.to_owned(),
            "event" => self.event.event = value.to_owned(),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment keeps the connection alive; unknown fields are ignored.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_across_chunks() {
        let mut parser = SseParser::default();
        let mut events = parser.push(b": hello\n\nid: 1:0\nda");
        events.extend(parser.push(b"ta: one\ndata:two\r\n\r\nevent: end\ndata:\n\n"));
        let expected = [
            SseEvent { id: "1:0".to_owned(), event: String::new(), data: "one\ntwo".to_owned() },
            SseEvent { id: "1:0".to_owned(), event: "end".to_owned(), data: String::new() },
        ];
        assert_eq!(events, expected);
    }
}
