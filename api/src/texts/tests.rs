//! The catalogue is whole: both languages say the same, what is used is there, and nothing on a page is said outside of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fluent_syntax::ast::{Entry, Message, Resource};
use fluent_syntax::serializer;
use regex::Regex;
use slipway_domain::failure::FailureClass;

use super::{ENGLISH, Language, Texts, sources};

const CHINESE: Texts = Texts { language: Language::Chinese };
/// Chinese texts without a Chinese character: names.
const NAMES: &[&str] = &[
    "word-api",
    "word-id",
    "word-dockerfile",
    "builders-cpu",
    "builders-busy-of",
    "github-app",
    "github-apps",
    "github-name",
    "first-webhook",
    "js-log-moved",
];
/// Strings of the pages' code that look like keys.
const NO_KEYS: &[&str] = &["github-app-manifest"];
/// Words that stand in templates as they are: names, and words of the field that no language of ours translates.
const AS_THEY_ARE: &[&str] = &["Slipway", "https"];

/// Key, and arguments.
type Keys = BTreeMap<String, BTreeSet<String>>;

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}

/// What stands in the first group, everywhere.
fn all<'a>(pattern: &str, text: &'a str) -> Vec<&'a str> {
    regex(pattern).captures_iter(text).filter_map(|found| found.get(1)).map(|group| group.as_str()).collect()
}

/// The files below a folder of this crate that end so, with what they hold.
fn files(folder: &str, end: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).expect("a text")));
            }
        }
    }
    found
}

fn messages<'a>(tree: &'a Resource<&str>) -> Vec<&'a Message<&'a str>> {
    let message = |entry: &'a Entry<&str>| if let Entry::Message(message) = entry { Some(message) } else { None };
    tree.body.iter().filter_map(message).collect()
}

/// A message as it is written.
fn written(message: &Message<&str>) -> String {
    serializer::serialize(&Resource { body: vec![Entry::Message(message.clone())] })
}

/// The keys of a language, in files that can be read.
fn keys(language: Language) -> Keys {
    let mut keys = Keys::new();
    for (file, source) in sources(language) {
        let tree = fluent_syntax::parser::parse(source.as_str());
        let tree = tree.unwrap_or_else(|(_, errors)| panic!("{}/{file}.ftl: {errors:?}", language.tag()));
        for message in messages(&tree) {
            let (key, text) = (message.id.name, written(message));
            let begins = key.strip_prefix(file.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            assert!(begins, "{key} does not begin with the name of its file, {file}");
            let arguments = all(r"\$([a-z_-]+)", &text).into_iter().map(str::to_owned).collect();
            assert_eq!(keys.insert(key.to_owned(), arguments), None, "{key} is there twice");
        }
    }
    keys
}

/// What templates tell their engine.
fn told(template: &str) -> Vec<&str> {
    all(r"(?s)\{[{%](.*?)[%}]\}", template)
}

/// Literals that are keys by their beginning, which is the name of a file.
fn used() -> BTreeMap<String, String> {
    let begins: BTreeSet<String> = sources(Language::English).into_iter().map(|(file, _)| file).collect();
    let mut used = BTreeMap::new();
    let mut use_all = |place: &str, text: &str| {
        for literal in all(r#""([a-z0-9]+(?:-[a-z0-9]+)+)""#, text) {
            let is_key = begins
                .iter()
                .any(|begin| literal.strip_prefix(begin.as_str()).is_some_and(|rest| rest.starts_with('-')));
            if is_key && !NO_KEYS.contains(&literal) {
                used.insert(literal.to_owned(), place.to_owned());
            }
        }
    };
    for (place, template) in files("web/templates", ".html") {
        told(&template).into_iter().for_each(|told| use_all(&place, told));
    }
    for (place, code) in files("src/pages", ".rs").into_iter().chain(files("src", "words.rs")) {
        use_all(&place, &code);
    }
    for (place, script) in files("web/js", ".js") {
        use_all(&place, &all(r#"("js-[a-z0-9-]+")"#, &script).join(" "));
    }
    // These are put together out of the class.
    for class in FailureClass::ALL {
        let key = format!("failure-{}", class.as_str().replace('_', "-"));
        used.insert(format!("{key}-hint"), "a class's hint".to_owned());
        used.insert(key, "a class's title".to_owned());
    }
    used
}

#[test]
fn every_language_says_the_same() {
    let english = keys(Language::English);
    assert!(english.len() > 100, "{} keys", english.len());
    assert_eq!(english, keys(Language::Chinese));
}

#[test]
fn what_is_used_is_there_and_what_is_there_is_used() {
    let (used, keys) = (used(), keys(Language::English));
    let missing: Vec<_> = used.iter().filter(|(key, _)| !keys.contains_key(*key)).collect();
    assert!(missing.is_empty(), "not in the catalogue: {missing:#?}");
    for (place, template) in files("web/templates", ".html") {
        for key in told(&template).into_iter().flat_map(|told| all(r#"\bt\("([^"]*)""#, told)) {
            assert!(keys.contains_key(key), "{place}: {key} is not in the catalogue");
        }
    }
    let unused: Vec<_> = keys.keys().filter(|key| !used.contains_key(*key)).collect();
    assert!(unused.is_empty(), "nobody says {unused:#?}");
}

#[test]
fn chinese_is_chinese() {
    let han = regex(r"\p{Han}");
    let narrow = regex(r"\p{Han}\s*[,;:!?()]|[,;:!?()]\s*\p{Han}|\p{Han}\.(?:\s|$)");
    let mut wrong = Vec::new();
    for (_, source) in sources(Language::Chinese) {
        let tree = fluent_syntax::parser::parse(source.as_str()).expect("a tree");
        for message in messages(&tree) {
            let text = written(message);
            if !han.is_match(&text) && !NAMES.contains(&message.id.name) {
                wrong.push(format!("not translated: {text}"));
            }
            // In a Chinese sentence they are wide.
            if narrow.is_match(&text) {
                wrong.push(format!("narrow punctuation: {text}"));
            }
            if text.contains('您') {
                wrong.push(format!("readers are 你: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn templates_say_nothing_by_themselves() {
    // What others show in English is named in English.
    let named = regex(r#"(?s)<(?:(?:code|pre|script)\b|strong lang="en").*?</(?:code|pre|script|strong)>"#);
    let engine = regex(r"(?s)\{[{%#].*?[%}#]\}");
    let tags = regex("(?s)<[^>]*>");
    let words = regex(r"\p{L}{2,}");
    let spoken = r#"\b(?:aria-label|title|placeholder|alt|data-label)="([^"]*)""#;
    let mut found = Vec::new();
    for (place, template) in files("web/templates", ".html") {
        let template = engine.replace_all(&template, "");
        let template = named.replace_all(&template, "");
        let text = tags.replace_all(&template, "\n").into_owned();
        for part in text.lines().chain(all(spoken, &template)) {
            let is_address = part.starts_with("https://");
            if !is_address && words.find_iter(part).any(|word| !AS_THEY_ARE.contains(&word.as_str())) {
                found.push(format!("{place}: {}\n", part.trim()));
            }
        }
    }
    assert!(found.is_empty(), "these belong into the catalogue:\n{}", found.concat());
}

#[test]
fn texts_take_arguments_and_choose_plurals() {
    let told = |texts: Texts, count: i64| texts.t("time-minutes-ago").with("count", count).to_string();
    assert_eq!((told(ENGLISH, 3).as_str(), told(CHINESE, 3).as_str()), ("3 min ago", "3 分钟前"));
    assert_eq!(told(ENGLISH, 1_234_567), "1,234,567 min ago");
    assert_eq!(told(ENGLISH, -1234), "-1,234 min ago");
    assert_eq!(ENGLISH.t("state-ref-tag").with("tag", "a{b}\u{2068}<").to_string(), "tag a{b}\u{2068}<");
    assert_eq!(ENGLISH.t("no such key").to_string(), "no such key");
    let (before, after) = ENGLISH.t("login-where").around("command");
    assert_eq!((before.as_str(), &after[..7]), ("The first ", " prints"));
}

#[test]
fn scripts_get_their_texts_as_data() {
    let source =
        "js-a = A <b>\njs-n = { $count ->\n    [0] none\n    [one] 1 line\n   *[other] { $count } lines\n } here\n";
    let json =
        super::script::json(&[("js".to_owned(), source.to_owned()), ("json".to_owned(), "json-x = x".to_owned())]);
    assert!(!json.contains('<'), "{json}");
    let texts: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let wanted = serde_json::json!({
        "js-a": "A <b>",
        "js-n": [
            {"on": "count", "cases": {"0": "none", "one": "1 line"}, "else": [{"arg": "count"}, " lines"]}, " here",
        ],
    });
    assert_eq!(texts, wanted);
    for texts in [ENGLISH, CHINESE] {
        let json = texts.script();
        assert!(!json.contains("null"), "scripts know no references and functions: {json}");
        assert!(json.contains("js-copy"), "{json}");
    }
}
