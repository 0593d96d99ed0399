//! stub
use crate::Signal;
use bytes::Bytes;
/// Deepest nesting of messages below the request.
pub const NESTING_MAX: usize = 80;
/// Why a request could not be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {problem} (at byte {offset})")]
pub struct DecodeError {
    pub path: String,
    pub offset: usize,
    pub problem: Problem,
}
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    #[error("truncated")]
    Truncated,
}
pub(crate) struct Decoded {
    pub(crate) payload: Bytes,
    pub(crate) items: usize,
}
pub(crate) fn decode(signal: Signal, payload: Bytes) -> Result<Decoded, DecodeError> {
    let items = match signal {
        Signal::Logs => crate::view::LogsData::new(&payload)
            .resources()
            .flat_map(|r| r.scopes())
            .map(|s| s.records().len())
            .sum(),
        Signal::Traces => crate::view::TracesData::new(&payload)
            .resources()
            .flat_map(|r| r.scopes())
            .map(|s| s.spans().len())
            .sum(),
        Signal::Metrics => 0,
    };
    Ok(Decoded { payload, items })
}
