//! Turns pieces of a log into events for browsers. Characters that a piece cuts in two wait for the next
//! one; bytes that are no UTF-8 are shown as U+FFFD; escape sequences are taken out unless asked for.

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use serde::Serialize;
use slipway_logfmt::ansi::AnsiStripper;
use slipway_logfmt::chunk::{Chunk, Stream};
use slipway_logfmt::outline::Outline;
use slipway_logfmt::text::whole_characters;

use crate::routes::lines::{self, Line};
use crate::tail::{News, Piece};

/// Log bytes in one event.
const EVENT_BYTES: usize = 64 * 1024;
/// Bytes of an escape sequence of which the end is waited for.
const CARRY_BYTES: usize = 4 * 1024;
/// Begins escape sequences.
const ESC: u8 = 0x1b;
/// Log bytes of which a page is told the lines; where more come at once, it asks for those that it shows.
const NEWS_BYTES: usize = 8 * 1024;
/// Bytes of such an event.
const NEWS_EVENT_BYTES: usize = 16 * 1024;

/// Makes the events of one watcher.
#[derive(Debug)]
pub(crate) struct Renderer {
    /// Escape sequences stay.
    ansi: bool,
    epoch: i64,
    stripper: AnsiStripper,
    /// The beginning of a character or of an escape sequence whose rest has not come: whoever comes again begins before it.
    carry: Option<Chunk>,
}

#[derive(Serialize)]
struct LogEvent<'a> {
    epoch: i64,
    from: i64,
    to: i64,
    spans: &'a [TextSpan],
}

#[derive(Serialize)]
struct NewsEvent {
    epoch: i64,
    from: i64,
    to: i64,
    /// Numbered from 1 on.
    lines: Vec<Line>,
}

/// What one writer wrote at one time, as text.
#[derive(Debug, Serialize)]
pub(crate) struct TextSpan {
    step: u32,
    stream: Stream,
    at: DateTime<Utc>,
    text: String,
}

impl Renderer {
    /// At the beginning of a line of an attempt's log.
    pub(crate) fn new(epoch: i64, ansi: bool) -> Self {
        Self { ansi, epoch, stripper: AnsiStripper::default(), carry: None }
    }

    /// The events for what is new of a piece. Watchers without wishes share one rendering of a chunk.
    pub(crate) fn piece(&mut self, piece: &Piece, from: i64) -> Vec<Bytes> {
        let whole = from == piece.chunk.offset && piece.at_line_start && piece.chunk.bytes.ends_with(b"\n");
        let plain = !self.ansi && self.carry.is_none() && self.stripper.is_ground();
        if whole && plain && piece.chunk.bytes.len() <= EVENT_BYTES {
            return vec![shared_event(self.epoch, piece)];
        }
        let Some(news) = piece.chunk.slice(from, i64::MAX) else { return Vec::new() };
        let mut rest = match self.carry.take() {
            Some(carry) => joined(carry, news),
            None => news,
        };
        let mut events = Vec::new();
        while !rest.bytes.is_empty() {
            let head = rest.bytes.get(..rest.bytes.len().min(EVENT_BYTES)).unwrap_or_default();
            let cut = self.whole_sequences(head.get(..whole_characters(head)).unwrap_or_default());
            if cut == 0 {
                self.carry = Some(rest);
                break;
            }
            let cut = rest.offset + cut as i64;
            if let Some(part) = rest.slice(rest.offset, cut) {
                events.push(self.event(&part));
            }
            match rest.slice(cut, i64::MAX) {
                Some(left) => rest = left,
                None => break,
            }
        }
        events
    }

    /// How many bytes from the front hold no escape sequence that is cut off at the end. Of one that is so long that nobody
    /// waits for its end all bytes count.
    fn whole_sequences(&self, bytes: &[u8]) -> usize {
        // A line break ends every sequence.
        let line = memchr::memrchr(b'\n', bytes).map_or(0, |place| place + 1);
        if self.ansi || memchr::memchr(ESC, bytes.get(line..).unwrap_or_default()).is_none() {
            return bytes.len();
        }
        let mut stripper = if line == 0 { self.stripper.clone() } else { AnsiStripper::default() };
        let (mut at, mut begin) = (line, None);
        for escape in memchr::memchr_iter(ESC, bytes.get(line..).unwrap_or_default()).map(|place| line + place) {
            stripper.push(bytes.get(at..escape).unwrap_or_default());
            if !stripper.is_in_sequence() {
                begin = Some(escape);
            }
            at = escape;
        }
        stripper.push(bytes.get(at..).unwrap_or_default());
        begin.filter(|begin| stripper.is_in_sequence() && bytes.len() - begin <= CARRY_BYTES).unwrap_or(bytes.len())
    }

    /// The event for a character or an escape sequence whose rest will never come.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let carry = self.carry.take()?;
        Some(self.event(&carry))
    }

    fn event(&mut self, chunk: &Chunk) -> Bytes {
        if self.ansi {
            return event(self.epoch, chunk, &mut None);
        }
        let mut stripper = Some(std::mem::take(&mut self.stripper));
        let event = event(self.epoch, chunk, &mut stripper);
        self.stripper = stripper.unwrap_or_default();
        event
    }
}

/// The event for the whole of a piece, made once for all who get it while it is new.
fn shared_event(epoch: i64, piece: &Piece) -> Bytes {
    let mut shared = piece.event();
    if let News::Event(event) = &*shared {
        return event.clone();
    }
    let event = event(epoch, &piece.chunk, &mut Some(AnsiStripper::default()));
    if matches!(*shared, News::Unmade) {
        *shared = News::Event(event.clone());
    }
    event
}

/// The event for a page: how far the log goes, and the new lines where they are few and whole. It is made once for all
/// pages, which ask for what it does not tell.
pub(crate) fn page_event(epoch: i64, piece: &Piece, from: i64) -> Bytes {
    let mut news = piece.news();
    if matches!(*news, News::Unmade) {
        *news = news_event(epoch, piece).map_or(News::Bell, News::Event);
    }
    match &*news {
        News::Event(event) if from == piece.chunk.offset => event.clone(),
        News::Event(_) | News::Unmade | News::Bell => bell_event(epoch, piece.chunk.end()),
    }
}

/// `None` where pages have to learn more than lines: a group begins or ends, or a line goes on.
fn news_event(epoch: i64, piece: &Piece) -> Option<Bytes> {
    let chunk = &piece.chunk;
    let whole = piece.at_line_start && chunk.bytes.ends_with(b"\n") && chunk.bytes.len() <= NEWS_BYTES;
    if !whole || !Outline::of(chunk)?.marks.is_empty() {
        return None;
    }
    let (from, to) = (chunk.offset, chunk.end());
    let news = NewsEvent { epoch, from, to, lines: lines::shown_lines(chunk)? };
    let data = serde_json::to_string(&news).ok().filter(|data| data.len() <= NEWS_EVENT_BYTES)?;
    Some(Bytes::from(format!("id: {epoch}:{to}\ndata: {data}\n\n")))
}

/// The event that tells only how far the log goes.
pub(crate) fn bell_event(epoch: i64, to: i64) -> Bytes {
    Bytes::from(format!("id: {epoch}:{to}\ndata: {{\"epoch\":{epoch},\"to\":{to}}}\n\n"))
}

/// The event that tells of another attempt.
pub(crate) fn attempt_event(epoch: i64) -> Bytes {
    Bytes::from(format!("event: attempt\nid: {epoch}:0\ndata: {{\"epoch\":{epoch}}}\n\n"))
}

/// The event after which nothing comes.
pub(crate) fn end_event(epoch: i64, at: i64, state: &str) -> Bytes {
    let data = format!("{{\"epoch\":{epoch},\"at\":{at},\"state\":\"{state}\"}}");
    Bytes::from(format!("event: end\nid: {epoch}:{at}\ndata: {data}\n\n"))
}

/// The spans of a chunk as text.
pub(crate) fn text_spans(chunk: &Chunk, stripper: &mut Option<AnsiStripper>) -> Vec<TextSpan> {
    let mut start = 0;
    let mut spans = Vec::with_capacity(chunk.spans.len());
    for span in &chunk.spans {
        let end = start + span.len as usize;
        let bytes = chunk.bytes.get(start..end).unwrap_or_default();
        let text = match stripper {
            Some(stripper) => String::from_utf8_lossy(&stripper.push(bytes)).into_owned(),
            None => String::from_utf8_lossy(bytes).into_owned(),
        };
        spans.push(TextSpan { step: span.step, stream: span.stream, at: span.at, text });
        start = end;
    }
    // Chunks end with whole characters, or nothing follows them.
    if let Some((stripper, last)) = stripper.as_mut().zip(spans.last_mut()) {
        last.text.push_str(&String::from_utf8_lossy(stripper.finish()));
    }
    spans
}

fn event(epoch: i64, chunk: &Chunk, stripper: &mut Option<AnsiStripper>) -> Bytes {
    let to = chunk.end();
    let event = LogEvent { epoch, from: chunk.offset, to, spans: &text_spans(chunk, stripper) };
    // Plain numbers and strings always serialise; JSON holds no line break, so one data line holds it.
    let data = serde_json::to_string(&event).unwrap_or_default();
    Bytes::from(format!("id: {epoch}:{to}\ndata: {data}\n\n"))
}

/// Two neighbours as one; a character that one writer's two spans cut in two becomes whole again.
fn joined(left: Chunk, right: Chunk) -> Chunk {
    let mut bytes = BytesMut::from(left.bytes.as_ref());
    bytes.extend_from_slice(&right.bytes);
    let mut spans = left.spans;
    let mut news = right.spans.into_iter();
    if let (Some(last), Some(first)) = (spans.last_mut(), news.next()) {
        if (last.step, last.stream) == (first.step, first.stream) {
            last.len += first.len;
        } else {
            spans.push(first);
        }
    }
    spans.extend(news);
    Chunk { offset: left.offset, bytes: bytes.freeze(), spans }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use slipway_logfmt::chunk::{Part, Span};

    use super::*;

    fn piece(offset: i64, bytes: &[u8]) -> Arc<Piece> {
        let span = Span { len: bytes.len() as u32, step: 1, stream: Stream::Stdout, at: DateTime::UNIX_EPOCH };
        Piece::stored(Chunk { offset, bytes: Bytes::copy_from_slice(bytes), spans: vec![span] })
    }

    fn text_of(events: &[Bytes]) -> (String, Vec<i64>) {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for event in events {
            let event = std::str::from_utf8(event).expect("text");
            let (id, data) = event.strip_prefix("id: 1:").and_then(|rest| rest.split_once("\ndata: ")).expect("shape");
            let json: serde_json::Value = serde_json::from_str(data.trim_end()).expect("JSON");
            assert_eq!(json["to"].to_string(), id);
            ends.push(json["to"].as_i64().expect("number"));
            for span in json["spans"].as_array().expect("list") {
                text.push_str(span["text"].as_str().expect("string"));
            }
        }
        (text, ends)
    }

    /// The first events of a watcher from the first byte on.
    fn events_up_to(bytes: &[u8], cuts: &[usize], last: usize) -> Vec<Bytes> {
        let mut renderer = Renderer::new(1, false);
        let pieces = cuts.windows(2).map(|cut| (cut[0] as i64, &bytes[cut[0]..cut[1]]));
        let events = pieces.flat_map(|(start, bytes)| renderer.piece(&piece(start, bytes), start));
        events.take(last + 1).collect()
    }

    #[test]
    fn bad_bytes_are_shown_and_colours_go() {
        let mut renderer = Renderer::new(1, false);
        let events = renderer.piece(&piece(0, b"\x1b[31mred\x1b[0m \xff end\n"), 0);
        assert_eq!(text_of(&events).0, "red \u{fffd} end\n");
        let mut renderer = Renderer::new(1, true);
        let events = renderer.piece(&piece(0, b"\x1b[31mred\n"), 0);
        assert_eq!(text_of(&events).0, "\u{1b}[31mred\n");
    }

    #[test]
    fn watchers_share_one_rendering_of_a_chunk() {
        let shared = Piece {
            chunk: piece(5, b"line\n").chunk.clone(),
            packed: None,
            at_line_start: true,
            event: Default::default(),
            news: Default::default(),
            hole: None,
        };
        let first = Renderer::new(1, false).piece(&shared, 5);
        let second = Renderer::new(1, false).piece(&shared, 5);
        assert_eq!(first[0].as_ptr(), second[0].as_ptr());
        let later = Renderer::new(1, false).piece(&shared, 7);
        assert_eq!(text_of(&later).0, "ne\n");
    }

    #[test]
    fn what_is_made_of_old_pieces_is_not_kept() {
        let now = slipway_runtime::clock::Clock::system().monotonic();
        let mut tail = crate::tail::Tail::resume(0, None, now);
        let first = |tail: &crate::tail::Tail| {
            let piece = tail.piece_at(0).expect("it is there");
            let event = Renderer::new(1, false).piece(&piece, 0).remove(0);
            assert_eq!(text_of(std::slice::from_ref(&event)).0, "one\n");
            event
        };
        tail.append(&Part::from(piece(0, b"one\n").chunk.clone()), now);
        let new = first(&tail);
        assert_eq!(first(&tail).as_ptr(), new.as_ptr());
        for place in 1..20 {
            tail.append(&Part::from(piece(4 * place, b"two\n").chunk.clone()), now);
        }
        let old = first(&tail);
        assert_ne!(old.as_ptr(), new.as_ptr());
        assert_ne!(first(&tail).as_ptr(), old.as_ptr());
    }

    #[test]
    fn pages_share_the_lines_of_a_piece_and_ask_for_what_is_not_so_simple() {
        let now = slipway_runtime::clock::Clock::system().monotonic();
        let told = |bytes: &[u8], cut: usize| {
            let mut tail = crate::tail::Tail::resume(0, None, now);
            tail.append(&Part::from(piece(0, bytes).chunk.clone()), now);
            let piece = tail.piece_at(0).expect("it is there");
            let (one, other) = (page_event(1, &piece, cut as i64), page_event(1, &piece, cut as i64));
            let text = String::from_utf8(one.to_vec()).expect("text");
            (text, one.as_ptr() == other.as_ptr())
        };
        let (text, shared) = told(b"\x1b[31mred\x1b[0m\nnext\n", 0);
        let data = text.strip_prefix("id: 1:18\ndata: ").expect("an event").trim_end();
        let json: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!((&json["from"], &json["to"], shared), (&0.into(), &18.into(), true));
        let line = |at: usize| (json["lines"][at]["line"].clone(), json["lines"][at]["runs"][0]["text"].clone());
        assert_eq!(
            (line(0), line(1), json["lines"][2].is_null()),
            ((1.into(), "red".into()), (2.into(), "next".into()), true)
        );
        let long = [&vec![b'x'; NEWS_BYTES][..], b"\n"].concat();
        for (bytes, cut) in [(&b"open"[..], 0), (b"one\ntwo\n", 4), (b"::group::A\n", 0), (&long, 0)] {
            assert_eq!(told(bytes, cut).0, String::from_utf8_lossy(&bell_event(1, bytes.len() as i64)));
        }
        // Nobody else has what was read for one page alone.
        let own = page_event(1, &Piece::stored(piece(0, b"a\n").chunk.clone()), 0);
        assert_eq!(own, bell_event(1, 2));
    }

    proptest! {
        #[test]
        fn pieces_never_break_a_character(
            text in "\\PC{0,30}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut renderer = Renderer::new(1, false);
            let mut events = Vec::new();
            for cut in cuts.windows(2) {
                events.extend(renderer.piece(&piece(cut[0] as i64, &bytes[cut[0]..cut[1]]), cut[0] as i64));
            }
            events.extend(renderer.finish());
            let (shown, ends) = text_of(&events);
            prop_assert_eq!(&shown, &text);
            prop_assert!(ends.iter().all(|end| text.is_char_boundary(*end as usize)));
            prop_assert_eq!(ends.last().copied().unwrap_or(0) as usize, text.len());
        }

        #[test]
        fn whoever_comes_again_at_any_id_sees_what_the_others_see(
            bytes in prop::collection::vec(prop_oneof![6 => 0x61..=0x66u8, 3 => Just(0x1b), 2 => Just(b'['), 1 => Just(b']'),
                1 => Just(0x07), 1 => Just(b'\n'), 1 => Just(b'1'), 1 => Just(0x18)], 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let seen = |from: i64| {
                let mut renderer = Renderer::new(1, false);
                let mut events = Vec::new();
                for cut in cuts.windows(2).filter(|cut| cut[1] as i64 > from) {
                    let begin = from.max(cut[0] as i64);
                    events.extend(renderer.piece(&piece(cut[0] as i64, &bytes[cut[0]..cut[1]]), begin));
                }
                let (told, rest) = (text_of(&events), renderer.finish());
                (told, rest.map(|rest| text_of(&[rest]).0).unwrap_or_default())
            };
            let ((whole, ends), rest) = seen(0);
            let whole = whole + &rest;
            for (place, end) in ends.iter().enumerate() {
                let before = text_of(&events_up_to(&bytes, &cuts, place)).0;
                let ((text, _), rest) = seen(*end);
                prop_assert_eq!(before + &text + &rest, whole.clone(), "again from {}", end);
            }
        }
    }
}
