//! How our connections are, for `/readyz`: each writes its own line while it lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All lines of one bus. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    lines: BTreeMap<u64, (String, Option<String>)>,
}

/// One line; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    board: Board,
    id: u64,
}

impl Board {
    /// Adds a line that says what is wrong from the start.
    pub(crate) fn line(&self, what: &str, problem: Option<String>) -> Line {
        let mut lines = self.lock();
        let id = lines.next;
        lines.next += 1;
        lines.lines.insert(id, (what.to_owned(), problem));
        Line { board: self.clone(), id }
    }

    /// The first thing that is wrong, with the part that it is wrong with.
    pub(crate) fn problem(&self) -> Result<(), String> {
        let lines = self.lock();
        let found = lines.lines.values().find_map(|(what, problem)| Some((what, problem.as_ref()?)));
        found.map_or(Ok(()), |(what, problem)| Err(format!("{what}: {problem}")))
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Whole after every operation.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Says how it is now; true when that is news.
    pub(crate) fn set(&self, problem: Option<String>) -> bool {
        let mut lines = self.board.lock();
        let Some((_, old)) = lines.lines.get_mut(&self.id) else { return false };
        let is_news = *old != problem;
        *old = problem;
        is_news
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.board.lock().lines.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_problem_is_told_and_goes_with_its_line() {
        let board = Board::default();
        assert_eq!(board.problem(), Ok(()));
        let publish = board.line("publish", Some("connecting".to_owned()));
        let consume = board.line("consume", None);
        assert_eq!(board.problem(), Err("publish: connecting".to_owned()));
        assert!(publish.set(None) && !publish.set(None));
        assert_eq!(board.problem(), Ok(()));
        assert!(consume.set(Some("no queue".to_owned())));
        assert_eq!(board.problem(), Err("consume: no queue".to_owned()));
        drop(consume);
        assert_eq!(board.problem(), Ok(()));
    }
}
