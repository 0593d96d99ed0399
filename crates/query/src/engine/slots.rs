//! Who may work at one time, and who may wait for it. Refuses whoever would make the queue longer than it may be: a
//! statement that waits holds its text, and its sender's connection.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::QueryError;

/// Places to wait, shared by everything that is waited for.
#[derive(Debug)]
pub(super) struct Queue {
    places: Semaphore,
    waiting_max: usize,
}

/// Statements that may work at one time; the others wait in a queue.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Arc<Semaphore>,
    max: usize,
    queue: Arc<Queue>,
}

impl Queue {
    pub(super) fn new(waiting_max: usize) -> Queue {
        // A semaphore has a most, far beyond what anybody would have wait.
        let waiting_max = waiting_max.min(Semaphore::MAX_PERMITS);
        Queue {
            places: Semaphore::new(waiting_max),
            waiting_max,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting_max.saturating_sub(self.places.available_permits())
    }

    pub(super) fn waiting_max(&self) -> usize {
        self.waiting_max
    }
}

impl Slots {
    pub(super) fn new(max: usize, queue: Arc<Queue>) -> Slots {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Slots {
            slots: Arc::new(Semaphore::new(max)),
            max,
            queue,
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.max.saturating_sub(self.slots.available_permits())
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// A slot, at once or after waiting in the queue, if there is a place in it.
    pub(super) async fn take(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => return Ok(slot),
            Err(TryAcquireError::Closed) => return Err(QueryError::Cancelled),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _place = self
            .queue
            .places
            .try_acquire()
            .map_err(|_| QueryError::Overloaded {
                waiting: self.queue.waiting_max,
            })?;
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_| QueryError::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_work_so_many_wait_and_one_more_is_refused() {
        let queue = Arc::new(Queue::new(1));
        let slots = Arc::new(Slots::new(1, Arc::clone(&queue)));
        let first = slots.take().await.unwrap();
        assert_eq!((slots.taken(), queue.waiting()), (1, 0));
        let second = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.take().await }
        });
        while queue.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(
            slots.take().await,
            Err(QueryError::Overloaded { waiting: 1 })
        ));
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!((slots.taken(), queue.waiting()), (1, 0));
        drop(second);
        assert_eq!(slots.taken(), 0);
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_leaves_the_queue() {
        let queue = Arc::new(Queue::new(1));
        let slots = Slots::new(1, Arc::clone(&queue));
        let _first = slots.take().await.unwrap();
        {
            let mut second = std::pin::pin!(slots.take());
            assert!(futures::poll!(&mut second).is_pending());
            assert_eq!(queue.waiting(), 1);
        }
        assert_eq!(queue.waiting(), 0);
    }
}
