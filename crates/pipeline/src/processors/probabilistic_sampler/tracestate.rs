//! The part of a W3C trace state that samplers share: `ot=th:…;rv:…`. All else stays as it is.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/>

use std::fmt;

use super::threshold::{Randomness, Threshold};

/// A trace state taken apart.
#[derive(Debug)]
pub(super) struct TraceState {
    pub(super) threshold: Option<Threshold>,
    pub(super) randomness: Option<Randomness>,
    /// What else stands in `ot`.
    others: Vec<String>,
    /// Members of other vendors.
    members: Vec<String>,
}

impl TraceState {
    /// `None` if it cannot be read.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut state = Self {
            threshold: None,
            randomness: None,
            others: Vec::new(),
            members: Vec::new(),
        };
        for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            match member.split_once('=')? {
                ("ot", value) => state.read(value)?,
                ("", _) => return None,
                _ => state.members.push(member.to_owned()),
            }
        }
        Some(state)
    }

    fn read(&mut self, value: &str) -> Option<()> {
        for pair in value.split(';').filter(|pair| !pair.is_empty()) {
            match pair.split_once(':')? {
                ("th", threshold) => self.threshold = Some(Threshold::parse(threshold)?),
                ("rv", randomness) => self.randomness = Some(Randomness::parse(randomness)?),
                _ => self.others.push(pair.to_owned()),
            }
        }
        Some(())
    }
}

impl fmt::Display for TraceState {
    /// What was changed last stands first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threshold = self.threshold.map(|threshold| format!("th:{threshold}"));
        let randomness = self.randomness.map(|randomness| format!("rv:{randomness}"));
        let ours = threshold
            .into_iter()
            .chain(randomness)
            .chain(self.others.iter().cloned());
        let ours: Vec<String> = ours.collect();
        let ours = (!ours.is_empty()).then(|| format!("ot={}", ours.join(";")));
        let all: Vec<String> = ours.into_iter().chain(self.members.iter().cloned()).collect();
        f.write_str(&all.join(","))
    }
}
