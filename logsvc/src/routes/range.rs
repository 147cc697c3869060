//! `Range` as RFC 9110 section 14 has it, for one range of bytes. Several ranges, or other units, are
//! answered as if nobody had asked.

/// What part of `len` bytes is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole.
    All,
    /// `[from, to)`, never empty.
    Part(i64, i64),
    /// Nothing that exists: 416.
    Nothing,
}

/// Reads the header's value.
pub(super) fn parse(value: &str, len: i64) -> Wanted {
    let Some((unit, set)) = value.split_once('=') else { return Wanted::All };
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::All };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Wanted::All;
    }
    let (from, to) = match (number(first), number(last)) {
        (Number::None, Number::Some(suffix)) => ((len - suffix).max(0), if suffix == 0 { 0 } else { len }),
        (Number::Some(from), Number::None) => (from, len),
        (Number::Some(from), Number::Some(last)) if from <= last => (from, last.saturating_add(1).min(len)),
        _ => return Wanted::All,
    };
    if from < to { Wanted::Part(from, to) } else { Wanted::Nothing }
}

enum Number {
    None,
    Some(i64),
    Bad,
}

fn number(text: &str) -> Number {
    match text.trim() {
        "" => Number::None,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A number beyond i64 lies beyond every log.
            Number::Some(digits.parse().unwrap_or(i64::MAX))
        }
        _ => Number::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::{Wanted, parse};

    #[test]
    fn ranges_of_ten_bytes() {
        let cases = [
            ("bytes=0-3", Wanted::Part(0, 4)),
            ("bytes=4-", Wanted::Part(4, 10)),
            ("bytes=-3", Wanted::Part(7, 10)),
            ("bytes=-99", Wanted::Part(0, 10)),
            ("bytes=8-99", Wanted::Part(8, 10)),
            ("Bytes = 9-9", Wanted::Part(9, 10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999-", Wanted::Nothing),
            ("bytes=5-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("nonsense", Wanted::All),
        ];
        for (value, expected) in cases {
            assert_eq!(parse(value, 10), expected, "{value}");
        }
        assert_eq!(parse("bytes=0-", 0), Wanted::Nothing);
    }
}
