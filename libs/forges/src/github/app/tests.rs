//! The App against a GitHub that checks each of its tokens.

use serde_json::json;
use slipway_runtime::egress::FetchAllow;

use super::fake::{APP_ID, Account, GitHub, Given, pkcs1_pem, pkcs8_pem, strangers_pem};
use super::*;
use crate::github::fake::{Fake, Inside, Reply};

pub(super) fn connect(base_url: &Url) -> AppConnect {
    AppConnect {
        base_url: Some(base_url.clone()),
        access: AppAccess { app_id: APP_ID, private_key_pem: pkcs1_pem() },
        egress: Egress::new("127.0.0.0/8".parse().expect("a good list")),
        clock: Clock::system(),
        timeout: Duration::from_secs(20),
    }
}

/// A GitHub in this state, us as its App, and a look inside.
pub(super) async fn meet(state: GitHub) -> (Fake<GitHub>, AppApi, Inside<GitHub>) {
    let fake = Fake::new(state).await;
    let api = AppApi::new(connect(&fake.url)).expect("a good key");
    let inside = fake.inside();
    (fake, api, inside)
}

fn installed(accounts: Vec<Account>) -> GitHub {
    GitHub { accounts, ..GitHub::default() }
}

#[tokio::test]
async fn a_token_for_one_repository_asks_for_no_more_than_we_need() {
    let acme = Account::new(7, "acme", &["widget", "gadget"]);
    let (fake, api, inside) = meet(installed(vec![Account::new(6, "other", &["widget"]), acme])).await;
    let (found, token) = fake
        .during(async {
            let found = api.installation_of("acme/widget").await.expect("installed");
            let token = api.repository_token(found.id, "acme/widget").await;
            (found, token.expect("covered"))
        })
        .await;
    let expected = Installation { id: 7, account: "acme".to_owned(), suspended: false, all_repositories: true };
    assert_eq!(found, expected);
    assert_eq!(token.token, "ghs_0");
    let left = token.expires_at - Clock::system().now();
    assert!((58..=60).contains(&left.num_minutes()), "{left}");
    let permissions = json!({"contents": "read", "metadata": "read", "pull_requests": "read", "statuses": "write",
                             "checks": "write"});
    let asked = json!({"repositories": ["widget"], "permissions": permissions});
    inside.with(|github| {
        assert_eq!(github.given, [Given { installation: 7, asked }]);
        assert_eq!(github.doubts, Vec::<String>::new());
    });
}

#[tokio::test]
async fn tokens_are_made_once_for_each_repository_until_shortly_before_their_end() {
    use crate::access::{AppTokens, Credential};
    let acme = Account::new(7, "acme", &["widget", "gadget"]);
    let (fake, _, inside) = meet(installed(vec![acme])).await;
    let access = AppAccess { app_id: APP_ID, private_key_pem: pkcs1_pem() };
    let credential = Credential::App { access, installation: 7 };
    assert_eq!(format!("{credential:?}"), format!("App({APP_ID}, 7)"), "no key in it");
    let (tokens, url) = (AppTokens::default(), fake.url.clone());
    let at = |minutes| {
        move |access| {
            let clock = Clock::system();
            clock.advance(Duration::from_secs(u64::try_from(minutes).unwrap_or_default() * 60));
            AppConnect { access, clock, ..connect(&url.clone()) }
        }
    };
    fake.during(async {
        let token =
            async |repo: &str, minutes| tokens.token(&credential, repo, at.clone()(minutes)).await.expect("a token");
        let first = token("acme/widget", 0).await;
        assert_eq!(first, token("Acme/Widget", 40).await);
        assert_ne!(first, token("acme/gadget", 0).await);
        tokens.forget_those_of("Acme/Widget");
        let second = token("acme/widget", 0).await;
        assert_ne!(first, second);
        assert_ne!(second, token("acme/widget", 50).await, "ten minutes are too few for a clone");
        let given = Credential::Token("own".to_owned());
        assert_eq!(tokens.token(&given, "acme/widget", |_| panic!("nobody is asked")).await.expect("its own"), "own");
    })
    .await;
    assert_eq!(inside.with(|github| github.given.len()), 4);
}

#[tokio::test]
async fn what_an_installation_does_not_give_is_told_apart() {
    let mut asleep = Account::new(8, "asleep", &["widget"]);
    asleep.suspended = true;
    let mut narrow = Account::new(9, "narrow", &["widget"]);
    narrow.may.remove("checks");
    let accounts = vec![Account::new(7, "acme", &["widget", "gadget"]), asleep, narrow];
    let (fake, api, inside) = meet(installed(accounts)).await;
    let work = async {
        let not_found = |e: &ForgeError| matches!(e, ForgeError::NotFound(_));
        let e = api.repository_token(7, "acme/secret").await.expect_err("not covered");
        assert!(not_found(&e) && e.to_string().contains("does not cover acme/secret"), "{e}");
        let e = api.repository_token(7, "other/widget").await.expect_err("another widget");
        assert!(not_found(&e) && e.to_string().contains("covers another widget"), "{e}");
        let e = api.repository_token(1, "acme/widget").await.expect_err("removed");
        assert!(not_found(&e), "{e}");
        let e = api.installation_of("acme/secret").await.expect_err("not covered");
        assert!(not_found(&e), "{e}");
        let e = api.repository_token(8, "asleep/widget").await.expect_err("suspended");
        assert_eq!(e, ForgeError::Unauthorized(403));
        let e = api.repository_token(9, "narrow/widget").await.expect_err("may not");
        assert!(matches!(&e, ForgeError::Rejected { status: 422, message } if message.contains("permissions")), "{e}");
        for bad in ["acme", "acme/widget/x", "acme/..", "acme/wid get", "a?b/c"] {
            let e = api.repository_token(7, bad).await.expect_err("no path of GitHub's");
            assert!(matches!(e, ForgeError::Invalid(_)), "{bad}: {e}");
        }
        inside.with(|github| github.careless = true);
        let e = api.repository_token(7, "acme/widget").await.expect_err("for all of them");
        assert!(matches!(e, ForgeError::Transient(_)), "{e}");
        assert!(api.repository_token(9, "narrow/widget").await.is_err());
    };
    fake.during(work).await;
    assert!(inside.with(|github| github.doubts.is_empty()));
}

#[tokio::test]
async fn repositories_are_listed_page_by_page_with_a_token_that_sees_no_more() {
    let names: Vec<String> = (0..250).map(|n| format!("repo-{n}")).collect();
    let acme = Account { repos: names.clone(), ..Account::new(7, "acme", &[]) };
    let (fake, api, inside) = meet(installed(vec![acme])).await;
    let work = async {
        let token = api.listing_token(7).await.expect("given");
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = api.installation_repos(&token, cursor.as_deref()).await.expect("a page");
            assert!(page.items.len() <= 100);
            all.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let e = api.installation_repos(&token, Some("https://elsewhere.example/")).await.expect_err("no cursor");
        assert!(matches!(e, ForgeError::Invalid(_)), "{e}");
        all
    };
    let all = fake.during(work).await;
    assert_eq!(all.iter().map(|repo| repo.full_path.clone()).collect::<Vec<_>>(), {
        names.iter().map(|name| format!("acme/{name}")).collect::<Vec<_>>()
    });
    let first = RemoteRepo {
        id: "1000".to_owned(),
        full_path: "acme/repo-0".to_owned(),
        clone_url: "https://github.example/acme/repo-0.git".to_owned(),
        web_url: Some("https://github.example/acme/repo-0".to_owned()),
        default_branch: Some("main".to_owned()),
        private: Some(true),
    };
    assert_eq!(all[0], first);
    let given = inside.with(|github| std::mem::take(&mut github.given));
    assert_eq!(given, [Given { installation: 7, asked: json!({"permissions": {"metadata": "read"}}) }]);
}

#[tokio::test]
async fn installations_are_listed_to_a_bound() {
    let mut accounts: Vec<Account> = (1..=1234).map(|id| Account::new(id, &format!("account-{id}"), &["x"])).collect();
    accounts[1].suspended = true;
    let (fake, api, inside) = meet(installed(accounts)).await;
    let all = fake.during(async { api.installations().await.expect("listed") }).await;
    assert_eq!(all.len(), 1000);
    let second = Installation { id: 2, account: "account-2".to_owned(), suspended: true, all_repositories: false };
    assert_eq!(all[1], second);
    assert_eq!(inside.with(|github| github.requests.len()), 10);
}

#[tokio::test]
async fn trouble_is_sorted_and_nothing_is_asked_twice() {
    let (fake, api, inside) = meet(installed(vec![Account::new(7, "acme", &["widget"])])).await;
    let short = Duration::from_millis(300);
    let impatient = AppApi::new(AppConnect { timeout: short, ..connect(&fake.url) }).expect("a good key");
    let wait = |secs| ForgeError::RetryAfter(Duration::from_secs(secs));
    let table = [
        (Reply::refused(403, "slow down").with("retry-after", 17), wait(17)),
        (Reply::refused(403, "You have exceeded a secondary rate limit"), wait(60)),
        (Reply::refused(429, "slow down").with("retry-after", 5), wait(5)),
        (Reply::refused(403, "API").with("x-ratelimit-remaining", 0), wait(60)),
        (Reply::refused(401, "Bad credentials"), ForgeError::Unauthorized(401)),
        (Reply::refused(500, "sorry"), ForgeError::Transient("status 500".to_owned())),
        (Reply::refused(502, "sorry"), ForgeError::Transient("status 502".to_owned())),
    ];
    let work = async {
        for (trouble, expected) in table {
            let before = inside.with(|github| {
                github.trouble = Some(trouble);
                github.requests.len()
            });
            assert_eq!(api.repository_token(7, "acme/widget").await, Err(expected));
            assert_eq!(inside.with(|github| github.requests.len()), before + 1);
        }
        inside.with(|github| github.trouble = Some(Reply::new(201, json!({"token": "x"}))));
        let e = api.repository_token(7, "acme/widget").await.expect_err("no time in it");
        assert!(matches!(e, ForgeError::Transient(_)), "{e}");
        inside.with(|github| github.trouble = Some(Reply::new(201, json!({})).lost()));
        let e = impatient.repository_token(7, "acme/widget").await.expect_err("silence");
        assert_eq!(e, ForgeError::Transient("no answer within 300 ms".to_owned()));
        api.repository_token(7, "acme/widget").await.expect("no trouble any more");
    };
    fake.during(work).await;
}

#[tokio::test]
async fn the_key_is_looked_at_before_it_is_used() {
    let base = Url::parse("http://127.0.0.1:1").expect("a URL");
    let with = |pem: &str| {
        let access = AppAccess { app_id: APP_ID, private_key_pem: pem.to_owned() };
        AppApi::new(AppConnect { access, ..connect(&base) })
    };
    assert!(with(&pkcs1_pem()).is_ok());
    assert!(with(&pkcs8_pem()).is_ok());
    assert!(with(&pkcs1_pem().replace('\n', "\r\n")).is_ok(), "as browsers send it");
    let elliptic = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n\
        OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n\
        1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n-----END PRIVATE KEY-----\n";
    let good = pkcs1_pem();
    let cut: Vec<&str> = good.lines().filter(|line| !line.ends_with('=')).collect();
    let short = format!("{}\n{}\n{}", cut[0], cut[1], cut[cut.len() - 1]);
    for bad in
        ["", "no key", elliptic, &short, "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n"]
    {
        let e = with(bad).err().expect("no usable key");
        assert!(matches!(&e, ForgeError::Invalid(words) if words.contains("private key")), "{e}");
    }
}

#[tokio::test]
async fn another_apps_key_is_refused() {
    let (fake, _, inside) = meet(GitHub::default()).await;
    let access = AppAccess { app_id: APP_ID, private_key_pem: strangers_pem() };
    let stranger = AppApi::new(AppConnect { access, ..connect(&fake.url) }).expect("a key");
    let access = AppAccess { app_id: APP_ID + 1, private_key_pem: pkcs1_pem() };
    let misnamed = AppApi::new(AppConnect { access, ..connect(&fake.url) }).expect("a key");
    let work = async {
        assert_eq!(stranger.myself().await, Err(ForgeError::Unauthorized(401)));
        assert_eq!(misnamed.myself().await, Err(ForgeError::Unauthorized(401)));
    };
    fake.during(work).await;
    let doubts = inside.with(|github| std::mem::take(&mut github.doubts));
    assert_eq!(doubts[0], "signed by another key");
    assert!(doubts[1].starts_with("not the App"), "{doubts:?}");
}

#[tokio::test]
async fn addresses_that_are_not_allowed_are_not_contacted() {
    let (fake, _, inside) = meet(GitHub::default()).await;
    let closed = AppConnect { egress: Egress::new(FetchAllow::default()), ..connect(&fake.url) };
    let api = AppApi::new(closed).expect("a key");
    let told = fake.during(async { api.myself().await }).await;
    assert!(matches!(told, Err(ForgeError::Invalid(_))), "{told:?}");
    assert!(inside.with(|github| github.requests.is_empty()));
}

#[test]
fn secrets_are_not_shown() {
    let access = AppAccess { app_id: 1, private_key_pem: "the-key".to_owned() };
    assert_eq!(format!("{access:?}"), "AppAccess { app_id: 1, .. }");
    let token = InstallationToken { token: "ghs_secret".to_owned(), expires_at: DateTime::UNIX_EPOCH };
    assert_eq!(format!("{token:?}"), "InstallationToken { expires_at: 1970-01-01T00:00:00Z, .. }");
}
