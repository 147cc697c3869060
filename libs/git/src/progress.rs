//! How much git has received, from the lines that it paints: `Receiving objects:  45% (9/20), 1.20 GiB | 3.00 MiB/s`
//! while it keeps a pack, `Unpacking objects: …` while it takes a small one apart.

/// What begins such a line. A server's own words begin with `remote: `.
const BEGINNINGS: [&str; 2] = ["Receiving objects:", "Unpacking objects:"];

/// The bytes so far, if this line tells them.
pub(crate) fn received_bytes(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let told = BEGINNINGS.iter().find_map(|beginning| line.strip_prefix(beginning))?;
    let (_, size) = told.split_once("), ")?;
    let (number, unit) = size.split_once(" | ")?.0.split_once(' ')?;
    let shift = match unit {
        "bytes" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    let (whole, hundredths) = number.split_once('.').unwrap_or((number, "0"));
    let (whole, hundredths): (u64, u64) = (whole.parse().ok()?, hundredths.parse().ok()?);
    whole.checked_mul(1 << shift)?.checked_add(hundredths.min(99) * (1 << shift) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_sizes_are_read() {
        for (line, bytes) in [
            ("Receiving objects:  45% (9/20), 1.50 GiB | 3.00 MiB/s", Some(3 << 29)),
            ("Receiving objects: 100% (20/20), 20.25 KiB | 20.00 KiB/s, done.", Some(20 * 1024 + 256)),
            ("Unpacking objects: 100% (3/3), 212 bytes | 212.00 KiB/s, done.", Some(212)),
            ("Receiving objects:  45% (9/20)", None),
            ("Receiving objects:  45% (9/20), 99999999999999999999.00 GiB | 1 bytes/s", None),
            ("remote: Receiving objects:  45% (9/20), 1.50 GiB | 3.00 MiB/s", None),
            ("Resolving deltas: 100% (1/1), done.", None),
            ("", None),
        ] {
            assert_eq!(received_bytes(line.as_bytes()), bytes, "{line}");
        }
    }
}
