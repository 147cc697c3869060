//! Logs that outlive their builder.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use slipway_domain::attempt::AttemptRef;
use slipway_domain::ids::JobId;
use slipway_logfmt::chunk::{Chunk, Span, Stream};
use slipway_runtime::clock::Clock;
use slipway_runtime::ids::new_id;
use slipway_runtime::lifecycle::Life;

use super::engine;
use super::fake::{ATTEMPT_TOKEN, Fake};
use crate::spool::{Owner, Spool};

#[tokio::test]
async fn a_restarted_builder_sends_the_rest_and_clears_the_old_workspace() {
    let (life, dir) = (Life::new(), tempfile::tempdir().expect("a folder"));
    let attempt = AttemptRef { job: new_id::<JobId>(), epoch: 3 };
    let home = dir.path().join("builder");
    let folder = home.join("spool").join(attempt.to_string());
    let mut spool = Spool::create(&folder, &Owner { attempt, token: ATTEMPT_TOKEN.to_owned() }).expect("made");
    let bytes = Bytes::from_static(b"the last line before the crash\n");
    let len = u32::try_from(bytes.len()).expect("short");
    let span = Span { len, step: 1, stream: Stream::Stdout, at: Clock::system().now() };
    spool.append(&Chunk { offset: 0, bytes: bytes.clone(), spans: vec![span] }).expect("appends");
    drop(spool);
    std::fs::create_dir_all(home.join("work").join(attempt.to_string()).join("source")).expect("made");

    let fake = Fake::start(&life).await;
    let (socket, _engine) = engine::start(&life, dir.path());
    let _builder = fake.builder(&life, dir.path(), &socket).await;
    fake.until("the end of the log", |told| !told.log_ends.is_empty()).await;
    fake.with(|told| {
        assert_eq!(told.log, bytes);
        assert_eq!(told.log_ends.first().map(|end| end.sha256.clone()), Some(hex::encode(Sha256::digest(&bytes))));
        assert!(told.sessions.iter().all(|open| open.held.is_empty()), "it was not built on");
    });
    assert_eq!(std::fs::read_dir(home.join("work")).expect("there").count(), 0);
}
