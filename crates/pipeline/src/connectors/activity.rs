//! What a component has seen and matched, and when; and who has been silent for too long.
//!
//! A filter that matches nothing and a metric that is made of nothing look like health: nothing fails. [`Activity`]
//! counts in the component, [`Silence`] is what a watcher asks for those about which somebody should be told. Refuses
//! to log or to alert: that is the watcher's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cupola_export::Sample;

/// What a component has seen since it was made.
#[derive(Debug)]
pub struct Activity {
    /// `spans`, `items`.
    what: &'static str,
    started_unix_nano: u64,
    seen: AtomicU64,
    matched: AtomicU64,
    /// Zero: never.
    last_input_unix_nano: AtomicU64,
    /// Zero: never.
    last_match_unix_nano: AtomicU64,
    /// Seen since the last match.
    seen_unmatched: AtomicU64,
}

impl Activity {
    /// `what` it counts, in the plural, as people would say it.
    pub fn new(what: &'static str, now_unix_nano: u64) -> Arc<Self> {
        Arc::new(Self {
            what,
            started_unix_nano: now_unix_nano,
            seen: AtomicU64::new(0),
            matched: AtomicU64::new(0),
            last_input_unix_nano: AtomicU64::new(0),
            last_match_unix_nano: AtomicU64::new(0),
            seen_unmatched: AtomicU64::new(0),
        })
    }

    /// Counts an input of `items`, of which `matched` were of use.
    pub fn saw(&self, items: usize, matched: usize, now_unix_nano: u64) {
        if items == 0 {
            return;
        }
        self.seen.fetch_add(items as u64, Ordering::Relaxed);
        self.last_input_unix_nano
            .fetch_max(now_unix_nano.max(1), Ordering::Relaxed);
        if matched == 0 {
            self.seen_unmatched.fetch_add(items as u64, Ordering::Relaxed);
            return;
        }
        self.matched.fetch_add(matched as u64, Ordering::Relaxed);
        self.seen_unmatched.store(0, Ordering::Relaxed);
        self.last_match_unix_nano
            .fetch_max(now_unix_nano.max(1), Ordering::Relaxed);
    }

    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    pub fn matched(&self) -> u64 {
        self.matched.load(Ordering::Relaxed)
    }

    pub fn collect(&self, samples: &mut Vec<Sample>) {
        let seconds = |nanos: &AtomicU64| nanos.load(Ordering::Relaxed) as f64 / 1e9;
        samples.push(Sample::count(
            "cupola_component_seen_items",
            "Items that the component has been given.",
            self.seen(),
        ));
        samples.push(Sample::count(
            "cupola_component_matched_items",
            "Items that the component had a use for: counted, matched, passed on.",
            self.matched(),
        ));
        samples.push(Sample::level(
            "cupola_component_last_input_seconds",
            "When the component was last given anything, in seconds since the epoch; 0 if never.",
            seconds(&self.last_input_unix_nano),
        ));
        samples.push(Sample::level(
            "cupola_component_last_match_seconds",
            "When the component last had a use for anything, in seconds since the epoch; 0 if never.",
            seconds(&self.last_match_unix_nano),
        ));
    }

    /// What is wrong, if nothing came or nothing matched for `limit`.
    fn silence(&self, limit: Duration, now_unix_nano: u64) -> Option<String> {
        let since = |at: u64| Duration::from_nanos(now_unix_nano.saturating_sub(at));
        let or_start = |at: &AtomicU64| match at.load(Ordering::Relaxed) {
            0 => self.started_unix_nano,
            at => at,
        };
        let what = self.what;
        let without_input = since(or_start(&self.last_input_unix_nano));
        if without_input >= limit {
            let ever = match self.seen() {
                0 => "since it was started, ",
                _ => "",
            };
            return Some(format!(
                "has seen no {what} {ever}for {}: check that a pipeline that exports to it receives anything, and that \
                 nothing before it drops it",
                spoken(without_input)
            ));
        }
        let without_match = since(or_start(&self.last_match_unix_nano));
        if without_match >= limit {
            let unmatched = self.seen_unmatched.load(Ordering::Relaxed);
            return Some(format!(
                "has matched none of {unmatched} {what} for {}: check its conditions against what arrives",
                spoken(without_match)
            ));
        }
        None
    }
}

/// A duration in the largest unit of which there is one: `10 minutes`.
fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    match number {
        1 => format!("1 {unit}"),
        _ => format!("{number} {unit}s"),
    }
}

/// A component that has been silent for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// As in configuration: `spanmetrics/x`.
    pub component: String,
    /// A sentence that begins with the component.
    pub text: String,
}

/// Knows components whose silence means that something is wrong.
#[derive(Debug)]
pub struct Silence {
    limit: Duration,
    components: Vec<(String, Arc<Activity>)>,
}

impl Silence {
    /// Without input, or without a match, for `limit` is silence.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            components: Vec::new(),
        }
    }

    pub fn watch(&mut self, component: impl Into<String>, activity: Arc<Activity>) {
        self.components.push((component.into(), activity));
    }

    /// Those that are silent now, in the order in which they were given.
    pub fn check(&self, now_unix_nano: u64) -> Vec<Silent> {
        let silent = self.components.iter().filter_map(|(component, activity)| {
            let problem = activity.silence(self.limit, now_unix_nano)?;
            Some(Silent {
                component: component.clone(),
                text: format!("{component} {problem}"),
            })
        });
        silent.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    #[test]
    fn silence_is_told_by_what_is_missing_and_ends_with_it() {
        let activity = Activity::new("spans", MINUTE);
        let mut silence = Silence::new(Duration::from_secs(600));
        silence.watch("spanmetrics/x", activity.clone());
        assert_eq!(silence.check(10 * MINUTE), []);
        let silent = silence.check(11 * MINUTE);
        assert_eq!(silent[0].component, "spanmetrics/x");
        let expected = "spanmetrics/x has seen no spans since it was started, for 10 minutes: ";
        assert!(silent[0].text.starts_with(expected), "{}", silent[0].text);
        activity.saw(5, 0, 12 * MINUTE);
        let silent = silence.check(13 * MINUTE);
        let expected = "spanmetrics/x has matched none of 5 spans for 12 minutes: ";
        assert!(silent[0].text.starts_with(expected), "{}", silent[0].text);
        activity.saw(5, 1, 14 * MINUTE);
        assert_eq!(silence.check(15 * MINUTE), []);
        let silent = silence.check(80 * MINUTE);
        assert!(
            silent[0]
                .text
                .starts_with("spanmetrics/x has seen no spans for 1 hour: "),
            "{}",
            silent[0].text
        );
        assert_eq!((activity.seen(), activity.matched()), (10, 1));
    }
}
