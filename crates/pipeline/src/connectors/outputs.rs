//! `Outputs`: the pipelines that a connector hands batches to.

use std::sync::Arc;

use cupola_config::nearest::nearest;
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use futures::future::join_all;

use crate::processors::ConfigError;

/// One pipeline that receives from the connector.
#[derive(Clone)]
pub struct Output {
    /// As in `service.pipelines`: `traces/slow`.
    pub pipeline: String,
    pub signal: Signal,
    pub sink: Arc<dyn Sink>,
}

/// The pipelines that receive from a connector, in the order in which they were given.
#[derive(Clone, Default)]
pub struct Outputs(Vec<Output>);

impl std::fmt::Debug for Outputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Outputs {
    pub fn new(outputs: Vec<Output>) -> Self {
        Self(outputs)
    }

    /// The ids of the pipelines.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|output| output.pipeline.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pipelines that take `signal`.
    pub fn of(&self, signal: Signal) -> Vec<Output> {
        let of_signal = self.0.iter().filter(|output| output.signal == signal);
        of_signal.cloned().collect()
    }

    /// The pipelines that take `signal`, of which there must be one.
    pub(super) fn required(&self, signal: Signal) -> Result<Vec<Output>, ConfigError> {
        let outputs = self.of(signal);
        if outputs.is_empty() {
            let problem =
                format!("no {signal} pipeline receives from this connector: name it there as a receiver");
            return Err(ConfigError::setting("service.pipelines", problem));
        }
        Ok(outputs)
    }

    /// The pipelines that `names`, the value of `key`, name.
    pub(super) fn named(&self, key: &str, names: &[String]) -> Result<Vec<Output>, ConfigError> {
        let find = |name: &String| {
            if let Some(output) = self.0.iter().find(|output| output.pipeline == *name) {
                return Ok(output.clone());
            }
            let hint = match nearest(name, self.names()) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => String::new(),
            };
            let problem = format!("no pipeline `{name}` receives from this connector{hint}");
            Err(ConfigError::setting(key, problem))
        };
        names.iter().map(find).collect()
    }
}

type Answer = Result<Accepted, SendError>;
/// Hands each output its batch, all at the same time, and returns the answers in order.
pub(super) async fn send_each(parts: Vec<(Arc<dyn Sink>, Batch)>) -> Vec<Answer> {
    join_all(
        parts
            .into_iter()
            .map(|(sink, batch)| async move { sink.send(batch).await }),
    )
    .await
}

/// One answer for several batches that came of one. `items` are those of each part, `whole` those of the one.
///
/// A failure that may pass is one for all, because the sender can only send everything again; what was refused for
/// good is counted as rejected.
pub(super) fn one_answer(answers: Vec<Answer>, items: &[usize], whole: usize) -> Answer {
    let mut accepted = Accepted::all();
    let (mut retryable, mut permanent, mut taken) = (None, None, 0);
    for (answer, items) in answers.into_iter().zip(items) {
        match answer {
            Ok(part) => {
                accepted.merge(part);
                taken += 1;
            }
            Err(error @ SendError::Retryable { .. }) => retryable = later(retryable, error),
            Err(SendError::Permanent { reason }) => {
                accepted.merge(Accepted::partial(*items as u64, reason.clone()));
                permanent = permanent.or(Some(reason));
            }
        }
    }
    // An item that several pipelines refused is one item of the sender's.
    accepted.rejected = accepted.rejected.min(whole as u64);
    match (retryable, permanent) {
        (Some(error), _) => Err(error),
        (None, Some(reason)) if taken == 0 => Err(SendError::Permanent { reason }),
        _ => Ok(accepted),
    }
}

/// Of two retryable failures the one that asks for the longer wait.
fn later(first: Option<SendError>, second: SendError) -> Option<SendError> {
    let wait = |error: &SendError| match error {
        SendError::Retryable { retry_after, .. } => *retry_after,
        SendError::Permanent { .. } => None,
    };
    match first {
        Some(first) if wait(&first) >= wait(&second) => Some(first),
        _ => Some(second),
    }
}
