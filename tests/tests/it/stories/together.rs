//! Many small stories in one world, all at once: a service is started once, and builds that mostly wait do
//! not wait for each other.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Result, ensure};
use slipway_tests::world::World;
use tokio::task::JoinSet;

/// Stories that share a world; each has a name, under which its failure is told.
pub struct Together {
    world: Arc<World>,
    stories: JoinSet<(&'static str, Result<()>)>,
}

impl Together {
    pub fn new(world: World) -> Self {
        Self { world: Arc::new(world), stories: JoinSet::new() }
    }

    /// Begins a story.
    pub fn story<F>(&mut self, name: &'static str, story: impl FnOnce(Arc<World>) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        // A task of its own, so that a failed assertion ends only this story.
        let told = tokio::spawn(story(Arc::clone(&self.world)));
        self.stories.spawn(async move { (name, told.await.unwrap_or_else(|error| Err(error.into()))) });
    }

    /// Waits for all of them; an error that names those that failed.
    pub async fn end(mut self) -> Result<()> {
        let mut failed = Vec::new();
        while let Some(told) = self.stories.join_next().await {
            if let (name, Err(error)) = told? {
                failed.push(format!("{name}: {error:#}"));
            }
        }
        ensure!(failed.is_empty(), "{} stories failed\n{}", failed.len(), failed.join("\n"));
        Ok(())
    }
}
