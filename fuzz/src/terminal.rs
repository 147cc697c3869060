//! A line as a terminal shows it.

use arbitrary::{Result, Unstructured};
use chrono::DateTime;
use slipway_logfmt::ansi::strip_ansi;
use slipway_logfmt::line::LineAssembler;
use slipway_logfmt::terminal::{MAX_BULK_CELLS, MAX_COLUMNS, MAX_RUNS, MAX_URL_BYTES, shown, shown_within};
use unicode_width::UnicodeWidthChar as _;

use crate::input;

/// Runs the target.
pub fn run(input: &[u8]) {
    safe(input);
    let mut input = Unstructured::new(input);
    let _ = lines(&mut input).and_then(|()| simple(&mut input));
}

/// Whatever the line is, what is shown of it is safe and bounded.
fn safe(line: &[u8]) -> String {
    let told = shown(line);
    let mut left = MAX_BULK_CELLS;
    assert_eq!(shown_within(line, &mut left), told, "an allowance that is not used up changes something");
    assert!(left <= MAX_BULK_CELLS && told.width <= MAX_COLUMNS && told.runs.len() <= MAX_RUNS);
    let mut columns = 0;
    for run in &told.runs {
        assert!(!run.text.is_empty(), "an empty run");
        for letter in run.text.chars() {
            assert!(!letter.is_control(), "a control character is shown: {letter:?}");
            assert!(!matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'), "text is turned round");
            columns += letter.width().unwrap_or(0);
        }
        if let Some(link) = &run.link {
            assert!(link.starts_with("http://") || link.starts_with("https://"), "a link to {link}");
            assert!(link.len() <= MAX_URL_BYTES && !link.contains(char::is_control), "a link to {link}");
        }
    }
    assert_eq!(columns, told.width, "the width is not that of the text");
    for pair in told.runs.windows(2) {
        assert!((pair[0].style, &pair[0].link) != (pair[1].style, &pair[1].link), "neighbours in one style");
    }
    let text: String = told.runs.into_iter().map(|run| run.text).collect();
    let again: String = shown(text.as_bytes()).runs.into_iter().map(|run| run.text).collect();
    assert_eq!(again, text, "what is shown looks different when it is shown again");
    text
}

/// A stream that was cut anywhere is put together to the same lines, which are shown the same.
fn lines(input: &mut Unstructured<'_>) -> Result<()> {
    let stream = input::text(input, 120)?;
    let cuts = input::cuts(input, stream.len())?;
    let mut assembler = LineAssembler::default();
    let mut whole = Vec::new();
    for piece in input::pieces(&stream, &cuts) {
        whole.extend(assembler.push(DateTime::UNIX_EPOCH, piece));
    }
    whole.extend(assembler.flush());
    assert_eq!(whole, stream, "bytes were lost");
    for line in stream.split(|byte| *byte == b'\n') {
        let text = safe(line);
        let moves = line.iter().any(|byte| matches!(byte, b'\r' | 8 | b'\t' | 0x1b | 0..=0x1f | 0x7f..));
        if !moves {
            assert_eq!(text.as_bytes(), strip_ansi(line), "plain text looks different");
        }
    }
    Ok(())
}

/// Letters and the moves that progress bars make, against a row of cells.
fn simple(input: &mut Unstructured<'_>) -> Result<()> {
    let (mut line, mut cells, mut at) = (Vec::new(), Vec::<Option<char>>::new(), 0_usize);
    for _ in 0..input.int_in_range(0..=60)? {
        let count = input.int_in_range(0..=12_usize)?;
        let many = count.max(1);
        match input.int_in_range(0..=11)? {
            0 => {
                line.push(b'\r');
                at = 0;
            }
            1 => {
                line.push(8);
                at = at.saturating_sub(1);
            }
            2 => {
                line.push(b'\t');
                at = (at / 8 + 1) * 8;
            }
            3 => {
                line.extend(format!("\x1b[{count}C").bytes());
                at += many;
            }
            4 => {
                line.extend(format!("\x1b[{count}D").bytes());
                at = at.saturating_sub(many);
            }
            5 => {
                line.extend(format!("\x1b[{count}G").bytes());
                at = many - 1;
            }
            6 => {
                let way = input.int_in_range(0..=2)?;
                line.extend(format!("\x1b[{way}K").bytes());
                let gone = [at..usize::MAX, 0..at + 1, 0..usize::MAX][way].clone();
                cells
                    .iter_mut()
                    .enumerate()
                    .filter(|(place, _)| gone.contains(place))
                    .for_each(|(_, cell)| *cell = None);
            }
            7 => {
                line.extend(format!("\x1b[{count}X").bytes());
                cells.iter_mut().skip(at).take(many).for_each(|cell| *cell = None);
            }
            8 => {
                line.extend(format!("\x1b[{count}P").bytes());
                let from = at.min(cells.len());
                cells.drain(from..cells.len().min(from + many));
            }
            9 => {
                line.extend(format!("\x1b[{count}@").bytes());
                if at < cells.len() {
                    cells.splice(at..at, std::iter::repeat_n(None, many));
                }
            }
            10 => line.extend(format!("\x1b[{count}m").bytes()),
            _ => {
                let letter = input.int_in_range(b' '..=b'~')?;
                line.push(letter);
                cells.resize(cells.len().max(at + 1), None);
                cells[at] = Some(letter.into());
                at += 1;
            }
        }
    }
    let end = cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let wanted: String = cells[..end].iter().map(|cell| cell.unwrap_or(' ')).collect();
    assert_eq!(safe(&line), wanted, "{}", line.escape_ascii());
    Ok(())
}
