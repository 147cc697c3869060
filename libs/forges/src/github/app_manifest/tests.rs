//! The manifest, where it goes, and what comes back for the code.

use super::super::fake::{Asked, Fake, Reply, State};
use super::*;

const WANTED: Manifest<'_> = Manifest {
    name: "Slipway at ci.example",
    our_url: "https://ci.example",
    hook_url: "https://ci.example/hooks/1",
    redirect_url: "https://ci.example/back",
    setup_url: None,
};

#[test]
fn the_manifest_in_full() {
    let expected = json!({
        "name": "Slipway at ci.example",
        "url": "https://ci.example",
        "hook_attributes": {"url": "https://ci.example/hooks/1", "active": true},
        "redirect_url": "https://ci.example/back",
        "public": false,
        "default_events":
            ["push", "pull_request", "create", "delete", "release", "check_run", "check_suite", "repository"],
        "default_permissions":
            {"contents": "read", "metadata": "read", "pull_requests": "read", "statuses": "write", "checks": "write"},
    });
    assert_eq!(manifest(&WANTED), expected);
    let more = manifest(&Manifest { setup_url: Some("https://ci.example/set-up"), name: &"ü".repeat(40), ..WANTED });
    assert_eq!(more["setup_url"], "https://ci.example/set-up");
    assert_eq!(more["setup_on_update"], true);
    assert_eq!(more["name"], "ü".repeat(34));
}

#[test]
fn the_page_that_takes_the_manifest() {
    let table = [
        (None, None, "https://github.com/settings/apps/new?state=a%26b"),
        (None, Some("acme"), "https://github.com/organizations/acme/settings/apps/new?state=a%26b"),
        (Some("https://www.github.com/"), None, "https://github.com/settings/apps/new?state=a%26b"),
        (Some("https://api.github.com"), None, "https://github.com/settings/apps/new?state=a%26b"),
        (Some("https://acme.ghe.com"), None, "https://acme.ghe.com/settings/apps/new?state=a%26b"),
        (Some("https://api.acme.ghe.com/"), None, "https://acme.ghe.com/settings/apps/new?state=a%26b"),
        (Some("https://git.acme.example/"), None, "https://git.acme.example/settings/apps/new?state=a%26b"),
        (
            Some("https://git.acme.example:8443/api/v3/"),
            Some("acme-1"),
            "https://git.acme.example:8443/organizations/acme-1/settings/apps/new?state=a%26b",
        ),
    ];
    for (base, organisation, expected) in table {
        let base = base.map(|base| Url::parse(base).expect("a URL"));
        let page = manifest_page(base.as_ref(), organisation, "a&b").expect("a page");
        assert_eq!(page.as_str(), expected);
    }
    for bad in ["", "..", "a/b", "a b", "a?x", "ü", &"a".repeat(101)] {
        assert!(matches!(manifest_page(None, Some(bad), "s"), Err(ForgeError::Invalid(_))), "{bad}");
    }
}

/// A GitHub where one App waits for its code.
#[derive(Default)]
struct Waiting {
    code: Option<&'static str>,
    requests: usize,
}

impl State for Waiting {
    fn reply(&mut self, asked: &Asked) -> Option<Reply> {
        self.requests += 1;
        assert!(!asked.headers.contains_key("authorization"), "the code is all that counts");
        let code = asked.line.strip_prefix("POST /app-manifests/")?.strip_suffix("/conversions")?;
        if self.code.take_if(|waiting| *waiting == code).is_none() {
            return Some(Reply::refused(404, "Not Found"));
        }
        let app = json!({
            "id": 42, "slug": "slipway", "name": "Slipway", "html_url": "https://github.com/apps/slipway",
            "node_id": "x", "owner": {"login": "acme"}, "client_id": "Iv1.1", "client_secret": "client-secret",
            "webhook_secret": "hook-secret", "pem": "the-key", "permissions": {}, "events": [],
        });
        Some(Reply::new(201, app))
    }
}

#[tokio::test]
async fn a_code_gives_the_app_once() {
    let fake = Fake::new(Waiting { code: Some("a180b1a3d263c81bc6441d7b"), requests: 0 }).await;
    let (url, inside) = (fake.url.clone(), fake.inside());
    let convert = |code: &'static str| {
        convert_manifest(ManifestCode {
            base_url: Some(&url),
            code,
            egress: Egress::new("127.0.0.0/8".parse().expect("a good list")),
            clock: Clock::system(),
            timeout: Duration::from_secs(20),
        })
    };
    let work = async {
        for bad in ["", "..", "a/b", "a?b", "a%2fb", "a b", "ü", "x\r\ny", &*"a".repeat(101).leak()] {
            assert!(matches!(convert(bad).await, Err(ForgeError::Invalid(_))), "{bad}");
        }
        assert_eq!(inside.with(|github| github.requests), 0, "a stranger's text is not sent");
        let app = convert("a180b1a3d263c81bc6441d7b").await.expect("made");
        let again = convert("a180b1a3d263c81bc6441d7b").await;
        assert!(matches!(&again, Err(ForgeError::Invalid(words)) if words.contains("once")), "{again:?}");
        app
    };
    let app = fake.during(work).await;
    let expected = NewApp {
        app_id: 42,
        slug: "slipway".to_owned(),
        name: "Slipway".to_owned(),
        html_url: "https://github.com/apps/slipway".to_owned(),
        private_key_pem: "the-key".to_owned(),
        webhook_secret: "hook-secret".to_owned(),
        client_id: "Iv1.1".to_owned(),
        client_secret: "client-secret".to_owned(),
    };
    assert!(app == expected);
    let shown = format!("{app:?}");
    assert!(shown.contains("slipway") && !shown.contains("secret") && !shown.contains("the-key"), "{shown}");
}
