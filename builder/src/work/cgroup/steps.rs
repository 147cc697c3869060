//! The steps of one attempt that the engine runs now. The engine describes each container in a file of its own (the
//! OCI runtime's `config.json`) before it starts it, and removes the file afterwards.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A description is read so often before it is passed over: it may still be being written.
const TRIES: u32 = 100;

/// What is known of the containers in the folder.
pub struct Steps {
    folder: PathBuf,
    marker: String,
    known: BTreeMap<OsString, Known>,
}

enum Known {
    /// Not readable yet.
    Unread(u32),
    /// Of this attempt, in this control group.
    Own(PathBuf),
    /// Of somebody else.
    Other,
}

#[derive(Deserialize)]
struct Container {
    process: Process,
    linux: Linux,
}

#[derive(Deserialize)]
struct Process {
    env: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    cgroups_path: String,
}

impl Steps {
    /// Nothing is known yet.
    pub fn new(folder: PathBuf, marker: String) -> Self {
        Self { folder, marker, known: BTreeMap::new() }
    }

    /// Reads what is new.
    pub fn look(&mut self) {
        let there: Vec<OsString> =
            fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        self.known.retain(|name, _| there.contains(name));
        for name in there {
            self.known.entry(name).or_insert(Known::Unread(0));
        }
        for (name, known) in &mut self.known {
            if let Known::Unread(tries) = *known {
                let text = fs::read(self.folder.join(name).join("config.json"));
                *known = match text.ok().and_then(|text| serde_json::from_slice::<Container>(&text).ok()) {
                    Some(container) if container.says(&self.marker) => Known::Own(path(&container.linux.cgroups_path)),
                    Some(_) => Known::Other,
                    None if tries < TRIES => Known::Unread(tries + 1),
                    None => Known::Other,
                };
            }
        }
    }

    /// The control groups of the attempt's steps, from the trees' roots.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.known.values().filter_map(|known| match known {
            Known::Own(path) => Some(path.as_path()),
            Known::Unread(_) | Known::Other => None,
        })
    }
}

impl Container {
    fn says(&self, marker: &str) -> bool {
        let values = self.process.env.iter().filter_map(|variable| variable.split_once('='));
        let own = values.filter(|(name, _)| name.eq_ignore_ascii_case("no_proxy"));
        own.flat_map(|(_, value)| value.split(',')).any(|word| word == marker)
    }
}

/// Where a container's group lies, as runc understands `cgroupsPath`: a path, or `slice:prefix:name` of systemd.
pub fn path(written: &str) -> PathBuf {
    let mut parts = written.split(':');
    let (Some(slice), Some(prefix), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return PathBuf::from(written.trim_start_matches('/'));
    };
    // a-b.slice lies in a.slice.
    let mut folder = PathBuf::new();
    if let Some(stem) = slice.strip_suffix(".slice").filter(|stem| *stem != "-") {
        let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
        folder.extend(ends.map(|end| format!("{}.slice", &stem[..end])));
    }
    let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
    folder.join(unit)
}
