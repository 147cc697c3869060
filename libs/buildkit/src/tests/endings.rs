//! Builds that do not run to their end.

use super::proxy::Proxy;
use super::*;

/// A step that ignores TERM, with a child in the background and one in a session of its own.
const STUBBORN: &str = "FROM BASE\nRUN trap '' TERM; (trap '' TERM; sleep 600; echo SALT) & \
                        setsid sh -c 'sleep 600; echo SALT' & echo begun; sleep 600; echo SALT\n";

#[tokio::test]
async fn a_cancel_ends_every_process_of_a_step() {
    let Some(site) = Site::beside().await else { return };
    let stopped = site
        .build_by(&site.buildkit(), site.request(STUBBORN), |seen, cancel| {
            if seen.text().contains("begun") {
                assert!(runs(&site.salt));
                cancel.cancel();
            }
        })
        .await;
    assert!(matches!(stopped.result, Err(SolveError::Cancelled)), "{:?}", stopped.result);
    until("the processes are gone", Duration::from_secs(5), || !runs(&site.salt)).await;
}

#[tokio::test]
async fn a_drop_ends_every_process_of_a_step() {
    let Some(site) = Site::beside().await else { return };
    let (reader, mut messages) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let buildkit = site.buildkit();
    let mut solving = Box::pin(buildkit.solve(site.request(STUBBORN), reader, &cancel));
    loop {
        tokio::select! {
            result = &mut solving => panic!("{result:?}"),
            message = messages.recv() => {
                let logs = message.expect("it runs").logs;
                if logs.iter().any(|log| log.msg.starts_with(b"begun")) {
                    break;
                }
            }
        }
    }
    assert!(runs(&site.salt));
    drop(solving);
    until("the processes are gone", Duration::from_secs(5), || !runs(&site.salt)).await;
}

/// How far the context has been read, while it is open.
fn reading(context: &std::path::Path) -> Option<u64> {
    let open = std::fs::read_dir("/proc/self/fd").expect("proc").flatten();
    let fd = open.into_iter().find(|fd| std::fs::read_link(fd.path()).is_ok_and(|link| link == context))?.file_name();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.to_string_lossy())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_an_upload() {
    const HUGE: u64 = 4 << 30;
    let Some(site) = Site::beside().await else { return };
    let request = site.request("FROM BASE\n");
    let context = request.context.clone();
    std::fs::File::options().write(true).open(&context).and_then(|file| file.set_len(HUGE)).expect("a sparse file");
    let (reader, mut messages) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let watch = async {
        until("the upload runs", PATIENCE, || reading(&context).is_some_and(|at| at > 4 << 20)).await;
        cancel.cancel();
    };
    let drain = async { while messages.recv().await.is_some() {} };
    let buildkit = site.buildkit();
    let (result, (), ()) = tokio::join!(buildkit.solve(request, reader, &cancel), watch, drain);
    assert!(matches!(result, Err(SolveError::Cancelled)), "{result:?}");
    until("the context is closed", Duration::from_secs(1), || reading(&context).is_none()).await;
}

#[tokio::test]
async fn a_lost_connection_is_no_answer() {
    let Some(site) = Site::beside().await else { return };
    let mut proxy = Some(Proxy::start(&site.life, site.address.clone()).await);
    let address = proxy.as_ref().expect("there").address.clone();
    let buildkit = BuildKit::new(site.life.clone(), Endpoint::Docker(address));
    let lost = site
        .build_by(&buildkit, site.request(STUBBORN), |seen, _| {
            if seen.text().contains("begun") {
                proxy = None;
            }
        })
        .await;
    assert!(matches!(lost.result, Err(SolveError::Lost(_))), "{:?}", lost.result);
    until("the processes are gone", Duration::from_secs(5), || !runs(&site.salt)).await;
    // Now nobody is there at all.
    let none = site.build_by(&buildkit, site.request("FROM BASE\n"), |_, _| {}).await;
    assert!(matches!(&none.result, Err(SolveError::Lost(text)) if text.contains("refused")), "{:?}", none.result);
}

#[tokio::test]
async fn a_context_that_cannot_be_read_is_our_fault() {
    let Some(site) = Site::beside().await else { return };
    let request = Solve { context: site.folder.path().join("gone.tar"), ..site.request("FROM BASE\n") };
    match site.build(request).await.result {
        Err(SolveError::Here { error, .. }) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        other => panic!("{other:?}"),
    }
}
