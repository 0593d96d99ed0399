//! Rule 29: a queue per destination over shared data; and the queue's bounds.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use cupola_export::queue::{Queue, QueueConfig, WhenFull};
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::Batch;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::support::logs;

/// Takes a batch for each permit it is given.
struct Gated {
    taken: Mutex<Vec<Batch>>,
    permits: Semaphore,
    changed: Notify,
    outcome: Result<Accepted, SendError>,
}

impl Gated {
    fn new(permits: usize) -> Arc<Gated> {
        Gated::answering(permits, Ok(Accepted::all()))
    }

    fn answering(permits: usize, outcome: Result<Accepted, SendError>) -> Arc<Gated> {
        let permits = Semaphore::new(permits);
        Arc::new(Gated {
            taken: Mutex::default(),
            permits,
            changed: Notify::new(),
            outcome,
        })
    }

    async fn wait_for(&self, count: usize) -> Vec<Batch> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let taken = self.taken.lock().clone();
            if taken.len() >= count {
                return taken;
            }
            changed.await;
        }
    }
}

#[async_trait]
impl Sink for Gated {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.permits.acquire().await.unwrap().forget();
        self.taken.lock().push(batch);
        self.changed.notify_waiters();
        self.outcome.clone()
    }
}

fn config(items_max: usize, when_full: WhenFull) -> QueueConfig {
    QueueConfig {
        items_max,
        when_full,
        workers: NonZeroUsize::MIN,
        ..QueueConfig::default()
    }
}

#[tokio::test]
async fn c29_a_stuck_destination_holds_up_no_other_and_they_share_the_bytes() {
    let (stuck, quick) = (Gated::new(0), Gated::new(100));
    let queues = [
        Queue::start(QueueConfig::default(), stuck.clone()),
        Queue::start(QueueConfig::default(), quick.clone()),
    ];
    let batches: Vec<Batch> = (1..=10).map(|records| logs(1, 1, records, 100)).collect();
    for batch in &batches {
        for queue in &queues {
            assert_eq!(queue.send(batch.clone()).await, Ok(Accepted::all()));
        }
    }
    let taken = quick.wait_for(10).await;
    assert!(stuck.taken.lock().is_empty());
    for batch in &taken {
        let sent = batches.iter().find(|sent| sent.items() == batch.items()).unwrap();
        assert_eq!(
            sent.payload().as_ptr(),
            batch.payload().as_ptr(),
            "the bytes were copied"
        );
    }
    // Acknowledgement is per destination too.
    assert_eq!(queues[1].shutdown(Duration::from_secs(10)).await, 0);
    assert_eq!(queues[0].items(), 55);
    assert_eq!(queues[1].stats().sent.load(Ordering::Relaxed), 55);
    stuck.permits.add_permits(100);
    assert_eq!(queues[0].shutdown(Duration::from_secs(10)).await, 0);
    assert_eq!(stuck.taken.lock().len(), 10);
}

#[tokio::test]
async fn a_full_queue_refuses_retryably_and_counts() {
    let sink = Gated::new(0);
    let queue = Queue::start(config(10, WhenFull::Refuse), sink.clone());
    assert!(queue.send(logs(1, 1, 6, 0)).await.is_ok());
    let refused = queue.send(logs(1, 1, 5, 0)).await;
    assert!(
        matches!(
            refused,
            Err(SendError::Retryable {
                retry_after: Some(_),
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(queue.send(logs(1, 1, 4, 0)).await.is_ok());
    assert_eq!(queue.stats().refused.load(Ordering::Relaxed), 5);
    // What can never fit is not asked for again.
    let refused = queue.send(logs(1, 1, 11, 0)).await;
    assert!(matches!(refused, Err(SendError::Permanent { .. })), "{refused:?}");
    sink.permits.add_permits(2);
    sink.wait_for(2).await;
    assert_eq!(queue.shutdown(Duration::from_secs(10)).await, 0);
    assert_eq!((queue.items(), queue.bytes()), (0, 0));
}

#[tokio::test]
async fn a_full_queue_is_bounded_in_bytes_too() {
    let one = logs(1, 1, 1, 1000);
    let bytes_max = one.payload().len() * 2;
    let queue = Queue::start(
        QueueConfig {
            bytes_max,
            ..config(1000, WhenFull::Refuse)
        },
        Gated::new(0),
    );
    assert!(queue.send(one.clone()).await.is_ok());
    assert!(queue.send(one.clone()).await.is_ok());
    assert!(queue.send(one).await.is_err());
    assert_eq!(queue.bytes(), bytes_max);
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_or_the_oldest_if_told_to() {
    for (when_full, kept) in [
        (WhenFull::DropNewest, vec![1, 2, 3]),
        (WhenFull::DropOldest, vec![1, 3, 4]),
    ] {
        let sink = Gated::new(0);
        let queue = Queue::start(config(8, when_full), sink.clone());
        queue.send(logs(1, 1, 1, 0)).await.unwrap();
        // The first is being sent: it can no longer be dropped.
        while queue.stats().enqueued.load(Ordering::Relaxed) == 0 || queue.waiting() > 0 {
            tokio::task::yield_now().await;
        }
        for records in [2, 3, 4] {
            assert_eq!(queue.send(logs(1, 1, records, 0)).await, Ok(Accepted::all()));
        }
        sink.permits.add_permits(10);
        assert_eq!(queue.shutdown(Duration::from_secs(10)).await, 0);
        let taken: Vec<usize> = sink.taken.lock().iter().map(Batch::items).collect();
        assert_eq!(taken, kept, "{when_full:?}");
        let dropped = 10 - kept.iter().sum::<usize>() as u64;
        assert_eq!(queue.stats().dropped.load(Ordering::Relaxed), dropped);
    }
}

#[tokio::test]
async fn nothing_is_dropped_for_a_batch_that_finds_no_room_beside_what_is_being_sent() {
    let sink = Gated::new(0);
    let queue = Queue::start(config(10, WhenFull::DropOldest), sink.clone());
    queue.send(logs(1, 1, 6, 0)).await.unwrap();
    while queue.waiting() > 0 {
        tokio::task::yield_now().await;
    }
    queue.send(logs(1, 1, 2, 0)).await.unwrap();
    // Five fit into the queue, but not beside the six.
    assert_eq!(queue.send(logs(1, 1, 5, 0)).await, Ok(Accepted::all()));
    sink.permits.add_permits(10);
    assert_eq!(queue.shutdown(Duration::from_secs(10)).await, 0);
    let taken: Vec<usize> = sink.taken.lock().iter().map(Batch::items).collect();
    assert_eq!(taken, [6, 2]);
    assert_eq!(queue.stats().dropped.load(Ordering::Relaxed), 5);
    assert_eq!((queue.items(), queue.bytes()), (0, 0));
}

#[tokio::test]
async fn outcomes_are_counted() {
    let partial = Gated::answering(
        10,
        Ok(Accepted {
            rejected: 2,
            message: "too old".to_owned(),
        }),
    );
    let queue = Queue::start(QueueConfig::default(), partial);
    queue.send(logs(1, 1, 5, 0)).await.unwrap();
    queue.shutdown(Duration::from_secs(10)).await;
    let stats = queue.stats();
    assert_eq!(
        (
            stats.sent.load(Ordering::Relaxed),
            stats.rejected.load(Ordering::Relaxed)
        ),
        (3, 2)
    );

    let queue = Queue::start(
        QueueConfig::default(),
        Gated::answering(10, Err(SendError::permanent("no"))),
    );
    queue.send(logs(1, 1, 5, 0)).await.unwrap();
    queue.shutdown(Duration::from_secs(10)).await;
    assert_eq!(queue.stats().failed.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn shutdown_gives_up_after_its_time_and_takes_nothing_more() {
    let queue = Queue::start(config(100, WhenFull::Refuse), Gated::new(1));
    for _ in 0..3 {
        queue.send(logs(1, 1, 5, 0)).await.unwrap();
    }
    assert_eq!(queue.shutdown(Duration::from_millis(100)).await, 10);
    assert_eq!(queue.stats().failed.load(Ordering::Relaxed), 10);
    let refused = queue.send(logs(1, 1, 1, 0)).await;
    assert!(matches!(refused, Err(SendError::Retryable { .. })), "{refused:?}");
}
