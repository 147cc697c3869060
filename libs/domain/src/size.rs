//! Numbers of bytes as people write and read them, in powers of 1024.

const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// Bytes for people: `12 B`, `3.4 MiB`. Less than none is none.
pub fn bytes(count: impl TryInto<u64>) -> String {
    let count = count.try_into().unwrap_or(0);
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths, so that nothing is lost to a float.
    let (mut tenths, mut unit) = (u128::from(count) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// What became larger or smaller, with its sign: `+12.3 MiB`, `−1.5 KiB`, `±0 B`.
pub fn change(bytes_change: i64) -> String {
    match bytes_change {
        0 => "±0 B".to_owned(),
        1.. => format!("+{}", bytes(bytes_change)),
        _ => format!("−{}", bytes(bytes_change.unsigned_abs())),
    }
}

/// What people write: `8 GiB`, `8GiB` or bytes. `None` for what is no such number.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        unit => 10 * (UNITS.iter().position(|known| *known == unit)? + 1),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (10 << 30, "10.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(-1_i64), "0 B");
        for (count, text) in [(0, "±0 B"), (1536, "+1.5 KiB"), (-1536, "−1.5 KiB"), (i64::MIN, "−8192.0 PiB")] {
            assert_eq!(change(count), text);
        }
    }

    #[test]
    fn and_written_by_them() {
        for (text, count) in [("0", 0), ("17 B", 17), ("8GiB", 8 << 30), (" 64 MiB ", 64 << 20), ("1 PiB", 1 << 50)] {
            assert_eq!(parse(text), Some(count), "{text}");
        }
        for wrong in ["", "GiB", "-1", "1.5 GiB", "8 GB", "8 gib", "99999999 PiB", "1 2"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
