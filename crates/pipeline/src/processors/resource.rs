//! The resource processor: actions on the attributes of resources.
//!
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/resourceprocessor>

use std::convert::Infallible;

use cupola_telemetry::Batch;
use cupola_telemetry::edit::{Editor, Level, Place, Verdict, edit};
use serde::Deserialize;

use super::actions::{ActionConfig, Actions};
use super::statements::ConfigError;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceConfig {
    pub attributes: Vec<ActionConfig>,
}

impl ResourceConfig {
    /// Refuses actions that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Resource::new(self).map(drop)
    }
}

#[derive(Debug)]
pub struct Resource {
    actions: Actions,
}

impl Resource {
    pub fn new(config: &ResourceConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            actions: Actions::new(&config.attributes, "attributes")?,
        })
    }

    /// Works on the resources of a batch; it loses none.
    pub fn process(&self, batch: Batch) -> Batch {
        let Ok(edited) = edit(&batch, &mut Work(&self.actions, &batch));
        edited.unwrap_or(batch)
    }
}

struct Work<'a>(&'a Actions, &'a Batch);

impl<'a> Editor<'a> for Work<'a> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        Level::Resource
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level == Level::Resource {
            self.0.run(place.resource.message_mut(1).map_mut(1), self.1);
        }
        Ok(Verdict::Keep)
    }
}
