//! Matching of attributes and of trace state.

use std::collections::HashSet;

use cupola_telemetry::view::{AnyValue, Attributes};
use regex::Regex;

use crate::processors::lru::Lru;

/// Results of patterns that are remembered unless the settings say otherwise.
const PATTERN_CACHE_SIZE: usize = 128;

#[derive(Debug)]
pub(super) struct Numeric {
    pub(super) key: String,
    pub(super) min: i64,
    pub(super) max: i64,
}

impl Numeric {
    pub(super) fn matches(&self, attributes: &Attributes<'_>) -> bool {
        match attributes.get(&self.key) {
            Some(AnyValue::Int(value)) => (self.min..=self.max).contains(&value),
            _ => false,
        }
    }
}

pub(super) fn is_bool(attributes: &Attributes<'_>, key: &str, wanted: bool) -> bool {
    matches!(attributes.get(key), Some(AnyValue::Bool(value)) if value == wanted)
}

/// One of some texts, or one of some patterns anywhere in a text.
#[derive(Debug)]
pub(super) enum StringMatcher {
    Exact(HashSet<String>),
    Patterns {
        patterns: Vec<Regex>,
        seen: Lru<String, bool>,
    },
}

impl StringMatcher {
    pub(super) fn patterns(patterns: Vec<Regex>, cache_size: usize) -> Self {
        let size = if cache_size == 0 {
            PATTERN_CACHE_SIZE
        } else {
            cache_size
        };
        Self::Patterns {
            patterns,
            seen: Lru::new(size),
        }
    }

    pub(super) fn matches(&mut self, text: &str) -> bool {
        match self {
            Self::Exact(values) => values.contains(text),
            Self::Patterns { patterns, seen } => {
                if let Some(matched) = seen.get(text) {
                    return *matched;
                }
                let matched = patterns.iter().any(|pattern| pattern.is_match(text));
                seen.insert(text.to_owned(), matched);
                matched
            }
        }
    }
}

/// The value of `key` in a trace state: <https://www.w3.org/TR/trace-context/#tracestate-header>.
pub(super) fn trace_state_member<'s>(trace_state: &'s str, key: &str) -> Option<&'s str> {
    trace_state.split(',').find_map(|member| {
        let (name, value) = member.split_once('=')?;
        (name.trim() == key).then_some(value.trim())
    })
}
