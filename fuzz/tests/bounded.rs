//! Every target for a while: on inputs that broke it once, and on random ones. `PROPTEST_RNG_SEED` gives the same ones again,
//! `PROPTEST_CASES` more of them.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use slipway_fuzz::{TARGETS, Target};

/// Random inputs of a target.
const CASES: u32 = 1500;
/// The same of one that compiles something for each.
const FEW_CASES: u32 = 150;
/// Tries to make an input smaller that breaks a target.
const SHRINKS: u32 = 1000;
/// The longest one, bytes.
const INPUT_BYTES: usize = 1500;

fn target(name: &str) -> Target {
    TARGETS.into_iter().find(|target| target.name == name).expect("a target")
}

fn runs(name: &str, cases: u32) {
    let target = target(name);
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("found").join(name);
    for entry in std::fs::read_dir(found).into_iter().flatten() {
        (target.run)(&std::fs::read(entry.expect("an input").path()).expect("an input"));
    }
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let config = Config { cases, max_shrink_iters: SHRINKS, failure_persistence: None, ..Config::default() };
    let inputs = prop::collection::vec(any::<u8>(), 0..INPUT_BYTES);
    let ran = TestRunner::new(config).run(&inputs, |input| {
        (target.run)(&input);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}

#[test]
fn ansi() {
    runs("ansi", CASES);
}

#[test]
fn chunk() {
    runs("chunk", CASES);
}

#[test]
fn index() {
    runs("index", CASES);
}

#[test]
fn mask() {
    runs("mask", FEW_CASES);
}

#[test]
fn search() {
    runs("search", FEW_CASES);
}

#[test]
fn segment() {
    runs("segment", CASES);
}

#[test]
fn terminal() {
    runs("terminal", CASES);
}
