//! A log that is longer than the plan allows: its beginning is written as it comes, its end is kept in memory until the
//! attempt is over, and what lay between is counted.

use std::collections::VecDeque;

use slipway_domain::size::bytes as in_words;
use slipway_logfmt::chunk::Stream;

/// The most bytes of an end.
const END_MAX: u64 = 1 << 20;
/// Pieces are joined up to here.
const PIECE_MAX: usize = 64 * 1024;
/// The most pieces of an end: what many steps at once say may not be joined.
const PIECES_MAX: usize = 32 * 1024;

/// Which part of a log is kept.
#[derive(Debug)]
pub(super) struct Overflow {
    max: u64,
    /// Bytes that the beginning may still take.
    left: u64,
    over: bool,
    end: VecDeque<Piece>,
    end_bytes: u64,
    /// Bytes that the next words tell of.
    dropped: u64,
    /// Bytes that words have told of.
    left_out: u64,
}

/// Something that a step wrote.
pub(super) type Piece = (u32, Stream, Vec<u8>);

/// What becomes of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// To be written now.
    Written(Piece),
    /// Kept for the end; the words are for the first one.
    Kept(Option<String>),
}

impl Overflow {
    /// For a log of at most so many bytes, notices of ours apart.
    pub(super) fn new(max: u64) -> Self {
        let end = VecDeque::new();
        Self { max, left: max - end_max(max), over: false, end, end_bytes: 0, dropped: 0, left_out: 0 }
    }

    /// Takes what a step wrote.
    pub(super) fn take(&mut self, piece: Piece) -> Fate {
        let bytes = length(&piece);
        if !self.over && bytes <= self.left {
            self.left -= bytes;
            return Fate::Written(piece);
        }
        let first = !std::mem::replace(&mut self.over, true);
        self.end_bytes += bytes;
        self.keep(piece);
        while self.end_bytes > end_max(self.max) || self.end.len() > PIECES_MAX {
            let Some((step, stream, mut oldest)) = self.end.pop_front() else { break };
            let excess = if self.end.len() < PIECES_MAX { self.end_bytes - end_max(self.max) } else { u64::MAX };
            let cut = usize::try_from(excess).unwrap_or(usize::MAX).min(oldest.len());
            self.dropped += cut as u64;
            self.end_bytes -= cut as u64;
            if cut < oldest.len() {
                self.end.push_front((step, stream, oldest.split_off(cut)));
            }
        }
        let max = in_words(self.max);
        Fate::Kept(first.then(|| {
            format!("The log has the {max} that the plan allows. The build goes on; of what follows the end is kept.")
        }))
    }

    /// Bytes between the beginning and the end, once that is written.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Pieces may be as small as a byte: those that follow each other become one.
    fn keep(&mut self, (step, stream, bytes): Piece) {
        match self.end.back_mut() {
            Some((before, its, last)) if (*before, *its) == (step, stream) && last.len() < PIECE_MAX => {
                last.extend(bytes)
            }
            Some(_) | None if bytes.is_empty() => {}
            Some(_) | None => self.end.push_back((step, stream, bytes)),
        }
    }

    /// The end with the words before it, once the attempt is over.
    pub(super) fn finish(&mut self) -> (Option<String>, impl Iterator<Item = Piece>) {
        let dropped = std::mem::take(&mut self.dropped);
        self.left_out += dropped;
        let words = (dropped > 0).then(|| format!("{} of the log are left out here.", in_words(dropped)));
        self.end_bytes = 0;
        (words, std::mem::take(&mut self.end).into_iter())
    }
}

fn end_max(max: u64) -> u64 {
    END_MAX.min(max / 4)
}

fn length(piece: &Piece) -> u64 {
    piece.2.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> Piece {
        (1, Stream::Stdout, text.as_bytes().to_vec())
    }

    #[test]
    fn the_beginning_and_the_end_are_kept_and_the_rest_is_counted() {
        // 12 bytes of beginning and 4 of end.
        let mut log = Overflow::new(16);
        assert_eq!(log.take(piece("abcdef")), Fate::Written(piece("abcdef")));
        assert_eq!(log.take(piece("ghijkl")), Fate::Written(piece("ghijkl")));
        assert!(matches!(log.take(piece("m")), Fate::Kept(Some(words)) if words.contains("16 B")));
        for text in ["no", "pqrstu", "", "v", "wx"] {
            assert_eq!(log.take(piece(text)), Fate::Kept(None));
        }
        let (words, end) = log.finish();
        assert_eq!(words.as_deref(), Some("8 B of the log are left out here."));
        let end: Vec<u8> = end.flat_map(|piece| piece.2).collect();
        assert_eq!(end, b"uvwx");
        assert_eq!(log.finish().0, None, "it is said once");
        assert_eq!(log.left_out(), 8);
    }

    #[test]
    fn what_fits_is_written_whole() {
        let mut log = Overflow::new(16);
        log.take(piece("abcdefghijkl"));
        // No later piece slips in before one that was kept.
        assert!(matches!(log.take(piece("mnop")), Fate::Kept(Some(_))));
        let (words, end) = log.finish();
        assert_eq!((words, end.count()), (None, 1));
        assert_eq!(log.left_out(), 0);
    }

    #[test]
    fn small_pieces_become_large_ones() {
        let mut log = Overflow::new(64 << 20);
        log.left = 0;
        for stream in [Stream::Stdout, Stream::Stderr] {
            for _ in 0..100_000 {
                log.take((1, stream, b"x".to_vec()));
                log.take((1, stream, Vec::new()));
            }
        }
        assert!(log.end.len() < 10, "{}", log.end.len());
        assert_eq!(log.end_bytes, 200_000);
        for step in 0..100_000 {
            log.take((step % 2, Stream::Stdout, b"x".to_vec()));
        }
        assert_eq!(log.end.len(), PIECES_MAX);
        assert_eq!(log.end.iter().map(length).sum::<u64>(), log.end_bytes);
        assert_eq!(log.end_bytes + log.dropped, 300_000);
    }

    #[test]
    fn memory_stays_bounded_whatever_the_pieces() {
        let mut log = Overflow::new(64 << 20);
        for _ in 0..100 {
            log.take((1, Stream::Stderr, vec![b'x'; 3 << 20]));
        }
        let (words, end) = log.finish();
        assert_eq!(end.map(|piece| length(&piece)).sum::<u64>(), END_MAX);
        assert!(words.is_some_and(|words| words.starts_with("236.0 MiB")));
    }
}
