//! Where the base repository keeps the head of a pull or merge request, so that a fork's is fetched without asking the
//! fork. <https://git-scm.com/docs/git-fetch>; the names are each forge's own.

use slipway_domain::event::ForgeKind;
use slipway_domain::git_ref::GitRef;

/// The ref of the change's head in the repository that it goes to; `None` where the forge keeps none.
/// Bitbucket Data Center calls its own internal and updates it late: it serves where the commit cannot be had by id.
pub fn change_ref(forge: ForgeKind, number: u64) -> Option<GitRef> {
    let text = match forge {
        ForgeKind::Github | ForgeKind::Gitea | ForgeKind::Gitee => format!("refs/pull/{number}/head"),
        ForgeKind::Gitlab => format!("refs/merge-requests/{number}/head"),
        ForgeKind::BitbucketDc => format!("refs/pull-requests/{number}/from"),
        ForgeKind::Bitbucket | ForgeKind::Coding => return None,
    };
    GitRef::parse(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_forge_has_its_own_name() {
        let name = |forge| change_ref(forge, 7).map(|found| found.to_string());
        assert_eq!(name(ForgeKind::Github).as_deref(), Some("refs/pull/7/head"));
        assert_eq!(name(ForgeKind::Gitea).as_deref(), Some("refs/pull/7/head"));
        assert_eq!(name(ForgeKind::Gitlab).as_deref(), Some("refs/merge-requests/7/head"));
        assert_eq!(name(ForgeKind::BitbucketDc).as_deref(), Some("refs/pull-requests/7/from"));
        assert_eq!(name(ForgeKind::Bitbucket), None);
    }
}
