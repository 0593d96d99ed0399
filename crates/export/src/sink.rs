//! The one interface between what produces batches and what takes them. Owns no policy: retrying and
//! queueing wrap a sink, they are not part of it.

use std::time::Duration;

use async_trait::async_trait;
use cupola_telemetry::{Batch, Signal};

/// Takes batches: an exporter, the embedded store, or a pipeline in front of them.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Hands over one batch. `Ok` means that the sink has taken responsibility for every item except the
    /// `rejected` ones; the caller may forget the batch and must not send it again.
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError>;

    /// What would become of a batch of a signal now: what a receiver asks before it spends time on reading one.
    fn outlook(&self, _signal: Signal) -> Outlook {
        Outlook::Unknown
    }
}

/// What is known of the answer to a batch before there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    Unknown,
    /// What is read from now on is let in, up to a last limit: see [`Batch::is_admitted`].
    Open,
    Refused(SendError),
}

#[async_trait]
impl<S: Sink + ?Sized> Sink for std::sync::Arc<S> {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        (**self).send(batch).await
    }

    fn outlook(&self, signal: Signal) -> Outlook {
        (**self).outlook(signal)
    }
}

impl Outlook {
    /// Of a batch that goes to several: one refusal refuses the whole; and one that would let it in is told so, whatever the
    /// others do.
    pub fn of_all(outlooks: impl IntoIterator<Item = Outlook>) -> Outlook {
        let mut of_all = Outlook::Unknown;
        for outlook in outlooks {
            match outlook {
                Outlook::Refused(_) => return outlook,
                Outlook::Open => of_all = Outlook::Open,
                Outlook::Unknown => {}
            }
        }
        of_all
    }
}

/// A batch was taken, perhaps without some of its items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Log records, spans or data points that were refused for good. Never to be sent again.
    pub rejected: u64,
    /// Why items were rejected; with zero rejected, a warning. Empty when there is nothing to say.
    pub message: String,
    /// The rejected items themselves, as far as the destination says which they are: for the dead letters.
    pub refused: Vec<Batch>,
}

impl Accepted {
    /// Everything was taken and there is nothing to add.
    #[must_use]
    pub fn all() -> Accepted {
        Accepted::default()
    }

    /// Some items were refused for good, and nobody says which.
    pub fn partial(rejected: u64, message: impl Into<String>) -> Accepted {
        Accepted {
            rejected,
            message: message.into(),
            refused: Vec::new(),
        }
    }

    /// Whether there is anything to tell the sender beyond success.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.rejected > 0 || !self.message.is_empty()
    }

    /// Adds the outcome of another part of the same batch. The first message is kept.
    pub fn merge(&mut self, other: Accepted) {
        self.rejected = self.rejected.saturating_add(other.rejected);
        if self.message.is_empty() {
            self.message = other.message;
        }
        self.refused.extend(other.refused);
    }
}

/// Gives each part of a batch, of so many items, its part of the answer. Nobody knows whose items were rejected: they are
/// taken from the first on.
pub fn share_out(items: &[usize], answer: &Result<Accepted, SendError>) -> Vec<Result<Accepted, SendError>> {
    let mut rejected = answer.as_ref().map_or(0, |accepted| accepted.rejected);
    let own = |items: &usize| {
        let accepted = answer.as_ref().map_err(Clone::clone)?;
        let part = rejected.min(*items as u64);
        rejected -= part;
        let is_told = part > 0 || accepted.rejected == 0;
        let message = if is_told { accepted.message.as_str() } else { "" };
        Ok(Accepted::partial(part, message))
    };
    items.iter().map(own).collect()
}

/// A batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Sending the same batch later may succeed.
    #[error("could not send now: {reason}")]
    Retryable {
        reason: String,
        /// What the destination asked for; without it the sender backs off on its own.
        retry_after: Option<Duration>,
    },
    /// Sending the same batch again would fail again.
    #[error("could not send: {reason}")]
    Permanent { reason: String },
}

impl SendError {
    /// Worth another attempt, at a moment the sender chooses.
    pub fn retryable(reason: impl Into<String>) -> SendError {
        SendError::Retryable {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// Not worth another attempt.
    pub fn permanent(reason: impl Into<String>) -> SendError {
        SendError::Permanent {
            reason: reason.into(),
        }
    }

    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, SendError::Retryable { .. })
    }

    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            SendError::Retryable { reason, .. } | SendError::Permanent { reason } => reason,
        }
    }
}
