//! Text as builds write it, the same every time: lines of about 100 bytes, each with its time.

use std::io::Write as _;

/// In every [`COMMON_EVERY`]th line.
pub const COMMON: &str = "warning: unused";
/// Lines from one of those to the next.
pub const COMMON_EVERY: u64 = 200;
/// In the lines that [`Text::plants`] names, and nowhere else.
pub const RARE: &str = "panicked at needle_7f3a";

/// Where lines come from.
#[derive(Debug, Clone)]
pub struct Text {
    state: u64,
    line: u64,
    rare_every: u64,
    /// Lines that have [`RARE`].
    pub plants: u64,
}

impl Text {
    /// Lines that differ by `seed`; every `rare_every`th has [`RARE`].
    pub fn new(seed: u64, rare_every: u64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15 ^ seed, line: 0, rare_every, plants: 0 }
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.line
    }

    /// Whole lines, about `bytes` together.
    pub fn piece(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes + 256);
        while out.len() < bytes {
            self.put_line(&mut out);
        }
        out
    }

    fn put_line(&mut self, out: &mut Vec<u8>) {
        const FOLDERS: [&str; 8] = ["net", "storage", "parser", "render", "codec", "sched", "auth", "index"];
        const WORDS: [&str; 8] = ["session", "buffer", "lease", "cursor", "frame", "segment", "handshake", "queue"];
        self.line += 1;
        let dice = self.dice();
        let (ms, worker) = (self.line, dice & 15);
        let folder = FOLDERS[(dice >> 4 & 7) as usize];
        let (word, other) = (WORDS[(dice >> 7 & 7) as usize], WORDS[(dice >> 10 & 7) as usize]);
        let what = if self.line.is_multiple_of(self.rare_every) {
            self.plants += 1;
            RARE
        } else if self.line.is_multiple_of(COMMON_EVERY) {
            COMMON
        } else {
            "compiled"
        };
        let (took, hash) = (dice >> 13 & 1023, dice >> 40);
        // A vector takes everything.
        let _ = writeln!(
            out,
            "2026-11-22T{:02}:{:02}:{:02}.{:03}Z [worker-{worker:02}] {what} src/{folder}/{word}_{other}.rs in {took} ms, \
             object {hash:06x}, {} of 48211",
            ms / 3_600_000 % 24,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000,
            self.line % 48_211,
        );
    }

    /// Numbers that look random.
    fn dice(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
