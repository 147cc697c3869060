//! An engine that clips step logs: the log says so where it happens, and the build is judged as always.

use anyhow::{Context, Result};
use serde_json::json;
use slipway_tests::env::base_image::BASE_IMAGE;
use slipway_tests::env::engine::{Engine, Oddity};
use slipway_tests::world::World;

use super::builds::{finished, new_project, start_dockerfile};

/// What the engine keeps of a step's log.
const LIMIT_BYTES: u32 = 64 << 10;

/// More lines than fit.
const LINES: usize = 40_000;

/// How our notice begins.
const NOTICE: &str = "the engine cut this step's output";

#[tokio::test]
async fn a_clipped_log_says_so() -> Result<()> {
    let Some(engine) = Engine::odd(Oddity::ClipsLogs(LIMIT_BYTES)).await? else { return Ok(()) };
    let Some(world) = World::start_on(&engine).await? else { return Ok(()) };
    let project = new_project(&world, "clipped", json!({})).await?;
    for (end, exit_code) in [("true", None), ("exit 42", Some(42))] {
        let dockerfile = format!("FROM {BASE_IMAGE}\nRUN seq 1 {LINES}; {end}\n");
        let build = start_dockerfile(&world, &project, &dockerfile).await?;
        let (build, job) = finished(&world, &build).await?;
        let log = world.api().log(&job.id).await?;
        let said = log.matches(NOTICE).count();
        assert!(said == 1 && log.contains("BUILDKIT_STEP_LOG_MAX_SIZE"), "said {said} times in {} bytes", log.len());
        let (before, after) = log.split_once(NOTICE).context("the notice")?;
        assert!(before.contains("\n10\n") && after.contains("[output clipped"), "{after}");
        let remarks = &job.attempts[0].remarks;
        assert_eq!(remarks["cut_steps"].as_array().map(Vec::len), Some(1), "{remarks}");
        // A cut log is no fault, and hides none: of a step that failed BuildKit shows the last part after all.
        let class = job.failure.as_ref().map(|failure| (failure.class.as_str(), failure.exit_code));
        match exit_code {
            None => {
                assert_eq!((build.state.as_str(), class), ("succeeded", None));
                assert!(!log.lines().any(|line| line == LINES.to_string()), "it was not cut");
            }
            Some(_) => assert_eq!((build.state.as_str(), class), ("failed", Some(("run_failed", exit_code)))),
        }
    }
    Ok(())
}
