//! One batch to several destinations, which share its bytes.

use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::{Accepted, Outlook, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use futures::future::join_all;

/// Sends to all at the same time and answers when all have.
///
/// It takes a batch when every destination has: one refusal refuses the whole, and whoever sends it again delivers a
/// second time to those that had taken it. A destination that may fail without holding up the others is one with a queue
/// that drops what it has no room for, which is a setting of that queue and counted there.
pub struct Fanout {
    targets: Vec<Arc<dyn Sink>>,
}

impl Fanout {
    /// The only destination itself, or one that stands for all of them.
    pub fn over(mut targets: Vec<Arc<dyn Sink>>) -> Arc<dyn Sink> {
        match targets.len() {
            1 => targets.remove(0),
            _ => Arc::new(Fanout { targets }),
        }
    }
}

#[async_trait]
impl Sink for Fanout {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let answers = join_all(self.targets.iter().map(|target| target.send(batch.clone()))).await;
        together(answers)
    }

    /// One refusal refuses the whole, and beforehand it spares the others a second delivery.
    fn outlook(&self, signal: Signal) -> Outlook {
        let outlooks = self.targets.iter().map(|target| target.outlook(signal));
        Outlook::of_all(outlooks)
    }
}

/// The answer for all: a refusal that may pass before one that will not, since what one destination takes later is not
/// given up for what another never takes. Items that several refused are counted once, as far as can be known.
fn together(answers: Vec<Result<Accepted, SendError>>) -> Result<Accepted, SendError> {
    let mut all = Accepted::all();
    let mut refusal: Option<SendError> = None;
    for answer in answers {
        match answer {
            Ok(accepted) => {
                all.rejected = all.rejected.max(accepted.rejected);
                if all.message.is_empty() {
                    all.message = accepted.message;
                }
            }
            Err(error)
                if refusal
                    .as_ref()
                    .is_none_or(|kept| !kept.is_retryable() && error.is_retryable()) =>
            {
                refusal = Some(error);
            }
            Err(_) => {}
        }
    }
    match refusal {
        Some(error) => Err(error),
        None => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_refuses_the_whole_and_a_passing_one_goes_first() {
        let ok = || Ok(Accepted::all());
        assert!(together(vec![ok(), ok()]).is_ok());
        let lasting = || Err(SendError::permanent("never"));
        assert_eq!(
            together(vec![ok(), lasting()]),
            Err(SendError::permanent("never"))
        );
        let both = together(vec![lasting(), Err(SendError::retryable("later")), ok()]);
        assert_eq!(both, Err(SendError::retryable("later")));
    }

    #[test]
    fn items_that_both_refuse_are_counted_once() {
        let answers = vec![Ok(Accepted::partial(3, "a")), Ok(Accepted::partial(2, "b"))];
        assert_eq!(together(answers), Ok(Accepted::partial(3, "a")));
    }
}
