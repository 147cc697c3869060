//! Tells systemd how the process is, where systemd started it with `Type=notify`; elsewhere nothing happens.
//! The protocol is sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names.

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;
use slipway_runtime::lifecycle::Life;
use tracing::warn;

/// Words go out this many times within the time that systemd waits for one, so that a lost one costs nothing.
const PER_PERIOD: u32 = 3;

/// The process takes work.
pub fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("ready")]);
}

/// Says that the process waits for what it stands on, and later that it stops.
pub fn attend(life: &Life) {
    say(&[NotifyState::Status("starting; the log and /readyz?verbose tell what it waits for")]);
    let stop = life.clone();
    life.spawn("systemd", async move {
        stop.stopping().await;
        say(&[NotifyState::Stopping, NotifyState::Status("finishing what runs; a second SIGTERM ends it now")]);
        Ok(())
    });
}

/// Says again and again, to the very end, that the process is alive. Each word comes out of a fresh task, so that
/// silence is what systemd hears of a runtime whose workers are stuck.
pub async fn watchdog() -> Infallible {
    let Some(period) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let life = Life::new();
    loop {
        let said = life.task("watchdog", async { say(&[NotifyState::Watchdog]) });
        if let Err(error) = said.join().await {
            warn!(%error, "systemd was not told that this process is alive");
        }
        tokio::time::sleep((period / PER_PERIOD).max(Duration::from_millis(1))).await;
    }
}

fn say(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        warn!(%error, "systemd does not listen at NOTIFY_SOCKET");
    }
}
