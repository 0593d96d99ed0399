//! A stream: one metric that goes out, as a view or its instrument describes it, with everything resolved.

use arc_swap::ArcSwap;

use super::instrument::{Description, Kind};
use super::point::Shape;
use super::settings::ExemplarFilter;
use super::view::AttributeKeys;
use crate::recorder::Scope;

/// One metric of one scope.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its place among all.
    pub(super) index: usize,
    pub(super) scope: Scope,
    pub(super) identity: Identity,
    pub(super) exemplars: ExemplarFilter,
    /// Whether an observation replaces an earlier one of the same attributes. Where a view leaves attributes out, those that
    /// become the same are added.
    pub(super) is_set: bool,
    /// Hashes of the series that are told for ever, sorted. A thread that has as many as there may be finds them here, so that
    /// what they measure does not become that of the series for what is beyond the limit.
    pub(super) kept: ArcSwap<Vec<u64>>,
    /// Of this process or of its parent.
    pub(super) generation: u64,
    pub(super) created_unix_nano: u64,
}

/// What makes two streams of a scope the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) description: String,
    pub(super) kind: Kind,
    pub(super) is_int: bool,
    pub(super) shape: Shape,
    pub(super) is_delta: bool,
    pub(super) attributes: AttributeKeys,
    /// Most series, the one for what is beyond not counted.
    pub(super) limit: usize,
}

impl Identity {
    /// Whether two that have a name in common are the same, with upper and lower case alike.
    pub(super) fn is(&self, other: &Identity) -> bool {
        self.has_name_of(other)
            && Identity {
                name: other.name.clone(),
                ..self.clone()
            } == *other
    }

    pub(super) fn has_name_of(&self, other: &Identity) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
    }

    /// In what two of one name differ, of what a reader of both would see.
    pub(super) fn difference(&self, other: &Identity) -> Vec<&'static str> {
        let mut differ = Vec::new();
        let mut note = |is_other: bool, what| {
            if is_other {
                differ.push(what);
            }
        };
        note(self.kind != other.kind, "kind");
        note(self.unit != other.unit, "unit");
        note(self.description != other.description, "description");
        note(self.is_int != other.is_int, "type of number");
        note(self.shape != other.shape, "aggregation");
        note(self.attributes != other.attributes, "attributes");
        note(self.limit != other.limit, "cardinality limit");
        differ
    }
}

impl Stream {
    /// Whether this may be the hash of a series that is told for ever.
    pub(super) fn keeps(&self, hash: u64) -> bool {
        self.kept.load().binary_search(&hash).is_ok()
    }

    /// Number of the field with attributes in its data points.
    pub(super) fn attributes_field(&self) -> u32 {
        match self.identity.shape {
            Shape::Sum | Shape::LastValue => 7,
            Shape::Explicit { .. } => 9,
            Shape::Exponential { .. } => 1,
        }
    }

    /// Whether its histograms tell sums: not of what may fall.
    pub(super) fn has_sum(&self) -> bool {
        self.identity.kind.is_monotonic()
    }
}

/// Longest name.
const NAME_BYTES_MAX: usize = 255;

/// Why a name cannot be one.
pub(super) fn fault(name: &str) -> Option<&'static str> {
    let Some(first) = name.bytes().next() else {
        return Some("it is empty");
    };
    if name.len() > NAME_BYTES_MAX {
        return Some("it is too long");
    }
    if !first.is_ascii_alphabetic() {
        return Some("it does not begin with a letter");
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    (!name.bytes().all(is_allowed)).then_some("it has other characters")
}

/// The advice of an instrument, as far as it counts.
pub(super) fn advised_attributes(description: &Description<'_>) -> AttributeKeys {
    match description.attributes {
        None => AttributeKeys::All,
        Some(keys) => AttributeKeys::Only(keys.iter().map(|key| (*key).to_owned()).collect()),
    }
}
