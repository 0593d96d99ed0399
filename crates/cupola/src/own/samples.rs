//! Samples of Cupola's own spans by name and latency, for the page `tracez`: how many there were, which run, and a few of
//! each kind to look at. Kept in memory alone, within bounds that do not depend on the traffic.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;

use parking_lot::Mutex;

use super::{Attributes, Ids, OwnSpan, Value};

/// Lower bounds of the latency buckets in nanoseconds, as the Collector's page has them.
pub(crate) const BOUNDARIES: [u64; 9] = [
    0,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
];
/// Samples kept of each bucket; the oldest makes way.
const SAMPLES_MAX: usize = 10;
/// A bucket takes one sample in this time, so that a burst does not push out all that came before it.
const SAMPLE_EVERY_NANOS: u64 = 1_000_000_000;
/// Names that are told apart. With all their samples they take 17 MiB at most.
const NAMES_MAX: usize = 128;
/// Stands for names beyond.
const OTHER_NAMES: &str = "(other names)";
/// Running spans that are listed; those beyond are counted.
const RUNNING_MAX: usize = 1_024;
/// Bytes of a sample's attributes as text.
const DETAILS_BYTES_MAX: usize = 1_024;

/// All samples. Taken from the tracing layer, which waits for no more than another span that begins or ends.
#[derive(Debug, Default)]
pub(crate) struct SpanSamples(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Name>,
    running: HashMap<[u8; 8], Running>,
}

#[derive(Debug, Default)]
struct Name {
    /// Those that are listed and those beyond.
    running: u64,
    latency: [Bucket; BOUNDARIES.len()],
    errors: Bucket,
}

#[derive(Debug)]
struct Running {
    name: String,
    sample: SpanSample,
}

#[derive(Debug, Default)]
struct Bucket {
    count: u64,
    samples: VecDeque<SpanSample>,
    /// When the next sample is taken.
    next: u64,
}

/// One span to look at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpanSample {
    pub(crate) ids: Ids,
    pub(crate) parent: Option<[u8; 8]>,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    /// None while it runs.
    pub(crate) end: Option<u64>,
    pub(crate) failed: bool,
    pub(crate) attributes: String,
}

/// What there is of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NameSummary {
    pub(crate) name: String,
    pub(crate) running: u64,
    /// Spans that ended well, by latency.
    pub(crate) latency: [u64; BOUNDARIES.len()],
    pub(crate) errors: u64,
}

/// Which samples of a name are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Running,
    /// The index of the bucket.
    Latency(usize),
    Errors,
}

impl SpanSamples {
    pub(super) fn begun(&self, span: &OwnSpan) {
        let sample = sample(span, None);
        let mut state = self.0.lock();
        let name = state.name(&span.name).to_owned();
        state.names.entry(name.clone()).or_default().running += 1;
        if state.running.len() < RUNNING_MAX {
            state.running.insert(span.ids.1, Running { name, sample });
        }
    }

    pub(super) fn ended(&self, span: &OwnSpan) {
        let mut state = self.0.lock();
        let name = match state.running.remove(&span.ids.1) {
            Some(running) => running.name,
            None => state.name(&span.name).to_owned(),
        };
        let Some(of) = state.names.get_mut(&name) else {
            return;
        };
        of.running = of.running.saturating_sub(1);
        let latency = span.end.saturating_sub(span.start);
        let bucket = match span.failed {
            true => &mut of.errors,
            false => &mut of.latency[bucket(latency)],
        };
        bucket.count += 1;
        if span.end >= bucket.next {
            bucket.next = span.end.saturating_add(SAMPLE_EVERY_NANOS);
            bucket.samples.truncate(SAMPLES_MAX - 1);
            bucket.samples.push_front(sample(span, Some(span.end)));
        }
    }

    /// All names, in their order.
    pub(crate) fn summary(&self) -> Vec<NameSummary> {
        let state = self.0.lock();
        let summary = |(name, of): (&String, &Name)| NameSummary {
            name: name.clone(),
            running: of.running,
            latency: std::array::from_fn(|index| of.latency[index].count),
            errors: of.errors.count,
        };
        state.names.iter().map(summary).collect()
    }

    /// Samples of a name, the youngest first.
    pub(crate) fn of(&self, name: &str, wanted: Wanted) -> Vec<SpanSample> {
        let state = self.0.lock();
        let kept = |bucket: Option<&Bucket>| {
            bucket
                .map(|bucket| bucket.samples.iter().cloned().collect())
                .unwrap_or_default()
        };
        let of = state.names.get(name);
        match wanted {
            Wanted::Errors => kept(of.map(|of| &of.errors)),
            Wanted::Latency(index) => kept(of.and_then(|of| of.latency.get(index))),
            Wanted::Running => {
                let named = state.running.values().filter(|running| running.name == name);
                let mut samples: Vec<SpanSample> = named.map(|running| running.sample.clone()).collect();
                samples.sort_by_key(|sample| std::cmp::Reverse(sample.start));
                samples
            }
        }
    }
}

impl State {
    /// The name under which a span is counted.
    fn name<'n>(&self, name: &'n str) -> &'n str {
        match self.names.len() < NAMES_MAX || self.names.contains_key(name) {
            true => name,
            false => OTHER_NAMES,
        }
    }
}

fn bucket(latency: u64) -> usize {
    BOUNDARIES
        .partition_point(|bound| *bound <= latency)
        .saturating_sub(1)
}

fn sample(span: &OwnSpan, end: Option<u64>) -> SpanSample {
    SpanSample {
        ids: span.ids,
        parent: span.parent,
        start: span.start,
        end,
        failed: span.failed,
        attributes: text(&span.attributes),
    }
}

/// Attributes as `key=value`, cut to their bound.
fn text(attributes: &Attributes) -> String {
    let mut text = String::new();
    for (key, value) in attributes {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = match value {
            Value::Text(value) => write!(text, "{separator}{key}={value}"),
            Value::Int(value) => write!(text, "{separator}{key}={value}"),
            Value::Double(value) => write!(text, "{separator}{key}={value}"),
            Value::Bool(value) => write!(text, "{separator}{key}={value}"),
        };
        if text.len() > DETAILS_BYTES_MAX {
            text.truncate(text.floor_char_boundary(DETAILS_BYTES_MAX));
            text.push('…');
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(number: u64, name: &str, start: u64, latency: u64, failed: bool) -> OwnSpan {
        OwnSpan {
            ids: ([7; 16], number.to_be_bytes()),
            parent: None,
            name: name.to_owned().into(),
            kind: 1,
            target: "cupola",
            start,
            end: start + latency,
            failed,
            is_stored: false,
            attributes: vec![("n", Value::Int(number as i64))],
        }
    }

    #[test]
    fn a_span_is_counted_in_the_bucket_of_its_latency_or_as_an_error() {
        let samples = SpanSamples::default();
        let latencies = [0, 9_999, 10_000, 1_500_000, 100_000_000_000, u64::MAX / 4];
        for (number, latency) in latencies.into_iter().enumerate() {
            let span = span(number as u64, "work", 1, latency, false);
            samples.begun(&span);
            samples.ended(&span);
        }
        let bad = span(99, "work", 1, 20_000, true);
        samples.begun(&bad);
        assert_eq!(samples.of("work", Wanted::Running).len(), 1);
        assert_eq!(samples.summary()[0].running, 1);
        samples.ended(&bad);
        let [summary] = samples.summary().try_into().unwrap();
        assert_eq!(summary.running, 0);
        assert_eq!(summary.latency, [2, 1, 0, 1, 0, 0, 0, 0, 2]);
        assert_eq!(summary.errors, 1);
        assert_eq!(samples.of("work", Wanted::Errors)[0].attributes, "n=99");
        assert!(samples.of("work", Wanted::Running).is_empty());
        assert!(samples.of("work", Wanted::Latency(usize::MAX)).is_empty());
        assert!(samples.of("nothing", Wanted::Errors).is_empty());
    }

    #[test]
    fn a_burst_leaves_the_samples_that_came_before_it() {
        let samples = SpanSamples::default();
        let second = SAMPLE_EVERY_NANOS;
        for number in 0..30 {
            let one = span(number, "work", number * second, 1, false);
            samples.begun(&one);
            samples.ended(&one);
            for more in 0..50 {
                let one = span(1_000 + more, "work", number * second + more, 1, false);
                samples.begun(&one);
                samples.ended(&one);
            }
        }
        assert_eq!(samples.summary()[0].latency[0], 30 * 51);
        let kept = samples.of("work", Wanted::Latency(0));
        let numbers: Vec<&str> = kept.iter().map(|sample| sample.attributes.as_str()).collect();
        assert_eq!(
            numbers,
            [
                "n=29", "n=28", "n=27", "n=26", "n=25", "n=24", "n=23", "n=22", "n=21", "n=20"
            ]
        );
    }

    #[test]
    fn names_running_spans_and_attributes_are_bounded() {
        let samples = SpanSamples::default();
        for number in 0..2_000 {
            let mut one = span(number, &format!("name {number}"), 1, 1, false);
            one.attributes = vec![("text", Value::Text("ü".repeat(4_000)))];
            samples.begun(&one);
        }
        let state = samples.0.lock();
        assert_eq!(state.running.len(), RUNNING_MAX);
        assert_eq!(state.names.len(), NAMES_MAX + 1);
        let other = &state.names[OTHER_NAMES];
        assert_eq!(other.running, 2_000 - NAMES_MAX as u64);
        let longest = state
            .running
            .values()
            .map(|running| running.sample.attributes.len())
            .max();
        assert!(longest.unwrap() <= DETAILS_BYTES_MAX + '…'.len_utf8());
        drop(state);
        for number in 0..2_000 {
            samples.ended(&span(number, &format!("name {number}"), 1, 1, false));
        }
        assert!(samples.summary().iter().all(|name| name.running == 0));
    }
}
