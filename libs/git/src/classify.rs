//! From git's words to a class. Git runs with `LC_ALL=C`, so its words are English.

use slipway_domain::failure::{Failure, FailureClass};

/// Which words mean which class, first match wins; all lower case.
const WORDS: &[(&[&str], FailureClass)] = &[
    (&["no space left on device"], FailureClass::DiskFull),
    (&["disk quota exceeded"], FailureClass::DiskFull),
    (&["out of diskspace"], FailureClass::DiskFull),
    // Git says no reason; in a fresh folder of ours there is no other.
    (&["unable to write file"], FailureClass::DiskFull),
    (&["not our ref"], FailureClass::CommitMissing),
    (&["unadvertised object"], FailureClass::CommitMissing),
    (&["couldn't find remote ref"], FailureClass::CommitMissing),
    (&["unexpected object", "commit"], FailureClass::CommitMissing),
    (&["pathspec"], FailureClass::CommitMissing),
    (&["authentication failed"], FailureClass::SourceAuth),
    (&["permission denied"], FailureClass::SourceAuth),
    (&["returned error: 401"], FailureClass::SourceAuth),
    (&["returned error: 403"], FailureClass::SourceAuth),
    (&["returned error: 404"], FailureClass::SourceMissing),
    (&["returned error: 410"], FailureClass::SourceMissing),
    (&["returned error: 30"], FailureClass::SourceMissing),
    (&["repository", "not found"], FailureClass::SourceMissing),
    (&["does not appear to be a git repository"], FailureClass::SourceMissing),
    (&["not valid: is this a git repository"], FailureClass::SourceMissing),
    (&["transport", "not allowed"], FailureClass::SourceForbidden),
    (&["fsck error"], FailureClass::BuildRejected),
    (&["fsck"], FailureClass::BuildRejected),
    (&["unable to create file", "file name too long"], FailureClass::BuildRejected),
];

/// Words that mean that the host could not be spoken to.
const UNREACHABLE: &[&str] = &[
    "could not resolve",
    "failed to connect",
    "couldn't connect",
    "connection refused",
    "connection reset",
    "connection timed out",
    "operation timed out",
    "operation too slow",
    "network is unreachable",
    "no route to host",
    "returned error: 429",
    "returned error: 5",
    "ssl",
    "tls",
    "gnutls",
    "host key verification failed",
    "early eof",
    "rpc failed",
    "hung up unexpectedly",
    "unexpected disconnect",
    "connection closed",
    "kex_exchange",
    "empty reply from server",
    "bad line length",
    "protocol error",
];

/// Why a git command failed.
pub fn failure(errors: &str, has_login: bool) -> Failure {
    let lower = errors.to_lowercase();
    let asked_for_login = lower.contains("could not read username") || lower.contains("could not read password");
    let class = if asked_for_login {
        // Forges answer so for what does not exist, too: without a login the two look the same.
        if has_login { FailureClass::SourceAuth } else { FailureClass::SourceMissing }
    } else {
        let known = WORDS.iter().find(|(words, _)| words.iter().all(|word| lower.contains(word)));
        let unreachable =
            || UNREACHABLE.iter().any(|word| lower.contains(word)).then_some(FailureClass::SourceUnreachable);
        known.map(|(_, class)| *class).or_else(unreachable).unwrap_or(FailureClass::Internal)
    };
    let what = match class {
        FailureClass::CommitMissing => "the repository does not have the commit",
        FailureClass::SourceAuth => "the repository refused the credentials",
        FailureClass::SourceMissing if asked_for_login => "the repository does not exist, or needs credentials",
        FailureClass::SourceMissing => "the repository does not exist at its clone URL",
        FailureClass::SourceUnreachable => "the repository's host could not be spoken to",
        // Its words name folders of this host.
        FailureClass::DiskFull => return Failure::new(class, "the builder's disk is full: the source does not fit"),
        FailureClass::BuildRejected => "git refuses the repository's content",
        _ => "git failed",
    };
    Failure::new(class, format!("{what}: {}", reason(errors)))
}

/// The line that says why: what is wrong with an object, else the first of git's own `fatal:` and `error:` lines, else the
/// last line.
fn reason(errors: &str) -> String {
    // What stops git in the middle of its progress comes after that, in the same line.
    let lines = || errors.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let said = |word: &str| lines().find(|line| line.starts_with(word));
    let object = || said("error: object").or_else(|| said("remote: ERROR"));
    let line = object().or_else(|| said("fatal:")).or_else(|| said("error:")).or_else(|| lines().next_back());
    line.unwrap_or("it said nothing").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use FailureClass::*;

    use super::*;

    #[test]
    fn git_texts_have_classes() {
        for (text, has_login, class) in [
            ("fatal: remote error: upload-pack: not our ref 00", false, CommitMissing),
            ("error: Server does not allow request for unadvertised object 00", false, CommitMissing),
            ("fatal: couldn't find remote ref refs/heads/gone", false, CommitMissing),
            ("fatal: could not read Username for 'https://x': terminal prompts disabled", false, SourceMissing),
            ("fatal: could not read Password for 'https://x': terminal prompts disabled", true, SourceAuth),
            ("fatal: Authentication failed for 'https://x/'", true, SourceAuth),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 403", true, SourceAuth),
            ("git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", true, SourceAuth),
            ("fatal: repository 'https://x/' not found", false, SourceMissing),
            ("fatal: unable to access 'http://x/': The requested URL returned error: 301", false, SourceMissing),
            ("fatal: transport 'file' not allowed", false, SourceForbidden),
            ("fatal: unable to access 'https://x/': Could not resolve host: x", false, SourceUnreachable),
            ("fatal: unable to access 'https://x/': Failed to connect to x port 443", false, SourceUnreachable),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 503", false, SourceUnreachable),
            ("error: RPC failed; curl 18 transfer closed\nfatal: early EOF", false, SourceUnreachable),
            ("error: object 00: hasDotgit: contains '.git'\nfatal: fsck error in packed object", false, BuildRejected),
            ("fatal: write error: No space left on device", false, DiskFull),
            (
                "error: unable to write file a\nfatal: sha1 file '/x/.git/index.lock' write error. Out of diskspace",
                false,
                DiskFull,
            ),
            ("error: unable to write file a", false, DiskFull),
            ("fatal: something new", false, Internal),
        ] {
            assert_eq!(failure(text, has_login).class, class, "{text}");
        }
    }

    #[test]
    fn the_reason_is_the_line_that_says_it() {
        let text = "remote: Counting\nfatal: early EOF\nwarning: x";
        assert!(failure(text, false).message.ends_with("fatal: early EOF"));
        let text = "remote: x\nReceiving: 33%\rerror: object 00: hasDotgit: contains '.git'\nfatal: fsck error in packed object";
        assert!(failure(text, false).message.ends_with("hasDotgit: contains '.git'"));
        assert!(failure("", false).message.ends_with("it said nothing"));
        let full = failure("fatal: sha1 file '/srv/builder/x' write error. Out of diskspace", false).message;
        assert!(full.contains("disk is full") && !full.contains("/srv"), "{full}");
    }
}
