//! The text that stands in a commit in place of a file that lies in LFS.
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>

/// A longer file is no pointer.
pub const MAX_BYTES: u64 = 1024;
/// How each of them begins.
pub const FIRST_LINE: &str = "version https://git-lfs.github.com/spec/v1";

/// What a pointer stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer {
    /// The SHA-256 of the content, in hexadecimal.
    pub(super) oid: String,
    /// Its length, bytes.
    pub(super) size: u64,
}

/// A pointer as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Plain(Pointer),
    /// The content comes out only of programs that somebody configured on his own machine.
    Extended,
}

/// Reads a file's bytes; `None` if they are no pointer.
pub(super) fn parse(bytes: &[u8]) -> Option<Found> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= MAX_BYTES)?;
    let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let mut pairs = lines.map(|line| line.split_once(' '));
    let mut extended = false;
    let (mut key, mut value) = pairs.next()??;
    while key.starts_with("ext-") {
        extended = true;
        (key, value) = pairs.next()??;
    }
    let oid = value.strip_prefix("sha256:").filter(|oid| key == "oid" && is_sha256(oid))?;
    let (key, size) = pairs.next()??;
    let digits = key == "size" && !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit());
    let size = size.parse().ok().filter(|_| digits && pairs.next().is_none())?;
    Some(if extended { Found::Extended } else { Found::Plain(Pointer { oid: oid.to_owned(), size }) })
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pointers_are_told_from_other_files() {
        let id = "0123456789abcdef".repeat(4);
        let plain = |size| Some(Found::Plain(Pointer { oid: id.clone(), size }));
        let (version, oid) = (FIRST_LINE, format!("oid sha256:{id}"));
        for (text, wanted) in [
            (format!("{version}\n{oid}\nsize 12345\n"), plain(12345)),
            (format!("{version}\n{oid}\nsize 0"), plain(0)),
            (format!("{version}\next-0-a sha256:{id}\next-1-b x\n{oid}\nsize 1\n"), Some(Found::Extended)),
            (format!("{version}\n{oid}\nsize 18446744073709551615\n"), plain(u64::MAX)),
            (format!("{version}\n{oid}\nsize 18446744073709551616\n"), None),
            (format!("{version}\n{oid}\nsize -1\n"), None),
            (format!("{version}\n{oid}\nsize +1\n"), None),
            (format!("{version}\n{oid}\nsize \n"), None),
            (format!("{version}\n{oid}\n"), None),
            (format!("{version}\nsize 1\n{oid}\n"), None),
            (format!("{version}\n{oid}\nsize 1\nx y\n"), None),
            (format!("{version}\n{oid}\nsize 1\n\n"), None),
            (format!("{version}\r\n{oid}\r\nsize 1\r\n"), None),
            (format!("{version}\n{}\nsize 1\n", oid.to_uppercase()), None),
            (format!("{version}\noid sha256:{}\nsize 1\n", id.to_uppercase()), None),
            (format!("{version}\noid sha256:../../x\nsize 1\n"), None),
            (format!("{version}\noid md5:{id}\nsize 1\n"), None),
            (format!("{version}0\n{oid}\nsize 1\n"), None),
            (format!(" {version}\n{oid}\nsize 1\n"), None),
            (format!("{version}\next-0-a {}\n{oid}\nsize 1\n", "x".repeat(1024)), None),
            (version.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(parse(text.as_bytes()), wanted, "{text:?}");
        }
        assert_eq!(parse(b"version \xff"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_panics(oid in "[0-9a-f]{64}", size: u64, cut in 0usize..200, noise: Vec<u8>) {
            let text = format!("{FIRST_LINE}\noid sha256:{oid}\nsize {size}\n");
            prop_assert_eq!(parse(text.as_bytes()), Some(Found::Plain(Pointer { oid, size })));
            let cut = &text.as_bytes()[..cut.min(text.len())];
            let _ = (parse(cut), parse(&[cut, &noise].concat()));
        }
    }
}
