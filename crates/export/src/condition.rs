//! How a component is, for health checks and for people who look: what does not work now, since when, and what was said
//! last. Decides nothing: whether batches go elsewhere is told by [`Component::is_healthy`](crate::Component::is_healthy).

use std::time::SystemTime;

/// Bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 512;

/// How a component is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// What does not work now.
    pub failing: Option<Trouble>,
    /// When it began to work again, if it ever had to.
    pub recovered: Option<SystemTime>,
    /// What was said last, whether it still holds or not.
    pub last_error: Option<Trouble>,
}

/// Something that does not work, or did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: String,
    /// When it began, if that is known; of a last error, when it was.
    pub since: Option<SystemTime>,
    /// Waiting may help, which it does not where a destination refuses for good.
    pub recoverable: bool,
}

impl Trouble {
    /// A trouble of now.
    pub fn new(reason: &str, recoverable: bool) -> Trouble {
        Trouble {
            reason: reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned(),
            since: Some(SystemTime::now()),
            recoverable,
        }
    }
}

impl Condition {
    /// What `self` says, and what `other`, which stands around it or behind it, says besides.
    #[must_use]
    pub fn or(self, other: Condition) -> Condition {
        Condition {
            failing: self.failing.or(other.failing),
            recovered: self.recovered.max(other.recovered),
            last_error: match (self.last_error, other.last_error) {
                (Some(one), Some(two)) if two.since > one.since => Some(two),
                (one, two) => one.or(two),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reason_is_bounded_and_stays_text() {
        let long = "ü".repeat(1_000);
        let kept = Trouble::new(&long, true).reason;
        assert!(kept.len() <= REASON_BYTES_MAX && long.starts_with(&kept) && !kept.is_empty());
        assert_eq!(Trouble::new("short", true).reason, "short");
    }

    #[test]
    fn of_two_the_first_says_what_fails_and_the_later_error_is_the_last() {
        let at = |seconds: u64, reason: &str| Trouble {
            reason: reason.to_owned(),
            since: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            recoverable: true,
        };
        let one = Condition {
            failing: Some(at(5, "one")),
            last_error: Some(at(5, "one")),
            ..Condition::default()
        };
        let two = Condition {
            failing: Some(at(7, "two")),
            last_error: Some(at(7, "two")),
            ..Condition::default()
        };
        let both = one.or(two);
        assert_eq!(both.failing.unwrap().reason, "one");
        assert_eq!(both.last_error.unwrap().reason, "two");
    }
}
