//! What tail sampling counts, under the names that the Collector has for it.

use cupola_export::Sample;

use super::policy::Decision;
use crate::processors::histogram::{Histogram, HistogramNames};

const MICROSECONDS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 750.0, 1000.0, 2000.0,
    3000.0, 4000.0, 5000.0, 10_000.0, 20_000.0, 30_000.0, 50_000.0,
];
const SECONDS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 600.0, 1800.0,
];

macro_rules! histogram_names {
    ($name:literal, $help:literal) => {
        HistogramNames {
            bucket: concat!("otelcol_processor_tail_sampling_", $name, "_bucket"),
            sum: concat!("otelcol_processor_tail_sampling_", $name, "_sum"),
            count: concat!("otelcol_processor_tail_sampling_", $name, "_count"),
            help: $help,
        }
    };
}

const DECISION_LATENCY: HistogramNames = histogram_names!(
    "sampling_decision_latency",
    "Microseconds that a policy took for a trace."
);
const TIMER_LATENCY: HistogramNames = histogram_names!(
    "sampling_decision_timer_latency",
    "Microseconds that deciding all traces that were due took."
);
const REMOVAL_AGE: HistogramNames = histogram_names!(
    "sampling_trace_removal_age",
    "Seconds from the arrival of a trace until it was decided."
);
const LATE_SPAN_AGE: HistogramNames = histogram_names!(
    "sampling_late_span_age",
    "Seconds from a decision until the arrival of a late span."
);

const LABELS: [(Decision, &str, &str); 3] = [
    (Decision::Sampled, "true", "sampled"),
    (Decision::NotSampled, "false", "not_sampled"),
    (Decision::Dropped, "false", "dropped"),
];

fn place(decision: Decision) -> usize {
    match decision {
        Decision::Sampled | Decision::InvertSampled => 0,
        Decision::NotSampled | Decision::InvertNotSampled => 1,
        Decision::Dropped => 2,
    }
}

/// What one policy said.
pub(super) struct PolicyStats {
    pub(super) name: String,
    pub(super) latency: Histogram,
    pub(super) errors: u64,
    traces: [u64; 3],
    spans: [u64; 3],
}

impl PolicyStats {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            latency: Histogram::new(MICROSECONDS),
            errors: 0,
            traces: [0; 3],
            spans: [0; 3],
        }
    }

    pub(super) fn count(&mut self, decision: Decision, spans: u64) {
        self.traces[place(decision)] += 1;
        self.spans[place(decision)] += spans;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        for (index, (_, sampled, decision)) in LABELS.into_iter().enumerate() {
            let labelled = |sample: Sample| {
                let sample = sample.with("policy", self.name.clone());
                sample.with("sampled", sampled).with("decision", decision)
            };
            samples.push(labelled(Sample::count(
                "otelcol_processor_tail_sampling_count_traces_sampled",
                "Traces by what a policy said of them.",
                self.traces[index],
            )));
            samples.push(labelled(Sample::count(
                "otelcol_processor_tail_sampling_count_spans_sampled",
                "Spans by what a policy said of their trace.",
                self.spans[index],
            )));
        }
        self.latency
            .collect(&DECISION_LATENCY, Some(("policy", &self.name)), samples);
    }
}

/// Counts of the processor.
pub(super) struct Stats {
    pub(super) new_traces: u64,
    /// By sampled, not sampled, dropped.
    decided: [u64; 3],
    pub(super) too_early: u64,
    pub(super) too_large: u64,
    pub(super) late_sampled: u64,
    pub(super) late_not_sampled: u64,
    pub(super) not_sampled_spans: u64,
    pub(super) dropped_at_shutdown: u64,
    pub(super) failed_spans: u64,
    pub(super) rejected_spans: u64,
    pub(super) refused_spans: u64,
    pub(super) timer: Histogram,
    pub(super) removal_age: Histogram,
    pub(super) late_span_age: Histogram,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            new_traces: 0,
            decided: [0; 3],
            too_early: 0,
            too_large: 0,
            late_sampled: 0,
            late_not_sampled: 0,
            not_sampled_spans: 0,
            dropped_at_shutdown: 0,
            failed_spans: 0,
            rejected_spans: 0,
            refused_spans: 0,
            timer: Histogram::new(MICROSECONDS),
            removal_age: Histogram::new(SECONDS),
            late_span_age: Histogram::new(SECONDS),
        }
    }

    pub(super) fn count(&mut self, decision: Decision) {
        self.decided[place(decision)] += 1;
    }

    /// Adds the samples; `held` are traces that are not decided yet.
    pub(super) fn collect<'p>(
        &self,
        held: usize,
        policies: impl Iterator<Item = &'p PolicyStats>,
        samples: &mut Vec<Sample>,
    ) {
        let mut errors = 0;
        for policy in policies {
            policy.collect(samples);
            errors += policy.errors;
        }
        for (index, (_, sampled, decision)) in LABELS.into_iter().enumerate() {
            let sample = Sample::count(
                "otelcol_processor_tail_sampling_global_count_traces_sampled",
                "Traces by what became of them.",
                self.decided[index],
            );
            samples.push(sample.with("sampled", sampled).with("decision", decision));
        }
        for (sampled, spans) in [("true", self.late_sampled), ("false", self.late_not_sampled)] {
            let sample = Sample::count(
                "otelcol_processor_tail_sampling_early_releases_from_cache_decision",
                "Late spans that followed the decision of their trace.",
                spans,
            );
            samples.push(sample.with("sampled", sampled));
        }
        let counts = [
            (
                "otelcol_processor_tail_sampling_new_trace_id_received",
                "Traces that began.",
                self.new_traces,
            ),
            (
                "otelcol_processor_tail_sampling_sampling_policy_evaluation_error",
                "Policies that could not be evaluated for a trace.",
                errors,
            ),
            (
                "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early",
                "Traces decided before their time, for want of room.",
                self.too_early,
            ),
            (
                "otelcol_processor_tail_sampling_traces_dropped_too_large",
                "Traces decided before their time, because they were too large.",
                self.too_large,
            ),
            (
                "otelcol_processor_tail_sampling_not_sampled_spans",
                "Spans that went with their trace, which was not sampled.",
                self.not_sampled_spans,
            ),
            (
                "otelcol_processor_tail_sampling_dropped_at_shutdown_spans",
                "Spans of undecided traces that went at a shutdown, as the settings say.",
                self.dropped_at_shutdown,
            ),
            (
                "otelcol_processor_tail_sampling_failed_spans",
                "Spans of sampled traces that could not be handed on and were lost.",
                self.failed_spans,
            ),
            (
                "otelcol_processor_tail_sampling_rejected_spans",
                "Spans of sampled traces that the next component refused for good.",
                self.rejected_spans,
            ),
            (
                "otelcol_processor_refused_spans",
                "Spans that were not taken for want of memory.",
                self.refused_spans,
            ),
        ];
        samples.extend(counts.map(|(name, help, value)| Sample::count(name, help, value)));
        samples.push(Sample::level(
            "otelcol_processor_tail_sampling_sampling_traces_on_memory",
            "Traces that are not decided yet.",
            held as f64,
        ));
        self.timer.collect(&TIMER_LATENCY, None, samples);
        self.removal_age.collect(&REMOVAL_AGE, None, samples);
        self.late_span_age.collect(&LATE_SPAN_AGE, None, samples);
    }
}
