//! What is wrong with a request, and where.

use super::NESTING_MAX;
use crate::wire::{FIXED32, FIXED64, GROUP_END, GROUP_START, LENGTH, VARINT};

/// A request that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem} (byte {offset})")]
pub struct DecodeError {
    /// Field at fault, as `resource_logs[0].scope_logs[2].log_records[7].trace_id`; JSON names for JSON.
    /// `request` if it is the request as a whole.
    pub path: String,
    /// Where the field starts in the payload; for JSON, where reading stopped.
    pub offset: usize,
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("needs {expected} more bytes, {actual} are left")]
    Truncated { expected: u64, actual: usize },
    #[error("varint does not fit 64 bits")]
    VarintOverflow,
    #[error("{key} is not the key of a field")]
    FieldKey { key: u64 },
    #[error("expected {}, found {}", wire_type_name(*expected), wire_type_name(*actual))]
    WireType { expected: u32, actual: u32 },
    #[error("end of group {actual} where {} was expected", .expected.map_or("none".into(), |number| format!("that of {number}")))]
    GroupEnd { expected: Option<u32>, actual: u32 },
    #[error("text is not UTF-8 from its byte {valid_up_to} on")]
    Utf8 { valid_up_to: usize },
    #[error("id has {actual} bytes, expected {expected} or none")]
    IdLength { expected: usize, actual: usize },
    #[error("packed field has {actual} bytes, not a multiple of {element}")]
    PackedLength { element: usize, actual: usize },
    #[error("nested deeper than {NESTING_MAX} messages")]
    Nesting,
    #[error("{0}")]
    Json(String),
    #[error("expected an enum's number, found the text {actual:?}; OTLP/JSON has no enum names")]
    EnumName { actual: String },
    #[error("{actual} does not fit {expected}")]
    NumberRange { expected: &'static str, actual: String },
    #[error("expected {expected} hex digits or none, found {actual:?}")]
    Hex { expected: usize, actual: String },
    #[error("not base64: {0}")]
    Base64(String),
    #[error("given twice")]
    Repeated,
    #[error("given beside {other}, of which only one may be set")]
    Oneof { other: &'static str },
    #[error("takes more than {bytes_max} bytes in protobuf")]
    TooLarge { bytes_max: usize },
    #[error("memory is at its ceiling")]
    OverMemory,
}

/// As the protobuf encoding guide calls them.
fn wire_type_name(wire_type: u32) -> &'static str {
    match wire_type {
        VARINT => "a varint",
        FIXED64 => "64 bits",
        LENGTH => "a length-delimited value",
        GROUP_START => "the start of a group",
        GROUP_END => "the end of a group",
        FIXED32 => "32 bits",
        _ => "no wire type",
    }
}
