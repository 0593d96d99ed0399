//! Views: which instruments they are of, and what they make of them. Knows names and patterns, not streams.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/sdk/#view>

use super::instrument::Kind;
use crate::wildcard;

/// What becomes of the instruments that it matches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub selector: Selector,
    pub stream: StreamSettings,
}

/// Instruments: those that have everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `?` is any character, `*` any number of any; upper and lower case are the same, as they are in names of instruments.
    pub name: Option<String>,
    pub kind: Option<Kind>,
    pub unit: Option<String>,
    pub meter_name: Option<String>,
    pub meter_version: Option<String>,
    pub meter_schema_url: Option<String>,
}

/// What a stream is to be, where it is not to be as its instrument says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamSettings {
    pub name: Option<String>,
    pub description: Option<String>,
    pub attributes: AttributeKeys,
    pub aggregation: Aggregation,
    /// Most series, the one for what is beyond not counted.
    pub cardinality_limit: Option<usize>,
}

/// Keys of attributes that make series. The others are left out, and are on exemplars alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AttributeKeys {
    #[default]
    All,
    Only(Vec<String>),
    Without(Vec<String>),
}

impl AttributeKeys {
    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            AttributeKeys::All => true,
            AttributeKeys::Only(keys) => keys.iter().any(|known| known == key),
            AttributeKeys::Without(keys) => keys.iter().all(|known| known != key),
        }
    }
}

/// What measurements become.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Aggregation {
    /// What the kind of the instrument is made for.
    #[default]
    Default,
    /// Nothing: they are not recorded.
    Drop,
    Sum,
    LastValue,
    ExplicitBuckets {
        /// Upper bounds, each in its bucket; increasing and finite. `None`: those that the instrument advises, or those of the
        /// specification.
        boundaries: Option<Vec<f64>>,
        record_min_max: bool,
    },
    Exponential {
        /// Most buckets of positive values, and of negative ones; from 2 to 16,384.
        max_size: u32,
        /// Finest resolution; from -10 to 20.
        max_scale: i8,
        record_min_max: bool,
    },
}

impl Aggregation {
    pub fn explicit() -> Aggregation {
        Aggregation::ExplicitBuckets {
            boundaries: None,
            record_min_max: true,
        }
    }

    pub fn exponential() -> Aggregation {
        Aggregation::Exponential {
            max_size: 160,
            max_scale: 20,
            record_min_max: true,
        }
    }
}

/// What of an instrument a view looks at.
pub(super) struct Looks<'l> {
    pub(super) name: &'l str,
    pub(super) kind: Kind,
    pub(super) unit: &'l str,
    pub(super) meter_name: &'l str,
    pub(super) meter_version: &'l str,
    pub(super) meter_schema_url: &'l str,
}

impl Selector {
    pub(super) fn matches(&self, looks: &Looks<'_>) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        self.kind.is_none_or(|kind| kind == looks.kind)
            && is(&self.unit, looks.unit)
            && is(&self.meter_name, looks.meter_name)
            && is(&self.meter_version, looks.meter_version)
            && is(&self.meter_schema_url, looks.meter_schema_url)
            && self.name.as_ref().is_none_or(|pattern| {
                let (pattern, name) = (pattern.to_ascii_lowercase(), looks.name.to_ascii_lowercase());
                wildcard::matches(&pattern, &name)
            })
    }

    /// Whether several instruments of one meter can match.
    pub(super) fn is_wide(&self) -> bool {
        self.name.as_ref().is_none_or(|name| name.contains(['*', '?']))
    }
}
