//! The batch processor: fewer, larger batches, and every sender hears its own answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_export::{Accepted, Component as _, SendError, Sink};
use cupola_pipeline::processors::batch::{Acknowledge, BatchConfig, BatchProcessor};
use cupola_telemetry::Batch;
use cupola_telemetry::memory::MemoryBudget;
use futures::future::join_all;
use parking_lot::Mutex;

use super::bench_components::{bodies, logs, span, tenant_logs};

#[derive(Default)]
struct Next {
    batches: Mutex<Vec<Batch>>,
    answer: Mutex<Option<Result<Accepted, SendError>>>,
}

#[async_trait]
impl Sink for Next {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.batches.lock().push(batch);
        self.answer.lock().clone().unwrap_or_else(|| Ok(Accepted::all()))
    }
}

impl Next {
    fn sizes(&self) -> Vec<usize> {
        self.batches.lock().iter().map(Batch::items).collect()
    }
}

fn processor(change: impl FnOnce(&mut BatchConfig)) -> (Arc<BatchProcessor>, Arc<Next>, MemoryBudget) {
    let mut config = BatchConfig {
        timeout: TimeSpan(Duration::from_millis(200)),
        send_batch_size: 4,
        ..BatchConfig::default()
    };
    change(&mut config);
    let next = Arc::new(Next::default());
    let memory = MemoryBudget::new(1 << 20);
    let processor = BatchProcessor::new(&config, memory.clone(), next.clone()).unwrap();
    (Arc::new(processor), next, memory)
}

#[tokio::test(start_paused = true)]
async fn senders_that_wait_are_not_kept_for_longer_than_they_would() {
    for (acknowledge, waits) in [(Acknowledge::Delivered, 1), (Acknowledge::Received, 10)] {
        let long = |config: &mut BatchConfig| {
            config.timeout = TimeSpan(Duration::from_secs(10));
            config.acknowledge = acknowledge;
        };
        let (processor, next, _) = processor(long);
        let begun = tokio::time::Instant::now();
        assert_eq!(processor.send(logs(&["a"])).await, Ok(Accepted::all()));
        while next.sizes().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(begun.elapsed().as_secs(), waits, "{acknowledge:?}");
        let mut config = BatchConfig::default();
        assert!(config.remarks().is_empty());
        long(&mut config);
        assert_eq!(config.remarks().len(), usize::from(waits == 1), "{acknowledge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_goes_on_together_by_signal_and_tenant() {
    let (processor, next, memory) = processor(|_| {});
    let sent = [
        logs(&["a"]),
        span("s"),
        tenant_logs("acme", &["x"]),
        logs(&["b"]),
        logs(&["c"]),
    ];
    let answers = join_all(sent.into_iter().map(|batch| processor.send(batch))).await;
    assert!(answers.iter().all(Result::is_ok));
    let batches = next.batches.lock().clone();
    assert_eq!(batches.len(), 3, "{batches:?}");
    let own: Vec<Batch> = batches
        .into_iter()
        .filter(|batch| bodies(std::slice::from_ref(batch)).len() == 3)
        .collect();
    assert_eq!(bodies(&own), ["a", "b", "c"]);
    assert_eq!(memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_goes_at_once_and_a_large_one_is_split() {
    let (processor, next, _) = processor(|config| config.send_batch_max_size = 4);
    let begun = tokio::time::Instant::now();
    join_all([
        processor.send(logs(&["1", "2"])),
        processor.send(logs(&["3", "4"])),
    ])
    .await;
    assert_eq!(
        begun.elapsed(),
        Duration::ZERO,
        "no waiting for the time to be over"
    );
    processor
        .send(logs(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]))
        .await
        .unwrap();
    assert_eq!(next.sizes(), [4, 4, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn every_sender_hears_what_became_of_its_items() {
    let (processor, next, _) = processor(|_| {});
    *next.answer.lock() = Some(Ok(Accepted::partial(2, "too old")));
    let answers = join_all([processor.send(logs(&["a"])), processor.send(logs(&["b", "c"]))]).await;
    let rejected: u64 = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().rejected)
        .sum();
    assert_eq!(rejected, 2, "all rejected items are told of, once: {answers:?}");
    *next.answer.lock() = Some(Err(SendError::retryable("later")));
    let answers = join_all([processor.send(logs(&["a"])), processor.send(logs(&["b"]))]).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer == &Err(SendError::retryable("later")))
    );
}

#[tokio::test(start_paused = true)]
async fn ending_hands_on_what_was_held_back_and_afterwards_nothing_is() {
    let (processor, next, _) = processor(|config| config.timeout = TimeSpan(Duration::from_secs(3600)));
    let waiting = tokio::spawn({
        let processor = processor.clone();
        async move { processor.send(logs(&["a"])).await }
    });
    tokio::task::yield_now().await;
    processor.shutdown().await;
    assert!(waiting.await.unwrap().is_ok());
    processor.send(logs(&["b"])).await.unwrap();
    assert_eq!(bodies(&next.batches.lock()), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn without_memory_batches_pass_by_themselves() {
    let next = Arc::new(Next::default());
    let processor = BatchProcessor::new(&BatchConfig::default(), MemoryBudget::new(8), next.clone()).unwrap();
    join_all([
        processor.send(logs(&["a long enough body"])),
        processor.send(logs(&["another long body"])),
    ])
    .await;
    assert_eq!(next.sizes(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn answered_when_received_if_asked_for_and_then_held_within_memory() {
    let (processor, next, memory) = processor(|config| config.acknowledge = Acknowledge::Received);
    processor.send(logs(&["a"])).await.unwrap();
    assert!(next.batches.lock().is_empty() && memory.used() > 0);
    processor.shutdown().await;
    assert_eq!(
        (bodies(&next.batches.lock()), memory.used()),
        (vec!["a".to_owned()], 0)
    );
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let wrong = BatchConfig {
        send_batch_max_size: 10,
        ..BatchConfig::default()
    };
    assert!(
        wrong
            .validate()
            .unwrap_err()
            .to_string()
            .contains("send_batch_max_size")
    );
    let keys = BatchConfig {
        metadata_keys: vec!["X-Team".into(), "x-team".into()],
        ..BatchConfig::default()
    };
    assert!(keys.validate().unwrap_err().to_string().contains("x-team"));
}

/// One of the gathered requests is refused for good: the others are not refused with it.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_for_good_takes_no_other_with_it() {
    struct Picky;

    #[async_trait]
    impl Sink for Picky {
        async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
            match bodies(&[batch]).iter().any(|body| body == "poison") {
                true => Err(SendError::permanent("poison")),
                false => Ok(Accepted::all()),
            }
        }
    }

    let processor = BatchProcessor::new(
        &BatchConfig::default(),
        MemoryBudget::unlimited(),
        Arc::new(Picky),
    )
    .unwrap();
    let sent = [logs(&["a"]), logs(&["poison"]), logs(&["b"])];
    let answers = join_all(sent.into_iter().map(|batch| processor.send(batch))).await;
    assert_eq!(
        answers,
        [
            Ok(Accepted::all()),
            Err(SendError::permanent("poison")),
            Ok(Accepted::all())
        ]
    );
}
