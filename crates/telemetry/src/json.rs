//! stub
use crate::{DecodeError, Problem, Signal};
pub(crate) fn decode_request(_: Signal, _: &[u8]) -> Result<(Vec<u8>, usize), DecodeError> {
    Err(DecodeError {
        path: String::new(),
        offset: 0,
        problem: Problem::Truncated,
    })
}
pub(crate) fn encode_request(_: Signal, _: &[u8]) -> String {
    String::new()
}
