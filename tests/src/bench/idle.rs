//! `slipway serve` with nothing to do: how soon it is ready and how much memory it holds.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::{Row, resident_mb, stats};
use crate::env::slipway::{Settings, Slipway};
use crate::world::World;

const STARTS: usize = 5;
/// Loops and the local builder have done their first rounds by then.
const SETTLE: Duration = Duration::from_secs(6);

/// Measures.
pub async fn run(world: &World) -> Result<Row> {
    let settings = Settings { engine: world.engine.clone(), ..Settings::default() };
    let (mut ready, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        let slipway = Slipway::start(settings.clone()).await?.quiet();
        ready.push(began.elapsed().as_secs_f64());
        if resident.is_empty() {
            tokio::time::sleep(SETTLE).await;
            resident.push(resident_mb(slipway.id())?);
        }
    }
    let (ready, resident) = (stats::median(&ready), stats::median(&resident));
    Ok(Row {
        figure: "serve, idle",
        baseline: "none".to_owned(),
        ours: format!("{resident:.0} MB resident, ready in {:.0} ms", ready * 1e3),
        ratio: "-".to_owned(),
        cpu: "-".to_owned(),
        target: "under 80 MB, ready in under 1 s",
        reached: resident < 80.0 && ready < 1.0,
    })
}
