//! What could not be done with files, told less and less often: a file that cannot be read is found again at every poll.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

/// Files with a count of their own; all others share one.
const FILES_MAX: usize = 1000;
/// A file that has not failed for this long makes room for others.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::minutes(10);

#[derive(Debug, Default)]
pub(super) struct Failures {
    files: HashMap<PathBuf, (u64, DateTime<Utc>)>,
    others: u64,
}

impl Failures {
    /// Counts one; gives how many there have been if that is to be told: of the first, the second, the fourth and so on.
    pub(super) fn told(&mut self, path: &Path, now: DateTime<Utc>) -> Option<u64> {
        if self.files.len() >= FILES_MAX && !self.files.contains_key(path) {
            self.files.retain(|_, (_, last)| now - *last < FORGOTTEN_AFTER);
        }
        let count = if self.files.len() >= FILES_MAX && !self.files.contains_key(path) {
            &mut self.others
        } else {
            let (count, last) = self.files.entry(path.to_owned()).or_insert((0, now));
            *last = now;
            count
        };
        *count += 1;
        count.is_power_of_two().then_some(*count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_told_seldom() {
        let (mut failures, now) = (Failures::default(), DateTime::UNIX_EPOCH);
        let told = (0..1000)
            .filter_map(|_| failures.told(Path::new("a"), now))
            .count();
        assert_eq!(told, 10);
        // Also of more files than are counted by themselves.
        let poll = |failures: &mut Failures, now| {
            let paths = (0..3 * FILES_MAX).map(|number| PathBuf::from(number.to_string()));
            paths.filter_map(|path| failures.told(&path, now)).count()
        };
        poll(&mut failures, now);
        let told: usize = (0..8).map(|_| poll(&mut failures, now)).sum();
        assert!(told < 4 * FILES_MAX + 10, "{told} of {}", 24 * FILES_MAX);
        assert!(failures.files.len() <= FILES_MAX);
        assert_eq!(failures.told(Path::new("new"), now + FORGOTTEN_AFTER), Some(1));
    }
}
