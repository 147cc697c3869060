//! A GitHub that knows one App by its public key.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::myself::may;
use super::*;
use crate::github::app_manifest::EVENTS;
use crate::github::fake::{Asked, Reply, State};

pub(in crate::github) const APP_ID: u64 = 4711;

/// Made once: it takes a while.
static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).expect("a key"));

fn pem(label: &str, der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    let lines: Vec<&str> = digits.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn pkcs8(key: &KeyPair) -> Vec<u8> {
    AsDer::<Pkcs8V1Der<'_>>::as_der(key).expect("a form").as_ref().to_vec()
}

/// PKCS #8, as some tools make it of GitHub's file.
pub(super) fn pkcs8_pem() -> String {
    pem("PRIVATE KEY", &pkcs8(&KEY))
}

/// PKCS #1, as GitHub gives it: what stands in PKCS #8 behind 26 bytes of headers, for a key of this size.
pub(in crate::github) fn pkcs1_pem() -> String {
    pem("RSA PRIVATE KEY", &pkcs8(&KEY)[26..])
}

pub(super) fn strangers_pem() -> String {
    pem("PRIVATE KEY", &pkcs8(&KeyPair::generate(KeySize::Rsa2048).expect("a key")))
}

/// One try of a delivery.
#[derive(Clone)]
pub(super) struct Try {
    pub(super) id: u64,
    pub(super) guid: &'static str,
    pub(super) at: DateTime<Utc>,
    pub(super) code: u16,
}

/// An account that installed the App.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) repos: Vec<String>,
    pub(super) suspended: bool,
    pub(super) may: BTreeMap<&'static str, &'static str>,
}

impl Account {
    pub(super) fn new(id: u64, login: &str, repos: &[&str]) -> Self {
        let repos = repos.iter().map(|repo| (*repo).to_owned()).collect();
        Self { id, login: login.to_owned(), repos, suspended: false, may: PERMISSIONS.into() }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id, "account": {"login": self.login, "id": 1}, "app_id": APP_ID, "events": EVENTS,
            "repository_selection": if self.repos.len() == 1 { "selected" } else { "all" },
            "suspended_at": self.suspended.then_some("2026-01-02T03:04:05Z"),
        })
    }

    fn repo(&self, name: &str) -> Value {
        let full = format!("{}/{name}", self.login);
        let id = self.repos.iter().position(|repo| repo == name).expect("there") + 1000;
        json!({
            "id": id, "name": name, "full_name": full, "private": true, "default_branch": "main",
            "clone_url": format!("https://github.example/{full}.git"), "html_url": format!("https://github.example/{full}"),
        })
    }
}

/// A token that was given out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub(super) installation: u64,
    pub(super) asked: Value,
}

#[derive(Default)]
pub(super) struct GitHub {
    pub(super) accounts: Vec<Account>,
    pub(super) given: Vec<Given>,
    pub(super) tries: Vec<Try>,
    pub(super) hook: Value,
    pub(super) subscribed: Vec<&'static str>,
    pub(super) may: BTreeMap<&'static str, &'static str>,
    /// A defect of this GitHub: whatever is asked, the token is for all repositories.
    pub(super) careless: bool,
    pub(super) trouble: Option<Reply>,
    pub(super) requests: Vec<String>,
    /// Why the App was not believed.
    pub(super) doubts: Vec<String>,
}

impl State for GitHub {
    fn reply(&mut self, asked: &Asked) -> Option<Reply> {
        self.requests.push(asked.line.clone());
        if let Some(trouble) = self.trouble.take() {
            return Some(trouble);
        }
        if asked.line == "GET /installation/repositories" {
            return Some(self.repositories(asked));
        }
        if let Err(doubt) = believe(asked.bearer()) {
            self.doubts.push(doubt);
            return Some(Reply::refused(401, "A JSON web token could not be decoded"));
        }
        let (method, path) = asked.line.split_once(' ')?;
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match (method, segments.as_slice()) {
            ("GET", ["app"]) => Some(Reply::new(
                200,
                json!({"slug": "ours", "html_url": "https://github.example/apps/ours", "events": self.subscribed,
                       "permissions": self.may}),
            )),
            ("GET", ["app", "installations"]) => {
                let (part, next) = asked.part(&self.accounts);
                let part: Vec<Value> = part.iter().map(Account::json).collect();
                Some(Reply::new(200, json!(part)).linked(next.map(|page| format!("page={page}"))))
            }
            ("GET", ["repos", owner, name, "installation"]) => Some(self.installation_of(owner, name)),
            ("POST", ["app", "installations", id, "access_tokens"]) => Some(self.token(id, &asked.body)),
            ("GET", ["app", "hook", "deliveries"]) => Some(self.deliveries(asked)),
            ("POST", ["app", "hook", "deliveries", id, "attempts"]) => Some(self.again(id)),
            ("PATCH", ["app", "hook", "config"]) => {
                self.hook = asked.body.clone();
                Some(Reply::new(200, json!({"url": "x", "secret": "********"})))
            }
            _ => None,
        }
    }
}

impl GitHub {
    fn installation_of(&self, owner: &str, name: &str) -> Reply {
        let covers = |account: &&Account| account.login == owner && account.repos.iter().any(|repo| repo == name);
        match self.accounts.iter().find(covers) {
            Some(account) => Reply::new(200, account.json()),
            None => Reply::refused(404, "Not Found"),
        }
    }

    fn token(&mut self, id: &str, asked: &Value) -> Reply {
        let Some(account) = self.accounts.iter().find(|account| account.id.to_string() == id) else {
            return Reply::refused(404, "Not Found");
        };
        if account.suspended {
            return Reply::refused(403, "This installation has been suspended");
        }
        let names: Vec<&str> =
            asked["repositories"].as_array().into_iter().flatten().map(|name| name.as_str().expect("text")).collect();
        if names.iter().any(|name| !account.repos.iter().any(|repo| repo == name)) {
            let message =
                "There is at least one repository that does not exist or is not accessible to the parent installation.";
            return Reply::refused(422, message);
        }
        let wanted = asked["permissions"].as_object().expect("never all that the App may");
        let granted = |(name, level): (&String, &Value)| {
            may(account.may.get(name.as_str()).copied(), level.as_str().expect("text"))
        };
        if !wanted.iter().all(granted) {
            return Reply::refused(422, "The permissions requested are not granted to this installation.");
        }
        let mut answer = json!({"token": format!("ghs_{}", self.given.len()), "permissions": wanted,
                                "expires_at": (Clock::system().now() + TimeDelta::hours(1)).to_rfc3339()});
        if self.careless {
            answer["repositories"] = json!(account.repos.iter().map(|name| account.repo(name)).collect::<Vec<_>>());
        } else if !names.is_empty() {
            answer["repositories"] = json!(names.iter().map(|name| account.repo(name)).collect::<Vec<_>>());
        }
        self.given.push(Given { installation: account.id, asked: asked.clone() });
        Reply::new(201, answer)
    }

    fn repositories(&self, asked: &Asked) -> Reply {
        let given =
            asked.bearer().strip_prefix("ghs_").and_then(|number| self.given.get(number.parse::<usize>().ok()?));
        let Some(given) = given else { return Reply::refused(401, "Bad credentials") };
        let account = self.accounts.iter().find(|account| account.id == given.installation).expect("there");
        let (part, next) = asked.part(&account.repos);
        let repositories: Vec<Value> = part.iter().map(|name| account.repo(name)).collect();
        let answer = json!({"total_count": account.repos.len(), "repositories": repositories});
        Reply::new(200, answer).linked(next.map(|page| format!("page={page}")))
    }

    /// Newest first; a page's cursor is the id of its first.
    fn deliveries(&self, asked: &Asked) -> Reply {
        assert_eq!(asked.query["per_page"], "100");
        let begin = match asked.query.get("cursor") {
            Some(cursor) => {
                let id: u64 = cursor.strip_prefix("v1+").expect("a cursor that we gave").parse().expect("a number");
                self.tries.iter().position(|one| one.id == id).expect("there")
            }
            None => 0,
        };
        let part: Vec<Value> = self.tries[begin..]
            .iter()
            .take(100)
            .map(|one| {
                json!({"id": one.id, "guid": one.guid, "delivered_at": one.at.to_rfc3339(), "redelivery": false,
                       "duration": 0.3, "status": if one.code == 200 { "OK" } else { "failed" }, "status_code": one.code,
                       "event": "push", "action": null, "installation_id": 7, "repository_id": 1000})
            })
            .collect();
        let next = self.tries.get(begin + 100).map(|one| format!("cursor=v1%2B{}", one.id));
        Reply::new(200, json!(part)).linked(next)
    }

    /// This time it is taken.
    fn again(&mut self, id: &str) -> Reply {
        let Some(one) = self.tries.iter().find(|one| one.id.to_string() == id) else {
            return Reply::refused(404, "Not Found");
        };
        let newest = self.tries[0].clone();
        let again = Try { id: newest.id + 1, code: 202, at: newest.at + TimeDelta::minutes(1), ..one.clone() };
        self.tries.insert(0, again);
        Reply::new(202, json!({}))
    }
}

/// As GitHub checks an App's token: RS256 by its key, its number, no longer than ten minutes and not from the future.
fn believe(token: &str) -> Result<(), String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("no token")?;
    let (head, claims) = signed.split_once('.').ok_or("no claims")?;
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "not base64".to_owned());
    let json = |text: &str| -> Result<Value, String> {
        serde_json::from_slice(&decoded(text)?).map_err(|_| "not JSON".to_owned())
    };
    let (head, claims) = (json(head)?, json(claims)?);
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key())
        .verify(signed.as_bytes(), &decoded(signature)?)
        .map_err(|_| "signed by another key")?;
    let now = Clock::system().now().timestamp();
    let time = |name: &str| claims[name].as_i64().ok_or(format!("no {name}"));
    let (begin, end) = (time("iat")?, time("exp")?);
    if head["alg"] != "RS256" || claims["iss"] != APP_ID {
        return Err(format!("not the App: {head} {claims}"));
    }
    // Clocks that are half a minute off are forgiven in both directions.
    if begin > now - 30 || end <= now + 30 || end - begin > 600 || end - (now - 30) > 600 {
        return Err(format!("wrong times: {claims} at {now}"));
    }
    Ok(())
}

fn public_key() -> Vec<u8> {
    aws_lc_rs::signature::RsaKeyPair::from_pkcs8(&pkcs8(&KEY)).expect("a key").public_key().as_ref().to_vec()
}
