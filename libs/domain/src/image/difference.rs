//! What differs between an image and an earlier one of the same project.

use std::collections::HashMap;

use super::{BuiltImage, Layer};

/// What an image has that an earlier one had not, and the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How much larger it is, unpacked; negative where it is smaller.
    pub size_bytes_change: i64,
    /// Layers that both have.
    pub shared_layers: usize,
    /// Layers that only the new one has.
    pub new_layers: usize,
    /// Layers that only the earlier one had.
    pub gone_layers: usize,
    /// The instruction whose layers grew most, if any did.
    pub grew_most: Option<Growth>,
}

/// An instruction whose layers became larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// What it is.
    pub instruction: String,
    /// By how much, unpacked.
    pub size_bytes_change: i64,
}

/// How a layer stands to the earlier image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerMark {
    /// The earlier image had it.
    Shared,
    /// It had not.
    New,
}

/// How `new` differs from `old`.
pub fn difference(new: &BuiltImage, old: &BuiltImage) -> Difference {
    let shared_layers = marks(new, old).into_iter().filter(|mark| *mark == LayerMark::Shared).count();
    Difference {
        size_bytes_change: new.size_bytes().saturating_sub(old.size_bytes()),
        shared_layers,
        new_layers: new.layers.len() - shared_layers,
        gone_layers: old.layers.len() - shared_layers,
        grew_most: grew_most(new, old),
    }
}

/// A mark for each layer of `new`. An image may have one layer twice; each of them is shared only with one of the other's.
pub fn marks(new: &BuiltImage, old: &BuiltImage) -> Vec<LayerMark> {
    let mut there: HashMap<&str, usize> = HashMap::new();
    for layer in &old.layers {
        *there.entry(&layer.diff_id).or_default() += 1;
    }
    let mark = |layer: &Layer| match there.get_mut(layer.diff_id.as_str()) {
        Some(left) if *left > 0 => {
            *left -= 1;
            LayerMark::Shared
        }
        Some(_) | None => LayerMark::New,
    };
    new.layers.iter().map(mark).collect()
}

/// By instruction, because the layers of a line that did other work are all new: the first of those that grew most.
fn grew_most(new: &BuiltImage, old: &BuiltImage) -> Option<Growth> {
    let (now, before) = (sizes(new), sizes(old));
    let mut most: Option<Growth> = None;
    for Layer { instruction, .. } in new.layers.iter().filter(|layer| !layer.instruction.is_empty()) {
        let size = |sizes: &HashMap<&str, i64>| sizes.get(instruction.as_str()).copied().unwrap_or_default();
        let size_bytes_change = size(&now).saturating_sub(size(&before));
        if size_bytes_change > most.as_ref().map_or(0, |most| most.size_bytes_change) {
            most = Some(Growth { instruction: instruction.clone(), size_bytes_change });
        }
    }
    most
}

fn sizes(image: &BuiltImage) -> HashMap<&str, i64> {
    let mut sizes: HashMap<&str, i64> = HashMap::new();
    for layer in &image.layers {
        let size = sizes.entry(&layer.instruction).or_default();
        *size = size.saturating_add(layer.size_bytes);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(layers: &[(&str, i64, &str)]) -> BuiltImage {
        let layer = |(diff_id, size_bytes, instruction): &(&str, i64, &str)| Layer {
            diff_id: (*diff_id).to_owned(),
            size_bytes: *size_bytes,
            instruction: (*instruction).to_owned(),
            ..Layer::default()
        };
        BuiltImage { layers: layers.iter().map(layer).collect(), ..BuiltImage::default() }
    }

    #[test]
    fn an_image_is_compared_layer_by_layer() {
        let base = ("a", 70, "ADD rootfs /");
        let old = image(&[base, ("b", 10, "RUN make"), ("c", 5, "COPY . /")]);
        for (what, new, change, layers, grew) in [
            ("the same", old.clone(), 0, (3, 0, 0), None),
            ("nothing", image(&[]), -85, (0, 0, 3), None),
            (
                "one line did more",
                image(&[base, ("b2", 30, "RUN make"), ("c2", 6, "COPY . /")]),
                21,
                (1, 2, 2),
                Some(("RUN make", 20)),
            ),
            ("a new line", image(&[base, ("d", 8, "RUN test")]), -7, (1, 1, 2), Some(("RUN test", 8))),
            ("one layer twice", image(&[base, base]), 55, (1, 1, 2), Some(("ADD rootfs /", 70))),
            ("smaller", image(&[base, ("b3", 1, "RUN make")]), -14, (1, 1, 2), None),
            ("nobody knows what made it", image(&[base, ("x", 100, "")]), 85, (1, 1, 2), None),
        ] {
            let told = difference(&new, &old);
            assert_eq!(told.size_bytes_change, change, "{what}");
            assert_eq!((told.shared_layers, told.new_layers, told.gone_layers), layers, "{what}");
            let grew_most = told.grew_most.as_ref().map(|most| (most.instruction.as_str(), most.size_bytes_change));
            assert_eq!(grew_most, grew, "{what}");
        }
        use LayerMark::{New, Shared};
        assert_eq!(marks(&image(&[base, ("x", 1, "x"), base]), &old), [Shared, New, New]);
    }

    proptest! {
        #[test]
        fn every_layer_is_counted_once(new in "[a-c]{0,8}", old in "[a-c]{0,8}") {
            let of = |ids: &str| {
                let layer = |id: char| Layer { diff_id: id.to_string(), size_bytes: 1, ..Layer::default() };
                BuiltImage { layers: ids.chars().map(layer).collect(), ..BuiltImage::default() }
            };
            let (there, back) = (difference(&of(&new), &of(&old)), difference(&of(&old), &of(&new)));
            prop_assert_eq!(there.shared_layers + there.new_layers, new.len());
            prop_assert_eq!(there.shared_layers + there.gone_layers, old.len());
            prop_assert_eq!((there.shared_layers, there.new_layers), (back.shared_layers, back.gone_layers));
            prop_assert_eq!(there.size_bytes_change, -back.size_bytes_change);
        }
    }
}
