//! Trace and span ids as values: hex in, hex out.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("id has {actual} characters, expected {expected} hex digits")]
    Length { expected: usize, actual: usize },
    #[error("id has a character that is not a hex digit at {offset}")]
    Digit { offset: usize },
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            pub const BYTES: usize = $bytes;

            /// `None` if `bytes` has another length, as the empty id has.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Reads hex digits of either case.
            pub fn parse(hex: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $bytes];
                match hex::decode_to_slice(hex, &mut bytes) {
                    Ok(()) => Ok(Self(bytes)),
                    Err(hex::FromHexError::InvalidHexCharacter { index, .. }) => {
                        Err(IdError::Digit { offset: index })
                    }
                    Err(_) => Err(IdError::Length { expected: 2 * $bytes, actual: hex.chars().count() }),
                }
            }

            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// All zero: invalid by the W3C trace context.
            #[inline]
            pub fn is_zero(&self) -> bool {
                self.0 == [0; $bytes]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(hex: &str) -> Result<Self, IdError> {
                Self::parse(hex)
            }
        }
    };
}

id!(
    /// Sixteen bytes that name a trace.
    TraceId,
    16
);
id!(
    /// Eight bytes that name a span within a trace.
    SpanId,
    8
);
