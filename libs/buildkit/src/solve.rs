//! What to build, in BuildKit's terms: the attributes of its Dockerfile frontend, version 0.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;

use bollard_buildkit_proto::moby::buildkit::v1::{CacheOptions, CacheOptionsEntry, SolveRequest};
use bytes::Bytes;
use slipway_domain::agent::RegistryLogin;
use slipway_domain::spec::NetworkMode;

use crate::error::SolveError;
use crate::session::definition;
use crate::tokens::Tokens;

/// Longest secret that an engine takes: its messages end at 4 MiB, with their frame.
pub const MAX_SECRET_BYTES: usize = 4_190_000;
/// Largest request that an engine takes; arguments and labels make it long.
const MAX_REQUEST_BYTES: usize = 4 << 20;
/// What reads the Dockerfile.
const FRONTEND: &str = "dockerfile.v0";
/// A cache in an image of its own.
pub(crate) const REGISTRY_CACHE: &str = "registry";
/// The host under which an engine finds what its session uploads (moby's `session/upload`).
const SESSION_URL: &str = "http://buildkit-session/";

/// One build.
#[derive(Clone)]
pub struct Solve {
    /// The context: a tar, or a gzipped one, with the Dockerfile in it. Read from disk while it is sent.
    pub context: PathBuf,
    /// Where the Dockerfile lies in the context.
    pub dockerfile: String,
    /// Its text where it is not that of the context, of which the steps see what is there.
    pub definition: Option<Bytes>,
    /// The stage to build; the last one unless set.
    pub target: Option<String>,
    /// Build arguments. They stand in the engine's words about steps, and in the image's history.
    pub args: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Builds every step anew.
    pub no_cache: bool,
    /// Asks registries for base images also where the engine has one of the name. Without a registry it fails.
    pub pull: bool,
    /// Network of RUN steps.
    pub network: NetworkMode,
    /// More names for the steps' `/etc/hosts`.
    pub hosts: BTreeMap<String, IpAddr>,
    /// Images whose inline cache is looked at.
    pub cache_from: Vec<String>,
    /// Writes what made each layer into the image, for the `cache_from` of others.
    pub inline_cache: bool,
    /// An image, `host/path:tag`, that gets what every step made, those of other stages included, for the `cache_from` of
    /// others. Only an engine that [`crate::client::BuildKit::keeps_caches`] builds with it.
    pub cache_to: Option<String>,
    /// Secrets of `RUN --mount=type=secret`, by id. An empty one counts as missing.
    pub secrets: BTreeMap<String, Bytes>,
    /// Logins for the registries of base images.
    pub logins: Vec<RegistryLogin>,
    /// Who fetches tokens with them; unless set, nobody.
    pub tokens: Tokens,
    /// What becomes of the result.
    pub export: Export,
    /// Where progress may wait on disk for its reader, in a file without a name.
    pub scratch: PathBuf,
    /// The most bytes of progress that may wait there. Beyond it the build fails.
    pub scratch_max_bytes: u64,
}

/// What becomes of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    /// Nothing: the steps are only run.
    Nothing,
    /// An image in the Docker engine's store, under this one name. Also a build that is cancelled may write it, when
    /// the cancel comes late; the name is to be removed in any case.
    Image(String),
}

/// What came out of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solved {
    /// The image's id, `sha256:…`, if an image was asked for.
    pub image: Option<String>,
    /// The digest of the cache that was pushed, if one was asked for and the engine names it.
    pub cache: Option<String>,
    /// Everything that the exporter says.
    pub exported: BTreeMap<String, String>,
}

impl Solve {
    /// A build of the last stage with nothing special about it.
    pub fn new(context: PathBuf, scratch: PathBuf, export: Export) -> Self {
        Self {
            context,
            dockerfile: "Dockerfile".to_owned(),
            definition: None,
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            no_cache: false,
            pull: false,
            network: NetworkMode::Default,
            hosts: BTreeMap::new(),
            cache_from: Vec::new(),
            inline_cache: false,
            cache_to: None,
            secrets: BTreeMap::new(),
            logins: Vec::new(),
            tokens: Tokens::default(),
            export,
            scratch,
            scratch_max_bytes: 8 << 30,
        }
    }

    /// The request under this reference, whose context is uploaded by this session under this key.
    pub(crate) fn request(&self, reference: &str, session: &str, key: &str) -> Result<SolveRequest, SolveError> {
        use prost::Message as _;
        self.check()?;
        let inline = self.inline_cache.then(inline_cache);
        let kept = self.cache_to.as_ref().map(|image| cache_at_registry(Some(image)));
        let (exporter, attributes) = match &self.export {
            Export::Nothing => (String::new(), HashMap::new()),
            Export::Image(name) => ("moby".to_owned(), HashMap::from([("name".to_owned(), name.clone())])),
        };
        let request = SolveRequest {
            r#ref: reference.to_owned(),
            session: session.to_owned(),
            frontend: FRONTEND.to_owned(),
            frontend_attrs: self.attributes(key),
            // Engines of API 1.41 ignore the list of exporters that took the place of these.
            exporter_deprecated: exporter,
            exporter_attrs_deprecated: attributes,
            cache: Some(CacheOptions { exports: inline.into_iter().chain(kept).collect(), ..CacheOptions::default() }),
            ..SolveRequest::default()
        };
        if request.encoded_len() > MAX_REQUEST_BYTES {
            let text = format!("arguments and labels are longer than {MAX_REQUEST_BYTES} bytes together");
            return Err(SolveError::Invalid(text));
        }
        Ok(request)
    }

    fn attributes(&self, key: &str) -> HashMap<String, String> {
        let mut attributes: HashMap<String, String> = HashMap::from([
            ("context".to_owned(), format!("{SESSION_URL}{key}")),
            ("filename".to_owned(), self.dockerfile.clone()),
        ]);
        let mut set = |name: &str, value: String| drop(attributes.insert(name.to_owned(), value));
        self.args.iter().for_each(|(name, value)| set(&format!("build-arg:{name}"), value.clone()));
        self.labels.iter().for_each(|(name, value)| set(&format!("label:{name}"), value.clone()));
        if self.definition.is_some() {
            set("dockerfilekey", definition::FOLDER.to_owned());
        }
        if let Some(target) = &self.target {
            set("target", target.clone());
        }
        if self.no_cache {
            // Of all stages; otherwise names of stages stand here.
            set("no-cache", String::new());
        }
        if self.pull {
            set("image-resolve-mode", "pull".to_owned());
        }
        match self.network {
            NetworkMode::Default => {}
            NetworkMode::None => set("force-network-mode", "none".to_owned()),
        }
        if !self.hosts.is_empty() {
            let hosts: Vec<String> = self.hosts.iter().map(|(name, address)| format!("{name}={address}")).collect();
            set("add-hosts", hosts.join(","));
        }
        if !self.cache_from.is_empty() {
            set("cache-from", self.cache_from.join(","));
        }
        attributes
    }

    /// Refuses what an engine would silently take for something else.
    fn check(&self) -> Result<(), SolveError> {
        let invalid = |text: String| Err(SolveError::Invalid(text));
        if let Some((id, _)) = self.secrets.iter().find(|(_, value)| value.len() > MAX_SECRET_BYTES) {
            return invalid(format!("the secret {id} is longer than {MAX_SECRET_BYTES} bytes"));
        }
        if let Some(name) = self.hosts.keys().find(|name| name.is_empty() || name.contains([',', '='])) {
            return invalid(format!("{name:?} is no name of a host"));
        }
        if let Some(name) = self.cache_from.iter().find(|name| name.is_empty() || name.contains(',')) {
            return invalid(format!("{name:?} is no name of an image"));
        }
        match &self.export {
            Export::Image(name) if name.is_empty() || name.contains(',') => {
                invalid(format!("{name:?} is no name of an image"))
            }
            Export::Image(_) | Export::Nothing => Ok(()),
        }
    }
}

/// All layers of all stages, in an image of their own; as an image's manifest, which more registries take than an index.
fn cache_at_registry(image: Option<&String>) -> CacheOptionsEntry {
    let fixed = [("mode", "max"), ("oci-mediatypes", "true"), ("image-manifest", "true")];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let named = image.map(|image| ("ref".to_owned(), image.clone()));
    CacheOptionsEntry { r#type: REGISTRY_CACHE.to_owned(), attrs: fixed.into_iter().chain(named).collect() }
}

fn inline_cache() -> CacheOptionsEntry {
    CacheOptionsEntry { r#type: "inline".to_owned(), ..CacheOptionsEntry::default() }
}

/// A request whose answer tells whether an engine keeps caches in registries: it does not say where, so that one that could
/// refuses that, before it builds anything.
pub(crate) fn question_for_caches(reference: &str) -> SolveRequest {
    let exports = vec![cache_at_registry(None)];
    SolveRequest {
        r#ref: reference.to_owned(),
        frontend: FRONTEND.to_owned(),
        cache: Some(CacheOptions { exports, ..CacheOptions::default() }),
        ..SolveRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solve() -> Solve {
        Solve::new("/c.tar".into(), "/tmp".into(), Export::Image("a:1".to_owned()))
    }

    #[test]
    fn a_request_has_the_frontends_attributes() {
        let word = |text: &str| text.to_owned();
        let solve = Solve {
            definition: Some(Bytes::from_static(b"FROM x")),
            target: Some(word("t")),
            args: [(word("A"), word("x=y"))].into(),
            labels: [(word("l"), word("m"))].into(),
            no_cache: true,
            pull: true,
            network: NetworkMode::None,
            hosts: [(word("h"), IpAddr::from([1, 2, 3, 4])), (word("i"), IpAddr::from([0; 16]))].into(),
            cache_from: vec![word("r/a:1"), word("r/b:1")],
            inline_cache: true,
            cache_to: Some(word("r/a:cache")),
            ..solve()
        };
        let request = solve.request("ref", "session", "key").expect("a request");
        let attributes: BTreeMap<&str, &str> =
            request.frontend_attrs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = BTreeMap::from([
            ("context", "http://buildkit-session/key"),
            ("filename", "Dockerfile"),
            ("dockerfilekey", "dockerfile"),
            ("target", "t"),
            ("build-arg:A", "x=y"),
            ("label:l", "m"),
            ("no-cache", ""),
            ("image-resolve-mode", "pull"),
            ("force-network-mode", "none"),
            ("add-hosts", "h=1.2.3.4,i=::"),
            ("cache-from", "r/a:1,r/b:1"),
        ]);
        assert_eq!(attributes, expected);
        assert_eq!((request.r#ref.as_str(), request.session.as_str()), ("ref", "session"));
        assert_eq!((request.exporter_deprecated.as_str(), request.exporter_attrs_deprecated.len()), ("moby", 1));
        let exports = request.cache.expect("cache").exports;
        assert_eq!(exports.iter().map(|export| export.r#type.as_str()).collect::<Vec<_>>(), ["inline", "registry"]);
        let kept: BTreeMap<&str, &str> =
            exports[1].attrs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            kept,
            BTreeMap::from([
                ("ref", "r/a:cache"),
                ("mode", "max"),
                ("oci-mediatypes", "true"),
                ("image-manifest", "true"),
            ])
        );
    }

    #[test]
    fn what_would_be_misunderstood_is_refused() {
        let word = |text: &str| text.to_owned();
        let cases = [
            Solve { export: Export::Image(word("a:1,b:1")), ..solve() },
            Solve { cache_from: vec![word("a,b")], ..solve() },
            Solve { hosts: [(word("a=b"), IpAddr::from([1; 4]))].into(), ..solve() },
            Solve { secrets: [(word("s"), Bytes::from(vec![0; MAX_SECRET_BYTES + 1]))].into(), ..solve() },
            Solve { args: [(word("A"), "x".repeat(MAX_REQUEST_BYTES))].into(), ..solve() },
        ];
        for (at, case) in cases.into_iter().enumerate() {
            assert!(matches!(case.request("r", "s", "k"), Err(SolveError::Invalid(_))), "{at}");
        }
    }
}
