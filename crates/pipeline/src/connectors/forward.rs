//! The forward connector: joins pipelines of one signal, batch by batch.
//!
//! Acknowledges a batch once all pipelines behind it have.
//! <https://github.com/open-telemetry/opentelemetry-collector/tree/main/connector/forwardconnector>

use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Outlook, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;

use super::activity::Activity;
use super::outputs::{Output, Outputs, one_answer, send_each};
use crate::ottl::Env;
use crate::processors::ConfigError;

/// There is nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardConfig {}

impl ForwardConfig {
    pub fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// Gives each batch to every pipeline of its signal.
pub struct Forward {
    outputs: Outputs,
    env: Arc<dyn Env + Send + Sync>,
    activity: Activity,
}

impl Forward {
    pub fn new(
        config: &ForwardConfig,
        outputs: Outputs,
        env: Arc<dyn Env + Send + Sync>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        if outputs.is_empty() {
            let problem = "no pipeline receives from this connector: name it there as a receiver";
            return Err(ConfigError::setting("service.pipelines", problem));
        }
        Ok(Self {
            activity: Activity::default(),
            outputs,
            env,
        })
    }
}

#[async_trait]
impl Sink for Forward {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let items = batch.items();
        self.activity.saw(items, items, self.env.now_unix_nano());
        let outputs = self.outputs.of(batch.signal());
        if outputs.is_empty() {
            return Err(no_output(batch.signal()));
        }
        fan_out(&outputs, &batch).await
    }

    fn outlook(&self, signal: Signal) -> Outlook {
        let outputs = self.outputs.of(signal);
        Outlook::of_all(outputs.iter().map(|output| output.sink.outlook(signal)))
    }
}

#[async_trait]
impl Component for Forward {
    fn collect(&self, samples: &mut Vec<Sample>) {
        self.activity.collect(samples);
    }
}

/// Gives `batch` to all of `outputs`.
pub(super) async fn fan_out(outputs: &[Output], batch: &Batch) -> Result<Accepted, SendError> {
    if let [output] = outputs {
        return output.sink.send(batch.clone()).await;
    }
    let items = vec![batch.items(); outputs.len()];
    let parts = outputs.iter().map(|output| (output.sink.clone(), batch.clone()));
    one_answer(send_each(parts.collect()).await, &items, batch.items())
}

/// A batch of a signal for which nothing was connected.
pub(super) fn no_output(signal: Signal) -> SendError {
    SendError::permanent(format!("no {signal} pipeline receives from this connector"))
}
