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

/// How often something was done, and with which keys where the summary names them.
pub(super) struct Found {
    counts: [u64; 4],
    keys: Option<[Vec<String>; 4]>,
}

impl Found {
    pub(super) fn new(summary: Summary) -> Self {
        Self {
            counts: [0; 4],
            keys: (summary == Summary::Debug).then(Default::default),
        }
    }

    pub(super) fn note(&mut self, what: usize, key: &str) {
        self.counts[what] += 1;
        if what != IGNORED
            && let Some(keys) = &mut self.keys
        {
            keys[what].push(key.to_owned());
        }
    }

    pub(super) fn names_keys(&self) -> bool {
        self.keys.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts == [0; 4]
    }

    pub(super) fn has(&self, what: usize) -> bool {
        self.counts[what] > 0
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
    pub(super) fn write(self, map: &mut Map<'_>, mut found: Found, names: &[SummaryNames; 4]) -> u64 {
        let done = found.counts[REDACTED] + found.counts[MASKED];
        if self == Self::Silent {
            return done;
        }
        for (what, (count, names)) in found.counts.into_iter().zip(names).enumerate() {
            let adds_up = matches!(what, REDACTED | MASKED);
            let mut count = count as i64;
            if count == 0 {
                if !adds_up {
                    map.remove(names.keys);
                    map.remove(names.count);
                }
                continue;
            }
            if what != IGNORED
                && let Some(keys) = &mut found.keys
            {
                let keys = &mut keys[what];
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
