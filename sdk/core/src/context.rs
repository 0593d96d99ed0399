//! What names a span within and between processes, and what travels beside it.
//!
//! <https://www.w3.org/TR/trace-context-2/>

mod trace_state;

use cupola_telemetry::{SpanId, TraceId};

pub use trace_state::{TraceState, TraceStateError};

/// Bits of `trace-flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceFlags(pub u8);

impl TraceFlags {
    pub const SAMPLED: TraceFlags = TraceFlags(1);
    /// The trace id was chosen at random.
    pub const RANDOM: TraceFlags = TraceFlags(2);

    pub fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    #[must_use]
    pub fn with_sampled(self, sampled: bool) -> TraceFlags {
        match sampled {
            true => TraceFlags(self.0 | Self::SAMPLED.0),
            false => TraceFlags(self.0 & !Self::SAMPLED.0),
        }
    }
}

/// A span, named from wherever it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanContext {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub flags: TraceFlags,
    pub trace_state: TraceState,
    /// It came from another process.
    pub is_remote: bool,
}

impl SpanContext {
    /// The context outside of every span.
    pub const fn none() -> SpanContext {
        SpanContext {
            trace_id: TraceId([0; TraceId::BYTES]),
            span_id: SpanId([0; SpanId::BYTES]),
            flags: TraceFlags(0),
            trace_state: TraceState::empty(),
            is_remote: false,
        }
    }

    /// Both ids are there.
    #[inline]
    pub fn is_valid(&self) -> bool {
        !self.trace_id.is_zero() && !self.span_id.is_zero()
    }
}
