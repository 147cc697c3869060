//! Image tags with words that each build fills in: `{{branch}}`, `{{tag}}`, `{{ref}}`, `{{sha}}`, `{{sha7}}`, `{{build}}`.

use std::borrow::Cow;

use uuid::Uuid;

use crate::git_ref::{GitRef, is_image_tag, tag_slug};
use crate::ids::{BuildId, Id as _};

/// What stands for the words.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The build.
    pub build: BuildId,
    /// Full commit id.
    pub commit: &'a str,
    /// The ref it is for.
    pub git_ref: Option<&'a GitRef>,
}

/// A template that gives no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{shown}\" is no tag: {problem}")]
pub struct BadTemplate {
    shown: String,
    problem: String,
}

/// The tags of a build, each once: first those that never move again, then the others, both in their order. A template
/// with a word that the build has nothing for, such as `{{tag}}` on a branch, is left out.
pub fn expand(templates: &[String], facts: &Facts<'_>) -> Result<Vec<String>, BadTemplate> {
    let (mut lasting, mut moving): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for template in templates {
        let Some((tag, lasts)) = fill(template, facts)? else { continue };
        let known = lasting.contains(&tag) || moving.contains(&tag);
        match lasts {
            _ if known => {}
            true => lasting.push(tag),
            false => moving.push(tag),
        }
    }
    lasting.append(&mut moving);
    Ok(lasting)
}

/// Refuses what is a tag for no build.
pub fn check(template: &str) -> Result<(), BadTemplate> {
    let branch = GitRef::parse("refs/heads/b").ok();
    let tag = GitRef::parse("refs/tags/t").ok();
    for git_ref in [branch.as_ref(), tag.as_ref()] {
        fill(template, &Facts { build: BuildId::from(Uuid::nil()), commit: &"0".repeat(40), git_ref })?;
    }
    Ok(())
}

/// The tag, and whether it stays where it is: it names one commit or build.
fn fill(template: &str, facts: &Facts<'_>) -> Result<Option<(String, bool)>, BadTemplate> {
    let bad = |problem: &str| BadTemplate { shown: template.chars().take(128).collect(), problem: problem.to_owned() };
    let (mut tag, mut rest, mut lasts) = (String::new(), template, false);
    while let Some((text, from)) = rest.split_once("{{") {
        let (word, behind) = from.split_once("}}").ok_or_else(|| bad("a {{ has no }} behind it"))?;
        tag.push_str(text);
        rest = behind;
        let git_ref = facts.git_ref;
        let value = match word.trim() {
            "sha" => Some(Cow::Borrowed(facts.commit)),
            "sha7" => facts.commit.get(..7).map(Cow::Borrowed),
            "build" => Some(Cow::Owned(facts.build.uuid().simple().to_string())),
            "branch" => git_ref.and_then(GitRef::branch).map(slug),
            "tag" => git_ref.and_then(GitRef::tag).map(slug),
            "ref" => git_ref.map(|git_ref| slug(git_ref.short())),
            _ => return Err(bad("its words are {{branch}}, {{tag}}, {{ref}}, {{sha}}, {{sha7}} and {{build}}")),
        };
        lasts |= matches!(word.trim(), "sha" | "sha7" | "build");
        let Some(value) = value else { return Ok(None) };
        tag.push_str(&value);
    }
    tag.push_str(rest);
    // A long name of a branch is no mistake of the template's.
    let tag = if tag.len() > 128 && rest.len() < 128 { tag_slug(&tag) } else { tag };
    if !is_image_tag(&tag) {
        return Err(bad(
            "a tag has letters, digits, _ . and -, begins with none of the last two, and is at most 128 long",
        ));
    }
    Ok(Some((tag, lasts)))
}

fn slug(name: &str) -> Cow<'_, str> {
    Cow::Owned(tag_slug(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn of(templates: &[&str], git_ref: Option<&str>) -> Result<Vec<String>, BadTemplate> {
        let templates: Vec<String> = templates.iter().map(|template| (*template).to_owned()).collect();
        let git_ref = git_ref.map(|name| GitRef::parse(name).expect("a ref"));
        expand(&templates, &Facts { build: BuildId::from(Uuid::nil()), commit: COMMIT, git_ref: git_ref.as_ref() })
    }

    #[test]
    fn words_are_filled_in_and_lasting_tags_go_first() {
        let (main, tag, odd) = ("refs/heads/main", "refs/tags/v1.2", "refs/heads/feature/x");
        let slug = tag_slug("feature/x");
        let build = "0".repeat(32);
        for (templates, git_ref, tags) in [
            (&["latest", "{{sha7}}", "{{ branch }}"][..], Some(main), vec!["0123456", "latest", "main"]),
            (&["{{tag}}", "{{branch}}"], Some(tag), vec!["v1.2"]),
            (&["{{tag}}"], Some(main), vec![]),
            (&["{{ref}}-{{sha7}}"], Some(tag), vec!["v1.2-0123456"]),
            (&["x", "x", "{{branch}}"], Some(odd), vec!["x", slug.as_str()]),
            (&["{{ref}}", "{{sha}}"], None, vec![COMMIT]),
            (&["b{{build}}"], None, vec![&format!("b{build}")]),
            (&[], Some(main), vec![]),
        ] {
            let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
            assert_eq!(of(templates, git_ref), Ok(tags), "{templates:?} {git_ref:?}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused_with_its_reason() {
        for (template, words) in [
            ("{{brunch}}", "{{branch}}"),
            ("{{branch", "}}"),
            ("a b", "letters"),
            ("", "letters"),
            ("-{{sha7}}", "letters"),
            ("{branch}", "letters"),
            ("{{tag}}/x", "letters"),
        ] {
            let refused = check(template).expect_err(template).to_string();
            assert!(refused.contains(words) && refused.contains(template), "{refused}");
        }
        assert!(check(&"x".repeat(129)).is_err());
        for fine in ["latest", "{{tag}}", "{{branch}}-{{sha7}}", "v{{ build }}"] {
            assert_eq!(check(fine), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn what_is_checked_gives_tags_for_every_branch(
            template in r"[a-z_]{0,3}(\{\{(branch|ref|sha7|build)\}\}[a-z.-]{0,4}){1,3}",
            branch in r"[a-z/ä-ü]{1,200}",
        ) {
            prop_assume!(check(&template).is_ok());
            let Ok(git_ref) = GitRef::parse(&format!("refs/heads/{branch}")) else { return Ok(()) };
            let facts = Facts { build: BuildId::from(Uuid::nil()), commit: COMMIT, git_ref: Some(&git_ref) };
            let tags = expand(&[template], &facts).expect("it was checked");
            prop_assert!(tags.len() == 1 && is_image_tag(&tags[0]), "{tags:?}");
        }
    }
}
