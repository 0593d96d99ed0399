//! Tracers: where what a builder and a context of the API say becomes the start of a span.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/api/#tracer>

use std::borrow::Cow;

use ::opentelemetry::trace::{Link, SpanBuilder, TraceContextExt as _};
use ::opentelemetry::{Context as ApiContext, InstrumentationScope, KeyValue, trace as api};
use bumpalo::Bump;
use cupola_sdk_core::tracer::{Start, Started, Tracer as CoreTracer};
use cupola_sdk_core::{Sdk, SpanContext};

use super::convert::{self, Pair};
use super::span::Span;
use crate::context::{Context, bridge};

/// Makes [`Tracer`]s. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TracerProvider {
    sdk: Sdk,
}

impl TracerProvider {
    pub fn new(sdk: Sdk) -> TracerProvider {
        TracerProvider { sdk }
    }
}

impl api::TracerProvider for TracerProvider {
    type Tracer = Tracer;

    fn tracer_with_scope(&self, scope: InstrumentationScope) -> Tracer {
        Tracer {
            core: self.sdk.tracer(convert::scope(&scope)),
        }
    }
}

/// Makes spans of one scope.
#[derive(Clone, Debug)]
pub struct Tracer {
    core: CoreTracer,
}

impl api::Tracer for Tracer {
    type Span = Span;

    fn build_with_context(&self, mut builder: SpanBuilder, parent: &ApiContext) -> Span {
        if parent.is_telemetry_suppressed() {
            // As if nobody were here: whoever comes next goes on from the parent.
            return Span::not_recorded(parent.span().span_context().clone());
        }
        let around = bridge::from_api(parent);
        let name = std::mem::take(&mut builder.name);
        let started = self.start(name, &builder, &around);
        let context = bridge::to_api_span(&started.context);
        let Some(mut recording) = started.recording else {
            return Span::not_recorded(context);
        };
        if let Some(inherited) = around.attributes() {
            recording.attributes_mut().inherit(inherited, |_| true);
        }
        let arena = Bump::new();
        for event in builder.events.iter().flatten() {
            convert::with_pairs(&event.attributes, &arena, |attributes| {
                recording.add_event(&event.name, convert::unix_nano(event.timestamp), attributes);
            });
        }
        Span::recorded(context, self.core.clone(), recording)
    }
}

impl Tracer {
    #[inline]
    fn start(&self, name: Cow<'static, str>, builder: &SpanBuilder, around: &Context) -> Started {
        let mut start = Start::new(name);
        start.kind = builder
            .span_kind
            .as_ref()
            .map_or_else(Default::default, convert::kind);
        start.parent = around.span();
        start.baggage = around.baggage();
        start.is_forced = around.is_forced();
        start.unix_nano = builder.start_time.map(convert::unix_nano);
        match (builder.attributes.as_deref(), builder.links.as_deref()) {
            (None | Some([]), None | Some([])) => self.core.start(start),
            (Some(attributes), None | Some([])) if !self.core.looks_at_attributes() => {
                let mut started = self.core.start(start);
                if let Some(recording) = &mut started.recording {
                    let into = recording.attributes_mut();
                    attributes
                        .iter()
                        .for_each(|attribute| convert::set(into, attribute));
                }
                started
            }
            (attributes, links) => {
                let (attributes, links) = (attributes.unwrap_or_default(), links.unwrap_or_default());
                self.start_with(start, attributes, links)
            }
        }
    }

    /// Starts a span whose sampler sees all of this.
    fn start_with(&self, start: Start<'_>, attributes: &[KeyValue], links: &[Link]) -> Started {
        let arena = Bump::new();
        let of_links: Vec<Vec<Pair<'_>>> = links
            .iter()
            .map(|link| convert::pairs(&link.attributes, &arena))
            .collect();
        let links: Vec<(SpanContext, &[Pair<'_>])> = links
            .iter()
            .zip(&of_links)
            .map(|(link, attributes)| (bridge::from_api_span(&link.span_context), attributes.as_slice()))
            .collect();
        convert::with_pairs(attributes, &arena, |attributes| {
            self.core.start(Start {
                attributes,
                links: &links,
                ..start
            })
        })
    }
}
