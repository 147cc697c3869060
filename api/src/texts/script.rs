//! The texts of the scripts as JSON. A text is a string, or a list of parts: strings, `{"arg": name}`, and
//! `{"on": name, "cases": {…}, "else": text}`, where a case is a number or a plural category of the language.

use std::collections::BTreeMap;

use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement, VariantKey};
use serde_json::{Value, json};

/// Files whose texts are for scripts have this name, or begin with it and a dash.
const SCRIPTS: &str = "js";

/// Safe inside of a `script` element.
pub fn json(sources: &[(String, String)]) -> String {
    let mut texts = BTreeMap::new();
    for (_, source) in sources.iter().filter(|(name, _)| is_for_scripts(name)) {
        let tree = fluent_syntax::parser::parse(source.as_str()).unwrap_or_else(|(readable, _)| readable);
        for entry in tree.body {
            if let Entry::Message(message) = entry
                && let Some(pattern) = message.value
            {
                texts.insert(message.id.name.to_owned(), text(&pattern));
            }
        }
    }
    json!(texts).to_string().replace('<', "\\u003c")
}

fn is_for_scripts(file: &str) -> bool {
    file.strip_prefix(SCRIPTS).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn text(pattern: &Pattern<&str>) -> Value {
    let mut parts: Vec<Value> = pattern.elements.iter().map(part).collect();
    match parts.as_slice() {
        [Value::String(_)] => parts.remove(0),
        _ => Value::Array(parts),
    }
}

fn part(element: &PatternElement<&str>) -> Value {
    match element {
        PatternElement::TextElement { value } => json!(value),
        PatternElement::Placeable { expression: Expression::Inline(inline) } => placed(inline),
        PatternElement::Placeable { expression: Expression::Select { selector, variants } } => {
            let mut cases = BTreeMap::new();
            let mut otherwise = Value::Null;
            for variant in variants {
                let (VariantKey::Identifier { name } | VariantKey::NumberLiteral { value: name }) = variant.key;
                if variant.default {
                    otherwise = text(&variant.value);
                } else {
                    cases.insert(name, text(&variant.value));
                }
            }
            let on = if let InlineExpression::VariableReference { id } = selector { id.name } else { "" };
            json!({ "on": on, "cases": cases, "else": otherwise })
        }
    }
}

/// The scripts know arguments and literals, nothing else; a test looks that no more is used.
fn placed(inline: &InlineExpression<&str>) -> Value {
    match inline {
        InlineExpression::VariableReference { id } => json!({ "arg": id.name }),
        InlineExpression::StringLiteral { value } | InlineExpression::NumberLiteral { value } => json!(value),
        InlineExpression::FunctionReference { .. }
        | InlineExpression::MessageReference { .. }
        | InlineExpression::TermReference { .. }
        | InlineExpression::Placeable { .. } => Value::Null,
    }
}
