//! Whether a span is recorded, decided when it starts.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampler>

mod condition;
mod consistent;
mod forced;
mod rate;
mod rules;
mod settings;

use std::fmt;
use std::sync::Arc;

use cupola_telemetry::TraceId;

use crate::baggage::Baggage;
use crate::clock::Clock;
use crate::context::{SpanContext, TraceState};
use crate::recorder::Scope;
use crate::span::SpanKind;
use crate::value::Value;
pub use condition::{Condition, Pattern};
pub(crate) use condition::{Ended, all_hold};
pub use consistent::{
    AttributePatterns, Composable, ComposableRule, Composite, ParentKind, Predicate, Probability,
};
pub use forced::{FORCE_HEADER, FORCE_QUERY, FORCED, ForceSettings, force_from_header, force_from_query};
pub use rate::RateLimited;
pub use rules::{Rule, RuleBased};
pub use settings::{ParentBasedSettings, RuleSettings, SamplerError, SamplerSettings};

/// What a sampler may look at.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// The context in which the span starts; without ids if there is none.
    pub parent: &'q SpanContext,
    pub trace_id: TraceId,
    pub name: &'q str,
    pub kind: SpanKind,
    pub attributes: &'q [(&'q str, Value<'q>)],
    pub links: &'q [(SpanContext, &'q [(&'q str, Value<'q>)])],
    pub baggage: &'q Baggage,
    /// Of the tracer that starts it.
    pub scope: Scope,
    /// The SDK's, for samplers that look at it.
    pub clock: &'q Clock,
}

/// What becomes of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is not recorded; those below it have its ids all the same.
    Drop,
    /// It is recorded, for whoever looks at spans in the process, and not exported.
    RecordOnly,
    RecordAndSample,
}

/// A decision, and what the sampler adds to the span.
#[derive(Clone, Debug)]
pub struct Answer {
    pub decision: Decision,
    pub attributes: Vec<(&'static str, Value<'static>)>,
    /// In place of the parent's.
    pub trace_state: Option<TraceState>,
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Answer {
        Answer {
            decision,
            attributes: Vec::new(),
            trace_state: None,
        }
    }
}

/// Decides whether spans are recorded. Called by threads of the application for every span: it may not wait.
pub trait Sampler: fmt::Debug + Send + Sync {
    fn sample(&self, question: &Question<'_>) -> Answer;

    /// Whether it looks at attributes. One that does not may be asked without them, which is quicker.
    fn looks_at_attributes(&self) -> bool {
        true
    }

    /// Its name and settings, as the specification writes them.
    fn description(&self) -> String;
}

#[derive(Clone, Copy, Debug)]
pub struct AlwaysOn;

impl Sampler for AlwaysOn {
    fn sample(&self, _: &Question<'_>) -> Answer {
        Decision::RecordAndSample.into()
    }

    fn looks_at_attributes(&self) -> bool {
        false
    }

    fn description(&self) -> String {
        "AlwaysOnSampler".to_owned()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct AlwaysOff;

impl Sampler for AlwaysOff {
    fn sample(&self, _: &Question<'_>) -> Answer {
        Decision::Drop.into()
    }

    fn looks_at_attributes(&self) -> bool {
        false
    }

    fn description(&self) -> String {
        "AlwaysOffSampler".to_owned()
    }
}

/// A share of traces, chosen by their ids: whoever asks about a trace gets the same answer, and a larger share has all that a
/// smaller one has. By the last eight bytes of the id, as the SDKs for Go, Rust and Python do, so that services in several
/// languages with the same ratio agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceIdRatio {
    ratio: f64,
    /// Ids below it are in the share.
    bound: u64,
}

/// Values that what is looked at of an id has.
const VALUES: u64 = 1 << 63;

impl TraceIdRatio {
    /// `None` if the ratio is not from 0 to 1.
    pub fn new(ratio: f64) -> Option<TraceIdRatio> {
        (0.0..=1.0).contains(&ratio).then_some(TraceIdRatio {
            ratio,
            bound: (ratio * VALUES as f64) as u64,
        })
    }

    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Whether a trace is in the share.
    pub fn has(&self, trace_id: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace_id.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.bound
    }
}

impl Sampler for TraceIdRatio {
    fn sample(&self, question: &Question<'_>) -> Answer {
        match self.has(question.trace_id) {
            true => Decision::RecordAndSample.into(),
            false => Decision::Drop.into(),
        }
    }

    fn looks_at_attributes(&self) -> bool {
        false
    }

    fn description(&self) -> String {
        format!("TraceIdRatioBased{{{}}}", self.ratio)
    }
}

/// As the parent was decided upon; a sampler each for where it came from, and for spans without one.
#[derive(Clone, Debug)]
pub struct ParentBased {
    pub root: Arc<dyn Sampler>,
    pub remote_sampled: Arc<dyn Sampler>,
    pub remote_not_sampled: Arc<dyn Sampler>,
    pub local_sampled: Arc<dyn Sampler>,
    pub local_not_sampled: Arc<dyn Sampler>,
}

impl ParentBased {
    /// As the parent, and `root` where there is none.
    pub fn new(root: Arc<dyn Sampler>) -> ParentBased {
        ParentBased {
            root,
            remote_sampled: Arc::new(AlwaysOn),
            remote_not_sampled: Arc::new(AlwaysOff),
            local_sampled: Arc::new(AlwaysOn),
            local_not_sampled: Arc::new(AlwaysOff),
        }
    }
}

impl Sampler for ParentBased {
    fn sample(&self, question: &Question<'_>) -> Answer {
        let parent = question.parent;
        let sampler = match (parent.is_valid(), parent.is_remote, parent.flags.is_sampled()) {
            (false, ..) => &self.root,
            (true, true, true) => &self.remote_sampled,
            (true, true, false) => &self.remote_not_sampled,
            (true, false, true) => &self.local_sampled,
            (true, false, false) => &self.local_not_sampled,
        };
        sampler.sample(question)
    }

    fn looks_at_attributes(&self) -> bool {
        let parts = [
            &self.root,
            &self.remote_sampled,
            &self.remote_not_sampled,
            &self.local_sampled,
            &self.local_not_sampled,
        ];
        parts.iter().any(|sampler| sampler.looks_at_attributes())
    }

    fn description(&self) -> String {
        format!(
            "ParentBased{{root={},remoteParentSampled={},remoteParentNotSampled={},localParentSampled={},localParentNotSampled={}}}",
            self.root.description(),
            self.remote_sampled.description(),
            self.remote_not_sampled.description(),
            self.local_sampled.description(),
            self.local_not_sampled.description()
        )
    }
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::SpanId;

    use super::*;
    use crate::context::TraceFlags;
    use crate::ids::Ids;

    fn ask(sampler: &dyn Sampler, parent: &SpanContext, trace_id: TraceId) -> Decision {
        let question = Question {
            parent,
            trace_id,
            name: "span",
            kind: SpanKind::Internal,
            attributes: &[],
            links: &[],
            baggage: &Baggage::none(),
            scope: Scope::nameless(),
            clock: &Clock::default(),
        };
        sampler.sample(&question).decision
    }

    #[test]
    fn a_larger_share_has_all_of_a_smaller_one_and_about_as_much_as_it_says() {
        let nobody = SpanContext::default();
        let shares = [0.0, 0.01, 0.25, 0.5, 1.0].map(|ratio| TraceIdRatio::new(ratio).unwrap());
        let mut counts = [0u32; 5];
        for _ in 0..20_000 {
            let id = Ids::Random.trace_id();
            let taken = shares.map(|share| ask(&share, &nobody, id) == Decision::RecordAndSample);
            assert!(taken.is_sorted(), "{id}: {taken:?}");
            for (count, taken) in counts.iter_mut().zip(taken) {
                *count += u32::from(taken);
            }
        }
        assert_eq!((counts[0], counts[4]), (0, 20_000));
        // Ten standard deviations of a share of a half are 707.
        assert!(
            counts[1].abs_diff(200) < 150
                && counts[2].abs_diff(5_000) < 700
                && counts[3].abs_diff(10_000) < 707,
            "{counts:?}"
        );
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert!(TraceIdRatio::new(wrong).is_none());
        }
    }

    #[test]
    fn a_parent_decides_for_those_below_it() {
        let sampler = ParentBased::new(Arc::new(TraceIdRatio::new(0.0).unwrap()));
        for (is_remote, sampled) in [(true, true), (true, false), (false, true), (false, false)] {
            let parent = SpanContext {
                trace_id: TraceId([1; 16]),
                span_id: SpanId([2; 8]),
                flags: TraceFlags::default().with_sampled(sampled),
                is_remote,
                ..SpanContext::default()
            };
            let wanted = if sampled {
                Decision::RecordAndSample
            } else {
                Decision::Drop
            };
            assert_eq!(ask(&sampler, &parent, parent.trace_id), wanted);
        }
        assert_eq!(
            ask(&sampler, &SpanContext::default(), TraceId([1; 16])),
            Decision::Drop
        );
        assert_eq!(
            sampler.description(),
            "ParentBased{root=TraceIdRatioBased{0},remoteParentSampled=AlwaysOnSampler,remoteParentNotSampled=AlwaysOffSampler,\
             localParentSampled=AlwaysOnSampler,localParentNotSampled=AlwaysOffSampler}"
        );
    }
}
