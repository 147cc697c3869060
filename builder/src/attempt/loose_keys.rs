//! Keys where they do not belong: in build arguments and in the Dockerfile. They end up in the image and its history, for
//! everybody who can pull it; the log says so, and says what to use instead.

use slipway_domain::dockerfile::Outline;
use slipway_domain::known_keys::find;
use slipway_domain::spec::BuildOptions;

/// More of them are not told.
const MOST: usize = 10;

/// A line for each; never the key itself.
pub(super) fn warnings(options: &BuildOptions, outline: &Outline) -> Vec<String> {
    let of_args = options.args.iter().flatten().filter_map(|(name, value)| {
        find(value).map(|what| format!("the build argument {name} looks like {what}; {ADVICE}"))
    });
    let of_lines = outline.instructions.iter().filter_map(|it| {
        find(&it.arguments).map(|what| format!("{} on line {} holds {what}; {ADVICE}", it.keyword, it.line))
    });
    of_args.chain(of_lines).take(MOST).collect()
}

const ADVICE: &str = "whoever pulls the image can read it. Replace that key, and give the new one to the build as a secret: \
    `slipway secrets set`, and RUN --mount=type=secret.";

#[cfg(test)]
mod tests {
    use slipway_domain::dockerfile::scan;

    use super::*;

    #[test]
    fn keys_are_told_by_place_and_kind_and_never_shown() {
        let key = format!("ghp_{}", "x1".repeat(20));
        let args = [("TOKEN".to_owned(), key.clone()), ("VERSION".to_owned(), "1.2".to_owned())];
        let options = BuildOptions { args: Some(args.into()), ..BuildOptions::default() };
        let outline = scan(&format!("FROM scratch\nARG A=1\nENV T={key} \\\n  B=2\nRUN curl -H 'token {key}' x\n"));
        let warnings = warnings(&options, &outline);
        let begins = ["the build argument TOKEN looks", "ENV on line 3", "RUN on line 5"];
        assert!(warnings.len() == 3 && warnings.iter().zip(begins).all(|(said, begin)| said.starts_with(begin)));
        assert!(warnings.iter().all(|said| !said.contains(&key) && said.contains("slipway secrets set")));
    }
}
