//! What people should know of an attempt beside how it ends, as far as it has gone.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use slipway_domain::remarks::{MAX_CUT_STEPS, MAX_WARNINGS, Remarks, Warning};

/// More warnings are neither told nor counted.
const MAX_COUNTED: usize = 1000;

/// The remarks so far, for all variants of the image.
#[derive(Debug, Default)]
pub struct Noted(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Words and lines of all warnings.
    warned: HashSet<(String, Option<i64>)>,
    remarks: Remarks,
}

impl Noted {
    /// Takes a warning; false if it is known, or one too many.
    pub fn warn(&self, warning: Warning) -> bool {
        let Known { warned, remarks } = &mut *self.known();
        if warned.len() >= MAX_COUNTED || !warned.insert((warning.text.clone(), warning.line)) {
            return false;
        }
        remarks.warning_count += 1;
        if remarks.warnings.len() < MAX_WARNINGS {
            remarks.warnings.push(warning);
        }
        true
    }

    /// The engine cut the output of the step with this number.
    pub fn cut(&self, step: i64) {
        let Known { remarks, .. } = &mut *self.known();
        if remarks.cut_steps.len() < MAX_CUT_STEPS && !remarks.cut_steps.contains(&step) {
            remarks.cut_steps.push(step);
        }
    }

    /// All of it, with so many bytes that the log does not hold.
    pub fn remarks(&self, log_left_out_bytes: u64) -> Remarks {
        let log_left_out_bytes = i64::try_from(log_left_out_bytes).unwrap_or(i64::MAX);
        Remarks { log_left_out_bytes, ..self.known().remarks.clone() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(text: &str, line: Option<i64>) -> Warning {
        Warning { text: text.to_owned(), step: Some(1), dockerfile: None, line }
    }

    #[test]
    fn what_is_said_again_is_told_once() {
        let noted = Noted::default();
        assert!(
            noted.warn(warning("a", Some(1))) && noted.warn(warning("a", Some(2))) && noted.warn(warning("b", None))
        );
        assert!(!noted.warn(Warning { step: Some(2), ..warning("a", Some(1)) }));
        noted.cut(4);
        noted.cut(4);
        let remarks = noted.remarks(7);
        assert_eq!((remarks.warning_count, remarks.warnings.len(), remarks.log_left_out_bytes), (3, 3, 7));
        assert_eq!(remarks.cut_steps, [4]);
    }

    #[test]
    fn a_frontend_that_warns_without_end_is_not_listened_to() {
        let noted = Noted::default();
        let told = (0..5000).filter(|number| noted.warn(warning(&number.to_string(), None))).count();
        (0..5000).for_each(|step| noted.cut(step));
        let remarks = noted.remarks(0);
        assert_eq!((told, remarks.warning_count), (MAX_COUNTED, 1000));
        assert_eq!((remarks.warnings.len(), remarks.cut_steps.len()), (MAX_WARNINGS, MAX_CUT_STEPS));
        assert_eq!(remarks.clone().bounded(), remarks);
    }
}
