//! Texts as attackers choose them: each tries to get out of where a page puts it, and to mark the page (`window.__xss`).

use serde_json::json;

/// What is tried. Each fits on a line.
pub const PAYLOADS: [&str; 16] = [
    // Out of an attribute, quoted twice, once and not at all.
    r#"" autofocus onfocus="window.__xss=1" x=""#,
    "' autofocus onfocus='window.__xss=1' x='",
    "x tabindex=1 autofocus onfocus=window.__xss=1 ",
    // Addresses that run.
    "javascript:window.__xss=1//",
    "jAvAsCrIpT&colon;window.__xss=1",
    r#"<a href="jav&#x09;ascript:window.__xss=1">data:text/html,<script>parent.__xss=1</script></a>"#,
    // Out of elements whose text is not markup, JSON in a page among them.
    r#"</script><script>window.__xss=1</script>{"a":"\u003c/script>"}"#,
    "</title></textarea></style></noscript></pre><img src=x onerror=window.__xss=1>",
    "--><!--><svg onload=window.__xss=1>]]><svg/onload=window.__xss=1>",
    r#"<math><mtext><table><mglyph><style><img src="</style><img src=x onerror=window.__xss=1>">"#,
    r#"<iframe srcdoc="<script>parent.__xss=1</script>"></iframe><base href=//evil.example><meta http-equiv=refresh content=0>"#,
    // What would be decoded once too often.
    "&lt;img src=x onerror=window.__xss=1&gt;&#60;svg onload=window.__xss=1&#62;%3Csvg%20onload=window.__xss=1%3E",
    "+ADw-script+AD4-window.__xss=1+ADw-/script+AD4-",
    // What templates and replacements run or put in.
    "${window.__xss=1}`+(window.__xss=1)+`{{constructor.constructor('window.__xss=1')()}}",
    "__proto__,constructor=window.__xss=1,$&$1$' <x style=animation-name:x onanimationstart=window.__xss=1>",
    // What turns the text beside it round.
    "\u{202e}>1=ssx__.wodniw=daolno gvs<\u{2066}<svg onload=window.__xss=1>\u{2069}",
];

/// The longest name of a file or branch that is made of a payload, in bytes.
const MAX_NAME: usize = 180;

/// The payload as a branch's name, by the rules of git-check-ref-format(1).
pub fn branch(payload: &str) -> String {
    let allowed = |c: char| if c.is_control() || " ~^:?*[\\".contains(c) { '/' } else { c };
    let name: String = payload.chars().map(allowed).collect();
    let parts = name.split('/').map(|part| part.trim_matches(['.', '-'])).filter(|part| !part.is_empty());
    shortened(&parts.collect::<Vec<_>>().join("/").replace("..", ".").replace("@{", "@")).to_owned()
}

/// The payload as the name of one file.
pub fn file(payload: &str) -> String {
    let allowed = |c: char| if "/\\".contains(c) || c.is_control() { '|' } else { c };
    format!("{}.Dockerfile", shortened(payload.chars().map(allowed).collect::<String>().trim()))
}

fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

/// Options that build from that file.
pub fn options(file: &str) -> String {
    json!({ "build": { "dockerfile": file } }).to_string()
}

/// A Dockerfile for the scripted engine whose failing step says the payload in every way that a log shows in its own.
pub fn dockerfile(payload: &str) -> String {
    let says = [
        payload.to_owned(),
        format!("\\e[1;31m{payload}\\e[0m"),
        format!("::group::{payload}"),
        payload.to_owned(),
        "::endgroup::".to_owned(),
        format!("section_start:1:deck\\r\\e[0K{payload}"),
        "section_end:2:deck\\r\\e[0K".to_owned(),
        format!("::error file={payload},line=1::{payload}"),
        // As a link's target, alone and behind a scheme that is allowed.
        format!("\\e]8;;{payload}\\e\\one\\e]8;;\\e\\"),
        format!("\\e]8;;https://link.example/{payload}\\e\\two\\e]8;;\\e\\"),
    ];
    let says: String = says.iter().map(|line| format!("# script: say {line}\n")).collect();
    format!(
        "FROM BASE\n{says}# script: complain {payload}\n# script: warn 2 {payload}\n# script: fail exit 7\nRUN echo {payload}\n"
    )
}
