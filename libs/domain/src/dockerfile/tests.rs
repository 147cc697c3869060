use proptest::prelude::*;

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
    assert_eq!(outline.syntax.as_deref(), Some("docker/dockerfile:1"));
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
fn problems_name_their_line() {
    for (text, line, class, words) in [
        ("FROM x\nRUNN make\n", 2, ProblemClass::UnknownInstruction, "did you mean RUN?"),
        ("RUN make\nFROM x\n", 1, ProblemClass::BeforeFrom, "before the first FROM"),
        ("# nothing\n", 1, ProblemClass::NoStage, "no FROM"),
        ("FROM\n", 1, ProblemClass::BadFrom, "FROM image"),
        ("FROM a b\n", 1, ProblemClass::BadFrom, "FROM image"),
        ("FROM a AS x\nFROM b AS X\n", 2, ProblemClass::DuplicateStage, "a stage x"),
        ("FROM a\n\nRUN cat <<E\nx\n", 3, ProblemClass::OpenHeredoc, "write E alone"),
        ("# escape=x\nFROM a\n", 1, ProblemClass::BadDirective, "escape"),
        ("# syntax=a\n# syntax=b\nFROM a\n", 2, ProblemClass::BadDirective, "twice"),
        ("FROM a\nRUN\n", 2, ProblemClass::MissingArguments, "RUN needs"),
    ] {
        let outline = scan(text);
        let [problem] = outline.problems.as_slice() else { panic!("{text:?}: {:?}", outline.problems) };
        assert_eq!((problem.line, problem.class), (line, class), "{text:?}");
        assert!(problem.message.contains(words), "{text:?}: {}", problem.message);
    }
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
}

fn dockerfile_like() -> impl Strategy<Value = String> {
    let words = "FROM |RUN |COPY |ONBUILD |AS |\\\\|\n|\r\n|# |<<EOF|<<-'E'|EOF\n|E|escape=`|`| |\t|é|[a-z]{1,4}";
    proptest::collection::vec(proptest::string::string_regex(words).expect("a pattern"), 0..60)
        .prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_text_has_an_outline_with_lines_in_range(text in prop_oneof![dockerfile_like(), ".{0,200}", "(?s).{0,200}"]) {
        let outline = scan(&text);
        let count = text.lines().count().max(1);
        let mut before = 0;
        for it in &outline.instructions {
            prop_assert!(before < it.line && it.line <= it.end_line && it.end_line <= count, "{it:?} of {count}");
            before = it.end_line;
        }
        prop_assert!(outline.problems.iter().all(|problem| (1..=count).contains(&problem.line)));
        prop_assert!(outline.stages.iter().all(|stage| (1..=count).contains(&stage.line)));
    }

    #[test]
    fn any_name_maps_into_the_file(text in dockerfile_like(), name in prop_oneof![
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
