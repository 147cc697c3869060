use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::chunk::Chunk;

/// A chunk of one step, a second per line.
fn chunk(text: &str) -> Chunk {
    let mut spans = Vec::new();
    for (second, line) in text.split_inclusive('\n').enumerate() {
        let at = DateTime::from_timestamp(second as i64, 0).expect("in range");
        spans.push(Span { len: line.len() as u32, step: 5, stream: Stream::Stdout, at });
    }
    Chunk { offset: 0, bytes: Bytes::copy_from_slice(text.as_bytes()), spans }
}

/// All marks of a stream that is cut into these pieces.
fn marks(chunk: &Chunk, cuts: &[i64]) -> Marks {
    let mut marks = Marks::default();
    let mut steps: std::collections::HashMap<u32, i64> = std::collections::HashMap::new();
    let (mut open, mut from) = (false, 0);
    for to in cuts.iter().copied().chain([chunk.end()]) {
        let Some(piece) = chunk.slice(from, to) else { continue };
        let outline = Outline::of(&piece).expect("bytes");
        // As it is written down and read again.
        let outline = if open { outline } else { outline.at_line_start() };
        let outline: Outline =
            serde_json::from_value(serde_json::to_value(outline).expect("plain")).expect("what was written");
        marks.push(&outline, open, |step| steps.get(&step).copied().unwrap_or(0));
        let (was_open, now_open) = (open, outline.open);
        let outline = if was_open { outline.after_open() } else { outline };
        for (step, lines) in outline.steps {
            *steps.entry(step).or_default() += lines;
        }
        (open, from) = (now_open, to);
    }
    marks
}

/// The groups of a step's text: title, last line, level, open, faint.
fn groups(text: &str) -> Vec<(i64, Option<i64>, usize, bool, bool)> {
    let groups = marks(&chunk(text), &[]).groups();
    let shape = |group: &Group| (group.line, group.last, group.level, group.open, group.faint);
    groups.first().map(|(_, groups)| groups.iter().map(shape).collect()).unwrap_or_default()
}

#[test]
fn lines_are_marks_by_how_they_begin() {
    let section = |name: &str, closed| Some(Sign::Section { name: name.into(), closed });
    let cases = [
        ("--- Build", Some(Sign::Closed)),
        ("+++ Test", Some(Sign::Open)),
        ("~~~ Clean", Some(Sign::Faint)),
        ("--- ", Some(Sign::Closed)),
        ("---", None),
        ("----- x", None),
        (" --- x", None),
        ("--- FAIL: TestIt (0.00s)", None),
        ("--- FAILED", Some(Sign::Closed)),
        ("::group::Install", Some(Sign::Group)),
        ("::group::", Some(Sign::Group)),
        ("::endgroup::", Some(Sign::GroupEnd)),
        ("::error::no", None),
        ("section_start:1560896352:step.one-2\r\x1b[0KHeader", section("step.one-2", false)),
        ("\x1b[0Ksection_start:1560896352:one[collapsed=true]\r\x1b[0KHeader", section("one", true)),
        ("section_start:1560896352:one[hide_duration=true,collapsed=true]\r\x1b[0KHeader", section("one", true)),
        ("section_start:1560896352:one", section("one", false)),
        ("section_end:1560896353:one\r\x1b[0K", Some(Sign::SectionEnd { name: "one".into() })),
        ("section_start:soon:one\r", None),
        ("section_start:+1:one\r", None),
        ("section_start:99999999999999999999:one\r", None),
        ("section_start:1560896352:two words\r", None),
        ("section_start:1560896352:\r", None),
        ("\x1b[31mred", None),
        ("", None),
    ];
    for (line, expected) in cases {
        let found = marks(&chunk(&format!("{line}\n")), &[]);
        assert_eq!(found.known.first().map(|mark| mark.sign.clone()), expected, "{line:?}");
    }
    let long = format!("section_start:1560896352:{}\r\n", "x".repeat(MAX_NAME_BYTES + 1));
    assert_eq!(marks(&chunk(&long), &[]).count(), 0);
}

#[test]
fn groups_end_as_their_makers_end_them() {
    assert_eq!(groups("a\n::group::A\nb\n::endgroup::\nc\n"), [(2, Some(4), 0, false, false)]);
    let flat = [(1, Some(2), 0, false, false), (3, Some(3), 0, true, false), (4, None, 0, false, true)];
    assert_eq!(groups("--- A\na\n+++ B\n~~~ C\nc\n"), flat);
    let sections = "section_start:10:a\r\nsection_start:11:b[collapsed=true]\r\nx\nsection_end:14:a\r\n";
    assert_eq!(groups(sections), [(1, Some(4), 0, true, false), (2, Some(3), 1, false, false)]);
    let took: Vec<Option<i64>> = marks(&chunk(sections), &[]).groups()[0].1.iter().map(|group| group.took_ms).collect();
    assert_eq!(took, [Some(4_000), Some(3_000)], "by their own clock");
    assert_eq!(groups("::endgroup::\nsection_end:1:x\r\n"), []);
    // A group inside of the one that the next title ends.
    let inner = [(1, Some(2), 0, false, false), (2, Some(2), 1, false, false), (3, None, 0, false, false)];
    assert_eq!(groups("--- A\n::group::B\n--- C\n::endgroup::\n"), inner);
    assert_eq!(
        groups("::group::A\n--- B\nb\n::endgroup::\n"),
        [(1, Some(4), 0, false, false), (2, Some(3), 1, false, false)]
    );
}

#[test]
fn the_names_of_a_patched_file_are_no_titles() {
    assert_eq!(groups("--- a/one.rs\n+++ b/one.rs\n@@ -1 +1 @@\n"), []);
    assert_eq!(groups("--- A\nx\n+++ B\n"), [(1, Some(2), 0, false, false), (3, None, 0, true, false)]);
}

#[test]
fn deep_groups_are_plain_and_their_ends_end_no_other() {
    let deep = 3;
    let mut text = "::group::x\n".repeat(MAX_DEPTH + deep);
    text += &"::endgroup::\n".repeat(deep);
    assert!(groups(&text).iter().all(|group| group.1.is_none()));
    text += "::endgroup::\n";
    let found = groups(&text);
    assert_eq!(found.len(), MAX_DEPTH);
    assert_eq!(found.iter().filter(|group| group.1.is_some()).count(), 1);
    assert_eq!(found.last().expect("some").2, MAX_DEPTH - 1);
}

#[test]
fn marks_are_bounded_in_a_run_and_in_a_log() {
    let run = chunk(&"::group::x\n".repeat(MAX_RUN_MARKS + 1));
    let outline = Outline::of(&run).expect("bytes");
    assert_eq!(outline.marks.len(), MAX_RUN_MARKS);
    let longest = format!("section_start:1560896352:{}[collapsed=true]\r\n", "x".repeat(MAX_NAME_BYTES));
    let outline = Outline::of(&chunk(&longest.repeat(MAX_RUN_MARKS + 1))).expect("bytes");
    let json = serde_json::to_string(&outline).expect("plain");
    assert!(json.len() < MAX_RUN_MARKS * 200 + 1000, "{} bytes of a row", json.len());
    let mut marks = Marks::default();
    for _ in 0..MAX_LOG_MARKS / MAX_RUN_MARKS + 2 {
        marks.push(&outline, false, |_| 0);
    }
    assert_eq!(marks.count(), MAX_LOG_MARKS);
}

#[test]
fn lines_of_ours_and_bytes_that_no_database_takes_are_no_marks() {
    let mut ours = chunk("--- ours\n");
    ours.spans[0].stream = Stream::Meta;
    assert_eq!(marks(&ours, &[]).count(), 0);
    let outline = Outline::of(&chunk("--- \0\u{fffd}")).expect("bytes");
    assert!(!serde_json::to_string(&outline).expect("plain").contains("\\u0000"));
}

#[test]
fn an_outline_of_an_older_release_has_no_groups() {
    let old = r#"{"steps":[[5,3]],"open":false,"first_at":"2026-01-01T00:00:00Z","last_at":"2026-01-01T00:00:00Z"}"#;
    let outline: Outline = serde_json::from_str(old).expect("it reads");
    let mut marks = Marks::default();
    marks.push(&outline, true, |_| 0);
    assert!(marks.groups().is_empty());
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("::group::Install".to_owned()),
        Just("::endgroup::".to_owned()),
        Just("--- Build €".to_owned()),
        Just("+++ Test".to_owned()),
        Just("~~~ Clean".to_owned()),
        Just("--- FAIL: It".to_owned()),
        (0u32..3, any::<bool>()).prop_map(|(name, closed)| {
            format!("\x1b[0Ksection_start:10:n{name}{}\r\x1b[0KTitle", if closed { "[collapsed=true]" } else { "" })
        }),
        (0u32..3).prop_map(|name| format!("section_end:12:n{name}\r\x1b[0K")),
        "[-+~: a]{0,6}",
        Just("x".repeat(MAX_MARK_BYTES)),
        Just(format!("::group::{}", "y".repeat(MAX_MARK_BYTES))),
    ]
}

proptest! {
    #[test]
    fn cuts_change_no_group(
        lines in prop::collection::vec((line(), 5u32..7), 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ends in any::<bool>(),
    ) {
        let mut text = String::new();
        let mut spans = Vec::new();
        let count = lines.len();
        for (at, (line, step)) in lines.into_iter().enumerate() {
            let line = if at + 1 < count || ends { format!("{line}\n") } else { line };
            if line.is_empty() { continue; }
            let stamp = DateTime::from_timestamp(at as i64, 0).expect("in range");
            spans.push(Span { len: line.len() as u32, step, stream: Stream::Stdout, at: stamp });
            text.push_str(&line);
        }
        let whole = Chunk { offset: 0, bytes: text.clone().into(), spans };
        let mut cuts: Vec<i64> = cuts.iter().map(|cut| cut.index(text.len() + 1) as i64).collect();
        cuts.sort_unstable();
        let (one, many) = (marks(&whole, &[]), marks(&whole, &cuts));
        prop_assert_eq!(&one.known, &many.known);
        for (_, groups) in many.groups() {
            // Groups are inside of each other or apart.
            for (at, group) in groups.iter().enumerate() {
                prop_assert!(group.level < MAX_DEPTH);
                prop_assert!(group.last.is_none_or(|last| last >= group.line));
                for later in &groups[at + 1..] {
                    prop_assert!(later.line > group.line);
                    let apart = group.last.is_some_and(|last| later.line > last);
                    let inside = later.level > group.level
                        && group.last.is_none_or(|last| later.last.is_some_and(|inner| inner <= last));
                    prop_assert!(apart || inside, "{:?} and {:?}", group, later);
                }
            }
        }
    }
}
