//! Crash points: named lines between two effects, where a test can kill the process. Always compiled in;
//! unarmed, one costs one atomic load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Hidden variable: the name of the crash point to die at, with `:n` for the n-th time it is passed.
const VARIABLE: &str = "SLIPWAY_TEST_CRASH_AT";

static ARMED: AtomicBool = AtomicBool::new(false);
static PLAN: OnceLock<Plan> = OnceLock::new();

#[derive(Debug)]
struct Plan {
    name: String,
    left: std::sync::atomic::AtomicI64,
}

/// Reads the hidden variable. Called once by `main`.
pub fn arm_from_environment() {
    let Ok(text) = std::env::var(VARIABLE) else { return };
    let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
    let left = count.parse().unwrap_or(1);
    if PLAN.set(Plan { name: name.to_owned(), left: left.into() }).is_ok() {
        ARMED.store(true, Ordering::Release);
    }
}

/// Dies here, as by `kill -9`, if a test armed this name.
pub fn point(name: &'static str) {
    if !ARMED.load(Ordering::Acquire) {
        return;
    }
    if let Some(plan) = PLAN.get()
        && plan.name == name
        && plan.left.fetch_sub(1, Ordering::AcqRel) == 1
    {
        std::process::abort();
    }
}
