//! Time that passes at once: a service that is started again some minutes later.

use anyhow::Result;
use slipway_tests::world::World;

/// Longer than any pause between two tries, shorter than any job.
const STEP_SECS: u64 = 150;

/// How far the clock has been moved.
#[derive(Default)]
pub struct Later {
    secs: u64,
}

impl Later {
    /// Starts the service again when every pause is over.
    pub async fn skip_the_pause(&mut self, world: &mut World) -> Result<()> {
        self.secs += STEP_SECS;
        let offset = ("SLIPWAY_TEST_CLOCK_OFFSET_SECS".to_owned(), self.secs.to_string());
        world.slipway.restart_with(vec![offset]).await
    }
}
