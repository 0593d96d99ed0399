//! From bytes of a stranger to canonical bytes: validation, canonicalisation, errors that name the field.
//!
//! Validation is one pass that allocates nothing; payloads of the common SDKs are canonical already and are
//! kept as they are. Others are rewritten by [`canonical`] and validated again.
//!
//! Where protobuf leaves a choice:
//! - A known field with another wire type is an error, as in prost and gogo/protobuf. Treating it as unknown,
//!   as others do, would drop data without a word.
//! - Packed and unpacked repeated numbers are both read.
//! - Unknown fields are kept, groups included; an unmatched end of a group is an error.
//! - Numbers wider than their field are cut to it, as everywhere in protobuf.

mod canonical;
mod error;
mod pair;
mod validate;

pub use error::{DecodeError, Problem};

use bytes::Bytes;

use crate::output::Room;
use crate::{Signal, schema};

/// Deepest nesting of messages and groups below the request.
///
/// 25 levels of key-value lists in a log body. Below the limit of 100 in prost, protobuf C++ and Java, so that
/// whatever is accepted can be forwarded; and JSON of that depth stays below the 128 that `serde_json` reads.
pub const NESTING_MAX: usize = 80;

pub(crate) struct Decoded {
    pub(crate) payload: Bytes,
    pub(crate) items: usize,
}

/// Validates an export request and makes it canonical. Takes of `room` only for what it rewrites.
pub(crate) fn decode(signal: Signal, payload: Bytes, room: &mut Room<'_>) -> Result<Decoded, DecodeError> {
    let request = schema::request(signal);
    let seen = validate::validate(request, &payload)?;
    if seen.canonical {
        return Ok(Decoded {
            payload,
            items: seen.items,
        });
    }
    let payload = canonical::rewrite(request, &payload, room).map_err(|problem| DecodeError {
        path: "request".to_owned(),
        offset: 0,
        problem,
    })?;
    // Counts again, for members of a oneof that lost are gone now; and the rewriter is checked by the validator.
    let seen = validate::validate(request, &payload)?;
    debug_assert!(seen.canonical, "rewriting did not make the payload canonical");
    Ok(Decoded {
        payload,
        items: seen.items,
    })
}
