//! What the engine says of its cache.

use super::*;

#[tokio::test]
async fn the_cache_is_as_old_as_its_oldest_layer() {
    let Some(site) = site().await else { return };
    let dockerfile = format!("FROM {BASE}\nRUN head -c 100000 /dev/urandom > /{}\n", site.attempt.job);
    site.build(&dockerfile, offline()).await.result.expect("built");
    let built = Clock::system().now();
    let usage = site.engine.cache_usage().await.expect("an answer");
    let oldest = usage.oldest.expect("it has a layer");
    assert!(oldest <= built && oldest > chrono::DateTime::UNIX_EPOCH, "{oldest}");
    // The layer itself is the image's as well; what the step was made from is not.
    assert!(usage.bytes > 0, "{usage:?}");
}
