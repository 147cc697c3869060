mod generated;
mod problems;
mod work;

use super::*;

const MULTI_STAGE: &str = r#"# syntax=docker/dockerfile:1
# escape=\
ARG BASE=alpine
FROM ${BASE} AS Build
ENV A=1
WORKDIR /src
COPY . .
# a comment
RUN make \
    # a comment inside

    all
FROM build AS test
RUN make test

FROM scratch
LABEL a=b
COPY --from=build /src/out /out
RUN <<EOF cat <<-'TWO'
RUN this is no instruction
EOF
 neither is this
	TWO
CMD ["/out"]
"#;

fn keywords(outline: &Outline) -> Vec<(usize, usize, &str, Option<usize>)> {
    outline.instructions.iter().map(|it| (it.line, it.end_line, it.keyword.as_str(), it.stage)).collect()
}

#[test]
fn an_outline_has_stages_instructions_and_lines() {
    let outline = scan(MULTI_STAGE);
    assert_eq!(outline.problems, []);
    assert_eq!(outline.directives.get("syntax").map(String::as_str), Some("docker/dockerfile:1"));
    assert_eq!(outline.stages.iter().map(|stage| stage.parent).collect::<Vec<_>>(), [None, Some(0), None]);
    let stages: Vec<_> = outline.stages.iter().map(|s| (s.name.as_deref(), s.base.as_str(), s.line)).collect();
    assert_eq!(stages, [(Some("build"), "${BASE}", 4), (Some("test"), "build", 13), (None, "scratch", 16)]);
    assert_eq!(
        keywords(&outline),
        [
            (3, 3, "ARG", None),
            (4, 4, "FROM", Some(0)),
            (5, 5, "ENV", Some(0)),
            (6, 6, "WORKDIR", Some(0)),
            (7, 7, "COPY", Some(0)),
            (9, 12, "RUN", Some(0)),
            (13, 13, "FROM", Some(1)),
            (14, 14, "RUN", Some(1)),
            (16, 16, "FROM", Some(2)),
            (17, 17, "LABEL", Some(2)),
            (18, 18, "COPY", Some(2)),
            (19, 23, "RUN", Some(2)),
            (24, 24, "CMD", Some(2)),
        ]
    );
}

#[test]
fn vertices_find_their_lines() {
    let outline = scan(MULTI_STAGE);
    for (name, line) in [
        ("[build 1/4] FROM docker.io/library/alpine@sha256:0", Some(4)),
        ("[build 2/4] WORKDIR /src", Some(6)),
        ("[build 3/4] COPY . .", Some(7)),
        ("[build 4/4] RUN make     all", Some(9)),
        ("[linux/arm64 build 4/4] RUN make     all", Some(9)),
        ("[test 1/1] RUN make test", Some(14)),
        ("[stage-2 1/2] COPY --from=build /src/out /out", Some(18)),
        ("[stage-2 2/2] RUN <<EOF", Some(19)),
        ("[internal] load metadata for docker.io/library/alpine:latest", Some(4)),
        ("[internal] load build definition from Dockerfile", None),
        ("[build 5/4] RUN make", None),
        ("[build 0/4] RUN make", None),
        ("[build 3/4] RUN make", None),
        ("[nobody 1/1] RUN make", None),
        ("exporting to image", None),
        ("", None),
        ("[", None),
    ] {
        assert_eq!(line_of_vertex(&outline, name), line, "{name}");
    }
}

#[test]
fn a_single_stage_has_no_name_and_numbers_are_padded() {
    let text = format!("FROM x\n{}", "USER a\nRUN b\n".repeat(10));
    let outline = scan(&text);
    assert_eq!(line_of_vertex(&outline, "[ 1/11] FROM docker.io/library/x"), Some(1));
    assert_eq!(line_of_vertex(&outline, "[ 2/11] RUN b"), Some(3));
    assert_eq!(line_of_vertex(&outline, "[11/11] RUN b"), Some(21));
    assert_eq!(line_of_vertex(&outline, "[linux/amd64 11/11] RUN b"), Some(21));
}

#[test]
fn triggers_of_the_base_image_shift_the_numbers() {
    let outline = scan("FROM x\nRUN ours\n");
    assert_eq!(line_of_vertex(&outline, "[1/4] FROM docker.io/library/x"), Some(1));
    assert_eq!(line_of_vertex(&outline, "[2/4] RUN theirs"), None);
    assert_eq!(line_of_vertex(&outline, "[3/4] RUN theirs"), None);
    assert_eq!(line_of_vertex(&outline, "[4/4] RUN ours"), Some(2));
}

#[test]
fn base_images_are_compared_by_their_full_names() {
    let outline = scan("FROM a\nFROM b/c:1\nFROM reg.example:5000/d\nFROM $E\n");
    let line = |image: &str| line_of_vertex(&outline, &format!("[internal] load metadata for {image}"));
    assert_eq!(line("docker.io/library/a:latest"), Some(1));
    assert_eq!(line("docker.io/b/c:1"), Some(2));
    assert_eq!(line("reg.example:5000/d:latest"), Some(3));
    assert_eq!(line("docker.io/library/e:latest"), None);
}

#[test]
fn odd_layouts_are_read_as_buildkit_does() {
    let lines = |text: &str| scan(text).instructions.iter().map(|it| (it.line, it.end_line)).collect::<Vec<_>>();
    assert_eq!(lines("\u{feff}FROM a\r\nRUN b \\\r\n c\r\nRUN d"), [(1, 1), (2, 3), (4, 4)]);
    assert_eq!(lines("# escape=`\nFROM a\nRUN c:\\\nRUN b `\n c\n"), [(2, 2), (3, 3), (4, 5)]);
    // A directive after anything else is a comment.
    assert_eq!(lines("\n# escape=`\nFROM a\nRUN b \\\n c"), [(3, 3), (4, 5)]);
    assert_eq!(lines("FROM a\nRUN b \\   \n c\nRUN d \\\\\nRUN e"), [(1, 1), (2, 3), (4, 4), (5, 5)]);
    assert_eq!(lines("FROM a\nRUN b \\"), [(1, 1), (2, 2)]);
    assert_eq!(lines("FROM a\nRUN echo '<<EOF' \"<<X\" a<<<b\nRUN c\n"), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(lines("FROM a\nENV x=<<EOF\nRUN c\n"), [(1, 1), (2, 2), (3, 3)]);
    // An unknown key ends the directives.
    assert_eq!(lines("# x=y\n# escape=`\nFROM a\nRUN b \\\n c"), [(3, 3), (4, 5)]);
    assert_eq!(lines("  # escape=`\nFROM a\nRUN b `\n c"), [(2, 2), (3, 4)]);
}

#[test]
fn heredocs_belong_to_their_instruction() {
    for (text, expected) in [
        ("RUN <<A <<-\"B C\"\nx\nA\n\tB C\nCMD x", vec![2, 6]),
        ("RUN 3<<A 0<<-'B'\nA\nB\nCMD x", vec![2, 5]),
        ("COPY <<a.txt <<b.txt /\n1\na.txt\nb.txt\nCMD x", vec![2, 6]),
        ("ONBUILD RUN <<A\nFROM x\nA\nCMD x", vec![2, 5]),
        ("RUN <<A\r\nA\r\nCMD x\r\n", vec![2, 4]),
        ("RUN x \\\n <<A\n y \\\nA\nCMD x", vec![2, 6]),
        // No heredocs: JSON, nothing behind it, a word before it, three of them, an instruction that takes none.
        ("RUN [\"<<A\"]\nCMD x", vec![2, 3]),
        ("RUN << A\nCMD x", vec![2, 3]),
        ("RUN x<<A\nCMD x", vec![2, 3]),
        ("RUN <<<A\nCMD x", vec![2, 3]),
        ("RUN <<''\nCMD x", vec![2, 3]),
        ("RUN \\<<A\nCMD x", vec![2, 3]),
        ("RUN ${x!} <<A\nCMD x", vec![2, 3]),
        ("CMD <<A\nUSER x", vec![2, 3]),
        ("LABEL a=<<A\nCMD x", vec![2, 3]),
    ] {
        let outline = scan(&format!("FROM scratch\n{text}"));
        assert_eq!(outline.problems, [], "{text:?}");
        let lines: Vec<_> = outline.instructions[1..].iter().map(|it| it.line).collect();
        assert_eq!(lines, expected, "{text:?}");
    }
}

#[test]
fn the_target_decides_what_is_looked_into() {
    let text = "FROM scratch AS a\nSTOPSIGNAL NONE\nFROM scratch AS b\nFROM a AS c\n";
    let lines = |target: &str| scan_for(text, Some(target)).problems.iter().map(|it| it.line).collect::<Vec<_>>();
    assert_eq!((lines("b"), lines("B"), lines("a"), lines("c")), (vec![], vec![], vec![2], vec![2]));
    let [problem] = &*scan_for(text, Some("d")).problems else { panic!("there is no d") };
    assert_eq!((problem.line, problem.class), (4, ProblemClass::TargetMissing));
    assert!(scan_for(text, Some("0")).problems.iter().any(|it| it.class == ProblemClass::TargetMissing));
}

#[test]
fn frontends_are_found_as_the_engine_finds_them() {
    let found = |text: &str| frontends(text).into_iter().map(|it| (it.image, it.line)).collect::<Vec<_>>();
    let one = |image: &str, line: usize| vec![(image.to_owned(), line)];
    assert_eq!(found("# syntax=a/b:1\nFROM x\n"), one("a/b:1", 1));
    assert_eq!(found("#SYNTAX = a/b extra\nFROM x\n"), one("a/b", 1));
    assert_eq!(found("\u{feff}#!/bin/sh\n//syntax=a/b\r\nFROM x\n"), one("a/b", 2));
    assert_eq!(found("{\"syntax\": \"a/b\"}"), one("a/b", 1));
    assert_eq!(found("#!/x\n{\"\\u0073yntax\": \"a/b\"}"), one("a/b", 2));
    assert_eq!(found("{\"syntax\": "), one("", 1));
    assert_eq!(found("# a=b\n# syntax=a/b\nFROM x\n"), one("a/b", 2), "older engines go on over unknown keys");
    assert_eq!(found("# escape=`\n# syntax=a/b\n# syntax=c/d\n").len(), 2, "and take the last");
    for text in ["FROM x\n# syntax=a/b\n", "# words\n# syntax=a/b\n", "\n# syntax=a/b\n", "", "{\"a\": 1}"] {
        assert_eq!(found(text), [], "{text:?}");
    }
    for (image, own) in [
        ("docker/dockerfile", true),
        ("docker/dockerfile:1@sha256:0", true),
        ("docker.io/docker/dockerfile:1-labs", true),
        ("docker/dockerfile-upstream:master", true),
        ("docker/dockerfile.evil", false),
        ("evil/docker/dockerfile", false),
        ("", false),
    ] {
        assert_eq!(Frontend { image: image.to_owned(), line: 1 }.is_dockers_own(), own, "{image}");
    }
    assert_eq!(scan("# syntax=some/other\nFOR x\n").problems, [], "another frontend has rules of its own");
    assert_eq!(scan("# syntax=docker/dockerfile:1\nFOR x\n").problems.len(), 2);
}

#[test]
fn an_inspection_has_every_key() {
    let shown = serde_json::to_value(Inspection::from(scan("# Escape = `\nARG V\nFROM $V AS Run\nCMDD x\n")));
    let expected = serde_json::json!({
        "directives": {"escape": "`"},
        "stages": [{"index": 0, "name": "run", "base": "$V", "line": 3}],
        "instructions": [
            {"line": 2, "end_line": 2, "keyword": "ARG", "stage": null},
            {"line": 3, "end_line": 3, "keyword": "FROM", "stage": 0},
            {"line": 4, "end_line": 4, "keyword": "CMDD", "stage": 0},
        ],
        "problems": [
            {"line": 4, "class": "unknown_instruction", "message": "unknown instruction CMDD; did you mean CMD?"},
        ],
    });
    assert_eq!(shown.expect("serialises"), expected);
}
