//! What every store promises, on each of them; and what only one that is far away can do wrong.

use std::time::Duration;

use bytes::Bytes;
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use slipway_runtime::ids::{new_id, random_bytes};
use url::Url;

use crate::{BlobError, Blobs, Mark, Put, SegmentKey, open};

/// A bucket, and where more of them are made.
const VARIABLES: [&str; 2] = ["TEST_S3_URL", "TEST_S3_CONTROL"];

/// An empty store.
struct Store {
    blobs: Blobs,
    _folder: Option<tempfile::TempDir>,
}

/// A bucket of a test's own on the shared server.
struct Bucket {
    name: String,
    url: String,
    control: String,
}

fn folder() -> Store {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::from_file_path(folder.path().join("not/yet/there")).expect("a URL");
    Store { blobs: Blobs::from_url(url.as_str()).expect("it opens"), _folder: Some(folder) }
}

/// `None` where no server is and none is required.
async fn s3() -> Option<Store> {
    let bucket = Bucket::make().await?;
    Some(Store { blobs: Blobs::from_url(&bucket.url).expect("it opens"), _folder: None })
}

impl Bucket {
    async fn make() -> Option<Self> {
        let [url, control] = VARIABLES.map(|name| std::env::var(name).unwrap_or_default());
        if url.is_empty() || control.is_empty() {
            let required = std::env::var("REQUIRE_BACKENDS").is_ok_and(|value| value == "1");
            assert!(!required, "{VARIABLES:?} are not set although REQUIRE_BACKENDS=1; run the tests by `make test`");
            eprintln!("SKIPPED: {VARIABLES:?} are not set; run the tests by `make test`");
            return None;
        }
        let name = format!("t{}", random_bytes::<8>().map(|byte| format!("{byte:02x}")).concat());
        let mut ours = Url::parse(&url).expect("a URL");
        ours.set_host(Some(&name)).expect("a name");
        let bucket = Self { name, url: ours.to_string(), control };
        bucket.tell(reqwest::Method::PUT, &format!("buckets/{}", bucket.name)).await;
        Some(bucket)
    }

    async fn harm(&self, fault: &str) {
        self.tell(reqwest::Method::PUT, &format!("faults/{}/{fault}", self.name)).await;
    }

    async fn heal(&self) {
        self.tell(reqwest::Method::DELETE, &format!("faults/{}", self.name)).await;
    }

    async fn tell(&self, method: reqwest::Method, path: &str) {
        let told = reqwest::Client::new().request(method, format!("{}/{path}", self.control)).send().await;
        assert!(told.expect("the server answers").status().is_success(), "{path}");
    }
}

fn key(epoch: i64, start: i64) -> SegmentKey {
    let attempt = AttemptRef { job: JobId::from(uuid::Uuid::from_u128(0xab)), epoch };
    SegmentKey { attempt, start, mark: Some(Mark::of(b"a hash of a token")) }
}

fn text(words: &'static str) -> Bytes {
    Bytes::from_static(words.as_bytes())
}

async fn a_segment_is_written_once(Store { blobs, .. }: &Store) {
    assert_eq!(blobs.put_segment(key(1, 0), text("first")).await.expect("put"), Put::Created);
    assert_eq!(blobs.put_segment(key(1, 0), text("second")).await.expect("put"), Put::AlreadyExists);
    assert_eq!(blobs.get_segment(key(1, 0)).await.expect("get"), text("first"));
    assert!(matches!(blobs.get_segment(key(1, 5)).await, Err(BlobError::NotFound(_))));
    for mark in [None, Some(Mark::of(b"another"))] {
        let other = SegmentKey { mark, ..key(1, 0) };
        assert!(matches!(blobs.get_segment(other).await, Err(BlobError::NotFound(_))), "{mark:?}");
        assert_eq!(blobs.put_segment(other, text("other")).await.expect("put"), Put::Created, "{mark:?}");
    }
    assert_eq!(blobs.get_segment(key(1, 0)).await.expect("get"), text("first"));
}

async fn of_many_writers_one_wins(Store { blobs, .. }: &Store) {
    for start in 0..4 {
        let puts = (0..16u8).map(|writer| blobs.put_segment(key(1, start), Bytes::from(vec![writer; 10_000])));
        let results = futures_util::future::try_join_all(puts).await.expect("put");
        assert_eq!(results.iter().filter(|put| **put == Put::Created).count(), 1);
        let winner = results.iter().position(|put| *put == Put::Created).expect("one");
        assert_eq!(blobs.get_segment(key(1, start)).await.expect("get"), vec![winner as u8; 10_000]);
    }
}

async fn empty_and_large_objects_come_back_whole(Store { blobs, .. }: &Store) {
    let large: Bytes = (0..5_000_000u32).map(|at| (at % 251) as u8).collect();
    for (start, bytes) in [(0, Bytes::new()), (1, large)] {
        assert_eq!(blobs.put_segment(key(1, start), bytes.clone()).await.expect("put"), Put::Created);
        assert!(blobs.get_segment(key(1, start)).await.expect("get") == bytes, "{} bytes", bytes.len());
    }
}

async fn an_archive_is_whole_or_not_there(Store { blobs, .. }: &Store) {
    let (attempt, mark) = (key(1, 0).attempt, Mark::of(b"a hash of a token"));
    let put =
        |bytes: Vec<Result<Bytes, BlobError>>| blobs.put_archive(attempt, mark, futures_util::stream::iter(bytes));
    let broken = || Err(BlobError::NotFound("a segment".to_owned()));
    let part: Bytes = (0..6_000_000u32).map(|at| (at % 251) as u8).collect();
    for before in [vec![Ok(text("a"))], vec![Ok(part.clone()), Ok(part.clone())]] {
        let broken = put(before.into_iter().chain([broken()]).collect()).await;
        assert!(matches!(broken, Err(BlobError::NotFound(_))));
        assert!(matches!(blobs.archive_range(attempt, mark, 0..3).await, Err(BlobError::NotFound(_))));
    }

    put(vec![Ok(text("one")), Ok(text("two"))]).await.expect("put");
    assert_eq!(blobs.archive_range(attempt, mark, 2..5).await.expect("range"), text("etw"));
    for _ in 0..2 {
        put(vec![Ok(part.clone()), Ok(text("middle")), Ok(part.clone()), Ok(part.clone())]).await.expect("put");
        let range = 5_999_999..6_000_008;
        let found = blobs.archive_range(attempt, mark, range).await.expect("range");
        assert_eq!(found, [&part[5_999_999..], b"middle", &part[..2]].concat());
        assert_eq!(blobs.archive_range(attempt, mark, 18_000_003..18_000_006).await.expect("range"), part[5_999_997..]);
    }
    for behind in [18_000_007..18_000_010, 17_999_999..18_000_010] {
        assert!(matches!(blobs.archive_range(attempt, mark, behind).await, Err(BlobError::NotFound(_)) | Ok(_)));
    }
    assert_eq!(blobs.delete_log(attempt).await.expect("delete"), 1);
    assert!(matches!(blobs.archive_range(attempt, mark, 0..3).await, Err(BlobError::NotFound(_))));
}

async fn a_deleted_log_is_gone_and_its_neighbour_stays(Store { blobs, .. }: &Store) {
    let other = SegmentKey { attempt: AttemptRef { job: new_id(), epoch: 1 }, ..key(1, 0) };
    for key in [key(1, 0), key(1, 10), key(11, 0), other] {
        blobs.put_segment(key, text("x")).await.expect("put");
    }
    assert_eq!(blobs.delete_log(key(1, 0).attempt).await.expect("delete"), 2);
    assert_eq!(blobs.delete_log(key(1, 0).attempt).await.expect("delete again"), 0);
    assert!(matches!(blobs.get_segment(key(1, 10)).await, Err(BlobError::NotFound(_))));
    assert!(blobs.get_segment(key(11, 0)).await.is_ok());
    assert!(blobs.get_segment(other).await.is_ok());
    blobs.delete_segment(other).await.expect("delete");
    blobs.delete_segment(other).await.expect("delete again");
}

async fn bodies_of_deliveries_are_found_by_their_age(Store { blobs, .. }: &Store) {
    let (one, other) = (new_id(), new_id());
    blobs.put_body(one, text("body")).await.expect("put");
    blobs.put_body(other, text("other")).await.expect("put");
    assert_eq!(blobs.get_body(one).await.expect("get"), text("body"));
    let now = slipway_runtime::clock::Clock::system().now();
    let hour = chrono::TimeDelta::hours(1);
    assert_eq!(blobs.old_bodies(now - hour, 10).await.expect("list"), []);
    assert_eq!(blobs.old_bodies(now + hour, 1).await.expect("list").len(), 1);
    let mut old = blobs.old_bodies(now + hour, 10).await.expect("list");
    old.sort_unstable();
    assert_eq!(old, [one, other]);
    for _ in 0..2 {
        blobs.delete_body(one).await.expect("delete");
    }
    assert!(matches!(blobs.get_body(one).await, Err(BlobError::NotFound(_))));
    assert_eq!(blobs.old_bodies(now + hour, 10).await.expect("list"), [other]);
}

async fn a_good_store_is_found_good(Store { blobs, .. }: &Store) {
    for _ in 0..2 {
        blobs.check().await.expect("it answers");
        blobs.prove_write_once().await.expect("it writes once");
    }
}

macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod on_folder {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&super::folder()).await;
            })+
        }

        mod on_s3 {
            $(#[tokio::test]
            async fn $test() {
                if let Some(store) = super::s3().await {
                    super::$test(&store).await;
                }
            })+
        }
    };
}

on_every_store!(
    a_segment_is_written_once,
    of_many_writers_one_wins,
    empty_and_large_objects_come_back_whole,
    an_archive_is_whole_or_not_there,
    a_deleted_log_is_gone_and_its_neighbour_stays,
    a_good_store_is_found_good,
    bodies_of_deliveries_are_found_by_their_age,
);

/// What a call failed with, which must name the bucket and no credential.
fn told<T: std::fmt::Debug>(result: Result<T, BlobError>, bucket: &Bucket) -> String {
    let told = result.expect_err("it fails").to_string();
    assert!(told.contains(&format!("bucket \"{}\" at http://127.0.0.1:", bucket.name)), "{told}");
    for secret in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(!told.contains(&std::env::var(secret).expect("set with the server")), "{told}");
    }
    told
}

#[tokio::test]
async fn a_store_that_is_unavailable_heals() {
    let Some(bucket) = Bucket::make().await else { return };
    let blobs = Blobs::from_url(&bucket.url).expect("it opens");
    blobs.put_segment(key(1, 0), text("before")).await.expect("put");
    bucket.harm("unavailable").await;
    let expected = "answers 503 Service Unavailable SlowDown";
    for error in [
        told(blobs.put_segment(key(1, 1), text("x")).await, &bucket),
        told(blobs.get_segment(key(1, 0)).await, &bucket),
        told(blobs.delete_segment(key(1, 0)).await, &bucket),
        told(blobs.delete_log(key(1, 0).attempt).await, &bucket),
        told(blobs.check().await, &bucket),
    ] {
        assert!(error.contains(expected), "{error}");
    }
    bucket.heal().await;
    blobs.check().await.expect("it answers");
    assert_eq!(blobs.get_segment(key(1, 0)).await.expect("get"), text("before"));
    assert_eq!(blobs.put_segment(key(1, 1), text("x")).await.expect("put"), Put::Created);
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_found_again() {
    let Some(bucket) = Bucket::make().await else { return };
    let blobs = Blobs::from_url(&bucket.url).expect("it opens");
    bucket.harm("lost").await;
    blobs.put_segment(key(1, 0), text("ours")).await.expect_err("nobody knows");
    bucket.heal().await;
    assert_eq!(blobs.put_segment(key(1, 0), text("ours, longer")).await.expect("put"), Put::AlreadyExists);
    assert_eq!(blobs.get_segment(key(1, 0)).await.expect("get"), text("ours"));
}

#[tokio::test]
async fn a_put_that_ran_into_another_is_not_taken_for_one_that_exists() {
    let Some(bucket) = Bucket::make().await else { return };
    let blobs = Blobs::from_url(&bucket.url).expect("it opens");
    bucket.harm("conflict").await;
    let error = told(blobs.put_segment(key(1, 0), text("x")).await, &bucket);
    assert!(error.contains("is just being written by another process"), "{error}");
}

#[tokio::test]
async fn a_store_that_says_nothing_is_not_waited_for() {
    let Some(bucket) = Bucket::make().await else { return };
    let blobs = Blobs::from_url(&bucket.url).expect("it opens");
    bucket.harm("silent").await;
    let checked = tokio::time::timeout(Duration::from_secs(5), blobs.check()).await.expect("it ends");
    let error = told(checked, &bucket);
    assert!(error.contains("did not answer within 1.5s"), "{error}");
    bucket.heal().await;
}

#[tokio::test]
async fn misconfigurations_are_told_in_words() {
    let Some(bucket) = Bucket::make().await else { return };
    let with = |name: &str, value: &str| {
        let mut variables = open::variables();
        variables.retain(|(found, _)| found != name);
        variables.push((name.to_owned(), value.to_owned()));
        open::by_url(&bucket.url, &variables).expect("it opens")
    };
    let wrong = [
        (with("AWS_SECRET_ACCESS_KEY", "wrong"), "refuses the credentials (SignatureDoesNotMatch)"),
        (with("AWS_ACCESS_KEY_ID", "wrong"), "; check AWS_ACCESS_KEY_ID"),
    ];
    for (blobs, expected) in wrong {
        for error in [told(blobs.check().await, &bucket), told(blobs.put_segment(key(1, 0), text("x")).await, &bucket)]
        {
            assert!(error.contains(expected), "{error}");
        }
    }
    let missing = Bucket { name: "nobody-made-it".to_owned(), url: String::new(), control: String::new() };
    let blobs = Blobs::from_url(&bucket.url.replace(&bucket.name, &missing.name)).expect("it opens");
    for error in [
        told(blobs.check().await, &missing),
        told(blobs.get_segment(key(1, 0)).await, &missing),
        told(blobs.put_segment(key(1, 0), text("x")).await, &missing),
        told(blobs.delete_log(key(1, 0).attempt).await, &missing),
    ] {
        assert!(error.contains("does not exist; make it, or correct SLIPWAY_BLOB_URL"), "{error}");
    }
    let mut nowhere = Url::parse(&bucket.url).expect("a URL");
    nowhere.set_query(Some("endpoint=http://127.0.0.1:1"));
    let blobs = Blobs::from_url(nowhere.as_str()).expect("it opens");
    let error = told(blobs.check().await, &bucket);
    assert!(error.contains("cannot be reached") && error.contains("refused"), "{error}");
}

#[tokio::test]
async fn installations_share_a_bucket_by_prefixes() {
    let Some(bucket) = Bucket::make().await else { return };
    let at = |prefix: &str| {
        let mut url = Url::parse(&bucket.url).expect("a URL");
        url.set_path(prefix);
        Blobs::from_url(url.as_str()).expect("it opens")
    };
    let (ours, theirs) = (at("/ours"), at("/theirs/deep"));
    ours.put_segment(key(1, 0), text("ours")).await.expect("put");
    assert_eq!(theirs.put_segment(key(1, 0), text("theirs")).await.expect("put"), Put::Created);
    assert_eq!(theirs.delete_log(key(1, 0).attempt).await.expect("delete"), 1);
    assert_eq!(ours.get_segment(key(1, 0)).await.expect("get"), text("ours"));
}

#[tokio::test]
async fn a_folder_that_is_gone_is_not_an_object_that_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("blobs");
    let blobs = Blobs::from_url(Url::from_file_path(&root).expect("a URL").as_str()).expect("it opens");
    std::fs::remove_dir_all(&root).expect("removed");
    let error = blobs.check().await.expect_err("it is gone").to_string();
    assert!(error.contains("is gone; mount or restore it"), "{error}");
    assert!(matches!(blobs.get_segment(key(1, 0)).await, Err(BlobError::Storage(_))));
}
