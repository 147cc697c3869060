//! Fuzz targets of what reads strangers' bytes on the way of a log. A target takes any input, makes of it what it needs, and
//! panics where the code under it does not keep its word; most compare it with something simple that is right by its looks.
//! `make test` runs all of them on random inputs for seconds, `make fuzz` under libFuzzer for as long as one likes. Inputs
//! that broke one lie in `found/<target>/` and are run every time.

pub mod ansi;
pub mod chunk;
pub mod index;
mod input;
pub mod mask;
pub mod search;
pub mod segment;
pub mod terminal;

/// A target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name in the command line, and of its folder of inputs.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "ansi", run: ansi::run },
    Target { name: "chunk", run: chunk::run },
    Target { name: "index", run: index::run },
    Target { name: "mask", run: mask::run },
    Target { name: "search", run: search::run },
    Target { name: "segment", run: segment::run },
    Target { name: "terminal", run: terminal::run },
];
