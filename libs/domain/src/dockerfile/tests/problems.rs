//! What is refused, and what is not.

use super::super::*;
use ProblemClass::*;

#[test]
fn problems_name_their_line() {
    for (text, line, class, words) in [
        ("FROM x\nRUNN make\n", 2, UnknownInstruction, "did you mean RUN?"),
        ("FROM x\n\\\n", 2, UnknownInstruction, "unknown instruction"),
        ("FROM x\nLABEL\u{a0}a=b\n", 2, UnknownInstruction, "unknown instruction"),
        ("RUN make\nFROM x\n", 1, BeforeFrom, "before the first FROM"),
        ("", 1, NoStage, "no FROM"),
        ("# nothing\n", 1, NoStage, "no FROM"),
        ("ARG a\n", 1, NoStage, "no FROM"),
        ("FROM\n", 1, BadFrom, "FROM image"),
        ("FROM a b\n", 1, BadFrom, "FROM image"),
        ("FROM a as b c\n", 1, BadFrom, "FROM image"),
        ("FROM a AS 1b\n", 1, BadFrom, "begins with a letter"),
        ("FROM a AS ä\n", 1, BadFrom, "begins with a letter"),
        ("FROM a AS X\nFROM X\n", 2, BadFrom, "neither a stage"),
        ("FROM a:b:c\nFROM b\n", 1, BadFrom, "neither a stage"),
        ("FROM $x\n", 1, BadFrom, "by ARG"),
        ("FROM ${x:?}\n", 1, BadFrom, "no value"),
        ("FROM ${x\n", 1, BadFrom, "} is missing"),
        ("FROM --platform=a/b/c/d x\n", 1, BadFlag, "os/arch"),
        ("FROM --from=x y\n", 1, BadFlag, "no flag --from"),
        ("FROM a\nCOPY --from=0 f /\n", 2, StageCycle, "takes files from"),
        ("FROM a AS a\nCOPY --from=b f /\nFROM a AS b\nCOPY --from=a f /\n", 4, StageCycle, "takes files from"),
        ("FROM a\nCOPY --from=1 f /\n", 2, BadSource, "no stage 1"),
        ("FROM a\nCOPY --from=-1 f /\n", 2, BadSource, "no stage -1"),
        ("FROM a\nCOPY --from=$b f /\n", 2, BadSource, "takes no variable"),
        ("FROM a\nCOPY --from=UP f /\n", 2, BadSource, "neither a stage"),
        ("FROM a AS a\nCOPY --from=b f /\nFROM x AS b\nFROM a\n", 2, BadSource, "stages above"),
        ("FROM a\n\nRUN cat <<E\nx\n", 3, OpenHeredoc, "write E alone"),
        ("FROM a\nCOPY f <<E\nE\n", 2, BadArguments, "destination behind"),
        ("FROM a\nCOPY <<E /\n${x\nE\n", 2, BadSyntax, "quote its name"),
        ("# escape=x\nFROM a\n", 1, BadDirective, "escape"),
        ("# syntax=docker/dockerfile\n# syntax=docker/dockerfile\nFROM a\n", 2, BadDirective, "twice"),
        ("FROM a\nENV\n", 2, MissingArguments, "ENV needs"),
        ("FROM a\nENV b\n", 2, BadSyntax, "ENV name=value"),
        ("FROM a\nENV b=c d\n", 2, BadSyntax, "\"d\" is not of the form"),
        ("FROM a\nENV =c\n", 2, BadArguments, "before the ="),
        ("FROM a\nENV b=${c\n", 2, BadSyntax, "} is missing"),
        ("FROM a\nENV b=${c:x}\n", 2, BadSyntax, "no way to use"),
        ("FROM a\nENV b=\"c\n", 2, BadSyntax, "no partner"),
        ("FROM a\nONBUILD ENV b\n", 2, BadSyntax, "ENV name=value"),
        ("FROM a\nARG\n", 2, MissingArguments, "ARG needs"),
        ("FROM a\nARG b =c\n", 2, BadArguments, "before the ="),
        ("FROM a\nCOPY f\n", 2, MissingArguments, "a destination"),
        ("FROM a\nADD [\"f\"]\n", 2, MissingArguments, "a destination"),
        ("FROM a\nRUN [\"x\", 1]\n", 2, BadSyntax, "only strings"),
        ("FROM a\nRUN []\n", 2, MissingArguments, "[] is none"),
        ("FROM a\nRUN --foo x\n", 2, BadFlag, "no flag --foo"),
        ("FROM a\nRUN --network=all x\n", 2, BadFlag, "default, none, host"),
        ("FROM a\nRUN --network x\n", 2, BadFlag, "without blanks"),
        ("FROM a\nRUN --mount= x\n", 2, BadFlag, "key=value"),
        ("FROM a\nRUN --mount=from=$b x\n", 2, BadFlag, "no variable"),
        ("FROM a\nRUN --mount=kind=cache x\n", 2, BadFlag, "no kind"),
        ("FROM a\nRUN --mount=type=disk x\n", 2, BadFlag, "cannot be disk"),
        ("FROM a\nRUN --mount=type=secret x\n", 2, BadFlag, "its id"),
        ("FROM a\nRUN --mount=type=bind,uid=1 x\n", 2, BadFlag, "no mode, uid or gid"),
        ("FROM a\nCOPY --link=1 f /\n", 2, BadFlag, "true or false"),
        ("FROM a\nCOPY --chown=1 --chown=2 f /\n", 2, BadFlag, "twice"),
        ("FROM a\nSHELL sh\n", 2, BadArguments, "JSON form"),
        ("FROM a\nSHELL []\n", 2, MissingArguments, "SHELL needs"),
        ("FROM a\nVOLUME []\n", 2, MissingArguments, "VOLUME needs"),
        ("FROM a\nVOLUME [\" \"]\n", 2, BadArguments, "an empty one"),
        ("FROM a\nUSER\n", 2, MissingArguments, "USER needs"),
        ("FROM a\nWORKDIR\n", 2, MissingArguments, "WORKDIR needs"),
        ("FROM a\nMAINTAINER\n", 2, MissingArguments, "MAINTAINER needs"),
        ("FROM a\nEXPOSE\n", 2, MissingArguments, "EXPOSE needs"),
        ("FROM a\nEXPOSE 80/icmp\n", 2, BadArguments, "EXPOSE port"),
        ("FROM a\nEXPOSE 9-8\n", 2, BadArguments, "EXPOSE port"),
        ("FROM a\nSTOPSIGNAL\n", 2, MissingArguments, "STOPSIGNAL needs"),
        ("FROM a\nSTOPSIGNAL SIGNONE\n", 2, BadArguments, "no signal"),
        ("FROM a\nHEALTHCHECK\n", 2, MissingArguments, "HEALTHCHECK needs"),
        ("FROM a\nHEALTHCHECK CMD\n", 2, MissingArguments, "needs a command"),
        ("FROM a\nHEALTHCHECK NONE x\n", 2, BadArguments, "nothing more"),
        ("FROM a\nHEALTHCHECK curl\n", 2, BadArguments, "HEALTHCHECK CMD"),
        ("FROM a\nHEALTHCHECK --timeout=5 CMD x\n", 2, BadFlag, "1m30s"),
        ("FROM a\nHEALTHCHECK --timeout=1us CMD x\n", 2, BadFlag, "at least 1ms"),
        ("FROM a\nHEALTHCHECK --retries=x CMD x\n", 2, BadFlag, "a number"),
        ("FROM a\nONBUILD\n", 2, MissingArguments, "ONBUILD needs"),
        ("FROM a\nONBUILD ONBUILD RUN x\n", 2, BadArguments, "cannot hold ONBUILD"),
        ("FROM a\nONBUILD from x\n", 2, BadArguments, "cannot hold FROM"),
        ("FROM a\nONBUILD MAINTAINER x\n", 2, BadArguments, "cannot hold MAINTAINER"),
        ("FROM a\nONBUILD --x RUN y\n", 2, BadFlag, "no flag --x"),
    ] {
        let outline = scan(text);
        let [problem] = outline.problems.as_slice() else { panic!("{text:?}: {:?}", outline.problems) };
        assert_eq!((problem.line, problem.class), (line, class), "{text:?}: {}", problem.message);
        assert!(problem.message.contains(words), "{text:?}: {}", problem.message);
    }
}

#[test]
fn what_the_engine_takes_is_no_problem() {
    let deep = format!("ENV a={}{}", "${a:-".repeat(200), "}".repeat(200));
    let long = format!("LABEL a={}", "b".repeat(65527));
    for text in [
        "FROM x AS a\nFROM x AS A\nFROM x\nCOPY --from=a f /",
        "FROM x AS scratch\nFROM scratch AS context",
        "FROM \"scratch\"",
        "ARG x\nFROM $x",
        "FROM ${TARGETARCH}-x",
        "FROM ${x:-y}",
        "FROM --platform=$BUILDPLATFORM x",
        "FROM --platform= x",
        "FROM Host/x",
        "FROM x AS b\nFROM x\nCOPY --from=B f /\nENV c=${\nFROM x",
        "FROM x\nCOPY --from=1 f /\nFROM y AS b\nSTOPSIGNAL NONE\nFROM z",
        "FROM x\nCOPY --from=reg.example:5000/a/b:1 f /\nCOPY --from=1 g /",
        "FROM x AS b\nFROM x\nRUN --mount=from=b,target=/b true",
        "FROM x\nRUN --mount=type=cache,id=$b,target=/c,sharing=locked --network=none --security=insecure true",
        "FROM x\nRUN --mount=type=secret,id=b,required,uid=1,mode=0400 true",
        "FROM x\nRUN\nCMD\nENTRYPOINT\nCMD []\nENTRYPOINT []",
        "FROM x\nRUN [\"a\"\nRUN [a]\nRUN [\"\\ud800\"]\nRUN [1e999]",
        "FROM x\nARG --any b c=d e\nSTOPSIGNAL --any SIGTERM\nSTOPSIGNAL rtmin+3\nSTOPSIGNAL 9\nSTOPSIGNAL $s",
        "FROM x\nEXPOSE 80 81/UDP 90-91/tcp 127.0.0.1:8080:80 $p 3/",
        "FROM x\nENV a b c\nENV a=\"b c\" d='$e f' g=h\\ i\nLABEL \"a b\"=c",
        "FROM x\nENV a=${b:?c} d=${e#f} g=${h%%i} j=${k/l/m} n=${o:+p} q=$$ r=$",
        "FROM x\nONBUILD WHAT ever\nONBUILD RUN --foo x",
        "FROM x\nHEALTHCHECK --foo NONE\nHEALTHCHECK --interval=0s --retries=0 --start-interval=1.5h3m CMD x",
        "FROM x\nCOPY --link --parents --chmod=u+x --exclude=a --exclude=b f /\nADD --keep-git-dir=true --unpack f /",
        "FROM x\nCOPY <<\"E\" /\n${x\nE\n",
        "FROM x\nUSER \"\"\nWORKDIR \"\"\nVOLUME a [\"b\"]",
        "from x as b\nrun y\nWOR\u{212a}DIR z",
        &format!("FROM x\n{deep}"),
        &format!("FROM x\n{long}\n"),
    ] {
        assert_eq!(scan(text).problems, [], "{text:?}");
    }
}

#[test]
fn a_line_has_a_longest_length() {
    for (text, line) in [
        (format!("FROM x\nLABEL a={}\n", "b".repeat(65528)), 2),
        (format!("#{}\nFROM x\n", "b".repeat(65535)), 1),
        (format!("FROM x\nRUN \\\n{}\n", "b".repeat(65536)), 3),
    ] {
        let outline = scan(&text);
        assert_eq!((outline.problems[0].line, outline.problems[0].class), (line, LineTooLong));
        assert!(outline.instructions.iter().all(|it| it.end_line < line));
    }
}
