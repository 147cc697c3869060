//! Moves of branches and tags.

use std::sync::Arc;

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use slipway_tests::env::repo::MAIN;
use slipway_tests::world::{Forge, World};

use super::site::{QUICK, Site, commit_of};

pub async fn are_built(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "pushed").await?;
    let first = site.commit(QUICK)?;
    let delivery = site.push(&first);
    let build = site.build_of(&delivery).await?;
    assert_eq!((build.trigger.as_str(), build.git_ref.as_deref()), ("push", Some("refs/heads/main")));
    assert_eq!(build.commit, commit_of(&first)?);
    // Told twice, built once.
    let again = site.tell(&delivery, StatusCode::OK).await?;
    assert_eq!((again.builds.as_slice(), site.count().await?), (std::slice::from_ref(&build.id), 1));
    site.succeeds(&build).await?;

    let tagged = site.repo.tag("v1.0")?;
    ensure!(tagged.after != tagged.commit, "an annotated tag");
    let build = site.build_of(&site.push(&tagged)).await?;
    assert_eq!((build.trigger.as_str(), build.git_ref.as_deref()), ("tag", Some("refs/tags/v1.0")));
    assert_eq!(build.commit, commit_of(&first)?, "the commit, not the tag's own object");
    site.succeeds(&build).await?;
    ensure!(site.digest("v1.0").await?.is_some(), "{:?}", site.tags().await?);

    let second = site.commit("FROM base\nRUN make more\n")?;
    let build = site.build_of(&site.push(&second)).await?;
    site.succeeds(&build).await?;
    let (second_tag, own) = (site.digest(MAIN).await?, site.digest(commit_of(&second)?).await?);
    ensure!(second_tag.is_some() && second_tag == own, "{second_tag:?} {own:?}");

    // Back to where it was, as `git push --force` goes, and aside.
    let back = site.repo.force_push(MAIN, commit_of(&first)?)?;
    let aside = site.commit("FROM base\nRUN make otherwise\n")?;
    ensure!(back.forced, "{back:?}");
    for moved in [&back, &aside] {
        let build = site.build_of(&site.push(moved)).await?;
        assert_eq!(build.commit, commit_of(moved)?);
        site.succeeds(&build).await?;
    }
    assert_eq!(site.digest(MAIN).await?, site.digest(commit_of(&aside)?).await?);
    assert_eq!(site.count().await?, 5);
    site.check()
}

pub async fn of_deleted_branches(world: Arc<World>, kind: Forge) -> Result<()> {
    let site = Site::new(&world, kind, "deleted").await?;
    site.commit(QUICK)?;
    site.repo.switch("old/branch")?;
    site.commit("FROM base\n")?;
    let deleted = site.repo.delete("refs/heads/old/branch")?;
    site.ignored(&site.push(&deleted), "branch \"old/branch\" was deleted").await?;
    let tagged = site.repo.tag("v0")?;
    let deleted = site.repo.delete(&tagged.git_ref)?;
    site.ignored(&site.push(&deleted), "tag \"v0\" was deleted").await?;
    assert_eq!(site.count().await?, 0);
    site.check()
}
