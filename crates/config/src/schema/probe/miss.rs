//! Why an attempt at a type did not succeed.

use std::fmt;

use serde::de::{Expected, Unexpected};

use crate::schema::shape::TypePath;

/// What a sample was refused for, and where.
#[derive(Debug)]
pub(crate) struct Miss {
    pub(crate) cause: Cause,
    pub(crate) path: Option<TypePath>,
    /// The field that was being offered.
    pub(crate) key: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A value of this kind is never taken.
    Type,
    Missing(&'static str),
    Duplicate(&'static str),
    /// No sample will do.
    Stop,
    Other,
}

impl Miss {
    pub(super) fn new(cause: Cause) -> Self {
        Self {
            cause,
            path: None,
            key: None,
        }
    }

    /// Gives it this path, unless a deeper one is known.
    pub(crate) fn at(mut self, path: &TypePath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a sample is refused: {:?}", self.cause)
    }
}

impl std::error::Error for Miss {}

impl serde::de::Error for Miss {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Miss::new(Cause::Other)
    }

    fn invalid_type(_found: Unexpected<'_>, _expected: &dyn Expected) -> Self {
        Miss::new(Cause::Type)
    }

    fn missing_field(field: &'static str) -> Self {
        Miss::new(Cause::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Miss::new(Cause::Duplicate(field))
    }
}
