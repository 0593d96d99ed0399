//! What was done, among the attributes of what it was done to.

use cupola_telemetry::edit::{Map, Value};
use serde::Deserialize;

/// Attributes that say what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Summary {
    /// Which keys, and how many.
    Debug,
    /// How many.
    Info,
    #[default]
    #[serde(alias = "")]
    Silent,
}

/// Names of the attributes that say what was done: the keys, and their number.
pub(super) struct SummaryNames {
    keys: &'static str,
    count: &'static str,
}

macro_rules! summary_names {
    ($what:literal) => {
        SummaryNames {
            keys: concat!("redaction.", $what, ".keys"),
            count: concat!("redaction.", $what, ".count"),
        }
    };
}

/// Of attributes, then of bodies: redacted, masked, allowed, ignored.
pub(super) const SUMMARIES: [[SummaryNames; 4]; 2] = [
    [
        summary_names!("redacted"),
        summary_names!("masked"),
        summary_names!("allowed"),
        summary_names!("ignored"),
    ],
    [
        summary_names!("body.redacted"),
        summary_names!("body.masked"),
        summary_names!("body.allowed"),
        summary_names!("body.ignored"),
    ],
];
pub(super) const REDACTED: usize = 0;
pub(super) const MASKED: usize = 1;
pub(super) const ALLOWED: usize = 2;
pub(super) const IGNORED: usize = 3;

/// Keys by what was done with them.
#[derive(Default)]
pub(super) struct Found([Vec<String>; 4]);

impl Found {
    pub(super) fn note(&mut self, what: usize, key: String) {
        self.0[what].push(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    pub(super) fn has(&self, what: usize) -> bool {
        !self.0[what].is_empty()
    }
}

/// Whether a key is one of a summary of attributes or bodies.
pub(super) fn is_of_summary(key: &str) -> bool {
    key.starts_with("redaction.")
        && SUMMARIES
            .iter()
            .flatten()
            .any(|names| names.keys == key || names.count == key)
}

impl Summary {
    /// Says what was done; gives how many values were masked or removed.
    ///
    /// What was removed and masked is added to what an earlier redaction says of that, as it cannot be seen any more; what
    /// was allowed and ignored takes the place of it, as each redaction sees that anew.
    pub(super) fn write(self, map: &mut Map<'_>, found: Found, names: &[SummaryNames; 4]) -> u64 {
        let done = (found.0[REDACTED].len() + found.0[MASKED].len()) as u64;
        if self == Self::Silent {
            return done;
        }
        for (what, (mut keys, names)) in found.0.into_iter().zip(names).enumerate() {
            let adds_up = matches!(what, REDACTED | MASKED);
            let mut count = keys.len() as i64;
            if count == 0 {
                if !adds_up {
                    map.remove(names.keys);
                    map.remove(names.count);
                }
                continue;
            }
            if self == Self::Debug && what != IGNORED {
                if adds_up && let Some(Value::String(before)) = map.get(names.keys) {
                    keys.extend(before.split(',').filter(|key| !key.is_empty()).map(str::to_owned));
                }
                keys.sort();
                map.set(names.keys.into(), Value::from(keys.join(",")));
            }
            if adds_up && let Some(Value::Int(before)) = map.get(names.count) {
                count = count.saturating_add(before);
            }
            map.set(names.count.into(), Value::Int(count));
        }
        done
    }
}
