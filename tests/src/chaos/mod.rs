//! A cluster under a stream of builds while everything it stands on is killed, frozen, wiped and cut off, by a seed;
//! afterwards the rows, the logs and the registry are checked for what must hold in spite of all of it.

pub mod checker;
pub mod client;
pub mod nemesis;
pub mod random;
pub mod site;

use std::time::Duration;

use anyhow::{Result, bail};

use self::client::Client;
use self::nemesis::Nemesis;
use self::random::Random;
use self::site::{Engines, Site};

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides what happens when; timing of the machine decides the rest.
    pub seed: u64,
    /// How long builds are pushed and things are broken.
    pub lasts: Duration,
}

/// Runs a plan; an error tells the seed, what was violated, and the history of each job it was violated for. `None`,
/// said loudly, when a component is missing and the run allows it.
pub async fn run(plan: Plan) -> Result<Option<String>> {
    let Some(site) = Site::start(Engines::Scripted).await? else { return Ok(None) };
    let mut random = Random::new(plan.seed);
    let mut nemesis = Nemesis::new(site, random.split());
    let client = Client::start(nemesis.site(), random.split()).await?;
    nemesis.rage(plan.lasts).await?;
    client.stop();
    nemesis.heal().await?;
    let pushes = client.end().await?;
    let site = nemesis.into_site();
    let report = checker::check(&site, &pushes).await;
    let deeds = site.deeds();
    match report {
        Ok(summary) => Ok(Some(format!("seed {}: {summary}; {} deeds: {deeds:?}", plan.seed, deeds.len()))),
        Err(error) => {
            eprintln!("--- chaos, seed {}: what was done ---\n{}\n---", plan.seed, deeds.join("\n"));
            bail!("seed {}: {error:#}", plan.seed)
        }
    }
}
