//! Which methods a server has, as far as its answers say: what strangers make up becomes no series of metrics.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use tonic::Code;

/// Most methods of a server that are told apart in metrics.
const METHODS_MAX: usize = 1_000;
/// Longest method that is remembered, in bytes.
const METHOD_BYTES_MAX: usize = 256;

/// Methods that have been answered by what only handlers answer.
#[derive(Debug, Default)]
pub(super) struct Methods(RwLock<HashSet<String>>);

impl Methods {
    /// Whether this is one of them, now that it has ended so.
    pub(super) fn knows(&self, method: &str, code: Code) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.contains(method) {
            return true;
        }
        let is_full = known.len() >= METHODS_MAX;
        drop(known);
        if is_full || is_refusal(code) || method.len() > METHOD_BYTES_MAX {
            return false;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < METHODS_MAX {
            known.insert(method.to_owned());
        }
        known.contains(method)
    }
}

/// What is also answered by those who ask nobody whether there is such a method, or is no answer at all.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Unimplemented
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Cancelled
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_known_from_its_first_answer_on() {
        let methods = Methods::default();
        for code in [Code::Unauthenticated, Code::Cancelled, Code::ResourceExhausted] {
            assert!(!methods.knows("a/B", code), "{code:?}");
        }
        assert!(methods.knows("a/B", Code::NotFound));
        assert!(methods.knows("a/B", Code::Unauthenticated));
        assert!(!methods.knows("a/C", Code::Unauthenticated));
        assert!(!methods.knows(&"a".repeat(METHOD_BYTES_MAX + 1), Code::Ok));
    }

    #[test]
    fn no_more_methods_are_known_than_there_is_room_for() {
        let methods = Methods::default();
        let known = |at: usize| methods.knows(&format!("a/{at}"), Code::Ok);
        assert_eq!((0..2 * METHODS_MAX).filter(|at| known(*at)).count(), METHODS_MAX);
        assert!(known(0) && !known(METHODS_MAX));
    }
}
