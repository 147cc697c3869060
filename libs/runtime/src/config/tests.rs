//! What settings mean and what is said of wrong ones.

use super::*;

fn pairs(items: &[(&str, &str)]) -> Vec<(String, String)> {
    items.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let dir = std::env::temp_dir().join(format!("slipway-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let file = dir.join("slipway.toml");
    std::fs::write(&file, "slots = 3\nregion = \"file\"\nfetch_allow = [\"10.0.0.0/8\", \"git.local\"]\n")
        .expect("a file");
    let raw = RawConfig::collect(
        &pairs(&[("region", "flag")]),
        &pairs(&[("SLIPWAY_REGION", "env"), ("SLIPWAY_LISTEN", "127.0.0.1:1"), ("HOME", "/")]),
        Some(&file),
    )
    .expect("valid");
    let config = Config::parse(&raw).expect("valid");
    assert_eq!((config.region.as_str(), config.slots, config.listen.port()), ("flag", 3, 1));
    assert_eq!(config.public_url.as_str(), "http://127.0.0.1:1/");
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn a_wrong_key_names_the_nearest_one() {
    let error = RawConfig::collect(&[], &pairs(&[("SLIPWAY_DATABSE_URL", "x")]), None).expect_err("unknown");
    assert_eq!(error.to_string(), "SLIPWAY_DATABSE_URL: there is no setting databse_url; did you mean database_url?");
    let error = RawConfig::collect(&[], &pairs(&[("SLIPWAY_REGION_FILE", "x")]), None).expect_err("not a secret");
    assert!(error.to_string().contains("no setting"), "{error}");
}

#[test]
fn a_wrong_value_names_setting_source_and_form() {
    let raw = RawConfig::collect(&[], &pairs(&[("SLIPWAY_SLOTS", "many")]), None).expect("known");
    let error = Config::parse(&raw).expect_err("not a number");
    assert_eq!(error.to_string(), "SLIPWAY_SLOTS: slots is many, but must be a whole number");
    let raw = RawConfig::collect(&[], &pairs(&[("SLIPWAY_CA_FILE", "/nowhere/ca.pem")]), None).expect("known");
    let error = Config::parse(&raw).expect_err("no file").to_string();
    assert!(error.starts_with("SLIPWAY_CA_FILE: /nowhere/ca.pem cannot be read"), "{error}");
    let raw = RawConfig::collect(&[], &pairs(&[("SLIPWAY_SECRET_KEY", "short")]), None).expect("known");
    assert!(!Config::parse(&raw).expect_err("short").to_string().contains("short"), "never the secret");
}

#[test]
fn plans_come_from_a_file_of_their_own() {
    let dir = std::env::temp_dir().join(format!("slipway-config-plans-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let file = dir.join("plans.toml");
    let parse = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        let raw = RawConfig::collect(&[], &pairs(&[("SLIPWAY_PLANS_FILE", file.to_str().expect("text"))]), None);
        Config::parse(&raw.expect("known")).map_err(|error| error.to_string())
    };
    let plans = parse("[team]\nmemory_bytes = \"16 GiB\"\n[small]\nlike = \"free\"\n").expect("valid").plans;
    assert_eq!((plans.limits("team").memory_bytes, plans.limits("small")), (16 << 30, plans.limits("free")));
    let said = parse("[team]\nmemory = 1\n").expect_err("no such limit");
    assert!(said.contains("plans.toml") && said.contains("memory"), "{said}");
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn urls_with_passwords_come_from_files_and_are_shown_without_them() {
    let dir = std::env::temp_dir().join(format!("slipway-config-url-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    for key in WITH_PASSWORD {
        let file = dir.join(key);
        std::fs::write(&file, "amqp://user:hush@host/place\n").expect("a file");
        let variable = format!("SLIPWAY_{}_FILE", key.to_uppercase());
        let raw = RawConfig::collect(&[], &pairs(&[(&variable, file.to_str().expect("text"))]), None);
        let raw = raw.expect("known");
        assert_eq!(raw.get(key), Some("amqp://user:hush@host/place"));
        let shown = raw.masked().into_iter().find(|(shown, _, _)| shown == key).expect("set");
        assert_eq!(shown, (*key, "amqp://user:***@host/place".to_owned(), variable));
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn secrets_and_passwords_are_masked() {
    let raw = RawConfig::collect(
        &[],
        &pairs(&[("SLIPWAY_JOIN_TOKEN", "hush"), ("SLIPWAY_DATABASE_URL", "postgres://u:hush@h/d")]),
        None,
    )
    .expect("valid");
    let shown = format!("{:?}", raw.masked());
    assert!(!shown.contains("hush") && shown.contains("postgres://u:***@h/d"), "{shown}");
}
