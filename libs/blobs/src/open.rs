//! From a URL and the process's variables to a store: bounded in time, tries and connections, so that one
//! that is sick takes nobody else along.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::limit::LimitStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::place::{Kind, Place};
use crate::{BlobError, Blobs, Result};

/// One try, from its first byte to its last.
const REQUEST: Duration = Duration::from_secs(10);
/// A connection is made within this time.
const CONNECT: Duration = Duration::from_secs(3);
/// Tries after the first; callers try again themselves, later.
const RETRIES: usize = 1;
/// No further try is begun after this time.
const RETRY_WITHIN: Duration = Duration::from_secs(5);
/// Requests that one process has under way.
const REQUESTS: usize = 32;
/// What may be written.
const KINDS: &str = "write file:///path, s3://bucket, gs://bucket or az://container";

/// The process's variables, as far as they are text.
pub(crate) fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Opens a store.
pub(crate) fn by_url(text: &str, variables: &[(String, String)]) -> Result<Blobs> {
    let url = Url::parse(text).map_err(|error| bad(format!("it does not read as a URL ({error}); {KINDS}")))?;
    if url.scheme() == "file" {
        return folder(&url);
    }
    let kind = match url.scheme() {
        "s3" => Kind::S3,
        "gs" => Kind::Google,
        "az" => Kind::Azure,
        _ => return Err(bad(format!("its kind is not known here; {KINDS}"))),
    };
    let bucket = Bucket::parse(&url)?;
    let (store, endpoint) = match kind {
        Kind::S3 => bucket.s3(variables)?,
        Kind::Google => bucket.google(variables)?,
        Kind::Azure => bucket.azure(variables)?,
    };
    Ok(Blobs { store, place: Arc::new(Place::Bucket { kind, name: bucket.name, endpoint }) })
}

fn folder(url: &Url) -> Result<Blobs> {
    let folder = url.to_file_path().map_err(|()| bad(format!("it names no folder; {KINDS}")))?;
    let shown = folder.display();
    std::fs::create_dir_all(&folder).map_err(|error| bad(format!("folder {shown} cannot be made: {error}")))?;
    let store = LocalFileSystem::new_with_prefix(&folder);
    let store = store.map_err(|error| bad(format!("folder {shown} cannot be used: {error}")))?;
    // An acknowledged log byte must survive a power cut.
    let store = Arc::new(store.with_fsync(true).with_automatic_cleanup(true));
    Ok(Blobs { store, place: Arc::new(Place::Folder(PathBuf::from(&folder))) })
}

/// What the URL says of a bucket.
struct Bucket {
    name: String,
    prefix: Path,
    options: Vec<(String, String)>,
}

/// A store, and where it is when the URL or a variable says so.
type Opened = (Arc<dyn ObjectStore>, Option<String>);

impl Bucket {
    fn parse(url: &Url) -> Result<Self> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("credentials do not belong there; set AWS_ACCESS_KEY_ID or its like".to_owned()));
        }
        let Some(name) = url.host_str().filter(|name| !name.is_empty()) else {
            return Err(bad(format!("it names no bucket; {KINDS}")));
        };
        let prefix = Path::from_url_path(url.path()).map_err(|_| bad("its path is no prefix of names".to_owned()))?;
        let options = url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        Ok(Self { name: name.to_owned(), prefix, options })
    }

    fn s3(&self, variables: &[(String, String)]) -> Result<Opened> {
        let mut builder = AmazonS3Builder::new().with_client_options(client()).with_retry(retries());
        for (name, value) in starting_with(variables, &["AWS_"]) {
            if let Ok(key) = name.parse() {
                builder = builder.with_config(key, value);
            }
        }
        for (key, value) in &self.options {
            builder = match key.as_str() {
                // The stronger of the two, so that the URL wins over any variable.
                "endpoint" => builder.with_config(AmazonS3ConfigKey::S3Endpoint, value),
                "region" => builder.with_region(value),
                "virtual_hosted" => builder.with_config(AmazonS3ConfigKey::VirtualHostedStyleRequest, value),
                other => return Err(unknown(other, "endpoint, region and virtual_hosted")),
            };
        }
        let endpoint = builder
            .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
            .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
        if is_plain(endpoint.as_deref()) {
            builder = builder.with_allow_http(true);
        }
        // Logs stand on it, whatever the variables say.
        let builder = builder.with_bucket_name(&self.name).with_conditional_put(S3ConditionalPut::ETagMatch);
        Ok((self.bounded(builder.build().map_err(refused)?), endpoint))
    }

    fn google(&self, variables: &[(String, String)]) -> Result<Opened> {
        let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client()).with_retry(retries());
        for (name, value) in starting_with(variables, &["GOOGLE_"]) {
            if let Ok(key) = name.parse() {
                builder = builder.with_config(key, value);
            }
        }
        for (key, value) in &self.options {
            builder = match key.as_str() {
                "endpoint" => builder.with_config(GoogleConfigKey::BaseUrl, value),
                other => return Err(unknown(other, "endpoint")),
            };
        }
        let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
        if is_plain(endpoint.as_deref()) {
            let allow = GoogleConfigKey::Client(ClientConfigKey::AllowHttp);
            builder = builder.with_config(allow, "true");
        }
        Ok((self.bounded(builder.with_bucket_name(&self.name).build().map_err(refused)?), endpoint))
    }

    fn azure(&self, variables: &[(String, String)]) -> Result<Opened> {
        let mut builder = MicrosoftAzureBuilder::new().with_client_options(client()).with_retry(retries());
        for (name, value) in starting_with(variables, &["AZURE_", "IDENTITY_ENDPOINT"]) {
            if let Ok(key) = name.parse() {
                builder = builder.with_config(key, value);
            }
        }
        for (key, value) in &self.options {
            builder = match key.as_str() {
                "account" => builder.with_account(value),
                "endpoint" => builder.with_config(AzureConfigKey::Endpoint, value),
                other => return Err(unknown(other, "account and endpoint")),
            };
        }
        let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
        if is_plain(endpoint.as_deref()) {
            builder = builder.with_allow_http(true);
        }
        Ok((self.bounded(builder.with_container_name(&self.name).build().map_err(refused)?), endpoint))
    }

    fn bounded(&self, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
        let limited = LimitStore::new(store, REQUESTS);
        if self.prefix.as_ref().is_empty() {
            Arc::new(limited)
        } else {
            Arc::new(PrefixStore::new(limited, self.prefix.clone()))
        }
    }
}

fn client() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(CONNECT)
}

fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(1),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_WITHIN }
}

/// Variables of one store, with their names as its settings are called.
fn starting_with<'a>(
    variables: &'a [(String, String)],
    starts: &'a [&'a str],
) -> impl Iterator<Item = (String, &'a String)> {
    let ours = move |name: &str| starts.iter().any(|start| name.starts_with(start));
    variables.iter().filter(move |(name, _)| ours(name)).map(|(name, value)| (name.to_ascii_lowercase(), value))
}

fn is_plain(endpoint: Option<&str>) -> bool {
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
}

/// A setting that the store's own library refuses; its words name the setting, not the value.
fn refused(error: object_store::Error) -> BlobError {
    let text = error.to_string();
    let reason = text.split_once("error: ").map_or(text.as_str(), |(_, reason)| reason);
    bad(reason.to_owned())
}

fn unknown(option: &str, known: &str) -> BlobError {
    bad(format!("\"?{option}=\" is not known; here {known} may be set, the rest by variables"))
}

fn bad(reason: String) -> BlobError {
    BlobError::BadUrl(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// URL, variables, what is said of them.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

    fn open(url: &str, variables: &[(&str, &str)]) -> Result<Blobs> {
        let owned: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        by_url(url, &owned)
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];

    #[test]
    fn stores_open_by_url_and_say_where_they_are() {
        let account = ("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg==");
        let cases: [Case<'_>; 6] = [
            ("s3://logs", &KEYS, "bucket \"logs\""),
            ("s3://logs/a/b?endpoint=http://127.0.0.1:9&region=eu-1", &KEYS, "bucket \"logs\" at http://127.0.0.1:9"),
            (
                "s3://logs?endpoint=http://url",
                &[KEYS[0], KEYS[1], ("AWS_ENDPOINT_URL_S3", "http://variable")],
                "bucket \"logs\" at http://url",
            ),
            ("s3://logs", &[KEYS[0], KEYS[1], ("AWS_ENDPOINT_URL", "http://x")], "bucket \"logs\" at http://x"),
            ("gs://logs?endpoint=http://x", &[("GOOGLE_SKIP_SIGNATURE", "true")], "bucket \"logs\" at http://x"),
            ("az://logs?account=ours", &[account], "container \"logs\""),
        ];
        for (url, variables, place) in cases {
            let blobs = open(url, variables).expect(url);
            assert_eq!(blobs.place.to_string(), place, "{url}");
            assert!(!format!("{blobs:?}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn unusable_urls_are_refused_with_what_to_write() {
        let cases: [Case<'_>; 9] = [
            ("s3+x://bucket", &[], "write file:///path"),
            ("nonsense", &[], "write file:///path"),
            ("file://host/x", &[], "names no folder"),
            ("s3:///prefix", &KEYS, "names no bucket"),
            ("s3://key:hunter2@bucket", &[], "AWS_ACCESS_KEY_ID"),
            ("s3://bucket?secret_access_key=hunter2", &[], "\"?secret_access_key=\" is not known"),
            ("s3://bucket", &[("AWS_ACCESS_KEY_ID", "key")], "SecretAccessKey"),
            ("az://bucket", &[], "Account"),
            ("gs://bucket", &[("GOOGLE_SERVICE_ACCOUNT_KEY", "hunter2")], ""),
        ];
        for (url, variables, expected) in cases {
            let error = open(url, variables).expect_err(url).to_string();
            assert!(error.starts_with("blob URL: ") && error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }
}
