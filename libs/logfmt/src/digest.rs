//! The SHA-256 of a stream, taken while it goes by.

use sha2::{Digest as _, Sha256};

/// Length and SHA-256 of what was shown to it so far.
#[derive(Debug, Clone, Default)]
pub struct StreamDigest {
    sha: Sha256,
    len: i64,
}

impl StreamDigest {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.len += bytes.len() as i64;
    }

    /// How many bytes it has seen.
    pub fn len(&self) -> i64 {
        self.len
    }

    /// True before the first byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// SHA-256 of the bytes so far, lower-case hexadecimal.
    pub fn hex(&self) -> String {
        hex::encode(self.sha.clone().finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::StreamDigest;

    #[test]
    fn splits_do_not_matter() {
        let mut digest = StreamDigest::default();
        assert_eq!(digest.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        digest.update(b"a");
        digest.update(b"bc");
        assert_eq!(digest.len(), 3);
        assert_eq!(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
