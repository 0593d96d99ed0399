//! What a connector has seen and matched, and when: a metric that is made of nothing looks like health. Refuses to log or to
//! alert: the graph tells of components into which nothing comes, and metrics of those that match nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use cupola_export::Sample;

/// What a component has seen since it was made.
#[derive(Debug, Default)]
pub struct Activity {
    seen: AtomicU64,
    matched: AtomicU64,
    /// Zero: never.
    last_input_unix_nano: AtomicU64,
    /// Zero: never.
    last_match_unix_nano: AtomicU64,
}

impl Activity {
    /// Counts an input of `items`, of which `matched` were of use.
    pub fn saw(&self, items: usize, matched: usize, now_unix_nano: u64) {
        if items == 0 {
            return;
        }
        self.seen.fetch_add(items as u64, Ordering::Relaxed);
        self.last_input_unix_nano
            .fetch_max(now_unix_nano.max(1), Ordering::Relaxed);
        if matched == 0 {
            return;
        }
        self.matched.fetch_add(matched as u64, Ordering::Relaxed);
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
}
