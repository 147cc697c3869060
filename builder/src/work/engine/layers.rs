//! What an image consists of: its layers, and the history from which their instructions follow.

use slipway_domain::failure::Failure;
use slipway_domain::image::{BuiltImage, HistoryEntry, MAX_LAYERS};

use super::{Engine, QUESTION_TIMEOUT, down, failed};

/// An entry is kept up to here, which is more than is shown of it.
const MAX_ENTRY_BYTES: usize = 64 * 1024;

impl Engine {
    /// The layers of an image, the lowest first. `mask` hides what no reader may see in an instruction.
    pub async fn layers(&self, image: &str, mask: impl Fn(&str) -> String) -> Result<BuiltImage, Failure> {
        let lane = self.lane(QUESTION_TIMEOUT)?;
        let asked = tokio::time::timeout(QUESTION_TIMEOUT, async {
            tokio::try_join!(lane.docker().inspect_image(image), lane.docker().image_history(image))
        });
        let (found, history) = asked
            .await
            .map_err(|_| down(format!("no word of an image within {} s", QUESTION_TIMEOUT.as_secs())))?
            .map_err(|error| failed(&error))?;
        let diff_ids = found.root_fs.and_then(|root| root.layers).unwrap_or_default();
        let entry = |created_by: &str, size_bytes| {
            let end = created_by.floor_char_boundary(MAX_ENTRY_BYTES);
            HistoryEntry { created_by: mask(created_by.get(..end).unwrap_or_default()), size_bytes }
        };
        // The engine begins with the newest; whatever it says, an image has no more than so many layers.
        let history: Vec<HistoryEntry> = history.iter().rev().map(|item| entry(&item.created_by, item.size)).collect();
        Ok(BuiltImage::new(diff_ids.into_iter().take(MAX_LAYERS).collect(), &history))
    }
}
