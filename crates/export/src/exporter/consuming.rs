//! Consumers: each takes from the queue what is next, or what has been [gathered](super::gathering), and sees to it that it ends
//! somewhere. What a consumer drops before that goes back to the queue.

use std::sync::Arc;

use cupola_telemetry::Batch;

use super::Core;
use super::attempts::{Outcome, Settled};
use super::gathering::{Gathering, Group};
use crate::queue::{Delivery, SendingQueue};
use crate::{Accepted, SendError, share_out};

/// A batch in the hands of a consumer; one that is dropped goes back to the queue.
struct Held<'q> {
    queue: &'q SendingQueue,
    delivery: Option<Delivery>,
}

impl<'q> Held<'q> {
    fn new(queue: &'q SendingQueue, delivery: Delivery) -> Held<'q> {
        Held {
            queue,
            delivery: Some(delivery),
        }
    }

    fn items(&self) -> usize {
        self.delivery
            .as_ref()
            .map_or(0, |delivery| delivery.batch.items())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            self.queue.give_back(delivery);
        }
    }
}

impl Core {
    /// Sends what is in the queue until the end.
    pub(super) async fn consume(self: Arc<Self>) {
        let Some(queue) = &self.queue else { return };
        let mut phase = self.phase.subscribe();
        let last = self.last_phase();
        loop {
            let delivery = tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase >= last) => return,
                delivery = queue.next() => delivery,
            };
            let Some(delivery) = delivery else { return };
            let waits = queue.has_waiter(&delivery);
            let held = Held::new(queue, delivery);
            if self.handle_held(held, waits).await.is_none() {
                return;
            }
        }
    }

    /// The same, in larger batches.
    pub(super) async fn consume_gathered(self: Arc<Self>) {
        let (Some(queue), Some(gathering)) = (&self.queue, &self.gathering) else {
            return;
        };
        let mut phase = self.phase.subscribe();
        let last = self.last_phase();
        loop {
            let group = tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase >= last) => return,
                group = gathering.next(queue) => group,
            };
            let Some(group) = group else { return };
            if self.handle_group(queue, gathering, group).await.is_none() {
                return;
            }
        }
    }

    /// `None` if there was no time for it; then it is in the queue again.
    async fn handle_held(&self, mut held: Held<'_>, sender_waits: bool) -> Option<()> {
        let batch = held.delivery.as_ref()?.batch.clone();
        let result = self.handle(batch, sender_waits).await?;
        if let Some(delivery) = held.delivery.take() {
            held.queue.finish(delivery, result);
        }
        Some(())
    }

    /// Sends a group as one batch; in its parts, if there is no memory for that or one of them cannot be delivered.
    async fn handle_group(&self, queue: &SendingQueue, gathering: &Gathering, group: Group) -> Option<()> {
        let waits = group.senders_wait;
        let copied = if group.deliveries.len() > 1 {
            group.bytes()
        } else {
            0
        };
        let memory = queue.reserve(copied);
        let whole = memory.as_ref().and_then(|_| group.whole());
        let mut parts: Vec<Held<'_>> = group
            .deliveries
            .into_iter()
            .map(|mut part| {
                // By themselves they say no more of who sent them than together.
                part.batch = part.batch.with_client(group.client.clone());
                Held::new(queue, part)
            })
            .collect();
        let pieces = whole
            .map(|whole| gathering.settings.pieces(whole))
            .unwrap_or_default();
        let result = match &pieces[..] {
            [] => None,
            [whole] => match self.deliver(whole).await {
                Outcome::GivenUp { retryable: false, .. } if parts.len() > 1 => None,
                outcome => match self.settle(whole.clone(), outcome, waits).await {
                    Settled::Done(result) => Some(result),
                    Settled::Interrupted => return None,
                },
            },
            pieces => Some(self.handle_pieces(pieces, waits).await?),
        };
        drop(memory);
        let Some(result) = result else {
            for part in parts {
                self.handle_held(part, waits).await?;
            }
            return Some(());
        };
        let items: Vec<usize> = parts.iter().map(Held::items).collect();
        for (part, result) in parts.iter_mut().zip(share_out(&items, &result)) {
            if let Some(delivery) = part.delivery.take() {
                queue.finish(delivery, result);
            }
        }
        Some(())
    }

    /// All pieces of a batch, each with a fate of its own.
    async fn handle_pieces(
        &self,
        pieces: &[Batch],
        sender_waits: bool,
    ) -> Option<Result<Accepted, SendError>> {
        let mut all = Accepted::all();
        for piece in pieces {
            match self.handle(piece.clone(), sender_waits).await? {
                Ok(accepted) => all.merge(accepted),
                Err(error) if sender_waits && error.is_retryable() => return Some(Err(error)),
                // It has been put away, or counted; the others may be taken.
                Err(error) => all.merge(Accepted::partial(piece.items() as u64, error.reason())),
            }
        }
        Some(Ok(all))
    }

    /// What waited for others, after the consumers have ended.
    pub(super) async fn give_back_gathered(&self) {
        if let (Some(queue), Some(gathering)) = (&self.queue, &self.gathering) {
            gathering.give_back(queue).await;
        }
    }
}
