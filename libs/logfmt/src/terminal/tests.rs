use proptest::prelude::*;

use super::*;

fn text(line: &[u8]) -> String {
    shown(line).runs.into_iter().map(|run| run.text).collect()
}

fn json(line: &[u8]) -> String {
    serde_json::to_string(&shown(line).runs).unwrap()
}

fn columns(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

#[test]
fn the_line_looks_as_on_a_terminal() {
    let cases: [(&[u8], &str); 54] = [
        (b"", ""),
        (b"plain", "plain"),
        (b"two  spaces  ", "two  spaces  "),
        // Carriage returns and progress bars.
        (b"10%\r20%\r100%", "100%"),
        (b"100%\r20%", "20%%"),
        (b"kept\r", "kept"),
        (b"kept\r\r", "kept"),
        (b"\rkept", "kept"),
        (b"working 50%\x1b[2K\x1b[1Gdone", "done"),
        (b"working 50%\r\x1b[Kdone", "done"),
        (b"[=>  ]\r[==> ]\r[===>]\r\x1b[Kbuilt\r", "built"),
        // Backspaces.
        (b"abc\x08\x08X", "aXc"),
        (b"_\x08a_\x08b", "ab"),
        (b"\x08\x08a", "a"),
        // Tabs.
        (b"a\tb", "a       b"),
        (b"1234567\tb", "1234567 b"),
        (b"12345678\tb", "12345678        b"),
        (b"12345678\r\tb", "12345678b"),
        (b"12345678 tail\r\tb", "12345678btail"),
        (b"a\t", "a"),
        // Cursor moves.
        (b"ab\x1b[3Cc", "ab   c"),
        (b"ab\x1b[Cc", "ab c"),
        (b"ab\x1b[0Cc", "ab c"),
        (b"abcd\x1b[3DX", "aXcd"),
        (b"abcd\x1b[99DX", "Xbcd"),
        (b"abcd\x1b[GX", "Xbcd"),
        (b"abcd\x1b[3GX", "abXd"),
        (b"abcd\x1b[7;2HX", "aXcd"),
        (b"abcd\x1b[7;2fX", "aXcd"),
        (b"abcd\x1b[HX", "Xbcd"),
        (b"abcd\x1b[EX", "Xbcd"),
        (b"abcd\x1b[2FX", "Xbcd"),
        (b"abcd\x1b[2A\x1b[3BX", "abcdX"),
        (b"ab\x1b[9C", "ab"),
        // Erasing.
        (b"abcdef\x1b[3G\x1b[K", "ab"),
        (b"abcdef\x1b[3G\x1b[0KX", "abX"),
        (b"abcdef\x1b[3G\x1b[1K", "   def"),
        (b"abcdef\x1b[1K", ""),
        (b"abcdef\x1b[3G\x1b[2KX", "  X"),
        (b"abcdef\x1b[3G\x1b[3K", "abcdef"),
        (b"abcdef\x1b[3G\x1b[2X", "ab  ef"),
        (b"abcdef\x1b[3G\x1b[99X", "ab"),
        (b"abcdef\x1b[3G\x1b[2P", "abef"),
        (b"abcdef\x1b[3G\x1b[99P", "ab"),
        (b"abcdef\x1b[3G\x1b[2@", "ab  cdef"),
        (b"abcdef\x1b[3G\x1b[2@XY", "abXYcdef"),
        // What is dropped.
        (b"a\x0b\x0c\x07\x00\x0e\x7fb", "ab"),
        (b"a\x1b[?25lb\x1b[?Kc\x1b[>4;2md", "abcd"),
        (b"a\x1b]0;title\x07b\x1bPdata\x1b\\c\x1b(Bd\x1b=e", "abcde"),
        ("a\u{9b}31mb\u{85}".as_bytes(), "a31mb"),
        (b"a\x1b[31", "a"),
        (b"a\x1b]0;never ended", "a"),
        (b"a\x1b[3\x18b", "ab"),
        (b"a\nb", "ab"),
    ];
    for (line, expected) in cases {
        assert_eq!(text(line), expected, "{}", line.escape_ascii());
    }
}

#[test]
fn letters_of_any_width_and_broken_ones() {
    let cases: [(&[u8], &str, usize); 20] = [
        ("äöü €".as_bytes(), "äöü €", 5),
        ("漢字".as_bytes(), "漢字", 4),
        ("🦀!".as_bytes(), "🦀!", 3),
        // U+17D8 has three columns.
        ("\u{17d8}\r\x1b[2CX".as_bytes(), "  X", 3),
        ("e\u{301}x".as_bytes(), "e\u{301}x", 2),
        ("e\u{301}\u{302}".as_bytes(), "e\u{301}\u{302}", 1),
        ("漢\u{301}".as_bytes(), "漢\u{301}", 2),
        ("\u{301}a".as_bytes(), "a", 1),
        ("e\u{301}\rx".as_bytes(), "x", 1),
        ("a\x1b[2C\u{301}".as_bytes(), "a", 1),
        // Half of a wide character is none.
        ("漢字\rX".as_bytes(), "X 字", 4),
        ("漢字\x1b[2GX".as_bytes(), " X字", 4),
        ("漢字\x1b[2G漢".as_bytes(), " 漢", 3),
        ("漢字\x1b[2G\x1b[K".as_bytes(), "", 0),
        ("漢字\x1b[2G\x1b[P".as_bytes(), " 字", 3),
        ("漢字\x1b[2G\x1b[@".as_bytes(), "   字", 5),
        // No UTF-8.
        (b"a\xff\xfeb", "a\u{fffd}\u{fffd}b", 4),
        (b"a\x9bb\xe2\x82", "a\u{fffd}b\u{fffd}", 4),
        (b"\xe2\x82\x1b[1mx", "\u{fffd}x", 2),
        // Right to left overrides.
        ("a\u{202a}\u{202e}b\u{2066}\u{2069}c\u{200e}".as_bytes(), "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}c\u{200e}", 7),
    ];
    for (line, expected, width) in cases {
        assert_eq!((text(line).as_str(), shown(line).width), (expected, width), "{}", line.escape_ascii());
    }
}

#[test]
fn styles_as_browsers_get_them() {
    let cases: [(&str, &str); 30] = [
        ("1", r#""bold":true"#),
        ("2", r#""faint":true"#),
        ("3", r#""italic":true"#),
        ("4", r#""underline":true"#),
        ("4:3", r#""underline":true"#),
        ("21", r#""underline":true"#),
        ("7", r#""inverse":true"#),
        ("9", r#""strike":true"#),
        ("1;2;3;4;7;9;22;23;24;27;29", ""),
        ("4;4:0", ""),
        ("1;31;44;0", ""),
        ("1;31;", ""),
        ("31", r#""fg":1"#),
        ("97", r#""fg":15"#),
        ("40", r#""bg":0"#),
        ("103", r#""bg":11"#),
        ("31;42;39;49", ""),
        ("38;5;9", r#""fg":9"#),
        ("38;5;16", r##""fg":"#000000""##),
        ("48;5;110", r##""bg":"#87afd7""##),
        ("38;5;231", r##""fg":"#ffffff""##),
        ("38;5;232;1", r##""bold":true,"fg":"#080808""##),
        ("38;5;255", r##""fg":"#eeeeee""##),
        ("38:5:208", r##""fg":"#ff8700""##),
        ("38;2;1;2;255;48;2;0;171;205", r##""fg":"#0102ff","bg":"#00abcd""##),
        ("38:2::1:2:3;48:2:4:5:6", r##""fg":"#010203","bg":"#040506""##),
        // What is no colour changes nothing, nor do its parts.
        ("32;38;5;256", r#""fg":2"#),
        ("32;38;2;300;1;1;38;7;38;5", r#""fg":2"#),
        ("58;5;1;58;2;3;4;7", ""),
        ("5;6;8;11;53;4000", ""),
    ];
    for (codes, expected) in cases {
        let comma = if expected.is_empty() { "" } else { "," };
        let line = format!("\x1b[{codes}mx");
        assert_eq!(json(line.as_bytes()), format!(r#"[{{"text":"x"{comma}{expected}}}]"#), "{codes}");
    }
}

#[test]
fn neighbours_in_one_style_are_one_run() {
    assert_eq!(json(b"a\x1b[0mb\x1b[31m\x1b[mc"), r#"[{"text":"abc"}]"#);
    assert_eq!(json(b"\x1b[31mred\x1b[1m\x1b[22m red\x1b[m plain"), r#"[{"text":"red red","fg":1},{"text":" plain"}]"#);
    assert_eq!(json(b"\x1b[31mab\x1b[m\rX"), r#"[{"text":"X"},{"text":"b","fg":1}]"#);
    assert_eq!(json(b"\x1b[44ma\tb"), r#"[{"text":"a","bg":4},{"text":"       "},{"text":"b","bg":4}]"#);
}

#[test]
fn links_lead_to_the_web_or_nowhere() {
    let long = format!("https://a.example/{}", "x".repeat(MAX_URL_BYTES - 18));
    let many = format!("https://a.example/{}", ";".repeat(20));
    let cases: [(&str, Option<&str>); 16] = [
        ("http://a.example/b?c=d&e#f", Some("http://a.example/b?c=d&e#f")),
        ("https://a.example/ü;b;c", Some("https://a.example/ü;b;c")),
        (&long, Some(&long)),
        (&format!("{long}x"), None),
        (&many, None),
        ("javascript:alert(1)", None),
        ("java\tscript:alert(1)", None),
        ("JavaScript://a.example/%0aalert(1)", None),
        ("data:text/html,<b>", None),
        ("file:///etc/passwd", None),
        ("//a.example", None),
        (" https://a.example", None),
        ("https://", None),
        ("https://a.example/\x7f", None),
        ("https://a.example/\u{85}", None),
        ("https://a.example/\u{202e}", None),
    ];
    for (target, expected) in cases {
        for end in ["\x07", "\x1b\\"] {
            let line = format!("\x1b]8;id=1;{target}{end}text\x1b]8;;{end} after");
            let runs = shown(line.as_bytes()).runs;
            let found: Vec<_> = runs.iter().map(|run| (run.text.as_str(), run.link.as_deref())).collect();
            match expected {
                Some(_) => assert_eq!(found, [("text", expected), (" after", None)], "{target}"),
                None => assert_eq!(found, [("text after", None)], "{target}"),
            }
        }
    }
    let refused_inside = b"\x1b]8;;https://a.example\x07a\x1b]8;;javascript:x\x07b\x1b]8\x07c";
    assert_eq!(json(refused_inside), r#"[{"text":"a","link":"https://a.example"},{"text":"bc"}]"#);
    // The escape character ends the target; with a letter it is a sequence of its own.
    let broken_end = b"\x1b]8;;https://a.example\x1btext";
    assert_eq!(json(broken_end), r#"[{"text":"ext","link":"https://a.example"}]"#);
    assert_eq!(json(b"a\x1b]8;;https://a.example"), r#"[{"text":"a"}]"#);
    assert_eq!(json(b"a\x1b]8\x07\x1b]8;https://a.example\x07b"), r#"[{"text":"ab"}]"#);
}

#[test]
fn columns_are_bounded() {
    let far = shown(b"\x1b[60000Gx");
    assert_eq!((far.width, far.runs.len(), columns(&far.runs[0].text)), (60_000, 1, 60_000));
    let endless = "ab".repeat(MAX_COLUMNS);
    assert_eq!(text(endless.as_bytes()), endless[..MAX_COLUMNS]);
    assert_eq!(shown(b"a\x1b[65535C\x1b[65535Cx").width, 1);
    assert_eq!(shown(b"a\x1b[99999999999999999999D\x1b[99999999999999999999@b").width, MAX_COLUMNS);
    let wide_at_the_end = format!("{}漢x", "a".repeat(MAX_COLUMNS - 1));
    assert_eq!(shown(wide_at_the_end.as_bytes()).width, MAX_COLUMNS);
    let wide_pushed_out = format!("{}漢\r\x1b[@", "a".repeat(MAX_COLUMNS - 2));
    assert_eq!(shown(wide_pushed_out.as_bytes()).width, MAX_COLUMNS - 1);
    // Quadratic time would not end here.
    assert_eq!(shown(&vec![0xff; 8 << 20]).width, MAX_COLUMNS);
}

#[test]
fn runs_and_links_are_bounded() {
    let bomb: String = (0..2 * MAX_RUNS).map(|i| format!("\x1b[3{}mx", i % 8)).collect();
    let bomb = shown(bomb.as_bytes());
    assert_eq!((bomb.runs.len(), bomb.width), (MAX_RUNS, 2 * MAX_RUNS));
    assert_eq!(bomb.runs.last().map(|run| run.text.len()), Some(MAX_RUNS + 1));

    let url = format!("https://a.example/{}", "x".repeat(1_000));
    let colours: String = (0..1_000).map(|i| format!("\x1b[3{}mx", i % 8)).collect();
    let repeated = shown(format!("\x1b]8;;{url}\x07{colours}").as_bytes());
    let linked = repeated.runs.iter().filter(|run| run.link.is_some()).count();
    assert_eq!((repeated.runs.len(), linked), (1_000, MAX_LINK_BYTES / url.len()));
}

#[test]
fn work_is_bounded() {
    // Each sequence moves or fills about 60,000 cells, and so many of them would take minutes.
    let far = "\x1b[60000Gx";
    let width = |line: String| shown(line.as_bytes()).width;
    let inserted = width(format!("{far}\r{}", "\x1b[@".repeat(1_000_000)));
    assert!((60_060..60_070).contains(&inserted), "{inserted}");
    let deleted = width(format!("{far}\r{}", "\x1b[P".repeat(1_000_000)));
    assert!((59_930..59_940).contains(&deleted), "{deleted}");
    width(format!("{far}\x08\x08{}", "\x1b[1K".repeat(1_000_000)));
    width(format!("{far}\x1b[2K").repeat(300_000));
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let sequence = (0..4_u32, 0..12_u32, prop::sample::select(b"mKGCDHPX@f".as_slice()))
        .prop_map(|(first, second, action)| format!("\x1b[{first};{second}{}", char::from(action)).into_bytes());
    let far = (0..u16::MAX, prop::sample::select(b"GC@PX".as_slice()))
        .prop_map(|(count, action)| format!("\x1b[{count}{}", char::from(action)).into_bytes());
    let words: Vec<&[u8]> = vec![
        b"\x1b]8;;http",
        b"://",
        b"javascript:",
        b"38;5",
        "漢".as_bytes(),
        "\u{301}".as_bytes(),
        "\u{17d8}".as_bytes(),
        "\u{202e}".as_bytes(),
        b"text",
    ];
    let byte = prop::sample::select(b"\x1b[]P\\;:?0123459\r\x08\t\x07\x18\x9c\x7fmKGCHP@X ax".as_slice());
    prop_oneof![
        4 => byte.prop_map(|byte| vec![byte]),
        2 => sequence,
        1 => far,
        2 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

proptest! {
    #[test]
    fn nothing_dangerous_comes_out(pieces in prop::collection::vec(piece(), 0..120)) {
        let line = pieces.concat();
        let shown = shown(&line);
        prop_assert!(shown.width <= MAX_COLUMNS);
        prop_assert!(shown.runs.len() <= MAX_RUNS);
        prop_assert_eq!(shown.runs.iter().map(|run| columns(&run.text)).sum::<usize>(), shown.width);
        for run in &shown.runs {
            prop_assert!(!run.text.is_empty());
            prop_assert!(!run.text.contains(|character: char| character.is_control() || is_bidi_control(character)));
            if let Some(link) = &run.link {
                prop_assert!(link.starts_with("http://") || link.starts_with("https://"));
                prop_assert!(link.len() <= MAX_URL_BYTES && !link.contains(char::is_control));
            }
        }
        for pair in shown.runs.windows(2) {
            prop_assert!(pair[0].style != pair[1].style || pair[0].link != pair[1].link);
        }
    }

    #[test]
    fn plain_text_stays_as_it_is(text in "[a-z]\\PC{0,80}") {
        let expected = Run { text: text.clone(), style: Style::default(), link: None };
        prop_assert_eq!(shown(text.as_bytes()), Shown { runs: vec![expected], width: columns(&text) });
    }
}
