//! Registries that keep copies of others' images: an operator names one for a registry, and bases come through it.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::reference::is_image;

/// What `SLIPWAY_REGISTRY_MIRRORS` says: comma-separated `REGISTRY=HOST[:PORT][/PATH]`, of each registry at most one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryMirrors(BTreeMap<String, String>);

/// An entry of `SLIPWAY_REGISTRY_MIRRORS` that names no mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no mirror of a registry (docker.io=mirror.example.org:5000, ghcr.io=mirror.example.org/ghcr)")]
pub struct BadMirror(String);

impl FromStr for RegistryMirrors {
    type Err = BadMirror;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut mirrors = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let bad = || BadMirror(entry.to_owned());
            let (registry, mirror) = entry.split_once('=').ok_or_else(bad)?;
            let (registry, mirror) = (registry.trim(), mirror.trim().trim_end_matches('/'));
            let is_host = |host: &str| (host.contains(['.', ':']) || host == "localhost") && !host.contains('/');
            let fits = is_host(registry)
                && is_image(&format!("{registry}/x"))
                && is_host(mirror.split('/').next().unwrap_or_default())
                && is_image(&format!("{mirror}/x"));
            if !fits || mirrors.insert(registry.to_owned(), mirror.to_owned()).is_some() {
                return Err(bad());
            }
        }
        Ok(Self(mirrors))
    }
}

impl RegistryMirrors {
    /// Where a full name is kept, too: `docker.io/library/debian:12` as `mirror.example.org:5000/library/debian:12`.
    pub fn of(&self, name: &str) -> Option<String> {
        let (registry, rest) = name.split_once('/')?;
        self.0.get(registry).map(|mirror| format!("{mirror}/{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_keeps_the_path() {
        let mirrors: RegistryMirrors = "docker.io=m.example:5000, ghcr.io = m.example/ghcr/".parse().expect("read");
        assert_eq!(mirrors.of("docker.io/library/a:1").as_deref(), Some("m.example:5000/library/a:1"));
        assert_eq!(mirrors.of("ghcr.io/b/c:1").as_deref(), Some("m.example/ghcr/b/c:1"));
        assert_eq!(mirrors.of("quay.io/b/c:1"), None);
        assert_eq!(" ".parse(), Ok(RegistryMirrors::default()));
    }

    #[test]
    fn what_is_no_mirror_is_refused() {
        for text in [
            "x",
            "docker.io",
            "docker.io=",
            "=m.example",
            "a=m.example",
            "docker.io=mirror",
            "docker.io=A.b/C",
            "docker.io=https://m.example",
            "docker.io=m.example?x",
            "docker.io=a.b,docker.io=c.d",
            "a.b/c=d.e",
        ] {
            assert!(text.parse::<RegistryMirrors>().is_err(), "{text}");
        }
    }
}
