//! The forms in which a secret may stand in a log.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values are not masked.
pub const MIN_SECRET_BYTES: usize = 4;

/// Shorter cores of base64 would be found in innocent text.
const MIN_BASE64_CHARS: usize = 8;
/// Shorter hexadecimal would be: it has as many bits.
const MIN_HEX_CHARS: usize = MIN_BASE64_CHARS * 6 / 4;
/// So many characters of an encoding stand before its first line break. If there are fewer, it is found from the break on,
/// and they stay: to wait for what follows them would hold back the ends of innocent lines.
pub(super) const MIN_LINE_CHARS: usize = 3;

/// Bytes of values whose encodings are found with line breaks in them, the shortest values first. Each takes about 4 KB of
/// memory for as long as the attempt runs.
const MAX_WRAPPED_BYTES: usize = 16 << 10;

/// What values look like.
#[derive(Default)]
pub(super) struct Forms {
    /// Found as they stand.
    pub plain: Vec<Vec<u8>>,
    /// Found with line breaks in them as well. Cut ones are among them: see [`MIN_LINE_CHARS`].
    pub encoded: Vec<Vec<u8>>,
    /// Bytes of values whose forms are in `encoded`.
    wrapped_bytes: usize,
}

impl Forms {
    /// Adds all forms of one value, perhaps with doubles.
    pub(super) fn add(&mut self, value: &[u8]) {
        let lines = value.split(|byte| *byte == b'\n');
        for part in std::iter::once(value).chain(lines) {
            let part = part.trim_ascii();
            // Stars alone would find the mask itself.
            if part.len() < MIN_SECRET_BYTES || part.iter().all(|byte| *byte == b'*') {
                continue;
            }
            self.plain.push(part.to_vec());
            url_escaped(part, &mut self.plain);
            json_escaped(part, &mut self.plain);
            let wraps = self.wrapped_bytes + part.len() <= MAX_WRAPPED_BYTES;
            self.wrapped_bytes += if wraps { part.len() } else { 0 };
            for lead in 0..3 {
                self.add_base64(part, lead, wraps);
            }
            for text in [hex::encode(part), hex::encode_upper(part)] {
                self.add_encoded(text.as_bytes(), MIN_HEX_CHARS, wraps);
            }
        }
    }

    /// Adds the characters that depend on the value alone when `lead` bytes stand before it: the first characters also hold
    /// bits of what precedes, the last one bits of what follows.
    fn add_base64(&mut self, value: &[u8], lead: usize, wraps: bool) {
        let mut bytes = vec![0; lead];
        bytes.extend_from_slice(value);
        let first = (lead * 8).div_ceil(6);
        let end = bytes.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes).into_bytes();
            self.add_encoded(text.get(first..end).unwrap_or_default(), MIN_BASE64_CHARS, wraps);
        }
    }

    fn add_encoded(&mut self, text: &[u8], min_chars: usize, wraps: bool) {
        if text.len() < min_chars {
            return;
        }
        if wraps {
            self.encoded.extend((0..MIN_LINE_CHARS).filter_map(|cut| text.get(cut..)).map(<[u8]>::to_vec));
        } else {
            self.plain.push(text.to_vec());
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
