//! The search against a simple one.

use bytes::Bytes;
use proptest::prelude::*;
use slipway_logfmt::ansi::strip_ansi;
use slipway_logfmt::outline::Outline;
use slipway_logfmt::text::count_lines;

use super::*;
use crate::index::Index;

fn span(len: usize, step: u32, stream: Stream) -> Span {
    Span { len: len as u32, step, stream, at: DateTime::UNIX_EPOCH }
}

/// A log of spans, in chunks that end anywhere.
fn chunks(spans: &[(u32, Stream, Vec<u8>)], cuts: &[usize]) -> Vec<Chunk> {
    let bytes: Vec<u8> = spans.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
    let told = spans.iter().filter(|(_, _, bytes)| !bytes.is_empty());
    let whole = Chunk {
        offset: 0,
        bytes: Bytes::from(bytes),
        spans: told.map(|(step, stream, bytes)| span(bytes.len(), *step, *stream)).collect(),
    };
    let mut cuts: Vec<i64> = cuts.iter().map(|cut| (cut % (whole.bytes.len() + 1)) as i64).collect();
    cuts.extend([0, whole.end()]);
    cuts.sort_unstable();
    cuts.windows(2).filter_map(|cut| whole.slice(cut[0], cut[1])).collect()
}

fn log(text: &str) -> Vec<Chunk> {
    chunks(&[(1, Stream::Stdout, text.as_bytes().to_vec())], &[])
}

fn query(text: &str) -> Query {
    Query { text: text.to_owned(), limit: LIMIT_MAX, ..Query::default() }
}

fn run(query: Query, log: Vec<Chunk>) -> Found {
    Search::new(query).expect("a query").run(log.into_iter(), Start::default(), || true).expect("looked through")
}

fn lines(found: &Found) -> Vec<i64> {
    found.hits.iter().map(|hit| hit.line).collect()
}

fn shown(hit: &Hit) -> String {
    hit.parts.iter().map(|part| if part.hit { format!("[{}]", part.text) } else { part.text.clone() }).collect()
}

#[test]
fn ways_to_look() {
    const TEXT: &str =
        "Error: one\nerrors are many\r\n\nan \x1b[1;31merr\x1b[0mor\ncaf\u{e9} CAF\u{c9} x.y xzy\nlast error";
    let plain = query("error");
    let cases = [
        (plain.clone(), vec![1, 2, 4, 6]),
        (Query { case: true, ..plain.clone() }, vec![2, 4, 6]),
        (Query { word: true, ..plain.clone() }, vec![1, 4, 6]),
        (Query { case: true, ..query("CAF\u{c9}") }, vec![5]),
        (query("caf\u{c9}"), vec![5]),
        (query("."), vec![5]),
        (Query { regex: true, ..query("^errors?|error$") }, vec![1, 2, 4, 6]),
        (Query { regex: true, ..query("many$") }, vec![2]),
        (Query { regex: true, ..query("^$") }, vec![3]),
        (Query { regex: true, ..query(r"\Aan") }, vec![4]),
        (Query { regex: true, ..query("[^z]*many[^q]*") }, vec![2]),
        (query("31m"), vec![]),
        (Query { regex: true, ..query(r"^\w+ \w+ \w+\b.*\S$") }, vec![5]),
        (Query { after: 2, ..plain.clone() }, vec![4, 6]),
        (Query { limit: 2, ..plain.clone() }, vec![1, 2]),
    ];
    for (query, wanted) in cases {
        assert_eq!(lines(&run(query.clone(), log(TEXT))), wanted, "{query:?}");
    }
    let found = run(Query { after: 4, ..plain }, log(TEXT));
    assert_eq!((found.total, found.cut_lines), (1, 0), "those behind it are counted");
    assert_eq!(shown(&found.hits[0]), "last [error]");
    let found = run(query("x.y"), log(TEXT));
    assert_eq!(shown(&found.hits[0]), "caf\u{e9} CAF\u{c9} [x.y] xzy");
}

#[test]
fn the_first_hits_are_told_without_reading_on() {
    let many = "hit\nmiss\n".repeat(100_000);
    let pieces: Vec<Chunk> = log(&many)
        .into_iter()
        .flat_map(|chunk| {
            (0..chunk.end()).step_by(1000).filter_map(move |from| chunk.slice(from, from + 1000)).collect::<Vec<_>>()
        })
        .collect();
    let mut read = 0;
    let first = Query { first: true, limit: 3, ..query("hit") };
    let counted = pieces.iter().cloned().inspect(|_| read += 1);
    let found = Search::new(first).expect("a query").run(counted, Start::default(), || true).expect("looked through");
    assert_eq!((lines(&found), found.partial, found.more, found.total), (vec![1, 3, 5], true, true, 3));
    assert!(read < pieces.len() / 2, "{read} of {} pieces were read", pieces.len());
    let all = Query { first: true, ..query("miss 5") };
    assert!(!run(all, pieces).partial, "there are not so many");
}

#[test]
fn hits_have_the_lines_beside_them() {
    let found = run(Query { context: 2, ..query("hit") }, log("a\nb\nc\nhit 1\nd\nhit 2\ne\nf\ng\nh\ni\nhit 3"));
    let told: Vec<_> = found.hits.iter().map(|hit| (hit.before.join(""), hit.after.join(""))).collect();
    let wanted = [("bc", "d"), ("d", "ef"), ("hi", "")].map(|(before, after)| (before.to_owned(), after.to_owned()));
    // A line between two hits is told once, above or below.
    assert_eq!((&told[0].0, &told[2]), (&wanted[0].0, &wanted[2]));
    assert_eq!(format!("{}{}", told[0].1, told[1].0), "d");
    assert_eq!(told[1].1, "ef");
}

#[test]
fn a_step_and_an_output_can_be_chosen() {
    let log = || {
        chunks(
            &[
                (1, Stream::Stdout, b"x one\nx begun ".to_vec()),
                (2, Stream::Stderr, b"by one\nx two\n".to_vec()),
                (2, Stream::Stdout, b"x three\n".to_vec()),
            ],
            &[3, 9, 20],
        )
    };
    assert_eq!(lines(&run(query("x"), log())), [1, 2, 3, 4]);
    let of_steps: Vec<_> = run(query("x"), log()).hits.iter().map(|hit| (hit.step, hit.step_line)).collect();
    assert_eq!(of_steps, [(1, 1), (1, 2), (2, 1), (2, 2)]);
    assert_eq!(lines(&run(Query { step: Some(1), ..query("x") }, log())), [1, 2], "a line is whose it began");
    assert_eq!(lines(&run(Query { step: Some(2), ..query("x") }, log())), [3, 4]);
    assert_eq!(lines(&run(Query { stream: Some(Stream::Stderr), ..query("x") }, log())), [3]);
    let found = run(Query { stream: Some(Stream::Stderr), ..query("x") }, log());
    assert_eq!((found.total, found.hits[0].step), (1, 2));
}

#[test]
fn a_line_without_end_is_looked_at_as_far_as_it_is_bounded() {
    let mut text = vec![b'-'; 3 * LINE_MAX_BYTES];
    text[LINE_MAX_BYTES - 3..LINE_MAX_BYTES].copy_from_slice(b"hit");
    text[2 * LINE_MAX_BYTES..2 * LINE_MAX_BYTES + 4].copy_from_slice(b"hits");
    text.extend_from_slice(b"\nhit\n");
    let cuts: Vec<usize> = (0..40).map(|at| at * 100_003).collect();
    let found = run(query("hit"), chunks(&[(1, Stream::Stdout, text.clone())], &cuts));
    assert_eq!((lines(&found), found.cut_lines), (vec![1, 2], 1));
    assert!(shown(&found.hits[0]).ends_with("-[hit]") && shown(&found.hits[0]).len() <= SHOWN_MAX_BYTES + 2);
    let found = run(query("hits"), chunks(&[(1, Stream::Stdout, text)], &cuts));
    assert_eq!((found.total, found.cut_lines), (0, 1), "what is not looked at is told");
}

#[test]
fn what_cannot_be_looked_for_is_said() {
    let regex = |text: &str| Query { regex: true, ..query(text) };
    for (query, word) in [
        (query(""), "empty"),
        (query(&"x".repeat(TEXT_MAX_BYTES + 1)), "longer than 1000 bytes"),
        (query("a\nb"), "line break"),
        (regex("a(b"), "unclosed group"),
        (regex(r"a\nb"), "no expression"),
        (regex("(((a{500}){500}){500})"), "size limit"),
        (regex("[ab]{40000}[cd]"), "size limit"),
    ] {
        let refused = Search::new(query.clone()).expect_err("refused").to_string();
        assert!(refused.contains(word), "{query:?}: {refused}");
    }
}

#[test]
fn an_expression_takes_linear_time() {
    let text = format!("{}\n", "a".repeat(200_000)).repeat(4);
    let found = run(Query { regex: true, ..query("(a*)*(a|b)*c$") }, log(&text));
    assert_eq!(found.total, 0);
}

#[test]
fn a_search_ends_when_nobody_waits_or_time_is_over() {
    let left = std::cell::Cell::new(5);
    let go_on = || left.replace(left.get() - 1) > 0;
    let text = "hit\n".repeat(1000);
    let ended = Search::new(query("hit")).expect("a query").run(log(&text).into_iter(), Start::default(), go_on);
    let found = ended.expect("what was found");
    assert_eq!((found.partial, found.more, lines(&found)), (true, false, (1..=found.looked).collect()));
    assert_eq!((found.total, found.looked > 0), (found.looked, true), "none is counted that is looked at again");
    let (left, text) = (std::cell::Cell::new(5), "nothing\n".repeat(1_000_000));
    let go_on = || left.replace(left.get() - 1) > 0;
    let ended = Search::new(query("hit")).expect("a query").run(log(&text).into_iter(), Start::default(), go_on);
    let found = ended.expect("what was found");
    assert!(found.partial && found.looked > 0 && found.looked < 1_000_000, "{found:?}");
}

#[test]
fn an_expression_that_finds_nothing_cuts_no_letter() {
    let found = run(Query { regex: true, ..query("x*") }, log("caf\u{e9} x \u{6f22}\n"));
    assert_eq!(shown(&found.hits[0]), "caf\u{e9} [x] \u{6f22}");
}

#[test]
fn an_answer_is_bounded() {
    let line = format!("{}hit{}\n", "\u{1}".repeat(3000), "x".repeat(3000));
    let found = run(Query { limit: 500, context: 10, ..query("hit") }, log(&line.repeat(2000)));
    let bytes = serde_json::to_vec(&found).expect("JSON").len();
    assert!(bytes < 16 << 20 && found.more && found.hits.len() < 600, "{bytes} {}", found.hits.len());
    assert_eq!(found.total, 2000, "all are counted");
    let whole = run(Query { limit: 2, ..query("hit") }, log("hit\nhit\n"));
    assert_eq!((whole.hits.len(), whole.more), (2, false), "there is nothing behind them");
}

#[test]
fn long_lines_stand_beside_hits() {
    let long = format!("{}\n", "-".repeat(LINE_MAX_BYTES - 2));
    let text = format!("{}hit\n{}", long.repeat(11), long.repeat(11));
    let found = run(Query { context: 10, ..query("hit") }, log(&text));
    assert_eq!((found.total, found.hits[0].before.len(), found.hits[0].after.len()), (1, 10, 10));
}

proptest! {
    #[test]
    fn it_finds_what_a_simple_search_finds(
        spans in prop::collection::vec(
            (
                0u32..3,
                prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)],
                prop::collection::vec(
                    prop_oneof![4 => Just(b'a'), 4 => Just(b'B'), 2 => Just(b'\n'), 1 => Just(0x1b), 1 => Just(b'['),
                        1 => Just(b'm'), 1 => Just(0xff), 1 => Just(b'\r')],
                    0..30,
                ),
            ),
            0..8,
        ),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        text in "[abBm]{1,3}",
        case in any::<bool>(),
        step in prop::option::of(0u32..3),
    ) {
        let whole: Vec<u8> = spans.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
        // Who wrote the first byte of each line.
        let writers: Vec<u32> = spans.iter().flat_map(|(step, _, bytes)| vec![*step; bytes.len()]).collect();
        let (mut wanted, mut at) = (Vec::new(), 0);
        for (index, line) in whole.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let seen = strip_ansi(line);
            let (seen, sought) = if case { (seen, text.clone()) } else { (seen.to_ascii_lowercase(), text.to_lowercase()) };
            let has = seen.windows(sought.len()).any(|part| part == sought.as_bytes());
            if has && step.is_none_or(|step| step == writers[at]) {
                wanted.push(index as i64 + 1);
            }
            at += line.len();
        }
        let found = run(Query { case, step, ..query(&text) }, chunks(&spans, &cuts));
        prop_assert_eq!(found.total, wanted.len() as i64);
        prop_assert_eq!(lines(&found), wanted);
        for hit in &found.hits {
            prop_assert!(hit.parts.iter().any(|part| part.hit));
        }
    }
    #[test]
    fn a_search_in_parts_finds_what_one_finds(
        lines in prop::collection::vec((0u32..3, "[ab\u{1b}]{0,6}"), 1..60),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        (first, limit, context) in (any::<bool>(), 0usize..4, 0usize..3),
        patience in prop::collection::vec(1u32..20, 1..5),
    ) {
        let spans: Vec<_> =
            lines.iter().map(|(step, text)| (*step, Stream::Stdout, format!("{text}\n").into_bytes())).collect();
        let log: Vec<Chunk> = chunks(&spans, &cuts).into_iter().filter(|chunk| !chunk.bytes.is_empty()).collect();
        let mut index = Index::default();
        for chunk in &log {
            let outline = Outline::of(chunk).expect("it has bytes");
            prop_assert!(index.push(chunk.offset, chunk.end(), count_lines(&chunk.bytes), outline));
        }
        let whole = run(query("a"), log.clone());
        let mut patience = patience.into_iter().chain(30..);
        let (mut hits, mut total, mut after) = (Vec::new(), 0, 0);
        loop {
            let from = index.run_of_line(after + 1 - context as i64);
            let begin = from.map_or(0, |run| run.start);
            let start = from.map_or(Start::default(), |run| Start {
                breaks: run.breaks,
                continues: run.continues,
                of_steps: index.lines_before(run),
            });
            let left = std::cell::Cell::new(patience.next().expect("more and more"));
            let go_on = || left.replace(left.get().saturating_sub(1)) > 0;
            let parts: Vec<Chunk> = log.iter().filter(|chunk| chunk.offset >= begin).cloned().collect();
            let asked = Query { first, limit, context, after, ..query("a") };
            let found = Search::new(asked).expect("a query").run(parts.into_iter(), start, go_on).expect("looked through");
            // Of hits that are not told nobody asks again for those that were counted.
            total += if found.more && limit > 0 { found.hits.len() as i64 } else { found.total };
            hits.extend(found.hits.iter().map(|hit| (hit.line, hit.step, hit.step_line)));
            match found.next(after) {
                Some(next) => {
                    prop_assert!(next > after, "it goes on");
                    after = next;
                }
                None if found.partial => {}
                None => break,
            }
        }
        prop_assert_eq!(total, whole.total);
        if limit > 0 {
            let wanted: Vec<_> = whole.hits.iter().map(|hit| (hit.line, hit.step, hit.step_line)).collect();
            prop_assert_eq!(hits, wanted);
        }
    }
}
