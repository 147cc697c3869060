//! Files in LFS, from servers that do well and badly.

mod fake;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use self::fake::{GIVEN, Lfs, Way, id, pointer};
use super::*;
use crate::tests::tls::Front;

/// How long a test waits for what does not end.
const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn contents_come_in_place_of_their_pointers_each_once() {
    let lfs = Lfs::start().await;
    let (one, two) = (b"content one".to_vec(), vec![7; 300_000]);
    let first = lfs.file("a.bin", &one, Way::Good(one.clone()));
    let again = lfs.file("deep/b.bin", &one, Way::Good(one.clone()));
    let script = lfs.file("deep/run", &one, Way::Good(one.clone()));
    let large = lfs.file("large", &two, Way::Good(two.clone()));
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    // As a kept repository has it: the pointer is a further name of a file that must stay what it is.
    let kept = lfs.dir.path().join("kept");
    std::fs::hard_link(&again, &kept).expect("a name");
    let mode = |path: &Path| path.metadata().expect("there").mode() & 0o777;
    let modes = [&first, &again, &script, &large].map(|path| mode(path));

    let (fetched, log) = lfs.fetch(true, &CancellationToken::new()).await;
    fetched.expect("fetched");
    for (path, bytes) in [(&first, &one), (&again, &one), (&script, &one), (&large, &two)] {
        assert_eq!(&std::fs::read(path).expect("there"), bytes, "{}", path.display());
    }
    assert_eq!([&first, &again, &script, &large].map(|path| mode(path)), modes);
    assert_eq!(std::fs::read_to_string(&kept).expect("there"), pointer(&one));
    assert!(log.contains("LFS: 4 files of the repository, 292.9 KiB, from localhost"), "{log}");
    let (seen, asked) = lfs.with(|shown| (shown.seen.clone(), shown.asked.clone()));
    assert_eq!((seen.iter().filter(|(path, ..)| path == "content").count(), asked), (2, vec![2]));
    // The first is asked with the connection's credential; the place is of its origin, and gets its own headers, too.
    assert!(seen.iter().all(|(_, login, _)| login.starts_with("Basic ")), "{seen:?}");
    assert!(seen.iter().all(|(path, _, given)| (path == "content") == (given == GIVEN)), "{seen:?}");

    let (fetched, log) = lfs.fetch(true, &CancellationToken::new()).await;
    assert!(fetched.is_ok() && log.contains("No file is a pointer to LFS."), "{log}");
}

#[tokio::test]
async fn more_than_a_hundred_are_asked_for_in_turns() {
    let lfs = Lfs::start().await;
    let files: Vec<(PathBuf, Vec<u8>)> = (0..101_u32)
        .map(|number| {
            let bytes = number.to_le_bytes().to_vec();
            (lfs.file(&format!("f{number}"), &bytes, Way::Good(bytes.clone())), bytes)
        })
        .collect();
    lfs.fetch(false, &CancellationToken::new()).await.0.expect("fetched");
    assert!(files.iter().all(|(path, bytes)| std::fs::read(path).is_ok_and(|found| found == *bytes)));
    assert_eq!(lfs.with(|shown| shown.asked.clone()), [100, 1]);
}

#[tokio::test]
async fn each_trouble_has_its_class_and_names_the_file() {
    use FailureClass::*;
    let lfs = Lfs::start().await;
    let bytes = b"wanted".to_vec();
    let place = lfs.place(&bytes);
    for (way, class) in [
        (Way::Says(404), CommitMissing),
        (Way::Says(410), CommitMissing),
        (Way::Unsaid, CommitMissing),
        (Way::Nowhere, CommitMissing),
        (Way::Says(403), SourceAuth),
        (Way::Says(429), RateLimited),
        (Way::Says(500), SourceUnreachable),
        (Way::Answers(404), CommitMissing),
        (Way::Answers(401), SourceAuth),
        (Way::Answers(403), SourceAuth),
        (Way::Answers(429), RateLimited),
        (Way::Answers(503), SourceUnreachable),
        (Way::Good(b"others".to_vec()), SourceUnreachable),
        (Way::Good(b"short".to_vec()), SourceUnreachable),
        (Way::Good(b"wanted and more".to_vec()), SourceUnreachable),
        (Way::Endless, SourceUnreachable),
        (Way::At("https://10.0.0.1/x".to_owned()), SourceForbidden),
        (Way::At("http://127.0.0.1:1/x".to_owned()), SourceForbidden),
        (Way::At("file:///etc/passwd".to_owned()), SourceForbidden),
        (Way::At("/relative".to_owned()), SourceForbidden),
        (Way::At("http://me:pw@localhost/x".to_owned()), SourceForbidden),
        (Way::SendsTo("http://169.254.169.254/latest".to_owned()), SourceForbidden),
        (Way::SendsTo("file:///etc/passwd".to_owned()), SourceForbidden),
        (Way::SendsTo(place), SourceForbidden),
    ] {
        let failure = lfs.refused(&bytes, way.clone()).await;
        assert_eq!(failure.class, class, "{way:?}: {failure:?}");
        assert!(failure.message.contains("a.bin") && failure.message.contains(&id(&bytes)), "{way:?}: {failure:?}");
    }
}

#[tokio::test]
async fn a_server_that_has_no_lfs_or_wants_another_login_says_so() {
    use FailureClass::*;
    let lfs = Lfs::start().await;
    for (status, class) in [
        (404, SourceMissing),
        (401, SourceAuth),
        (403, SourceAuth),
        (302, SourceMissing),
        (429, RateLimited),
        (500, SourceUnreachable),
        (422, BuildRejected),
    ] {
        lfs.with(|shown| shown.batch_status = Some(status));
        let failure = lfs.refused(b"x", Way::Says(404)).await;
        assert_eq!(failure.class, class, "{failure:?}");
        assert!(failure.message.contains(&status.to_string()), "{failure:?}");
    }
    lfs.with(|shown| (shown.batch_status, shown.wants_login) = (None, true));
    let (fetched, _) = lfs.fetch(false, &CancellationToken::new()).await;
    assert_eq!(fetched.expect_err("no login").class, SourceAuth);
    assert_eq!(lfs.with(|shown| shown.seen.last().cloned()).map(|(_, login, _)| login).as_deref(), Some(""));
    for url in ["ssh://git@localhost/team/app.git", "git@localhost:team/app.git"] {
        let (fetched, _) = lfs.fetch_from(url, (true, 1 << 20), &CancellationToken::new()).await;
        let failure = fetched.expect_err("over ssh");
        assert!(failure.class == SourceForbidden && failure.advice().contains("https clone URL"), "{failure:?}");
    }
    let (fetched, _) = lfs.fetch_from("https://10.1.2.3/x.git", (true, 1 << 20), &CancellationToken::new()).await;
    assert_eq!(fetched.expect_err("private").class, SourceForbidden);
}

#[tokio::test]
async fn no_other_origin_sees_a_credential_or_what_a_place_was_given() {
    let (lfs, storage) = (Lfs::start().await, Lfs::start().await);
    let (near, far) = (b"near".to_vec(), b"far away".to_vec());
    storage.with(|shown| shown.ways.insert(id(&near), Way::Good(near.clone())));
    storage.with(|shown| shown.ways.insert(id(&far), Way::Good(far.clone())));
    let first = lfs.file("a", &near, Way::At(storage.place(&near)));
    let second = lfs.file("b", &far, Way::SendsTo(storage.place(&far)));
    lfs.fetch(true, &CancellationToken::new()).await.0.expect("fetched");
    assert_eq!((std::fs::read(first).expect("there"), std::fs::read(second).expect("there")), (near, far));
    let seen = storage.with(|shown| shown.seen.clone());
    let nothing =
        |(path, login, given): &(String, String, String)| path == "content" && login.is_empty() && given.is_empty();
    assert!(seen.len() == 2 && seen.iter().all(nothing), "{seen:?}");
}

#[tokio::test]
async fn a_place_that_needs_no_credential_or_has_its_own_gets_not_ours() {
    for (way, wanted) in [(Way::Signed(b"x".to_vec()), ""), (Way::Given(b"x".to_vec()), "Bearer given")] {
        let lfs = Lfs::start().await;
        lfs.file("a", b"x", way);
        lfs.fetch(true, &CancellationToken::new()).await.0.expect("fetched");
        let seen = lfs.with(|shown| shown.seen.clone());
        assert_eq!(seen.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), ["batch", "content"]);
        assert!(seen[0].1.starts_with("Basic ") && seen[1].1 == wanted, "{seen:?}");
    }
}

#[tokio::test]
async fn from_https_nobody_is_sent_to_plain_http() {
    let mut lfs = Lfs::start().await;
    let front = Front::of(format!("localhost:{}", lfs.port)).await;
    lfs.trust = front.trust.clone();
    let url = format!("https://localhost:{}/team/app.git", front.port);
    let (near, far) = (b"near".to_vec(), b"far".to_vec());
    // Where this server says that its contents are is its own port, which has no TLS.
    lfs.file("a", &near, Way::Good(near.clone()));
    let plainly = || async {
        let (fetched, _) = lfs.fetch_from(&url, (true, 1 << 20), &CancellationToken::new()).await;
        let failure = fetched.expect_err("plain http");
        assert!(
            failure.class == FailureClass::SourceForbidden && failure.message.contains("plain http"),
            "{failure:?}"
        );
        lfs.with(|shown| shown.seen.iter().filter(|(path, ..)| path == "content").count())
    };
    assert_eq!(plainly().await, 0);
    // The same where a place with TLS sends us on to one without.
    let place = format!("https://localhost:{}/content/{}", front.port, id(&far));
    lfs.with(|shown| shown.ways.insert(id(&near), Way::At(place)));
    lfs.with(|shown| shown.ways.insert(id(&far), Way::SendsTo(lfs.place(&near))));
    assert_eq!(plainly().await, 1);
}

#[tokio::test]
async fn a_submodules_files_come_from_its_own_server() {
    let (own, theirs) = (Lfs::start().await, Lfs::start().await);
    let (near, far) = (b"of the project".to_vec(), b"of the submodule".to_vec());
    let first = own.file("a", &near, Way::Good(near.clone()));
    let second = own.file("lib/x/b", &far, Way::Says(404));
    let part = |path: &str, lfs: &Lfs| {
        let clone_url = format!("http://localhost:{}/team/app.git", lfs.port);
        Part { root: own.root().join(path), path: path.to_owned(), clone_url }
    };
    let parts = vec![part("", &own), part("lib/x", &theirs)];
    let (fetched, _) = own.fetch_parts(parts.clone(), (true, 1 << 20), &CancellationToken::new()).await;
    let failure = fetched.expect_err("it has none");
    assert!(failure.class == FailureClass::CommitMissing && failure.message.contains(" lib/x/b ("), "{failure:?}");
    theirs.with(|shown| shown.ways.insert(id(&far), Way::Good(far.clone())));
    let (fetched, log) = own.fetch_parts(parts, (true, 1 << 20), &CancellationToken::new()).await;
    fetched.expect("fetched");
    assert_eq!((std::fs::read(first).expect("there"), std::fs::read(second).expect("there")), (near, far));
    assert!(log.contains("LFS: 1 file of lib/x, 16 B, from localhost"), "{log}");
    assert_eq!(
        (own.with(|shown| shown.asked.clone()), theirs.with(|shown| shown.asked.clone())),
        (vec![1], vec![1, 1])
    );
    assert!(theirs.with(|shown| shown.seen.iter().all(|(_, login, _)| login.is_empty())), "it is another origin");
}

#[tokio::test]
async fn what_is_too_large_together_is_not_begun() {
    let lfs = Lfs::start().await;
    lfs.file("small", b"s", Way::Says(404));
    lfs.file("media/film", &[1; 2000], Way::Says(404));
    let url = format!("http://localhost:{}/team/app.git", lfs.port);
    let (fetched, _) = lfs.fetch_from(&url, (false, 3000), &CancellationToken::new()).await;
    let failure = fetched.expect_err("with the checkout's 1000 bytes it is one too many");
    assert_eq!(failure.class, FailureClass::SourceTooLarge, "{failure:?}");
    assert!(failure.message.contains("media/film with 1.9 KiB"), "{failure:?}");
    assert!(lfs.with(|shown| shown.seen.is_empty()));
    let (fetched, _) = lfs.fetch_from(&url, (false, 3001), &CancellationToken::new()).await;
    assert_eq!(fetched.expect_err("it is asked for now").class, FailureClass::CommitMissing);
}

#[tokio::test]
async fn a_server_that_stalls_is_left() {
    let lfs = Lfs::start().await;
    for way in [Way::Silent, Way::Stalls] {
        let failure = lfs.refused(&[b'x'; 5000], way.clone()).await;
        assert_eq!(failure.class, FailureClass::SourceUnreachable, "{way:?}: {failure:?}");
    }
}

#[tokio::test]
async fn a_cancel_ends_it_and_leaves_the_pointer() {
    let lfs = Lfs::start().await;
    let path = lfs.file("a.bin", &[b'x'; 1 << 19], Way::Stalls);
    let cancel = CancellationToken::new();
    let stop = async {
        // The file beside the pointer is there once its content is on its way.
        while std::fs::read_dir(lfs.root()).expect("a folder").count() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        cancel.cancel();
    };
    let ended = async { tokio::join!(lfs.fetch(true, &cancel), stop) };
    let ((fetched, _), ()) = tokio::time::timeout(DEADLINE, ended).await.expect("in time");
    assert_eq!(fetched.expect_err("cancelled").class, FailureClass::Cancelled);
    assert_eq!(std::fs::read_to_string(path).expect("there"), pointer(&[b'x'; 1 << 19]));
    assert_eq!(std::fs::read_dir(lfs.root()).expect("a folder").count(), 1);
}
