//! The end of one log while it grows, in memory: what is not durable yet, and a little of what is, for
//! those who watch. Pure: the caller says what time it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use slipway_domain::agent::LogAck;
use slipway_domain::timing;
use slipway_logfmt::chunk::{Chunk, Part};
use slipway_logfmt::segment::SEGMENT_BYTES;
use slipway_logfmt::text::count_lines;

use crate::hole::Hole;

/// Durable bytes that stay in memory for viewers.
const KEEP_BYTES: i64 = 256 * 1024;
/// The newest pieces of a log, of which all viewers share what is made of them; what that takes is not counted.
const NEWS_PIECES: usize = 16;
/// What lies here is stored after this time where its writer was sent back to before it: another service took the log over
/// and can go on once it is durable.
const HANDOVER: Duration = Duration::from_millis(250);
/// Memory that all logs together may take; beyond it builders wait.
pub const ALL_MAX_BYTES: usize = 128 << 20;
/// Memory that one log may take; beyond it the builder waits.
pub const TAIL_MAX_BYTES: usize = 16 << 20;

/// Durable bytes of a log that stay while all logs take so much memory. Once half of it is taken none do, so that what is
/// only kept never stands in the way of what comes, however many logs grow.
pub fn keep_bytes(all: usize) -> i64 {
    if all < ALL_MAX_BYTES / 2 { KEEP_BYTES } else { 0 }
}

/// A chunk with what every viewer needs of it, made once.
#[derive(Debug)]
pub struct Piece {
    /// Bytes and spans.
    pub chunk: Chunk,
    /// The bytes as they came packed.
    pub packed: Option<Bytes>,
    /// True if a line begins with its first byte.
    pub at_line_start: bool,
    /// The event that browsers get for the whole of it, or [`News::Bell`] where each is made anew.
    pub event: Mutex<News>,
    /// The event with its lines as pages show them.
    pub news: Mutex<News>,
    /// It stands in place of bytes that cannot be had any more.
    pub hole: Option<Hole>,
}

/// What pages are told of a piece.
#[derive(Debug, Default)]
pub enum News {
    /// Nobody asked yet.
    #[default]
    Unmade,
    /// This, made once for all.
    Event(Bytes),
    /// Only that there is more.
    Bell,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is part of the tail now.
    Stored,
    /// All of it was here before.
    Known,
    /// It begins behind the next expected byte.
    Gap,
    /// There is no room until more is durable.
    Full,
    /// It goes beyond the announced end.
    BeyondEnd,
}

/// The end of one log.
#[derive(Debug)]
pub struct Tail {
    pieces: VecDeque<Arc<Piece>>,
    received: i64,
    durable: i64,
    end: Option<i64>,
    ends_line: bool,
    /// The writer sent again what lies here and is not durable.
    sent_again: bool,
    cost: usize,
    waiting_since: Option<Instant>,
    not_before: Option<Instant>,
    used_at: Instant,
}

impl Tail {
    /// A log of which nothing is in memory: what is received is what is durable.
    pub fn resume(durable: i64, end: Option<i64>, now: Instant) -> Self {
        Self {
            pieces: VecDeque::new(),
            received: durable,
            durable,
            end,
            ends_line: durable == 0,
            sent_again: false,
            cost: 0,
            waiting_since: None,
            not_before: None,
            used_at: now,
        }
    }

    /// Takes a chunk at the next expected byte; a known beginning of it is skipped.
    pub fn append(&mut self, part: &Part, now: Instant) -> Appended {
        self.used_at = now;
        if part.chunk.offset > self.received {
            return Appended::Gap;
        }
        self.sent_again |= part.chunk.offset < self.received.min(part.chunk.end()) && self.durable < self.received;
        let Some(fresh) = part.slice(self.received, i64::MAX) else { return Appended::Known };
        if self.end.is_some_and(|end| fresh.chunk.end() > end) {
            return Appended::BeyondEnd;
        }
        // One chunk always fits, so that the limit can never stop a log for good.
        if self.cost + fresh.cost() > TAIL_MAX_BYTES && self.received > self.durable {
            return Appended::Full;
        }
        self.cost += fresh.cost();
        let Part { chunk, packed } = fresh;
        self.received = chunk.end();
        self.waiting_since.get_or_insert(now);
        let at_line_start = std::mem::replace(&mut self.ends_line, chunk.bytes.ends_with(b"\n"));
        let piece = Piece { chunk, packed, at_line_start, event: Mutex::default(), news: Mutex::default(), hole: None };
        self.pieces.push_back(Arc::new(piece));
        // Who is further behind asks for what it shows.
        if let Some(old) = self.pieces.len().checked_sub(NEWS_PIECES + 1).and_then(|old| self.pieces.get(old)) {
            (*old.event(), *old.news()) = (News::Bell, News::Bell);
        }
        Appended::Stored
    }

    /// The whole stream is this long.
    pub fn announce_end(&mut self, end: i64) {
        self.end = Some(end);
    }

    /// The piece that holds a byte, if it is here.
    pub fn piece_at(&self, offset: i64) -> Option<Arc<Piece>> {
        let index = self.pieces.partition_point(|piece| piece.chunk.end() <= offset);
        self.pieces.get(index).filter(|piece| piece.chunk.offset <= offset).cloned()
    }

    /// Whether a line is known to begin with a byte.
    pub fn begins_line(&self, offset: i64) -> bool {
        offset == 0 || self.piece_at(offset).is_some_and(|piece| piece.at_line_start && piece.chunk.offset == offset)
    }

    /// Whether it is time for the next segment: enough bytes, old enough, or the end is here.
    pub fn is_due(&self, now: Instant) -> bool {
        let full = self.received - self.durable >= SEGMENT_BYTES as i64;
        let old = self.waiting_since.is_some_and(|since| now.duration_since(since) >= timing::LOG_FLUSH);
        let ended = self.end.is_some_and(|end| self.received >= end);
        let awaited = self.sent_again && self.waiting_since.is_some_and(|since| now.duration_since(since) >= HANDOVER);
        self.may_be_stored(now) && (full || old || ended || awaited)
    }

    /// Whether it will be due before it is old.
    pub fn hurries(&self) -> bool {
        self.sent_again || self.received - self.durable >= SEGMENT_BYTES as i64
    }

    fn may_be_stored(&self, now: Instant) -> bool {
        self.received > self.durable && self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// Chunks for the next segment, if it is time or there is a hurry.
    pub fn due(&self, now: Instant, hurry: bool) -> Option<Vec<Part>> {
        if !(self.is_due(now) || hurry && self.may_be_stored(now)) {
            return None;
        }
        let from = self.pieces.partition_point(|piece| piece.chunk.end() <= self.durable);
        let mut len = 0;
        let mut batch = Vec::new();
        for piece in self.pieces.range(from..) {
            let Some(part) = piece.part().slice(self.durable, i64::MAX) else { continue };
            len += part.chunk.bytes.len();
            batch.push(part);
            if len >= SEGMENT_BYTES {
                break;
            }
        }
        Some(batch)
    }

    /// Storage failed; the next try is due later.
    pub fn postpone(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// Everything below `durable` is stored, and `keep` bytes of it stay. It may lie beyond what was received here, when
    /// another service stored it; then what lies here is forgotten and the builder goes on behind it.
    pub fn set_durable(&mut self, durable: i64, keep: i64, now: Instant) {
        self.durable = self.durable.max(durable);
        self.not_before = None;
        self.sent_again = false;
        self.waiting_since = (self.received > self.durable).then_some(now);
        if self.durable > self.received {
            *self = Self { used_at: self.used_at, ..Self::resume(self.durable, self.end, now) };
            self.ends_line = false;
            return;
        }
        self.forget_below(self.durable - keep);
    }

    /// What is only kept for viewers goes: they find it in storage.
    pub fn forget_durable(&mut self) {
        self.forget_below(self.durable);
    }

    fn forget_below(&mut self, end: i64) {
        while let Some(first) = self.pieces.front()
            && first.chunk.end() <= end
        {
            self.cost -= first.cost();
            self.pieces.pop_front();
        }
    }

    /// How far it is.
    pub fn ack(&self) -> LogAck {
        LogAck { received: self.received, durable: self.durable }
    }

    /// The announced length.
    pub fn end(&self) -> Option<i64> {
        self.end
    }

    /// Memory that it takes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Memory that is free once everything is durable, about; nothing while it may not be stored yet.
    pub fn storable_cost(&self, now: Instant) -> usize {
        if !self.may_be_stored(now) {
            return 0;
        }
        let from = self.pieces.partition_point(|piece| piece.chunk.end() <= self.durable);
        self.pieces.range(from..).map(|piece| piece.cost()).sum()
    }

    /// Line breaks from a byte on; `None` where not all behind it is here.
    pub fn lines_behind(&self, offset: i64) -> Option<i64> {
        let first = self.pieces.front().map_or(self.received, |piece| piece.chunk.offset);
        let behind = self.pieces.iter().filter_map(|piece| piece.chunk.slice(offset, i64::MAX));
        (first <= offset).then(|| behind.map(|chunk| count_lines(&chunk.bytes)).sum())
    }

    /// True if nothing waits and nobody wrote for a while.
    pub fn is_idle(&self, now: Instant, after: Duration) -> bool {
        self.received == self.durable && now.duration_since(self.used_at) >= after
    }
}

impl Piece {
    /// A piece out of storage.
    pub fn stored(chunk: Chunk) -> Arc<Self> {
        Self::instead(chunk, None)
    }

    /// One that stands in place of bytes that cannot be had.
    pub fn instead(chunk: Chunk, hole: Option<Hole>) -> Arc<Self> {
        let (event, news) = (Mutex::new(News::Bell), Mutex::new(News::Bell));
        Arc::new(Self { chunk, packed: None, at_line_start: false, event, news, hole })
    }

    /// What browsers get of the whole of it.
    pub fn event(&self) -> MutexGuard<'_, News> {
        self.event.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What pages are told of it.
    pub fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cost(&self) -> usize {
        self.chunk.cost() + self.packed.as_ref().map_or(0, Bytes::len)
    }

    fn part(&self) -> Part {
        Part { chunk: self.chunk.clone(), packed: self.packed.clone() }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use slipway_logfmt::chunk::{Span, Stream};
    use slipway_runtime::clock::Clock;

    use super::*;

    fn part(offset: i64, bytes: &[u8]) -> Part {
        let span = Span { len: bytes.len() as u32, step: 1, stream: Stream::Stdout, at: DateTime::UNIX_EPOCH };
        Chunk { offset, bytes: Bytes::copy_from_slice(bytes), spans: vec![span] }.into()
    }

    fn ack(received: i64, durable: i64) -> LogAck {
        LogAck { received, durable }
    }

    #[test]
    fn chunks_come_once_and_in_order() {
        let now = Clock::system().monotonic();
        let mut tail = Tail::resume(10, None, now);
        assert_eq!(tail.append(&part(11, b"x"), now), Appended::Gap);
        assert_eq!(tail.append(&part(0, b"0123456789"), now), Appended::Known);
        assert_eq!(tail.append(&part(8, b"89abc"), now), Appended::Stored);
        assert_eq!(tail.append(&part(8, b"89abc"), now), Appended::Known);
        assert_eq!(tail.ack(), ack(13, 10));
        assert_eq!(tail.piece_at(12).map(|piece| piece.chunk.bytes.clone()), Some(Bytes::from_static(b"abc")));
        assert!(tail.piece_at(13).is_none() && tail.piece_at(9).is_none());
        tail.announce_end(14);
        assert_eq!(tail.append(&part(13, b"de"), now), Appended::BeyondEnd);
        assert_eq!(tail.append(&part(13, b"d"), now), Appended::Stored);
    }

    #[test]
    fn a_segment_is_due_when_old_full_ended_or_in_a_hurry() {
        let now = Clock::system().monotonic();
        let mut tail = Tail::resume(0, None, now);
        assert_eq!(tail.due(now, true), None);
        tail.append(&part(0, b"abc"), now);
        assert_eq!(tail.due(now, false), None);
        assert!(tail.due(now + timing::LOG_FLUSH, false).is_some());
        assert!(tail.due(now, true).is_some());
        tail.postpone(now + Duration::from_secs(9));
        assert_eq!(tail.due(now + timing::LOG_FLUSH, true), None);
        tail.set_durable(1, KEEP_BYTES, now);
        tail.announce_end(3);
        assert_eq!(tail.due(now, false), Some(vec![part(1, b"bc")]));
        tail.set_durable(3, KEEP_BYTES, now);
        assert_eq!(tail.due(now, true), None);
        assert_eq!(tail.ack(), ack(3, 3));
    }

    #[test]
    fn what_is_sent_again_is_stored_sooner() {
        let now = Clock::system().monotonic();
        let mut tail = Tail::resume(0, None, now);
        tail.append(&part(0, b"abc"), now);
        tail.append(&Part::from(Chunk::empty(1)), now);
        assert!(!tail.hurries() && !tail.is_due(now + HANDOVER), "a question is no chunk");
        tail.append(&part(0, b"ab"), now);
        assert!(tail.hurries() && !tail.is_due(now) && tail.is_due(now + HANDOVER));
        tail.set_durable(3, KEEP_BYTES, now);
        tail.append(&part(0, b"abc"), now);
        tail.append(&part(3, b"def"), now);
        assert!(!tail.hurries() && !tail.is_due(now + HANDOVER), "nobody waits for it");
        tail.append(&part(4, b"efg"), now);
        assert!(tail.hurries());
    }

    #[test]
    fn memory_is_bounded_and_durable_bytes_leave_it() {
        let now = Clock::system().monotonic();
        let mut tail = Tail::resume(0, None, now);
        let mebibyte = vec![b'x'; 1 << 20];
        let mut offset = 0;
        while tail.append(&part(offset, &mebibyte), now) == Appended::Stored {
            offset += 1 << 20;
            assert!(tail.cost() <= TAIL_MAX_BYTES);
        }
        assert_eq!(tail.append(&part(offset, &mebibyte), now), Appended::Full);
        tail.set_durable(offset, KEEP_BYTES, now);
        assert!(tail.cost() <= (1 << 20) + 1000);
        assert_eq!(tail.append(&part(offset, &mebibyte), now), Appended::Stored);
    }

    #[test]
    fn what_is_kept_leaves_room_for_what_comes_however_many_logs_grow() {
        let now = Clock::system().monotonic();
        let chunk = part(0, &vec![b'x'; KEEP_BYTES as usize]);
        let mut all = 0;
        let mut logs: Vec<Tail> = (0..10_000).map(|_| Tail::resume(0, None, now)).collect();
        for log in &mut logs {
            assert!(all + chunk.cost() <= ALL_MAX_BYTES, "{all} bytes are kept");
            log.append(&chunk, now);
            log.set_durable(KEEP_BYTES, keep_bytes(all + log.cost()), now);
            all += log.cost();
        }
        assert!(all > ALL_MAX_BYTES / 4, "viewers find something");
    }

    #[test]
    fn under_pressure_only_what_waits_stays_and_what_may_be_stored_counts() {
        let now = Clock::system().monotonic();
        let mut tail = Tail::resume(0, None, now);
        tail.append(&part(0, b"abc"), now);
        tail.append(&part(3, b"defgh"), now);
        tail.set_durable(3, KEEP_BYTES, now);
        let whole = tail.cost();
        tail.forget_durable();
        assert!(tail.piece_at(0).is_none() && tail.piece_at(3).is_some());
        assert!(tail.cost() < whole && tail.storable_cost(now) == tail.cost());
        tail.postpone(now + Duration::from_secs(1));
        assert_eq!((tail.storable_cost(now), tail.ack()), (0, ack(8, 3)));
    }

    #[test]
    fn what_came_packed_stays_packed_until_it_is_stored() {
        let now = Clock::system().monotonic();
        let mut tail = Tail::resume(0, None, now);
        let whole = Part::decode(&part(0, &[b'x'; 1 << 15]).chunk.pack()).expect("it reads");
        assert_eq!(tail.append(&whole, now), Appended::Stored);
        assert_eq!(tail.cost(), whole.cost());
        assert_eq!(tail.due(now, true), Some(vec![whole.clone()]));
        // What is cut off was packed with what stays.
        tail.set_durable(1, KEEP_BYTES, now);
        let rest = tail.due(now, true).unwrap_or_default();
        assert!(matches!(&rest[..], [Part { chunk, packed: None }] if chunk.offset == 1));
    }

    #[test]
    fn what_another_service_stored_is_taken_over() {
        let now = Clock::system().monotonic();
        let mut tail = Tail::resume(0, None, now);
        tail.append(&part(0, b"abc"), now);
        tail.set_durable(9, KEEP_BYTES, now);
        assert_eq!(tail.ack(), ack(9, 9));
        assert_eq!((tail.cost(), tail.piece_at(0).is_some()), (0, false));
        assert_eq!(tail.append(&part(9, b"j"), now), Appended::Stored);
    }

    proptest! {
        #[test]
        fn the_tail_is_the_stream_whatever_is_sent_again(
            moves in prop::collection::vec((0i64..60, 1usize..20, prop::option::of(0i64..60)), 0..40),
        ) {
            let now = Clock::system().monotonic();
            let stream: Vec<u8> = (0..100u8).collect();
            let mut tail = Tail::resume(0, None, now);
            for (offset, len, durable) in moves {
                let before = tail.ack();
                let appended = tail.append(&part(offset, &stream[offset as usize..offset as usize + len]), now);
                let after = tail.ack();
                match appended {
                    Appended::Stored => prop_assert_eq!(after.received, offset + len as i64),
                    Appended::Known | Appended::Gap => prop_assert_eq!(before, after),
                    Appended::Full | Appended::BeyondEnd => prop_assert!(false, "neither can be here"),
                }
                if let Some(durable) = durable.filter(|durable| *durable <= after.received) {
                    tail.set_durable(durable, KEEP_BYTES, now);
                }
                let ack = tail.ack();
                prop_assert!(ack.durable <= ack.received && ack.durable >= before.durable);
                let waiting: Vec<u8> =
                    tail.due(now, true).unwrap_or_default().iter().flat_map(|part| part.chunk.bytes.to_vec()).collect();
                prop_assert_eq!(&waiting[..], &stream[ack.durable as usize..ack.received as usize]);
                let cost: usize = tail.pieces.iter().map(|piece| piece.cost()).sum();
                prop_assert_eq!(cost, tail.cost());
            }
        }
    }
}
