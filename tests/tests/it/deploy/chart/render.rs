//! Charts rendered as Helm does, as far as ours needs it: Go's templates and a few of Helm's own functions. A value
//! that is not there is an error, and so is a function that is not here. Values are checked against the chart's
//! schema first; a keyword of JSON Schema that is not known here is an error, too.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail, ensure};
use gotmpl::{MissingKey, Template, TemplateError, Value as Datum};
use regex::Regex;
use serde_json::{Value, json};

use super::super::{deploy, text};

/// Where the chart lies in `deploy/`.
const CHART: &str = "helm/slipway";

/// Its values with these laid over them.
pub fn values(over: &Value) -> Result<Value> {
    let mut values: Value = serde_saphyr::from_str(&text(&format!("{CHART}/values.yaml"))?)?;
    lay_over(&mut values, over);
    Ok(values)
}

fn lay_over(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// Whether the chart's schema allows these values; the error says where not.
pub fn allowed(values: &Value) -> Result<()> {
    let schema: Value = serde_json::from_str(&text(&format!("{CHART}/values.schema.json"))?)?;
    fits(&schema, values, "values")
}

fn fits(schema: &Value, value: &Value, place: &str) -> Result<()> {
    for (keyword, wanted) in schema.as_object().context("a schema is an object")? {
        let fine = match keyword.as_str() {
            "$schema" | "title" | "properties" => true,
            "type" => match wanted.as_str() {
                Some("object") => value.is_object(),
                Some("array") => value.is_array(),
                Some("string") => value.is_string(),
                Some("integer") => value.is_i64() || value.is_u64(),
                Some("boolean") => value.is_boolean(),
                other => bail!("{place}: type {other:?} is not known here"),
            },
            "enum" => wanted.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => value.as_i64() >= wanted.as_i64(),
            "maximum" => value.as_i64() <= wanted.as_i64(),
            "minLength" => value.as_str().map(|text| text.chars().count() as u64) >= wanted.as_u64(),
            "minItems" => value.as_array().map(|items| items.len() as u64) >= wanted.as_u64(),
            "pattern" => {
                let pattern = Regex::new(wanted.as_str().context("a pattern is text")?)?;
                value.as_str().is_some_and(|text| pattern.is_match(text))
            }
            "required" => {
                let names = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
                names.filter(|name| value.get(name).is_none()).count() == 0
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(wanted, item, place)?;
                }
                true
            }
            "additionalProperties" => {
                ensure!(wanted == false, "{place}: additionalProperties is false or absent");
                value.as_object().into_iter().flatten().all(|(key, _)| schema["properties"].get(key).is_some())
            }
            other => bail!("{place}: {other} is not known here"),
        };
        ensure!(fine, "{place} is {value}, but {keyword} is {wanted}");
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(key) {
            fits(schema, value, &format!("{place}.{key}"))?;
        }
    }
    Ok(())
}

/// Every object that the chart makes of its values with these laid over them.
pub fn objects(over: &Value) -> Result<Vec<Value>> {
    let values = values(over)?;
    allowed(&values)?;
    let chart: Value = serde_saphyr::from_str(&text(&format!("{CHART}/Chart.yaml"))?)?;
    let root = json!({
        "Values": values,
        "Chart": { "AppVersion": chart["appVersion"] },
        "Release": { "Name": "prod", "Namespace": "ci" },
    });
    let root = gotmpl::to_value(&root)?;
    let helpers = text(&format!("{CHART}/templates/_helpers.tpl"))?;
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(deploy(CHART).join("templates"))? {
        let name = entry?.file_name().into_string().ok().context("a name in UTF-8")?;
        if name == "_helpers.tpl" {
            continue;
        }
        let source = text(&format!("{CHART}/templates/{name}"))?;
        let rendered = render(&helpers, &source, &root).with_context(|| name.clone())?;
        if !name.ends_with(".yaml") {
            continue;
        }
        for document in rendered.split("\n---").filter(|part| part.lines().any(is_content)) {
            let document = document.trim_start_matches("---");
            objects.push(serde_saphyr::from_str(document).with_context(|| format!("{name}: {document}"))?);
        }
    }
    Ok(objects)
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && line != "---"
}

fn render(helpers: &str, source: &str, root: &Datum) -> Result<String> {
    // `include` renders by the templates that it is a function of.
    let all: Arc<OnceLock<Template>> = Arc::default();
    let within = Arc::clone(&all);
    let template = with_functions(Template::new("file").missing_key(MissingKey::Error))
        .func("include", move |args| {
            let [name, data] = args else { return refuse("include takes a name and data") };
            let template = within.get().ok_or_else(|| TemplateError::Exec("include came too early".to_owned()))?;
            Ok(word(template.execute_template_to_string(&name.to_string(), data)?))
        })
        .parse(helpers)?
        .parse(source)?;
    let rendered = all.get_or_init(|| template).execute_to_string(root)?;
    Ok(rendered)
}

/// Helm's functions, as far as the chart uses them.
fn with_functions(template: Template) -> Template {
    template
        .func("quote", |args| Ok(word(json!(text_of(args, 0)).to_string())))
        .func("int", |args| Ok(Datum::Int(text_of(args, 0).parse().unwrap_or(0))))
        .func("toYaml", |args| Ok(word(to_yaml(&args[0]))))
        .func("list", |args| Ok(Datum::List(args.to_vec().into())))
        .func("dict", |args| {
            let pairs = args.chunks(2).map(|pair| (Arc::from(text_of(pair, 0)), pair[1].clone()));
            Ok(Datum::Map(Arc::new(pairs.collect::<BTreeMap<_, _>>())))
        })
        .func("default", |args| Ok(if args[1].is_truthy() { args[1].clone() } else { args[0].clone() }))
        .func("required", |args| if args[1].is_truthy() { Ok(args[1].clone()) } else { refuse(&text_of(args, 0)) })
        .func("ternary", |args| Ok(if args[2].is_truthy() { args[0].clone() } else { args[1].clone() }))
        .func("trunc", |args| Ok(word(text_of(args, 1).chars().take(args[0].as_int().unwrap_or(0) as usize).collect())))
        .func("trimSuffix", |args| {
            let (suffix, text) = (text_of(args, 0), text_of(args, 1));
            Ok(word(text.strip_suffix(&suffix).unwrap_or(&text).to_owned()))
        })
        .func("nindent", |args| {
            let indent = " ".repeat(args[0].as_int().unwrap_or(0) as usize);
            Ok(word(format!("\n{indent}{}", text_of(args, 1).replace('\n', &format!("\n{indent}")))))
        })
}

fn refuse(why: &str) -> Result<Datum, TemplateError> {
    Err(TemplateError::Exec(why.to_owned()))
}

fn word(text: String) -> Datum {
    Datum::String(text.into())
}

fn text_of(args: &[Datum], at: usize) -> String {
    args.get(at).map(ToString::to_string).unwrap_or_default()
}

/// One level of YAML, and JSON below, which is YAML too.
fn to_yaml(datum: &Datum) -> String {
    let lines: Vec<String> = match to_json(datum) {
        Value::Object(map) => map.iter().map(|(key, value)| format!("{key}: {value}")).collect(),
        Value::Array(items) => items.iter().map(|item| format!("- {item}")).collect(),
        other => vec![other.to_string()],
    };
    lines.join("\n")
}

fn to_json(datum: &Datum) -> Value {
    match datum {
        Datum::Nil | Datum::Function(_) => Value::Null,
        Datum::Bool(flag) => json!(flag),
        Datum::Int(number) => json!(number),
        Datum::Uint(number) => json!(number),
        Datum::Float(number) => json!(number),
        Datum::String(text) => json!(text.as_ref()),
        Datum::List(items) => items.iter().map(to_json).collect(),
        Datum::Map(map) => map.iter().map(|(key, value)| (key.to_string(), to_json(value))).collect(),
    }
}
