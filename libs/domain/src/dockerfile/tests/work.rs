//! Hostile files cost no more than their length: what takes the square of it takes sixteen times the work for four times
//! the bytes.

use super::super::*;

/// The smaller size; the larger one is four times that.
const BYTES: usize = 96 * 1024;
/// How many times the work may grow; it is not counted to the last instruction.
const GROWTH: u64 = 9;
/// As much work, in nanoseconds, is too little to be measured.
const NOISE: u64 = 40_000_000;

/// What this thread has worked so far, in nanoseconds; what others do on this machine does not count.
fn worked() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    stat.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}

fn work(text: &str) -> u64 {
    let before = worked();
    let outline = scan(text);
    assert!(outline.problems.len() <= MAX_PROBLEMS);
    line_of_vertex(&outline, "[internal] load metadata for docker.io/library/z:latest");
    line_of_vertex(&outline, "[s1 1/1] COPY --from=s0 / /");
    worked() - before
}

#[test]
fn hostile_files_take_linear_work() {
    let filled = |head: &str, piece: &str, bytes: usize| format!("{head}{}", piece.repeat(bytes / piece.len()));
    let chain = |bytes: usize| -> String {
        let stage = |n: usize| format!("FROM scratch AS s{n:06}\nCOPY --from=s{:06} a b\n", n.saturating_sub(1));
        (0..bytes / stage(0).len()).map(stage).collect()
    };
    for (head, piece) in [
        ("", "\\"),
        ("", "\\\n"),
        ("", "FROM\n"),
        ("", "FROM a\n"),
        ("", "FROM a AS b\n"),
        ("", "<<A\n"),
        ("FROM a\nRUN ", "<<A \\\n"),
        ("FROM a\n", "RUN <<A\n"),
        ("FROM a\n", "RUN <<A\nA\n"),
        ("FROM a\nRUN ", "<<A<<A \\\n"),
        ("FROM a\nENV a=", "${a:-\\\n"),
        ("FROM a\nENV ", "a=$b \\\n"),
        ("FROM a\nCOPY ", "\"'\\\n"),
        ("FROM a\nRUN [", "[\\\n"),
        ("FROM a\nONBUILD", " ONBUILD\\\n"),
        ("FROM a\nRUN", " --mount=a\\\n"),
        ("FROM a\nCOPY ", "--chown=a \\\n"),
        ("", "# syntax=a\n"),
        ("", "# a=b\n"),
        ("", "x\n"),
        ("", "\n"),
        ("{", "\"a\":{"),
        ("FROM a\n", "COPY --from=1 a b\n"),
    ] {
        let (small, large) = (work(&filled(head, piece, BYTES)), work(&filled(head, piece, 4 * BYTES)));
        assert!(large < GROWTH * small + NOISE, "{head:?} {piece:?}: {small} ns, then {large} ns");
    }
    let (small, large) = (work(&chain(BYTES)), work(&chain(4 * BYTES)));
    assert!(large < GROWTH * small + NOISE, "a chain of stages: {small} ns, then {large} ns");
}
