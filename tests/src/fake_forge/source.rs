//! Answers out of the repository itself.

use std::path::Path;

use super::question::{Asked, Files, Found};
use super::{Seen, Shared};
use crate::env::repo::{MAIN, git};
use crate::world::Forge;

impl Shared {
    /// Looks for what was asked. Statuses are not questions.
    pub(super) fn find(&self, asked: &Asked) -> Found {
        let mut seen = self.seen();
        match asked {
            Asked::Right(login) => Found::Right(seen.writers.contains(login)),
            Asked::Member(number) => match seen.people.get(*number) {
                Some(login) => Found::Right(seen.writers.contains(login)),
                None => Found::Absent,
            },
            Asked::User(login) => Found::User { number: seen.number_of(login), login: login.clone() },
            Asked::Writers(part) => {
                Found::Writers(seen.writers.iter().filter(|login| login.contains(part.as_str())).cloned().collect())
            }
            Asked::Checks(commit) => Found::Checks(seen.checks(commit)),
            Asked::Repo | Asked::RepoById => Found::Repo { path: seen.repo.clone() },
            _ => {
                let (bare, cut) = (seen.bare.clone(), seen.cuts);
                drop(seen);
                in_git(self.kind, asked, bare.as_deref(), cut).unwrap_or(Found::Absent)
            }
        }
    }
}

impl Seen {
    fn number_of(&mut self, login: &str) -> usize {
        self.people.iter().position(|known| known == login).unwrap_or_else(|| {
            self.people.push(login.to_owned());
            self.people.len() - 1
        })
    }

    /// The checks of a commit.
    pub(super) fn checks(&self, commit: &str) -> Vec<(usize, String)> {
        let own = self.shown.iter().filter(|((of, _), _)| of == commit);
        own.map(|((_, context), (number, _))| (*number, context.clone())).collect()
    }
}

fn in_git(kind: Forge, asked: &Asked, bare: Option<&Path>, cut: bool) -> Option<Found> {
    let Some(bare) = bare else {
        // Nothing but commits, and all of them.
        return match asked {
            Asked::Commit(id) if is_id(id) => Some(Found::Commit { id: id.clone(), message: "x".to_owned() }),
            _ => None,
        };
    };
    match asked {
        Asked::Commit(revision) if revision.len() >= 7 && revision.bytes().all(|b| b.is_ascii_hexdigit()) => {
            commit(bare, revision)
        }
        Asked::Head(full) => commit(bare, full),
        Asked::File { commit, path } if is_id(commit) => {
            git(bare, &["cat-file", "blob", &format!("{commit}:{path}")]).ok().map(Found::Text)
        }
        Asked::Compare { before, after } => compare(bare, (before, after), cut).map(Found::Compared),
        Asked::Change(number) => {
            let head = kind.change_ref(*number)?;
            let files = compare(bare, (MAIN, &head), cut)?;
            let base = files.base.as_deref()?;
            let paths = names(bare, base, &head)?;
            Some(Found::Files(Files { paths, ..files }))
        }
        _ => None,
    }
}

fn commit(bare: &Path, revision: &str) -> Option<Found> {
    let id = git(bare, &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")]).ok()?;
    let message = git(bare, &["log", "-1", "--format=%B", &id]).ok()?;
    Some(Found::Commit { id, message })
}

fn compare(bare: &Path, (before, after): (&str, &str), cut: bool) -> Option<Files> {
    let base = git(bare, &["merge-base", before, after]).ok();
    let ahead = git(bare, &["rev-list", "--count", &format!("{before}..{after}")]).ok()? != "0";
    let mut paths = names(bare, before, after)?;
    if cut {
        paths.truncate(paths.len() / 2);
    }
    Some(Files { paths, base, ahead, cut })
}

fn names(bare: &Path, before: &str, after: &str) -> Option<Vec<String>> {
    let names = git(bare, &["diff", "--name-only", "--no-renames", before, after, "--"]).ok()?;
    Some(names.lines().map(str::to_owned).collect())
}

fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
