//! Groups of lines, wherever the marks lie.

use serde_json::{Value, json};

use super::world::World;
use crate::flush::flush_once;

const STREAM: &[u8] = b"one\n::group::Install\ntwo\n--- Inner\nthree\n::endgroup::\nfour\n+++ Last\nfive\n";

async fn outline(world: &World, query: &str) -> Value {
    serde_json::from_slice(&world.get(&format!("log/outline{query}"), &[]).await.2).expect("JSON")
}

#[tokio::test]
async fn groups_are_the_same_in_memory_half_stored_and_stored() {
    for cut in [1, 4, 9, 26, 27, 40, STREAM.len() - 3] {
        let mut world = World::without_loops().await;
        world.send(1, 0, &STREAM[..cut]).await;
        flush_once(&world.logs, true).await;
        world.send(1, cut as i64, &STREAM[cut..]).await;
        let wanted = json!([
            { "line": 2, "last": 6, "level": 0, "open": false, "faint": false },
            { "line": 4, "last": 5, "level": 1, "open": false, "faint": false },
            { "line": 8, "last": null, "level": 0, "open": true, "faint": false },
        ]);
        for place in ["half", "stored", "read again"] {
            let told = outline(&world, "?groups=1").await;
            let mut groups = told["groups"][0]["groups"].clone();
            for group in groups.as_array_mut().expect("a list") {
                group.as_object_mut().expect("an object").remove("took_ms");
            }
            assert_eq!((&groups, &told["marks"]), (&wanted, &json!(4)), "{place}, cut at {cut}");
            match place {
                "half" => drop(flush_once(&world.logs, true).await),
                _ => world.restart().await,
            }
        }
        assert!(outline(&world, "").await.get("groups").is_none());
    }
}
