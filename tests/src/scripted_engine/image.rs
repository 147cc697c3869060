//! The images: one small layer that follows from the context, and a configuration with the labels. Equal
//! contexts and labels give equal bytes. They live in memory until their last name goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Labels of an image or build.
pub type Labels = BTreeMap<String, String>;

/// An image.
#[derive(Debug)]
pub struct Image {
    /// The digest of its configuration.
    pub id: String,
    pub labels: Labels,
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
}

/// What the engine holds.
#[derive(Debug, Default)]
pub struct Images(Mutex<BTreeMap<String, Stored>>);

#[derive(Debug)]
struct Stored {
    image: Arc<Image>,
    names: BTreeSet<String>,
}

impl Image {
    /// The image of a context.
    pub fn new(context_sha256: &str, labels: Labels) -> Result<Self> {
        let layer = layer(context_sha256)?;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Labels": labels },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = serde_json::to_vec(&config)?;
        Ok(Self { id: digest(&config), labels, config, layer })
    }

    /// Its manifest.
    pub fn manifest(&self) -> Value {
        let part = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() });
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": part("application/vnd.oci.image.config.v1+json", &self.config),
            "layers": [part("application/vnd.oci.image.layer.v1.tar", &self.layer)],
        })
    }
}

impl Images {
    /// Keeps an image under a name, which another one loses.
    pub fn keep(&self, image: Image, name: &str) {
        let mut images = self.lock();
        let id = image.id.clone();
        images.entry(id.clone()).or_insert_with(|| Stored { image: Arc::new(image), names: BTreeSet::new() });
        rename(&mut images, &id, name);
    }

    /// Gives one more name; false when the first is none.
    pub fn tag(&self, name: &str, new: &str) -> bool {
        let mut images = self.lock();
        let found = find(&images, name);
        if let Some(id) = &found {
            rename(&mut images, id, new);
        }
        found.is_some()
    }

    /// The image of a name or id.
    pub fn get(&self, name: &str) -> Option<Arc<Image>> {
        let images = self.lock();
        find(&images, name).and_then(|id| images.get(&id)).map(|stored| Arc::clone(&stored.image))
    }

    /// Takes a name away, and the image with its last one; what the engine answers.
    pub fn remove(&self, name: &str) -> Option<Value> {
        let mut images = self.lock();
        let id = find(&images, name)?;
        let stored = images.get_mut(&id)?;
        stored.names.remove(name);
        if name != id && !stored.names.is_empty() {
            return Some(json!([{ "Untagged": name }]));
        }
        images.remove(&id);
        Some(json!([{ "Untagged": name }, { "Deleted": id }]))
    }

    /// Those with all of these labels, as the engine lists them; a label is `name` or `name=value`.
    pub fn list(&self, labels: &[String]) -> Value {
        let images = self.lock();
        let shown = images.values().filter(|stored| labels.iter().all(|label| has(&stored.image.labels, label)));
        shown.map(|stored| summary(&stored.image, &stored.names)).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A tar with one file that tells the context.
fn layer(context_sha256: &str) -> Result<Vec<u8>> {
    let text = format!("{context_sha256}\n");
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    header.set_mtime(0);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "context.sha256", text.as_bytes()).context("making a layer")?;
    tar.into_inner().context("finishing a layer")
}

fn rename(images: &mut BTreeMap<String, Stored>, id: &str, name: &str) {
    for stored in images.values_mut() {
        stored.names.remove(name);
    }
    if let Some(stored) = images.get_mut(id) {
        stored.names.insert(name.to_owned());
    }
}

fn find(images: &BTreeMap<String, Stored>, name: &str) -> Option<String> {
    let found = images.iter().find(|(id, stored)| *id == name || stored.names.contains(name));
    found.map(|(id, _)| id.clone())
}

fn has(labels: &Labels, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|is| is == value),
        None => labels.contains_key(wanted),
    }
}

fn summary(image: &Image, names: &BTreeSet<String>) -> Value {
    json!({
        "Id": image.id, "ParentId": "", "RepoTags": names, "RepoDigests": [], "Created": 0,
        "Size": image.layer.len(), "SharedSize": -1, "Labels": image.labels, "Containers": -1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(context: &str) -> Image {
        Image::new(context, [("who".to_owned(), "me".to_owned())].into()).unwrap()
    }

    #[test]
    fn an_image_follows_from_context_and_labels() {
        assert_eq!(image("a").manifest(), image("a").manifest());
        assert_ne!(image("a").id, image("b").id);
        assert_ne!(image("a").id, Image::new("a", Labels::new()).unwrap().id);
    }

    #[test]
    fn an_image_goes_with_its_last_name() {
        let images = Images::default();
        images.keep(image("a"), "x:1");
        assert!(images.tag("x:1", "y:1") && !images.tag("z:1", "y:2"));
        assert_eq!(images.remove("x:1").unwrap().as_array().unwrap().len(), 1);
        assert!(images.get("y:1").is_some() && images.get("x:1").is_none());
        assert_eq!(images.remove("y:1").unwrap()[1]["Deleted"], image("a").id);
        assert_eq!((images.remove("y:1"), images.count()), (None, 0));
    }

    #[test]
    fn a_name_that_moves_leaves_an_image_without_one() {
        let images = Images::default();
        images.keep(image("a"), "x:1");
        images.keep(image("b"), "x:1");
        assert_eq!(images.get("x:1").unwrap().id, image("b").id);
        assert_eq!(images.list(&["who=me".to_owned()]).as_array().unwrap().len(), 2);
        assert_eq!(images.list(&["who=you".to_owned()]), json!([]));
        assert!(images.remove(&image("a").id).is_some());
        assert_eq!(images.count(), 1);
    }
}
