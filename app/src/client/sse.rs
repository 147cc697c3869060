//! Server-sent events out of the bytes of an answer, whatever the borders of its pieces
//! (WHATWG HTML, section 9.2.6). Pure.

/// Largest event; a server that sends more without an end is not ours.
const MAX_EVENT_BYTES: usize = 32 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The event's name; `message` unless it has one.
    pub name: String,
    /// Its data lines, joined by line breaks.
    pub data: String,
    /// The newest id on this stream, this event's own included.
    pub id: Option<String>,
}

/// The stream sends an event that is larger than any of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct EventTooLarge;

/// Reads one stream.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    after_return: bool,
    begun: bool,
    name: String,
    data: String,
    has_data: bool,
    id: Option<String>,
}

impl SseParser {
    /// Takes the next piece; gives the events that it completed.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<SseEvent>, EventTooLarge> {
        let mut events = Vec::new();
        for &byte in piece {
            let second_half = std::mem::take(&mut self.after_return) && byte == b'\n';
            match byte {
                _ if second_half => {}
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.take_line(&line));
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                return Err(EventTooLarge);
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &[u8]) -> Option<SseEvent> {
        let line = String::from_utf8_lossy(line);
        let line = if self.begun { &line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            return self.complete();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments (an empty field), retry and what later versions may add.
            _ => {}
        }
        None
    }

    /// Unlike a browser, this also takes a named event without data: an `end` needs none.
    fn complete(&mut self) -> Option<SseEvent> {
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if !std::mem::take(&mut self.has_data) && name.is_empty() {
            return None;
        }
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(SseEvent { name, data, id: self.id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> SseEvent {
        SseEvent { name: name.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) }
    }

    fn all(text: &str) -> Vec<SseEvent> {
        SseParser::default().push(text.as_bytes()).expect("small")
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let cases = [
            ("data: a\n\n", vec![event("message", "a", None)]),
            ("data:a\r\n\r\n", vec![event("message", "a", None)]),
            ("event: end\r\ndata: a\r\n\r\n", vec![event("end", "a", None)]),
            ("data: a\rdata:  b\r\r", vec![event("message", "a\n b", None)]),
            ("id: 1:20\nevent: attempt\ndata: 2\n\n", vec![event("attempt", "2", Some("1:20"))]),
            ("id: 7\ndata: a\n\ndata: b\n\n", vec![event("message", "a", Some("7")), event("message", "b", Some("7"))]),
            (": keep alive\n\n", vec![]),
            ("retry: 10\nunknown\n\n", vec![]),
            ("event: end\n\n", vec![event("end", "", None)]),
            ("data\n\n", vec![event("message", "", None)]),
            ("data: {\"a\": \"b: c\"}\n\n", vec![event("message", "{\"a\": \"b: c\"}", None)]),
            ("\u{feff}data: a\n\n", vec![event("message", "a", None)]),
            ("id: a\0b\ndata: c\n\n", vec![event("message", "c", None)]),
            ("data: not finished\n", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(all(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = SseParser::default();
        let mebibyte = vec![b'x'; 1 << 20];
        let refused = (0..=MAX_EVENT_BYTES >> 20).find_map(|_| parser.push(&mebibyte).err());
        assert_eq!(refused, Some(EventTooLarge));
    }

    proptest! {
        #[test]
        fn the_borders_of_pieces_do_not_matter(
            parts in prop::collection::vec(prop_oneof![
                Just("data: ä€\n"), Just("\n"), Just("\r\n"), Just("\r"), Just("id: 3:9\n"), Just("event: end\r\n"),
                Just(": c\n"), Just("data:x\r"),
            ], 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = parts.concat().into_bytes();
            let whole = SseParser::default().push(&text).expect("small");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let mut parser = SseParser::default();
            let (mut events, mut from) = (Vec::new(), 0);
            for cut in cuts.into_iter().chain([text.len()]) {
                events.extend(parser.push(&text[from..cut]).expect("small"));
                from = cut;
            }
            prop_assert_eq!(events, whole);
        }
    }
}
