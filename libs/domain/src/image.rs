//! What a build made: the layers of its image, each with the instruction that made it, and what differs from an
//! earlier one.

mod base;
mod difference;
mod instruction;

use serde::{Deserialize, Serialize};

use crate::outputs::MAX_IMAGES;

pub use base::Base;
pub use difference::{Difference, Growth, LayerMark, difference, marks};
pub use instruction::readable;

/// An image has at most 127 layers; of all images of an attempt so many are kept.
pub const MAX_LAYERS: usize = 512;
/// All instructions of an attempt together; further ones are left out.
const MAX_TEXT_BYTES: usize = 256 * 1024;
/// Of an image so many bases are kept.
const MAX_BASES: usize = 16;
/// Longest digest or name of a stage.
const MAX_NAME_CHARS: usize = 200;

/// Whether this is a digest as registries name manifests: `sha256:` and 64 lower-case hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// One image that an attempt built, whether it was pushed or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImage {
    /// The stage that was built; the last one unless set.
    #[serde(default)]
    pub target: Option<String>,
    /// Digest of its manifest; `None` where nothing was pushed.
    #[serde(default)]
    pub digest: Option<String>,
    /// Its layers, the lowest first.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// What its stages were built upon.
    #[serde(default)]
    pub bases: Vec<Base>,
}

/// One layer of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest as registries know it, compressed; `None` where it was not pushed.
    #[serde(default)]
    pub digest: Option<String>,
    /// Digest of what it holds, unpacked; equal layers have equal ones.
    pub diff_id: String,
    /// What it adds to the image, unpacked.
    pub size_bytes: i64,
    /// What of it is sent and stored; `None` where it was not pushed.
    #[serde(default)]
    pub compressed_bytes: Option<i64>,
    /// What made it, as the Dockerfile has it; empty where nobody knows.
    #[serde(default)]
    pub instruction: String,
}

/// An entry of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What the engine wrote down.
    pub created_by: String,
    /// What it added.
    pub size_bytes: i64,
}

impl BuiltImage {
    /// The image with these layers, unpacked, and its history, both with the oldest first. The engine does not say which
    /// entries made a layer: those that added something did; of the others instructions that work on files go first.
    pub fn new(diff_ids: Vec<String>, history: &[HistoryEntry]) -> Self {
        let mut made: Vec<bool> = history.iter().map(|entry| entry.size_bytes > 0).collect();
        let mut missing = diff_ids.len().saturating_sub(made.iter().filter(|made| **made).count());
        for likely in [true, false] {
            // What built the base may have left none where BuildKit leaves an empty one, so the newest come first.
            for (made, entry) in made.iter_mut().zip(history).rev() {
                if missing > 0 && !*made && instruction::may_be_empty(&entry.created_by) == Some(likely) {
                    (*made, missing) = (true, missing - 1);
                }
            }
        }
        let mut makers = made.iter().zip(history).filter(|(made, _)| **made).map(|(_, entry)| entry);
        let layer = |diff_id: String| {
            let maker = makers.next();
            Layer {
                diff_id,
                size_bytes: maker.map_or(0, |entry| entry.size_bytes),
                instruction: maker.map(|entry| readable(&entry.created_by)).unwrap_or_default(),
                ..Layer::default()
            }
        };
        Self { layers: diff_ids.into_iter().take(MAX_LAYERS).map(layer).collect(), ..Self::default() }
    }

    /// What was pushed: the manifest's digest and each layer's own with its size, the lowest first. Layers that are not as
    /// many as ours are another image's, and told of none.
    pub fn pushed(&mut self, digest: &str, layers: Vec<(String, i64)>) {
        self.digest = Some(digest.to_owned());
        if layers.len() == self.layers.len() {
            for (layer, (digest, size)) in self.layers.iter_mut().zip(layers) {
                (layer.digest, layer.compressed_bytes) = (Some(digest), Some(size));
            }
        }
    }

    /// Unpacked, all layers together.
    pub fn size_bytes(&self) -> i64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size_bytes.max(0)))
    }
}

/// No more than is kept, whatever engines, registries and builders tell: a finish has to fit into one message.
pub fn bounded(built: Vec<BuiltImage>) -> Vec<BuiltImage> {
    let (mut layers_left, mut text_left) = (MAX_LAYERS, MAX_TEXT_BYTES);
    let mut layer = |layer: Layer| {
        let Layer { digest, diff_id, size_bytes, compressed_bytes, instruction } = layer;
        let instruction = if instruction.len() > text_left { String::new() } else { instruction };
        text_left -= instruction.len();
        Layer { digest: digest.map(name), diff_id: name(diff_id), size_bytes, compressed_bytes, instruction }
    };
    let mut image = |BuiltImage { target, digest, layers, bases }: BuiltImage| {
        let layers: Vec<Layer> = layers.into_iter().take(layers_left).map(&mut layer).collect();
        layers_left -= layers.len();
        let base = |base: Base| Base { name: name(base.name), digest: base.digest.map(name) };
        let bases = bases.into_iter().take(MAX_BASES).map(base).collect();
        BuiltImage { target: target.map(name), digest: digest.map(name), layers, bases }
    };
    built.into_iter().take(MAX_IMAGES).map(&mut image).collect()
}

/// As much of a digest or a stage's name as any has.
fn name(text: String) -> String {
    match text.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(entries: &[(&str, i64)]) -> Vec<HistoryEntry> {
        let entry = |(created_by, size_bytes): &(&str, i64)| HistoryEntry {
            created_by: (*created_by).to_owned(),
            size_bytes: *size_bytes,
        };
        entries.iter().map(entry).collect()
    }

    fn made(layers: usize, entries: &[(&str, i64)]) -> Vec<(String, i64)> {
        let diff_ids = (0..layers).map(|n| format!("sha256:{n}")).collect();
        let image = BuiltImage::new(diff_ids, &history(entries));
        image.layers.into_iter().map(|layer| (layer.instruction, layer.size_bytes)).collect()
    }

    #[test]
    fn layers_get_the_instruction_that_made_them() {
        let of = |layers: &[(&str, i64)]| -> Vec<(String, i64)> {
            layers.iter().map(|(text, size)| ((*text).to_owned(), *size)).collect()
        };
        let base = ("/bin/sh -c #(nop) ADD file:1 in / ", 70);
        let cmd = ("/bin/sh -c #(nop)  CMD [\"sh\"]", 0);
        let (add, run) = ("ADD file:1 in /", "RUN /bin/sh -c make # buildkit");
        for (what, layers, entries, wanted) in [
            ("sizes tell them", 2, &[base, cmd, (run, 5)][..], of(&[(add, 70), ("RUN make", 5)])),
            (
                "one that added nothing",
                3,
                &[base, cmd, ("RUN /bin/sh -c true # buildkit", 0), ("ENV A=1", 0), (run, 5)],
                of(&[(add, 70), ("RUN true", 0), ("RUN make", 5)]),
            ),
            (
                "BuildKit's WORKDIR makes a layer, an older builder's none",
                2,
                &[base, ("/bin/sh -c #(nop) WORKDIR /a", 0), ("WORKDIR /b", 0)],
                of(&[(add, 70), ("WORKDIR /b", 0)]),
            ),
            (
                "what is no instruction made none if another may have",
                2,
                &[base, ("RUN /bin/sh -c true # buildkit", 0), ("by hand", 0)],
                of(&[(add, 70), ("RUN true", 0)]),
            ),
            ("a base without a history", 2, &[(run, 5)], of(&[("RUN make", 5), ("", 0)])),
            ("nothing of it", 1, &[("CMD [\"sh\"]", 0)], of(&[("", 0)])),
            ("more than there can be", 1, &[base, (run, 5)], of(&[(add, 70)])),
            ("none", 0, &[cmd], vec![]),
        ] {
            assert_eq!(made(layers, entries), wanted, "{what}");
        }
    }

    #[test]
    fn what_was_pushed_is_told_only_of_the_same_layers() {
        let image = BuiltImage::new(vec!["a".to_owned()], &history(&[("COPY a /", 3)]));
        let mut pushed = image.clone();
        pushed.pushed("sha256:m", vec![("sha256:c".to_owned(), 2)]);
        assert_eq!((pushed.digest.as_deref(), pushed.layers[0].compressed_bytes), (Some("sha256:m"), Some(2)));
        let mut other = image;
        other.pushed("sha256:m", vec![]);
        assert_eq!((other.digest.as_deref(), other.layers[0].compressed_bytes), (Some("sha256:m"), None));
    }

    #[test]
    fn what_is_told_fits_into_a_message_whatever_it_is() {
        let long = "é".repeat(100_000);
        let layer = Layer {
            digest: Some(long.clone()),
            diff_id: long.clone(),
            instruction: readable(&long),
            ..Layer::default()
        };
        let base = Base { name: long.clone(), digest: Some(long.clone()) };
        let image = BuiltImage {
            target: Some(long.clone()),
            digest: Some(long),
            layers: vec![layer; 300],
            bases: vec![base; 50],
        };
        let kept = bounded(vec![image; 30]);
        assert_eq!(kept.iter().map(|image| image.layers.len()).sum::<usize>(), MAX_LAYERS);
        let size = serde_json::to_string(&kept).expect("JSON").len();
        assert!((300_000..900_000).contains(&size), "{size}");
        let small = vec![BuiltImage::new(vec!["sha256:a".to_owned()], &history(&[("COPY a /", 3)]))];
        assert_eq!(bounded(small.clone()), small);
    }

    proptest! {
        #[test]
        fn there_are_as_many_layers_as_ids_and_no_more_than_are_kept(
            layers in 0_usize..600,
            entries in proptest::collection::vec(("(RUN|COPY|ENV|) ?[ -~é#|]{0,20}", -3_i64..4), 0..20),
        ) {
            let entries: Vec<(&str, i64)> = entries.iter().map(|(text, size)| (text.as_str(), *size)).collect();
            let made = made(layers, &entries);
            prop_assert_eq!(made.len(), layers.min(MAX_LAYERS));
        }
    }
}
