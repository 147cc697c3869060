//! What went wrong, in words: of each class its title and what to do next.

use slipway_domain::failure::FailureClass;

use crate::builds::json::FailureJson;
use crate::texts::Texts;

/// What such failures have in common.
pub fn class_title(class: FailureClass, texts: Texts) -> String {
    texts.t(&key(class)).to_string()
}

/// What the user can do next; what a builder found out itself stays as it is.
pub fn hint_words(failure: &FailureJson, texts: Texts) -> String {
    if failure.hint == failure.class.hint() { class_hint(failure.class, texts) } else { failure.hint.clone() }
}

fn class_hint(class: FailureClass, texts: Texts) -> String {
    texts.t(&format!("{}-hint", key(class))).to_string()
}

fn key(class: FailureClass) -> String {
    format!("failure-{}", class.as_str().replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::ENGLISH;

    #[test]
    fn pages_hint_at_what_the_api_hints_at() {
        for class in FailureClass::ALL {
            assert_eq!(class_hint(*class, ENGLISH), class.hint(), "{class}");
            assert_ne!(class_title(*class, ENGLISH), key(*class));
        }
    }
}
