//! The layers of an image on a build's page.

use slipway_domain::ids::BuildId;
use slipway_domain::image::{Base, Difference, LayerMark};
use slipway_domain::size::{bytes, change};

use crate::builds::outputs::Output;
use crate::texts::Texts;

/// Of an image with more layers the table is folded.
const MANY_LAYERS: usize = 12;

/// An image, layer by layer.
pub(super) struct BuiltFacts {
    pub(super) heading: String,
    pub(super) size: String,
    /// What it was built upon.
    pub(super) bases: String,
    /// How it differs from the one before, and that build.
    pub(super) difference: Option<(String, BuildId)>,
    pub(super) layers: Vec<LayerRow>,
    /// More than are read at a glance.
    pub(super) long: bool,
}

pub(super) struct LayerRow {
    pub(super) instruction: String,
    pub(super) diff_id: String,
    pub(super) size: String,
    pub(super) compressed: String,
    pub(super) new: bool,
}

impl BuiltFacts {
    pub(super) fn new(output: &Output, texts: Texts) -> Self {
        let layers: Vec<LayerRow> = output
            .layers()
            .into_iter()
            .map(|(layer, mark)| LayerRow {
                instruction: layer.instruction.clone(),
                diff_id: layer.diff_id.clone(),
                size: bytes(layer.size_bytes),
                compressed: layer.compressed_bytes.map(bytes).unwrap_or_default(),
                new: mark == Some(LayerMark::New),
            })
            .collect();
        Self {
            heading: match &output.image.target {
                Some(target) => texts.t("layers-of").with("target", target).to_string(),
                None => texts.t("layers-title").to_string(),
            },
            size: bytes(output.image.size_bytes()),
            bases: output.image.bases.iter().map(Base::words).collect::<Vec<_>>().join(", "),
            difference: output.difference().map(|(build, difference)| (difference_words(&difference, texts), build)),
            long: layers.len() > MANY_LAYERS,
            layers,
        }
    }
}

/// A difference in words.
fn difference_words(difference: &Difference, texts: Texts) -> String {
    let Difference { size_bytes_change, shared_layers, new_layers, gone_layers, grew_most } = difference;
    let size = match size_bytes_change {
        0 => texts.t("layers-same-size").to_string(),
        changed => change(*changed),
    };
    let layers = match (new_layers, gone_layers) {
        (0, 0) => texts.t("layers-all-shared"),
        _ => texts.t("layers-some-shared").with("new", new_layers).with("gone", gone_layers),
    };
    let count = texts.t("layers-count").with("count", shared_layers);
    let words = layers.with("size", size).with("layers", count).to_string();
    match grew_most.as_ref().filter(|_| *new_layers > 0) {
        Some(most) => {
            let grew = texts.t("layers-grew-most").with("instruction", short(&most.instruction));
            format!("{words} {}", grew.with("change", change(most.size_bytes_change)))
        }
        None => words,
    }
}

/// The beginning of an instruction.
fn short(instruction: &str) -> String {
    match instruction.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", instruction.get(..end).unwrap_or_default()),
        None => instruction.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use slipway_domain::image::Growth;

    use super::*;
    use crate::texts::ENGLISH;

    #[test]
    fn a_difference_is_one_sentence() {
        let growth =
            |instruction: &str| Some(Growth { instruction: instruction.to_owned(), size_bytes_change: 12_300_000 });
        let long = "RUN ".to_owned() + &"x".repeat(90);
        for (size_bytes_change, layers, grew_most, words) in [
            (0, (3, 0, 0), None, "Compared with the earlier build: the same size; 3 layers, all shared.".to_owned()),
            (
                -1500,
                (1, 1, 2),
                growth("RUN make"),
                "Compared with the earlier build: −1.4 KiB; 1 layer shared, 1 new and 2 gone. RUN make grew most (+11.7 MiB).".to_owned(),
            ),
            (
                12_300_000,
                (0, 1, 0),
                growth(&long),
                format!(
                    "Compared with the earlier build: +11.7 MiB; 0 layers shared, 1 new and 0 gone. RUN {}… grew most (+11.7 MiB).",
                    "x".repeat(56)
                ),
            ),
        ] {
            let (shared_layers, new_layers, gone_layers) = layers;
            let difference = Difference { size_bytes_change, shared_layers, new_layers, gone_layers, grew_most };
            assert_eq!(difference_words(&difference, ENGLISH), words);
        }
    }
}
