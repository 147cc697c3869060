//! The forms in which a secret may stand in a log.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values are not masked.
pub const MIN_SECRET_BYTES: usize = 4;

/// Shorter cores of base64 would be found in innocent text.
const MIN_BASE64_CHARS: usize = 8;

/// All forms of one value, perhaps with doubles.
pub(super) fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    let lines = value.split(|byte| *byte == b'\n');
    for part in std::iter::once(value).chain(lines) {
        let part = part.trim_ascii();
        // Stars alone would find the mask itself.
        if part.len() < MIN_SECRET_BYTES || part.iter().all(|byte| *byte == b'*') {
            continue;
        }
        forms.push(part.to_vec());
        for lead in 0..3 {
            base64_core(part, lead, &mut forms);
        }
        url_escaped(part, &mut forms);
        json_escaped(part, &mut forms);
    }
    forms
}

/// The characters that depend on the value alone when `lead` bytes stand before it: the first characters
/// also hold bits of what precedes, the last one bits of what follows.
fn base64_core(value: &[u8], lead: usize, forms: &mut Vec<Vec<u8>>) {
    let mut bytes = vec![0; lead];
    bytes.extend_from_slice(value);
    let first = (lead * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let text = engine.encode(&bytes).into_bytes();
        if let Some(core) = text.get(first..end)
            && core.len() >= MIN_BASE64_CHARS
        {
            forms.push(core.to_vec());
        }
    }
}

/// Percent-encoding with everything but RFC 3986's unreserved characters escaped, as browsers'
/// `encodeURIComponent` does it, and as HTML forms do it; with upper and lower hexadecimal digits.
fn url_escaped(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let component = |byte: u8| unreserved(byte) || b"!'()*".contains(&byte);
    let form = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
    for upper in [true, false] {
        forms.push(percent(value, unreserved, upper, false));
        forms.push(percent(value, component, upper, false));
        forms.push(percent(value, form, upper, true));
    }
}

fn percent(value: &[u8], keep: impl Fn(u8) -> bool, upper: bool, plus: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        if keep(byte) {
            out.push(byte);
        } else if plus && byte == b' ' {
            out.push(b'+');
        } else {
            let text = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// Inside a JSON string: as short as possible, with `/` escaped, with `<`, `>` and `&` escaped (Go), and
/// with everything outside ASCII escaped (Python).
fn json_escaped(value: &[u8], forms: &mut Vec<Vec<u8>>) {
    let Ok(text) = std::str::from_utf8(value) else { return };
    let Ok(quoted) = serde_json::to_string(text) else { return };
    let Some(plain) = quoted.get(1..quoted.len() - 1) else { return };
    forms.push(plain.as_bytes().to_vec());
    forms.push(plain.replace('/', "\\/").into_bytes());
    forms.push(plain.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").into_bytes());
    let mut ascii = String::with_capacity(plain.len());
    for letter in plain.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    forms.push(ascii.into_bytes());
}
