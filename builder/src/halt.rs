//! How an attempt is told to end before its time, and why.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why an attempt ends early. The first cause stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Its job was cancelled: stop, then say so.
    Cancelled,
    /// It ran longer than it may.
    TimedOut,
    /// This process must end now: give the job back unharmed.
    HandedBack,
    /// It is not ours any more: stop and report nothing.
    Stopped,
}

/// Held by the attempt and by everybody who may end it.
#[derive(Debug, Clone, Default)]
pub struct Reins {
    cause: Arc<OnceLock<Halt>>,
    halted: CancellationToken,
    stopped: CancellationToken,
}

impl Reins {
    /// Asks the attempt to end. A later cause changes nothing, except that `Stopped` also ends the
    /// reporting of an attempt that was already ending.
    pub fn pull(&self, halt: Halt) {
        let _ = self.cause.set(halt);
        if halt == Halt::Stopped {
            self.stopped.cancel();
        }
        self.halted.cancel();
    }

    /// Why it was asked to end, if it was.
    pub fn cause(&self) -> Option<Halt> {
        self.cause.get().copied()
    }

    /// Cancelled once the work must end.
    pub fn halted(&self) -> &CancellationToken {
        &self.halted
    }

    /// Cancelled once nothing may be reported any more.
    pub fn stopped(&self) -> &CancellationToken {
        &self.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_stays_but_a_stop_silences() {
        let reins = Reins::default();
        assert_eq!(reins.cause(), None);
        reins.pull(Halt::Cancelled);
        assert!(reins.halted().is_cancelled() && !reins.stopped().is_cancelled());
        reins.pull(Halt::Stopped);
        assert_eq!(reins.cause(), Some(Halt::Cancelled));
        assert!(reins.stopped().is_cancelled());
    }
}
