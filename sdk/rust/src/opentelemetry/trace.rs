//! Tracers: where what a builder and a context of the API say becomes the start of a span.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/api/#tracer>

use std::borrow::Cow;

use ::opentelemetry::trace::{Link, SpanBuilder, TraceContextExt as _};
use ::opentelemetry::{Context as ApiContext, InstrumentationScope, trace as api};
use bumpalo::Bump;
use cupola_sdk_core::tracer::{Start, Started, Tracer as CoreTracer};
use cupola_sdk_core::{Sdk, SpanContext, Value};
use smallvec::SmallVec;

use super::convert::{self, Pairs};
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
            let attributes = convert::pairs(&event.attributes, &arena);
            recording.add_event(&event.name, convert::unix_nano(event.timestamp), &attributes);
        }
        Span::recorded(context, self.core.clone(), recording)
    }
}

impl Tracer {
    #[inline]
    fn start(&self, name: Cow<'static, str>, builder: &SpanBuilder, around: &Context) -> Started {
        let arena = Bump::new();
        let attributes = builder.attributes.as_deref().unwrap_or_default();
        let attributes = convert::pairs(attributes, &arena);
        let start = Start {
            name,
            kind: builder
                .span_kind
                .as_ref()
                .map_or_else(Default::default, convert::kind),
            parent: around.span(),
            baggage: around.baggage(),
            scope: None,
            is_forced: around.is_forced(),
            attributes: &attributes,
            links: &[],
            unix_nano: builder.start_time.map(convert::unix_nano),
        };
        match builder.links.as_deref() {
            None | Some([]) => self.core.start(start),
            Some(links) => self.start_with_links(start, links),
        }
    }

    #[cold]
    fn start_with_links(&self, start: Start<'_>, links: &[Link]) -> Started {
        let arena = Bump::new();
        let attributes: SmallVec<[Pairs<'_>; 2]> = links
            .iter()
            .map(|link| convert::pairs(&link.attributes, &arena))
            .collect();
        let links: Vec<(SpanContext, &[(&str, Value<'_>)])> = links
            .iter()
            .zip(&attributes)
            .map(|(link, attributes)| (bridge::from_api_span(&link.span_context), attributes.as_slice()))
            .collect();
        self.core.start(Start {
            links: &links,
            ..start
        })
    }
}
