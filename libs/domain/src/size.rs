//! Sizes in words.

/// Bytes for people, in powers of 1000: `12.3 MB`.
pub fn bytes(count: i64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count.max(0) as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// What became larger or smaller, with its sign: `+12.3 MB`, `−1.5 kB`, `±0 B`.
pub fn change(bytes_change: i64) -> String {
    match bytes_change {
        0 => "±0 B".to_owned(),
        1.. => format!("+{}", bytes(bytes_change)),
        _ => format!("−{}", bytes(bytes_change.saturating_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        for (count, wanted) in
            [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_950, "1.0 MB"), (123_456_789, "123 MB")]
        {
            assert_eq!(bytes(count), wanted);
        }
        for (count, wanted) in [(0, "±0 B"), (1500, "+1.5 kB"), (-1500, "−1.5 kB"), (i64::MIN, "−9223372 TB")] {
            assert_eq!(change(count), wanted);
        }
    }
}
