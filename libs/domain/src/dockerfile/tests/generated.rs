//! Whatever is written, the outline keeps its promises.

use proptest::prelude::*;

use super::super::*;
use super::MULTI_STAGE;

const OTHERS: [&str; 2] = [
    "# escape=`\nFROM scratch AS a\nLABEL a=b `\n  c=\"d e\" `\n\n # inside\n f='g'\nHEALTHCHECK --interval=5s CMD [\"x\"]\n",
    "ARG V=1\nFROM --platform=linux/amd64 x:${V:-2} AS one\nONBUILD COPY <<A <<-\"B\" /\n1\nA\n\tB\nARG W\nENV old value of it\n\
     FROM one\nRUN --mount=type=cache,target=/c --network=none make \\\n  all\nEXPOSE 80 90-91/udp\nSTOPSIGNAL SIGTERM\n",
];

fn dockerfile_like() -> impl Strategy<Value = String> {
    let words = "FROM |RUN |COPY |ONBUILD |ENV |AS |--from=|--mount=|\\\\|\n|\r\n|# |<<EOF|<<-'E'|EOF\n|E|escape=`|`| |\t|\\$\\{|\\}|\"|'|=|\\[|é|[a-z]{1,4}";
    proptest::collection::vec(proptest::string::string_regex(words).expect("a pattern"), 0..60)
        .prop_map(|words| words.concat())
}

/// A file of the corpus with a few pieces cut, doubled or put in.
fn mutated() -> impl Strategy<Value = String> {
    let corpus = prop_oneof![Just(MULTI_STAGE), Just(OTHERS[0]), Just(OTHERS[1])];
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_u8, dockerfile_like());
    (corpus, proptest::collection::vec(change, 0..6)).prop_map(|(text, changes)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (from, to, kind, piece) in changes {
            let (from, to) = (from.index(chars.len() + 1), to.index(chars.len() + 1));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 30));
            let cut: Vec<char> = chars[from..to].to_vec();
            let new: Vec<char> = match kind {
                0 => Vec::new(),
                1 => [cut.as_slice(), cut.as_slice()].concat(),
                2 => piece.chars().collect(),
                _ => cut.into_iter().rev().collect(),
            };
            chars.splice(from..to, new);
        }
        chars.into_iter().collect()
    })
}

fn any_file() -> impl Strategy<Value = String> {
    prop_oneof![dockerfile_like(), mutated(), ".{0,200}", "(?s).{0,200}"]
}

fn lines_of(outline: &Outline) -> Vec<(usize, usize, &str, Option<usize>)> {
    outline.instructions.iter().map(|it| (it.line, it.end_line, it.keyword.as_str(), it.stage)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_has_an_outline_with_lines_in_range(text in any_file()) {
        let outline = scan(&text);
        let count = text.split('\n').count();
        let mut before = 0;
        let mut stage = None;
        for it in &outline.instructions {
            prop_assert!(before < it.line && it.line <= it.end_line && it.end_line <= count, "{it:?} of {count}");
            before = it.end_line;
            if it.keyword == "FROM" {
                stage = Some(stage.map_or(0, |stage: usize| stage + 1));
                prop_assert_eq!(it.stage.map(|index| outline.stages[index].line), Some(it.line));
            }
            prop_assert_eq!(it.stage, stage);
            prop_assert_eq!(it.keyword.to_uppercase(), it.keyword.as_str());
        }
        prop_assert_eq!(outline.stages.len(), stage.map_or(0, |stage| stage + 1));
        prop_assert!(outline.stages.iter().enumerate().all(|(index, it)| it.parent.is_none_or(|parent| parent < index)));
        prop_assert!(outline.problems.iter().all(|problem| (1..=count).contains(&problem.line)));
        prop_assert!(outline.problems.is_sorted_by_key(|problem| problem.line));
        prop_assert!(outline.problems.iter().all(|problem| problem.message.len() < 1000));
        prop_assert!(!outline.stages.is_empty() || !outline.problems.is_empty() || !frontends(&text).is_empty());
    }

    #[test]
    fn line_ends_make_no_difference(text in any_file()) {
        // A carriage return inside a line is white space, and a character after `\`.
        let unix = text.replace('\r', "");
        let windows = unix.replace('\n', "\r\n");
        prop_assert_eq!(scan(&unix), scan(&windows));
    }

    #[test]
    fn what_stands_behind_changes_nothing_before(text in any_file(), more in any_file()) {
        let (alone, both) = (scan(&text), scan(&format!("{text}\n\nLABEL end=here\n{more}")));
        // The last instruction may go on, and with it its heredoc.
        let whole = alone.instructions.len().saturating_sub(1);
        prop_assert_eq!(&lines_of(&alone)[..whole], &lines_of(&both)[..whole]);
    }

    #[test]
    fn comments_and_empty_lines_move_lines_and_nothing_else(text in mutated()) {
        let text = text.trim_start_matches(['#', '\u{feff}', ' ', '\t', '\r', '\n', '{', '/']);
        let plain = format!("FROM scratch\n{text}");
        let (plain, moved) = (scan(&plain), scan(&format!("FROM scratch\n\n  # a comment\n{text}")));
        let down = |line: usize| if line == 1 { 1 } else { line + 2 };
        let expected: Vec<_> = lines_of(&plain).into_iter().map(|(a, b, keyword, stage)| (down(a), down(b), keyword, stage)).collect();
        prop_assert_eq!(expected, lines_of(&moved));
        let classes = |outline: &Outline| outline.problems.iter().map(|it| it.class).collect::<Vec<_>>();
        prop_assert_eq!(classes(&plain), classes(&moved));
    }

    #[test]
    fn any_name_maps_into_the_file(text in any_file(), name in prop_oneof![
        ".{0,60}",
        "\\[((stage-)?[0-9]{1,2} )?[0-9]{1,3}/[0-9]{1,3}\\] (FROM|RUN|COPY) x",
        "\\[internal\\] load metadata for .{0,20}",
    ]) {
        let outline = scan(&text);
        if let Some(line) = line_of_vertex(&outline, &name) {
            prop_assert!(outline.instructions.iter().any(|it| it.line == line));
        }
    }
}
