//! Files for the comparison: a table, and mutations of a corpus.

use std::collections::HashSet;

use slipway_domain::dockerfile::{ProblemClass, Stage, scan};

/// On these the scan and every engine agree.
pub const SAME: &[&str] = &[
    "",
    "\n",
    "# c\n",
    "FROM scratch\n",
    "FROM scratch\n\\\n",
    "FROM scratch\nCMD\n",
    "FROM scratch\nENTRYPOINT\n",
    "FROM scratch\nRUN []\n",
    "FROM scratch\nCMD []\n",
    "FROM scratch AS a\nFROM scratch AS A\n",
    "FROM scratch AS Build\nFROM Build\n",
    "FROM scratch AS Build\nFROM scratch\nCOPY --from=BUILD / /\n",
    "FROM scratch AS scratch\nFROM scratch\n",
    "FROM scratch AS context\n",
    "FROM scratch AS 1a\n",
    "FROM scratch as a b\n",
    "FROM scratch\nCOPY --from f /f\n",
    "FROM scratch\nARG a b c\n",
    "FROM scratch\nARG a=1 b\n",
    "FROM scratch\nARG --foo a\n",
    "FROM scratch\nARG a =b\n",
    "FROM scratch\nSTOPSIGNAL --foo TERM\n",
    "FROM scratch\nSTOPSIGNAL FOO\n",
    "FROM scratch\nSTOPSIGNAL 0\n",
    "FROM scratch\nSTOPSIGNAL rtmin+3\n",
    "FROM scratch\nSTOPSIGNAL RTMIN+16\n",
    "FROM scratch\nEXPOSE abc\n",
    "FROM scratch\nEXPOSE 80/foo\n",
    "FROM scratch\nEXPOSE 80/ 1-2/UDP\n",
    "FROM scratch\nEXPOSE 2-1\n",
    "FROM scratch\nEXPOSE 65536\n",
    "FROM scratch\nEXPOSE $A\n",
    "FROM scratch\nEXPOSE \"80 81\"\n",
    "FROM scratch\nHEALTHCHECK CMD\n",
    "FROM scratch\nHEALTHCHECK NONE x\n",
    "FROM scratch\nHEALTHCHECK --foo NONE\n",
    "FROM scratch\nHEALTHCHECK --timeout=5 CMD x\n",
    "FROM scratch\nHEALTHCHECK --timeout=1.5h3m CMD x\n",
    "FROM scratch\nHEALTHCHECK --timeout=-1s CMD x\n",
    "FROM scratch\nHEALTHCHECK --retries=+3 CMD x\n",
    "FROM scratch\nHEALTHCHECK --retries=x CMD x\n",
    "FROM scratch\nHEALTHCHECK curl\n",
    "FROM scratch\nONBUILD FOO bar\n",
    "FROM scratch\nONBUILD RUN --foo x\n",
    "FROM scratch\nONBUILD ONBUILD RUN x\n",
    "FROM scratch\nONBUILD FROM x\n",
    "FROM scratch\nONBUILD ENV a\n",
    "FROM scratch\nONBUILD RUN [1]\n",
    "FROM scratch\nONBUILD\n",
    "FROM scratch\nONBUILD --foo RUN x\n",
    "FROM scratch\nENV a\n",
    "FROM scratch\nENV a b c\n",
    "FROM scratch\nENV a=b c\n",
    "FROM scratch\nENV =b\n",
    "FROM scratch\nENV a=${b\n",
    "FROM scratch\nENV a=\"b\n",
    "FROM scratch\nENV a='b\n",
    "FROM scratch\nENV a=${b:x}\n",
    "FROM scratch\nENV a=${}\n",
    "FROM scratch\nENV a=$ b=$$ c=\\$d\n",
    "FROM scratch\nENV a=${b:-${c:+\"d e\"}}\n",
    "FROM scratch\nENV a=b\\ c d='e f'\n",
    "FROM scratch\nENV a=${b\nFROM scratch\n",
    "FROM scratch\nLABEL a b\n",
    "FROM scratch\nLABEL \"a b\"=c\n",
    "FROM scratch\nLABEL\n",
    "FROM scratch\nCOPY --from=0 f /\n",
    "FROM scratch\nCOPY --from=1 f /\nFROM scratch\n",
    "FROM scratch\nCOPY --from=x f /\nFROM scratch AS x\n",
    "FROM scratch AS a\nCOPY --from=b f /\nFROM scratch AS b\nCOPY --from=a f /\n",
    "FROM scratch AS a\nCOPY --from=b f /\nFROM scratch AS b\nFROM a\n",
    "FROM scratch\nCOPY --from=9 f /\n",
    "FROM scratch\nCOPY --from=-1 f /\n",
    "FROM scratch\nCOPY --from=$x f /\n",
    "FROM scratch\nCOPY --from=UP f /\n",
    "FROM scratch\nCOPY --from= f /\n",
    "FROM scratch\nCOPY --from=\"\" f /\n",
    "FROM scratch AS a\nCOPY f /\nFROM scratch\nCOPY --from='a' f /\n",
    "FROM\n",
    "FROM $x\n",
    "FROM ${x:-scratch}\n",
    "FROM ${x:?}\n",
    "FROM \"scratch\"\n",
    "FROM --platform= scratch\n",
    "FROM --platform=a/b/c/d scratch\n",
    "FROM --platform=linux//x scratch\n",
    "FROM --foo scratch\n",
    "FROM UP\nFROM scratch\n",
    "FROM a:b:c\nFROM scratch\n",
    "FROM a--b/.c\nFROM scratch\n",
    "FROM scratch AS a.b-c_d\n",
    "FROM scratch\nfrom scratch aS b\n",
    "# escape=x\nFROM scratch\n",
    "# escape=\nFROM scratch\n",
    "# escape= \nFROM scratch\n",
    "# escape=`\n# escape=`\nFROM scratch\n",
    "# Escape = `\nFROM scratch\nLABEL a=b `\n c=d\n",
    "  # escape=`\nFROM scratch\nLABEL a=b `\n c=d\n",
    "# a=b\n# escape=`\nFROM scratch\nLABEL a=b \\\n c=d\n",
    "\n# escape=`\nFROM scratch\nLABEL a=b \\\n c=d\n",
    "#!/bin/sh\n# escape=x\nFROM scratch\n",
    "FROM scratch\nLABEL a=b \\ \t\n\n # c\n c=d\n",
    "FROM scratch\nLABEL a=b \\\r\n c=d\r\n",
    "FROM scratch\nLABEL a=\\\n#b\nc\n",
    "FROM scratch\nLABEL a=b \\",
    "FROM scratch\nLABEL a=b\\\\\nUSER x\n",
    "FROM scratch\nLABEL a=b\\\\\\\nUSER x\n",
    "FROM scratch\nLABEL a=b \\\\ \nUSER x\n",
    "FROM scratch\nWORDDIR x\n",
    "FROM scratch\nWOR\u{212a}DIR x\n",
    "FROM scratch\nLABEL\u{a0}a=b\n",
    "FROM scratch\nLABEL\u{b}a=b\n",
    "FROM scratch\nLABEL a=b\u{2003}c\n",
    "FROM scratch\nVOLUME [\"\"]\n",
    "FROM scratch\nVOLUME []\n",
    "FROM scratch\nVOLUME [\"a\"\n",
    "FROM scratch\nVOLUME [a]\n",
    "FROM scratch\nVOLUME [\"\\ud800\"]\n",
    "FROM scratch\nVOLUME [1e999]\n",
    "FROM scratch\nVOLUME [1]\n",
    "FROM scratch\nSHELL []\n",
    "FROM scratch\nSHELL x\n",
    "FROM scratch\nSHELL [\"a\", 1]\n",
    "FROM scratch\nUSER\n",
    "FROM scratch\nUSER \"\"\n",
    "FROM scratch\nWORKDIR \"\"\n",
    "FROM scratch\nWORKDIR --foo /a\n",
    "FROM scratch\nMAINTAINER\n",
    "FROM scratch\nADD f\n",
    "FROM scratch\nCOPY [\"f\"]\n",
    "FROM scratch\nCOPY [\"f\", \"/g\"]\n",
    "FROM scratch\nCOPY --chown=${x f /\n",
    "FROM scratch\nCOPY --chown=1 --chown=2 f /\n",
    "FROM scratch\nCOPY --chown=\"1:2\" f /\n",
    "FROM scratch\nCOPY -- f /\n",
    "FROM scratch\nCOPY --\n",
    "\u{feff}FROM scratch\n",
    "FROM scratch\nLABEL a=1\0\n",
    "FROM scratch\nLABEL a=1\n\0\n",
    "FROM scratch\n\rLABEL a=1\r",
    "FROM scratch\rLABEL a=1\n",
];

/// On these Docker 20.10 (BuildKit 0.8) differs from newer engines and so from the scan: the file, and whether it takes
/// it.
pub const OLDER: &[(&str, bool)] = &[
    // `check` is no directive, and so ends them.
    ("# check=x\n# escape=x\nFROM scratch\n", true),
    // Newer ways to use a variable.
    ("FROM scratch\nENV a=${b%x}\n", false),
    // No heredocs.
    ("FROM scratch\nCOPY <<A /a\nwords\nA\n", false),
    // Newer flags.
    ("FROM scratch\nCOPY --link f /\n", false),
    ("FROM scratch\nHEALTHCHECK --start-interval=1s CMD x\n", false),
    // No interval and no retries are newer words for the default.
    ("FROM scratch\nHEALTHCHECK --interval=0s CMD x\n", false),
    ("FROM scratch\nHEALTHCHECK --retries=0 CMD x\n", false),
    // What follows JSON is passed over.
    ("FROM scratch\nSHELL [\"a\"] b\n", true),
    // So is what cannot be read in an ARG before FROM.
    ("ARG a=\"b\nFROM scratch\n", true),
];

/// What the mutations begin with.
const CORPUS: [&str; 4] = [
    "FROM scratch AS base\nARG A=1 B\nENV X=1 Y=\"a b\" Z='c'\nLABEL a=b c=\"d e\"\nCOPY f /x\nFROM base AS second\n\
     COPY --from=base /x /y\nWORKDIR /w\nUSER u:g\nEXPOSE 80 81/udp 90-91\nVOLUME /a /b\nSTOPSIGNAL SIGTERM\n\
     CMD [\"a\",\"b\"]\nENTRYPOINT e f\n",
    "# escape=`\nFROM scratch\nLABEL a=b `\n  c=d `\n\n # comment\n e=f\nVOLUME [\"/a\", \"/b\"]\nSHELL [\"a\", \"b\"]\n\
     HEALTHCHECK --interval=5s --retries=3 CMD [\"x\"]\nHEALTHCHECK NONE\n",
    "ARG X=1\nARG Y\nFROM scratch as a\nONBUILD ENV a=b\nONBUILD COPY f /\nFROM --platform=linux/amd64 scratch AS b\n\
     COPY --chown=1:2 --from=a f* /\nENV old value with words\nLABEL \"q k\"=\"v\" \\\n   m=\\\n\"n\"\nMAINTAINER me <a@b>\n\
     FROM b\nADD [\"f\", \"/z\"]\nENV p=${X:-y} q=$Z r=\"${W:+k}\"\n",
    "\u{feff}# some words\r\nFROM scratch\r\nENV a=b \\\r\n c=d\r\nCMD x\r\n",
];
/// What is put in.
const PIECES: [&[u8]; 40] = [
    b" ",
    b"\t",
    b"\n",
    b"\r\n",
    b"\\",
    b"\\\n",
    b"`",
    b"\"",
    b"'",
    b"$",
    b"${",
    b"}",
    b"=",
    b"--",
    b"--from=",
    b"[",
    b"]",
    b"#",
    b"# escape=`\n",
    b",",
    b":",
    b"0",
    b"1",
    b"-1",
    b"a",
    b"AS ",
    b"FROM scratch\n",
    b"COPY --from=b f /\n",
    b"COPY --from=1 f /\n",
    b"ENV ",
    b"LABEL ",
    b"ARG ",
    b"ONBUILD ",
    b"HEALTHCHECK ",
    b"CMD ",
    b"\xc2\xa0",
    b"\xff",
    b"\x00",
    b"\xe2\x80\x83",
    b"/",
];

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % end.max(1)
    }
}

/// So many different files.
pub fn generated(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(42);
    let mut files = HashSet::new();
    while files.len() < count {
        let mut bytes = CORPUS[dice.below(CORPUS.len())].as_bytes().to_vec();
        for _ in 0..=dice.below(3) {
            mutate(&mut bytes, &mut dice);
        }
        if may_be_asked(&bytes) {
            files.insert(bytes);
        }
    }
    files.into_iter().collect()
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(4) {
        0 | 1 => {
            bytes.splice(at..at, PIECES[dice.below(PIECES.len())].iter().copied());
        }
        2 => {
            let end = (at + 1 + dice.below(8)).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => {
            let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
            lines.swap(one, other);
            *bytes = lines.join(&b'\n');
        }
    }
}

/// Nothing that would fetch an image, kills the engine (a file with only ARG), or is known to differ from release to
/// release.
fn may_be_asked(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let outline = scan(&text);
    let fetches = |stage: &Stage| stage.parent.is_none() && !["scratch", "\"scratch\""].contains(&stage.base.as_str());
    let names: Vec<_> = outline.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    let copies_from_images = outline.instructions.iter().any(|it| {
        let from = it.arguments.split("--from=").nth(1).and_then(|rest| rest.split_whitespace().next());
        it.arguments.contains("--from")
            && from.is_none_or(|from| from.parse::<i64>().is_err() && !names.contains(&from.to_lowercase().as_str()))
    });
    !outline.problems.iter().any(|problem| problem.class == ProblemClass::NoStage)
        && !outline.stages.iter().any(fetches)
        && !copies_from_images
        && !outline.instructions.iter().any(|it| it.keyword == "RUN")
        && !text.contains("<<")
}
