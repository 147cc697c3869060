//! Finds patterns in bytes, also those that overlap, and knows how much of what was read last may begin another one.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::nfa::contiguous::NFA;

use super::TooLarge;

/// Patterns of more bytes than this become a graph: as a table, each of them takes up to a kibibyte.
const MAX_TABLE_BYTES: usize = 32 * 1024;

/// Finds patterns as they stand.
pub(super) enum AnyFinder {
    /// The faster one.
    Table(Finder<DFA>),
    /// The smaller one.
    Graph(Finder<NFA>),
}

/// One automaton and what it does not tell of itself.
pub(super) struct Finder<A> {
    automaton: A,
    start: StateID,
    /// By state: how many of the last bytes a pattern begins with, and does not end with.
    waiting: HashMap<StateID, usize>,
}

impl AnyFinder {
    pub(super) fn new(patterns: &[Vec<u8>]) -> Result<Self, TooLarge> {
        if patterns.iter().map(Vec::len).sum::<usize>() > MAX_TABLE_BYTES {
            return Ok(Self::Graph(Finder::graph(patterns)?));
        }
        let automaton = DFA::new(patterns).map_err(|_| TooLarge)?;
        Ok(Self::Table(Finder::new(automaton, patterns)?))
    }

    /// Adds where patterns lie, and returns how many bytes at the end may begin one.
    pub(super) fn find(&self, bytes: &[u8], finds: &mut Vec<Range<usize>>) -> usize {
        match self {
            Self::Table(finder) => finder.find(bytes, finds),
            Self::Graph(finder) => finder.find(bytes, finds),
        }
    }
}

impl Finder<NFA> {
    pub(super) fn graph(patterns: &[Vec<u8>]) -> Result<Self, TooLarge> {
        Self::new(NFA::new(patterns).map_err(|_| TooLarge)?, patterns)
    }
}

impl<A: Automaton> Finder<A> {
    fn new(automaton: A, patterns: &[Vec<u8>]) -> Result<Self, TooLarge> {
        let start = automaton.start_state(Anchored::No).map_err(|_| TooLarge)?;
        let mut finder = Self { automaton, start, waiting: HashMap::new() };
        let mut ends = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let mut state = start;
            for (read, byte) in pattern.iter().enumerate() {
                finder.waiting.insert(state, read);
                state = finder.step(state, *byte);
            }
            ends.push((state, pattern));
        }
        // Behind a whole pattern that begins no other, what waits is what would wait without its first byte; where that
        // is a whole pattern too, it is a shorter one.
        ends.sort_unstable_by_key(|(_, pattern)| pattern.len());
        for (end, pattern) in ends {
            if !finder.waiting.contains_key(&end) {
                let rest = pattern.iter().skip(1).fold(start, |state, byte| finder.step(state, *byte));
                finder.waiting.insert(end, finder.waiting(rest));
            }
        }
        Ok(finder)
    }

    /// Before anything is read.
    pub(super) fn start(&self) -> StateID {
        self.start
    }

    pub(super) fn step(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, byte)
    }

    /// The lengths of the patterns that end here.
    pub(super) fn ending(&self, state: StateID) -> impl Iterator<Item = usize> {
        let count = if self.automaton.is_match(state) { self.automaton.match_len(state) } else { 0 };
        (0..count).map(move |index| self.automaton.pattern_len(self.automaton.match_pattern(state, index)))
    }

    /// How many of the bytes read last may begin a pattern that has not ended.
    pub(super) fn waiting(&self, state: StateID) -> usize {
        self.waiting.get(&state).copied().unwrap_or(0)
    }

    fn find(&self, bytes: &[u8], finds: &mut Vec<Range<usize>>) -> usize {
        let mut state = self.start;
        for (at, byte) in bytes.iter().enumerate() {
            state = self.step(state, *byte);
            if self.automaton.is_match(state) {
                finds.extend(self.ending(state).map(|length| at + 1 - length..at + 1));
            }
        }
        self.waiting(state)
    }
}
