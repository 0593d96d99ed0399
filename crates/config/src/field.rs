//! How a field is read of which it counts only that it is there, or not even that.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// Anything: a setting that is read and has no effect, or that somebody else reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed;

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Passed)
    }
}

/// For `#[serde(deserialize_with)]`: a key that is there counts, even without a value, as in `tls:`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
