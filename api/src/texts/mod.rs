//! The words of the pages, in every language, from one catalogue: `web/texts/<language>/*.ftl` (Project Fluent). A key
//! begins with the name of its file. The catalogue holds words only; markup stays in the templates.

pub mod language;
mod script;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use http::HeaderMap;
use rust_embed::RustEmbed;
use unic_langid::LanguageIdentifier;

use crate::texts::language::Language;

/// Stands for markup while a text is made, and is in none: a character of private use.
const SLOT: char = '\u{E000}';
/// Digits between two commas of a number.
const GROUP: usize = 3;

#[derive(RustEmbed)]
#[folder = "web/texts/"]
struct Files;

static IN_ENGLISH: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::load(Language::English));
static IN_CHINESE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::load(Language::Chinese));

/// The texts of one language, read once.
struct Catalogue {
    bundle: FluentBundle<FluentResource>,
    /// Those of the scripts, as JSON.
    script: String,
}

/// The texts in the language of a request.
#[derive(Debug, Clone, Copy)]
pub struct Texts {
    pub language: Language,
}

/// A text that is about to be written; its arguments come with [`Text::with`].
pub struct Text<'a> {
    language: Language,
    key: &'a str,
    args: FluentArgs<'static>,
}

/// For tests of what others say with texts.
#[cfg(test)]
pub const ENGLISH: Texts = Texts { language: Language::English };

/// What a text can take in.
pub trait Argument {
    /// As Fluent has it: numbers choose plurals.
    fn value(&self) -> FluentValue<'static>;
}

impl Texts {
    /// In the language that the request asks for.
    pub fn of(headers: &HeaderMap) -> Self {
        Self { language: Language::of(headers) }
    }

    /// The text with this key.
    pub fn t(self, key: &str) -> Text<'_> {
        Text { language: self.language, key, args: FluentArgs::new() }
    }

    /// The texts of the scripts (keys in `js` and `js-…`), as JSON for a `script` element.
    pub fn script(self) -> &'static str {
        &catalogue(self.language).script
    }
}

impl Text<'_> {
    /// Gives the text its argument `$name`.
    pub fn with(mut self, name: &'static str, value: impl Argument) -> Self {
        self.args.set(name, value.value());
        self
    }

    /// What stands before and after `$slot`, where a template puts an element.
    pub fn around(self, slot: &'static str) -> (String, String) {
        let text = self.with(slot, SLOT.encode_utf8(&mut [0; 4]) as &str).to_string();
        match text.split_once(SLOT) {
            Some((before, after)) => (before.to_owned(), after.to_owned()),
            None => (text, String::new()),
        }
    }
}

impl fmt::Display for Text<'_> {
    /// A text that is missing in a language is English, and one that is missing there, too, its key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for language in [self.language, Language::English] {
            let bundle = &catalogue(language).bundle;
            if let Some(pattern) = bundle.get_message(self.key).and_then(|message| message.value()) {
                return f.write_str(&bundle.format_pattern(pattern, Some(&self.args), &mut Vec::new()));
            }
        }
        f.write_str(self.key)
    }
}

impl<T: Argument + ?Sized> Argument for &T {
    fn value(&self) -> FluentValue<'static> {
        (**self).value()
    }
}

impl Argument for str {
    fn value(&self) -> FluentValue<'static> {
        self.to_owned().into()
    }
}

impl Argument for String {
    fn value(&self) -> FluentValue<'static> {
        self.as_str().value()
    }
}

impl Argument for Text<'_> {
    fn value(&self) -> FluentValue<'static> {
        self.to_string().into()
    }
}

impl Argument for i64 {
    fn value(&self) -> FluentValue<'static> {
        (*self).into()
    }
}

impl Argument for usize {
    fn value(&self) -> FluentValue<'static> {
        (*self).into()
    }
}

impl Catalogue {
    fn load(language: Language) -> Self {
        let tag: LanguageIdentifier = language.tag().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![tag]);
        // Marks of direction around arguments would be copied with them; both languages go one way.
        bundle.set_use_isolating(false);
        bundle.set_formatter(Some(|value, _| match value {
            FluentValue::Number(number) if number.value.fract() == 0.0 => Some(grouped(&number.value.to_string())),
            _ => None,
        }));
        let sources = sources(language);
        for (_, source) in &sources {
            let resource = FluentResource::try_new(source.clone()).unwrap_or_else(|(readable, _)| readable);
            bundle.add_resource_overriding(resource);
        }
        Self { bundle, script: script::json(&sources) }
    }
}

fn catalogue(language: Language) -> &'static Catalogue {
    match language {
        Language::English => &IN_ENGLISH,
        Language::Chinese => &IN_CHINESE,
    }
}

/// The files of a language: their names without the ending, and what they hold.
fn sources(language: Language) -> Vec<(String, String)> {
    let name =
        |path: &str| Some(path.strip_prefix(language.tag())?.strip_prefix('/')?.strip_suffix(".ftl")?.to_owned());
    let files = Files::iter().filter_map(|path| Some((name(&path)?, Files::get(&path)?)));
    files.map(|(name, file)| (name, String::from_utf8_lossy(&file.data).into_owned())).collect()
}

/// `1234567` as `1,234,567`.
fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(GROUP) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
