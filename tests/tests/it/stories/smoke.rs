//! What every build of the binary must do, the release too: some faults are only in one that is optimised. `make long`
//! builds a release and names it in `SLIPWAY_BIN`.

use anyhow::Result;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::world::{Database, World};

use super::told::Told;

#[tokio::test]
async fn a_fresh_serve_is_ready_takes_a_push_and_stops_when_asked() -> Result<()> {
    // Without a builder, so that the build stays where it is.
    let slots = vec![("SLIPWAY_SLOTS".to_owned(), "0".to_owned())];
    let Some(mut world) = World::start_with(Database::Sqlite, slots).await? else { return Ok(()) };
    let ready = reqwest::get(format!("{}/readyz?verbose", world.slipway.base_url())).await?;
    assert_eq!(ready.status().as_u16(), 200, "{}", ready.text().await?);
    let told = Told::new(&world, "smoke").await?;
    let build = told.push(&world, &format!("FROM {BASE_IMAGE}\n")).await?;
    let build = world.api().build(&build).await?;
    assert_eq!((build.state.as_str(), build.project.as_str()), ("pending", told.project.id.as_str()));
    world.slipway.sigterm()?;
    let status = world.slipway.stopped().await?;
    assert_eq!(status.code(), Some(0), "{}", world.slipway.log_tail());
    Ok(())
}
