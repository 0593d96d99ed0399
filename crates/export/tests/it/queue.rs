//! Rule 29: a queue per destination over shared data; and the queue's bounds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::ByteSize;
use cupola_export::queue::{QueueConfig, Sizer, WhenFull};
use cupola_export::{Accepted, Component, DeliveryConfig, Exporter, SendError, Sink};
use cupola_telemetry::Batch;
use cupola_telemetry::memory::MemoryBudget;
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

impl Component for Gated {}

fn config(items_max: u64, when_full: WhenFull) -> QueueConfig {
    QueueConfig {
        queue_size: ByteSize(items_max),
        sizer: Sizer::Items,
        when_full,
        num_consumers: 1,
        ..QueueConfig::default()
    }
}

async fn start(sending_queue: QueueConfig, sink: Arc<Gated>) -> Exporter {
    let config = DeliveryConfig {
        sending_queue,
        timeout: Duration::ZERO,
        ..DeliveryConfig::default()
    };
    let budget = MemoryBudget::unlimited();
    Exporter::start("gated", config, sink, None, None, budget)
        .await
        .unwrap()
}

/// The sum of the samples of this name.
fn counted(exporter: &Exporter, name: &str) -> u64 {
    let mut samples = Vec::new();
    exporter.collect(&mut samples);
    let of_name = samples.iter().filter(|sample| sample.name == name);
    of_name.map(|sample| sample.value as u64).sum()
}

/// Until the first batch is being sent and can no longer be dropped.
async fn until_sending(exporter: &Exporter) {
    while exporter.sending().requests == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn c29_a_stuck_destination_holds_up_no_other_and_they_share_the_bytes() {
    let (stuck, quick) = (Gated::new(0), Gated::new(100));
    let queues = [
        start(QueueConfig::default(), stuck.clone()).await,
        start(QueueConfig::default(), quick.clone()).await,
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
    queues[1].shutdown().await;
    assert_eq!(queues[0].queued().items, 55);
    assert_eq!(counted(&queues[1], "otelcol_exporter_sent_log_records"), 55);
    stuck.permits.add_permits(100);
    queues[0].shutdown().await;
    assert_eq!(stuck.taken.lock().len(), 10);
}

#[tokio::test]
async fn a_full_queue_refuses_retryably_and_counts() {
    let sink = Gated::new(0);
    let queue = start(config(10, WhenFull::Refuse), sink.clone()).await;
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
    assert_eq!(counted(&queue, "otelcol_exporter_enqueue_failed_log_records"), 5);
    // What can never fit is not asked for again.
    let refused = queue.send(logs(1, 1, 11, 0)).await;
    assert!(matches!(refused, Err(SendError::Permanent { .. })), "{refused:?}");
    sink.permits.add_permits(2);
    sink.wait_for(2).await;
    queue.shutdown().await;
    assert_eq!((queue.queued().items, queue.queued().bytes), (0, 0));
}

#[tokio::test]
async fn a_full_queue_is_bounded_in_bytes_too() {
    let one = logs(1, 1, 1, 1000);
    let bytes_max = one.payload().len() as u64 * 2;
    let bytes = QueueConfig {
        sizer: Sizer::Bytes,
        ..config(bytes_max, WhenFull::Refuse)
    };
    let queue = start(bytes, Gated::new(0)).await;
    assert!(queue.send(one.clone()).await.is_ok());
    assert!(queue.send(one.clone()).await.is_ok());
    assert!(queue.send(one).await.is_err());
    assert_eq!(queue.queued().bytes, bytes_max);
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_or_the_oldest_if_told_to() {
    for (when_full, kept) in [
        (WhenFull::DropNewest, vec![1, 2, 3]),
        (WhenFull::DropOldest, vec![1, 3, 4]),
    ] {
        let sink = Gated::new(0);
        let queue = start(config(8, when_full), sink.clone()).await;
        queue.send(logs(1, 1, 1, 0)).await.unwrap();
        until_sending(&queue).await;
        for records in [2, 3, 4] {
            assert_eq!(queue.send(logs(1, 1, records, 0)).await, Ok(Accepted::all()));
        }
        sink.permits.add_permits(10);
        queue.shutdown().await;
        let taken: Vec<usize> = sink.taken.lock().iter().map(Batch::items).collect();
        assert_eq!(taken, kept, "{when_full:?}");
        let dropped = 10 - kept.iter().sum::<usize>() as u64;
        assert_eq!(counted(&queue, "cupola_exporter_queue_dropped_items"), dropped);
    }
}

#[tokio::test]
async fn nothing_is_dropped_for_a_batch_that_finds_no_room_beside_what_is_being_sent() {
    let sink = Gated::new(0);
    let queue = start(config(10, WhenFull::DropOldest), sink.clone()).await;
    queue.send(logs(1, 1, 6, 0)).await.unwrap();
    until_sending(&queue).await;
    queue.send(logs(1, 1, 2, 0)).await.unwrap();
    // Five fit into the queue, but not beside the six.
    assert_eq!(queue.send(logs(1, 1, 5, 0)).await, Ok(Accepted::all()));
    sink.permits.add_permits(10);
    queue.shutdown().await;
    let taken: Vec<usize> = sink.taken.lock().iter().map(Batch::items).collect();
    assert_eq!(taken, [6, 2]);
    assert_eq!(counted(&queue, "cupola_exporter_queue_dropped_items"), 5);
    assert_eq!((queue.queued().items, queue.queued().bytes), (0, 0));
}

#[tokio::test]
async fn outcomes_are_counted() {
    let partial = Gated::answering(10, Ok(Accepted::partial(2, "too old")));
    let queue = start(QueueConfig::default(), partial).await;
    queue.send(logs(1, 1, 5, 0)).await.unwrap();
    queue.shutdown().await;
    assert_eq!(counted(&queue, "otelcol_exporter_sent_log_records"), 3);
    assert_eq!(counted(&queue, "otelcol_exporter_send_failed_log_records"), 2);

    let refusing = Gated::answering(10, Err(SendError::permanent("no")));
    let queue = start(QueueConfig::default(), refusing).await;
    queue.send(logs(1, 1, 5, 0)).await.unwrap();
    queue.shutdown().await;
    assert_eq!(counted(&queue, "otelcol_exporter_send_failed_log_records"), 5);
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_up_after_its_time_and_takes_nothing_more() {
    let sink = Gated::new(1);
    let queue = start(config(100, WhenFull::Refuse), sink.clone()).await;
    for _ in 0..3 {
        queue.send(logs(1, 1, 5, 0)).await.unwrap();
    }
    sink.wait_for(1).await;
    queue.shutdown().await;
    assert_eq!(counted(&queue, "cupola_exporter_lost_items"), 10);
    let refused = queue.send(logs(1, 1, 1, 0)).await;
    assert!(matches!(refused, Err(SendError::Retryable { .. })), "{refused:?}");
}
