//! The attributes processor: actions on the attributes of log records, spans and data points.
//!
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/attributesprocessor>

use std::convert::Infallible;

use cupola_telemetry::edit::{Editor, Level, MetricKind, Place, Verdict, edit};
use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;

use super::actions::{ActionConfig, Actions};
use super::matching::{MatchConfig, Matcher};
use super::statements::ConfigError;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributesConfig {
    /// Only what has all of this is worked on.
    pub include: Option<MatchConfig>,
    /// What has all of this is left alone.
    pub exclude: Option<MatchConfig>,
    pub actions: Vec<ActionConfig>,
}

impl AttributesConfig {
    /// Refuses actions that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Attributes::new(self).map(drop)
    }
}

#[derive(Debug)]
pub struct Attributes {
    include: Option<Matcher>,
    exclude: Option<Matcher>,
    actions: Actions,
}

impl Attributes {
    pub fn new(config: &AttributesConfig) -> Result<Self, ConfigError> {
        let matcher = |config: &Option<MatchConfig>, key| {
            config
                .as_ref()
                .map(|config| Matcher::new(config, key))
                .transpose()
        };
        Ok(Self {
            include: matcher(&config.include, "include")?,
            exclude: matcher(&config.exclude, "exclude")?,
            actions: Actions::new(&config.actions, "actions")?,
        })
    }

    /// Works on the items of a batch; it loses none.
    pub fn process(&self, batch: Batch) -> Batch {
        let mut work = Work {
            attributes: self,
            batch: &batch,
        };
        let Ok(edited) = edit(&batch, &mut work);
        edited.unwrap_or(batch)
    }
}

struct Work<'a> {
    attributes: &'a Attributes,
    batch: &'a Batch,
}

impl<'a> Editor<'a> for Work<'a> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        match self.batch.signal() {
            Signal::Metrics => Level::Part,
            Signal::Logs | Signal::Traces => Level::Item,
        }
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level != self.deepest() {
            return Ok(Verdict::Keep);
        }
        let number = match (self.batch.signal(), place.metric_kind()) {
            (Signal::Logs, _) => 6,
            (Signal::Traces, _) => 9,
            (Signal::Metrics, Some(MetricKind::Histogram)) => 9,
            (Signal::Metrics, Some(MetricKind::ExponentialHistogram)) => 1,
            (Signal::Metrics, _) => 7,
        };
        let Attributes {
            include,
            exclude,
            actions,
        } = self.attributes;
        if include.is_some() || exclude.is_some() {
            let map = match level {
                Level::Part => place.part.map(number),
                _ => place.item.map(number),
            };
            let matches = |matcher: &Matcher| matcher.matches(self.batch.signal(), place, &map);
            if !include.as_ref().is_none_or(matches) || exclude.as_ref().is_some_and(matches) {
                return Ok(Verdict::Keep);
            }
        }
        let map = match level {
            Level::Part => place.part.map_mut(number),
            _ => place.item.map_mut(number),
        };
        actions.run(map, self.batch);
        Ok(Verdict::Keep)
    }
}
