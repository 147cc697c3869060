//! The lines of a Dockerfile around the instruction that failed, for people.

use super::Outline;
use crate::failure::ExcerptLine;

/// Most lines that are shown.
const MAX_LINES: usize = 9;
/// So many lines stand before and after the instruction.
const AROUND: usize = 2;
/// A longer line is cut, characters.
const MAX_CHARS: usize = 300;

/// The instruction that `line` (from 1) belongs to, continuations and heredocs included, with its neighbours: at most
/// nine lines. Of a long instruction the beginning is shown, and its last line. Empty if there is no such line.
pub fn excerpt(text: &str, outline: &Outline, line: usize) -> Vec<ExcerptLine> {
    let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(text).lines().collect();
    if line == 0 || line > lines.len() {
        return Vec::new();
    }
    let instruction = outline.instructions.iter().find(|it| (it.line..=it.end_line).contains(&line));
    let (first, last) = instruction.map_or((line, line), |it| (it.line, it.end_line.min(lines.len())));
    let own = last - first + 1;
    let around = AROUND.min(MAX_LINES.saturating_sub(own) / 2).max(usize::from(own > MAX_LINES));
    let (from, to) = (first.saturating_sub(around).max(1), (last + around).min(lines.len()));
    let (before, after) = (first - from, to - last);
    let room = MAX_LINES.saturating_sub(before + after).max(2);
    let is_shown = |at: usize| at < first + room - 1 || at >= last;
    (from..=to)
        .filter(|at| is_shown(*at))
        .filter_map(|at| {
            let text = shown(lines.get(at - 1)?);
            Some(ExcerptLine { line: i64::try_from(at).ok()?, text, failing: (first..=last).contains(&at) })
        })
        .collect()
}

/// A line as text: no control character but the tab, and not too long.
fn shown(line: &str) -> String {
    let visible = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    let line = line.trim_end_matches('\r');
    let mut text: String = line.chars().take(MAX_CHARS).map(visible).collect();
    if line.chars().nth(MAX_CHARS).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dockerfile::scan;

    /// `>3 text` for lines of the instruction, ` 2 text` for the others.
    fn of(text: &str, line: usize) -> Vec<String> {
        let lines = excerpt(text, &scan(text), line);
        lines.iter().map(|it| format!("{}{} {}", if it.failing { '>' } else { ' ' }, it.line, it.text)).collect()
    }

    #[test]
    fn an_instruction_is_shown_whole_with_its_neighbours() {
        let text = "FROM a\nENV x=1\n\nRUN one \\\n  # why\n  two\n\nCOPY . .\r\nCMD x\n";
        for line in 4..=6 {
            let wanted = [" 2 ENV x=1", " 3 ", ">4 RUN one \\", ">5   # why", ">6   two", " 7 ", " 8 COPY . ."];
            assert_eq!(of(text, line), wanted);
        }
        assert_eq!(of(text, 1), [">1 FROM a", " 2 ENV x=1", " 3 "]);
        assert_eq!(of(text, 9), [" 7 ", " 8 COPY . .", ">9 CMD x"]);
        assert_eq!((of(text, 0).len(), of(text, 10).len(), of("", 1).len()), (0, 0, 0));
    }

    #[test]
    fn a_long_instruction_shows_its_beginning_and_its_end() {
        let body: String = (1..=20).map(|at| format!("echo {at}\n")).collect();
        let text = format!("FROM a\nRUN <<EOF\n{body}EOF\nCMD x\n");
        let shown = of(&text, 2);
        assert_eq!(shown.len(), MAX_LINES);
        assert_eq!(shown[..3], [" 1 FROM a", ">2 RUN <<EOF", ">3 echo 1"]);
        assert_eq!(shown[7..], [">23 EOF", " 24 CMD x"]);
        assert_eq!(shown, of(&text, 23));
    }

    #[test]
    fn a_line_is_cut_and_holds_no_control_characters() {
        let text = format!("FROM a\nRUN \x1b[2J\t<script>{}\n", "x".repeat(1000));
        let shown = of(&text, 2);
        assert!(shown[1].starts_with(">2 RUN \u{fffd}[2J\t<script>xx"), "{shown:?}");
        assert!(shown[1].ends_with("x…") && shown[1].chars().count() == MAX_CHARS + 1 + 3, "{shown:?}");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_long_and_the_line_is_in_it(
            lines in proptest::collection::vec("(RUN x|FROM a|COPY <<E b|E|# c|\\PC{0,20}|x \\\\)", 0..40),
            line in 0_usize..45,
        ) {
            let text = lines.join("\n");
            let shown = excerpt(&text, &scan(&text), line);
            prop_assert!(shown.len() <= MAX_LINES);
            prop_assert!(shown.windows(2).all(|pair| pair[0].line < pair[1].line));
            prop_assert_eq!(shown.iter().any(|it| it.failing), (1..=text.lines().count()).contains(&line));
        }
    }
}
