//! What an exporter promises: nothing lost without a count, a dead destination left in peace, a living one noticed.

mod gathered;
mod replaced;
mod said;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cupola_config::units::ByteSize;
use cupola_telemetry::{Signal, TenantId};
use tokio::time::Instant;

use super::*;
use crate::dead_letter;
use crate::fs::simulated::{Crash, Simulated};

/// Does as it is told.
#[derive(Default)]
struct Told {
    behaviour: Mutex<Behaviour>,
    taken: Mutex<Vec<u64>>,
    asked: AtomicU64,
}

#[derive(Clone, Default)]
enum Behaviour {
    #[default]
    Takes,
    Refuses(SendError),
    Partly(Accepted),
    Hangs,
    Panics,
}

#[async_trait]
impl Sink for Told {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let behaviour = self.behaviour.lock().clone();
        match behaviour {
            Behaviour::Takes => {}
            Behaviour::Refuses(error) => return Err(error),
            Behaviour::Partly(accepted) => return Ok(accepted),
            Behaviour::Hangs => std::future::pending().await,
            Behaviour::Panics => panic!("told to"),
        }
        self.taken.lock().push(number_of(&batch));
        Ok(Accepted::all())
    }
}

impl Component for Told {}

impl Told {
    fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn batch(number: u64) -> Batch {
    let payload = Bytes::copy_from_slice(&number.to_le_bytes());
    Batch::from_canonical(Signal::Traces, TenantId::default_tenant(), payload, 2)
}

fn number_of(batch: &Batch) -> u64 {
    u64::from_le_bytes(batch.payload()[..8].try_into().unwrap())
}

fn down() -> Behaviour {
    Behaviour::Refuses(SendError::retryable("down"))
}

async fn start(sink: &Arc<Told>, config: DeliveryConfig, storage: Option<&Simulated>) -> Exporter {
    start_named("told", sink, config, storage).await
}

async fn start_named(
    name: &str,
    sink: &Arc<Told>,
    config: DeliveryConfig,
    storage: Option<&Simulated>,
) -> Exporter {
    let file_system = Arc::new(storage.cloned().unwrap_or_default());
    let directory = storage.map(|_| PathBuf::from("/queue"));
    let budget = MemoryBudget::new(1 << 20);
    Exporter::start_on(
        file_system,
        name.to_owned(),
        config,
        sink.clone(),
        directory,
        None,
        budget,
    )
    .await
    .unwrap()
}

fn samples(exporter: &Exporter) -> BTreeMap<&'static str, f64> {
    let mut samples = Vec::new();
    exporter.collect(&mut samples);
    let mut values = BTreeMap::new();
    for sample in samples {
        *values.entry(sample.name).or_default() += sample.value;
    }
    values
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_is_asked_rarely_and_a_living_one_noticed_soon() {
    let sink = Arc::new(Told::default());
    sink.behave(down());
    let mut config = DeliveryConfig::default();
    config.retry_on_failure.max_elapsed_time = Duration::ZERO;
    let exporter = start(&sink, config, None).await;
    for number in 0..100 {
        exporter.send(batch(number)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // Ten consumers, an hour: one attempt in about five seconds.
    let asked = sink.asked();
    assert!((500..1000).contains(&asked), "{asked} attempts in an hour");
    assert_eq!(samples(&exporter)["cupola_exporter_up"], 0.0);
    assert!(!exporter.is_healthy());
    sink.behave(Behaviour::Takes);
    let recovered = Instant::now();
    until(|| sink.taken.lock().len() == 100).await;
    assert!(
        recovered.elapsed() < Duration::from_secs(10),
        "{:?}",
        recovered.elapsed()
    );
    let values = samples(&exporter);
    assert_eq!(values["cupola_exporter_up"], 1.0);
    assert_eq!(values["otelcol_exporter_sent_spans"], 200.0);
    assert_eq!(values["otelcol_exporter_queue_size"], 0.0);
    assert_eq!(values["otelcol_exporter_queue_capacity"], 1000.0);
    exporter.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn its_condition_says_what_fails_that_it_recovered_and_that_the_queue_is_full() {
    let sink = Arc::new(Told::default());
    let mut config = DeliveryConfig::default();
    config.retry_on_failure.max_elapsed_time = Duration::ZERO;
    let exporter = start(&sink, config.clone(), None).await;
    assert_eq!(exporter.condition(), Condition::default());
    sink.behave(down());
    exporter.send(batch(1)).await.unwrap();
    until(|| exporter.condition().failing.is_some()).await;
    let failing = exporter.condition();
    let trouble = failing.failing.unwrap();
    assert!(trouble.reason.contains("down") && trouble.recoverable && trouble.since.is_some());
    assert_eq!(failing.recovered, None);
    sink.behave(Behaviour::Takes);
    until(|| exporter.condition().failing.is_none()).await;
    let recovered = exporter.condition();
    assert!(recovered.recovered.is_some());
    assert!(
        recovered.last_error.unwrap().reason.contains("down"),
        "it is still known"
    );
    exporter.shutdown().await;

    config.sending_queue.queue_size = ByteSize(2);
    config.sending_queue.num_consumers = 1;
    config.timeout = Duration::ZERO;
    sink.behave(Behaviour::Hangs);
    let exporter = start(&sink, config, None).await;
    while exporter.send(batch(2)).await.is_ok() {}
    let reason = exporter.condition().failing.unwrap().reason;
    assert_eq!(reason, "the queue is full: it holds 2 of 2");
    exporter.kill();
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_wait_is_obeyed() {
    let sink = Arc::new(Told::default());
    sink.behave(Behaviour::Refuses(SendError::Retryable {
        reason: "busy".to_owned(),
        retry_after: Some(Duration::from_secs(100)),
    }));
    let exporter = start(&sink, DeliveryConfig::default(), None).await;
    exporter.send(batch(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert_eq!(sink.asked(), 1);
    sink.behave(Behaviour::Takes);
    until(|| sink.asked() == 2).await;
    exporter.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_dead_letters_what_is_given_up_is_counted() {
    let sink = Arc::new(Told::default());
    sink.behave(down());
    let exporter = start(&sink, DeliveryConfig::default(), None).await;
    exporter.send(batch(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(301)).await;
    let values = samples(&exporter);
    assert_eq!(values["otelcol_exporter_send_failed_spans"], 2.0);
    assert_eq!(values["cupola_exporter_lost_items"], 2.0);
    assert_eq!(exporter.queued(), Load::default());
}

#[tokio::test(start_paused = true)]
async fn what_is_durable_is_found_after_a_shutdown_with_the_destination_down() {
    let file_system = Simulated::default();
    let sink = Arc::new(Told::default());
    sink.behave(down());
    let exporter = start(&sink, DeliveryConfig::default(), Some(&file_system)).await;
    for number in 0..50 {
        exporter.send(batch(number)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let began = Instant::now();
    exporter.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(matches!(
        exporter.send(batch(99)).await,
        Err(SendError::Retryable { .. })
    ));
    sink.behave(Behaviour::Takes);
    // Also if the machine dies right after.
    for after in [file_system.after(Crash::Forgotten), file_system.clone()] {
        sink.taken.lock().clear();
        let exporter = start(&sink, DeliveryConfig::default(), Some(&after)).await;
        until(|| sink.taken.lock().len() == 50).await;
        exporter.shutdown().await;
        let mut taken = sink.taken.lock().clone();
        taken.sort_unstable();
        assert_eq!(taken, (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_hang_end_at_their_timeout_and_at_the_end() {
    let file_system = Simulated::default();
    let sink = Arc::new(Told::default());
    sink.behave(Behaviour::Hangs);
    let config = DeliveryConfig {
        timeout: Duration::ZERO,
        ..DeliveryConfig::default()
    };
    let exporter = start(&sink, config.clone(), Some(&file_system)).await;
    let memory = start(&sink, config, None).await;
    exporter.send(batch(1)).await.unwrap();
    memory.send(batch(2)).await.unwrap();
    until(|| sink.asked() == 2).await;
    exporter.shutdown().await;
    memory.shutdown().await;
    // Of a queue in memory nothing can be kept, and that is said.
    assert_eq!(samples(&memory)["cupola_exporter_lost_items"], 2.0);
    sink.behave(Behaviour::Takes);
    let again = start(&sink, DeliveryConfig::default(), Some(&file_system)).await;
    until(|| *sink.taken.lock() == [1]).await;
    again.shutdown().await;

    sink.behave(Behaviour::Hangs);
    let exporter = start(&sink, DeliveryConfig::default(), None).await;
    exporter.send(batch(3)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    sink.behave(Behaviour::Takes);
    until(|| sink.taken.lock().contains(&3)).await;
}

#[tokio::test(start_paused = true)]
async fn senders_can_wait_for_the_result() {
    let sink = Arc::new(Told::default());
    for storage in [None, Some(Simulated::default())] {
        let mut config = DeliveryConfig::default();
        config.sending_queue.wait_for_result = true;
        let exporter = Arc::new(start(&sink, config, storage.as_ref()).await);
        sink.behave(Behaviour::Partly(Accepted::partial(1, "one is too old")));
        assert_eq!(
            exporter.send(batch(1)).await,
            Ok(Accepted::partial(1, "one is too old"))
        );
        sink.behave(Behaviour::Refuses(SendError::permanent("no")));
        assert_eq!(exporter.send(batch(1)).await, Err(SendError::permanent("no")));
        sink.behave(down());
        let waiting = exporter.clone();
        let waiting = tokio::spawn(async move { waiting.send(batch(2)).await });
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(!waiting.is_finished());
        sink.behave(Behaviour::Takes);
        assert_eq!(waiting.await.unwrap(), Ok(Accepted::all()));
        assert_eq!(samples(&exporter)["otelcol_exporter_sent_spans"], 3.0);
        exporter.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_senders_wait_too() {
    let sink = Arc::new(Told::default());
    let mut config = DeliveryConfig::default();
    config.sending_queue.enabled = false;
    let exporter = start(&sink, config, None).await;
    assert_eq!(exporter.send(batch(1)).await, Ok(Accepted::all()));
    assert_eq!(*sink.taken.lock(), [1]);
    sink.behave(down());
    let refused = exporter.send(batch(2)).await;
    assert!(matches!(refused, Err(SendError::Retryable { .. })), "{refused:?}");
    exporter.shutdown().await;
    assert!(exporter.send(batch(3)).await.is_err());
}

#[tokio::test]
async fn what_is_refused_is_kept_as_dead_letters_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let letters = directory.path().join("letters");
    let sink = Arc::new(Told::default());
    let exporter = Exporter::start(
        "told/1",
        DeliveryConfig::default(),
        sink.clone(),
        Some(directory.path().join("queue")),
        Some(letters.clone()),
        MemoryBudget::unlimited(),
    )
    .await
    .unwrap();
    let handled = |items: f64| {
        until({
            let exporter = &exporter;
            move || samples(exporter)["otelcol_exporter_send_failed_spans"] == items
        })
    };
    sink.behave(Behaviour::Refuses(SendError::permanent("poison")));
    exporter.send(batch(1)).await.unwrap();
    handled(2.0).await;
    sink.behave(Behaviour::Panics);
    exporter.send(batch(2)).await.unwrap();
    handled(4.0).await;
    let one = Batch::from_canonical(
        Signal::Traces,
        TenantId::default_tenant(),
        batch(7).payload().clone(),
        1,
    );
    sink.behave(Behaviour::Partly(Accepted {
        rejected: 1,
        message: "too old".to_owned(),
        refused: vec![one],
    }));
    exporter.send(batch(3)).await.unwrap();
    handled(5.0).await;
    let listed = dead_letter::list(&letters).unwrap().letters;
    let mut reasons: Vec<_> = listed
        .iter()
        .map(|entry| (entry.reason.as_str(), entry.items))
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons[0], ("poison", 2));
    assert!(reasons[1].0.contains("panicked"));
    assert_eq!(reasons[2], ("too old", 1));
    assert!(
        listed
            .iter()
            .all(|entry| entry.exporter == "told/1" && entry.attempts == 1)
    );
    let values = samples(&exporter);
    assert_eq!(values["cupola_exporter_dead_letter_items"], 5.0);
    assert_eq!(values["cupola_exporter_lost_items"], 0.0);
    assert_eq!(values["otelcol_exporter_sent_spans"], 1.0);
    // While it runs: one is retried through it.
    sink.behave(Behaviour::Takes);
    let poison = listed.iter().find(|entry| entry.reason == "poison").unwrap();
    dead_letter::retry(&letters, &poison.id, &exporter).await.unwrap();
    until(|| *sink.taken.lock() == [1]).await;
    assert_eq!(dead_letter::list(&letters).unwrap().letters.len(), 2);
    exporter.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_in_memory_is_bounded_by_the_budget_too() {
    let sink = Arc::new(Told::default());
    sink.behave(down());
    let exporter = start(&sink, DeliveryConfig::default(), None).await;
    let large = || {
        let payload = Bytes::from(vec![0; 400 << 10]);
        Batch::from_canonical(Signal::Logs, TenantId::default_tenant(), payload, 1)
    };
    assert!(exporter.send(large()).await.is_ok() && exporter.send(large()).await.is_ok());
    let refused = exporter.send(large()).await;
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
    let values = samples(&exporter);
    assert_eq!(values["otelcol_exporter_enqueue_failed_log_records"], 1.0);
    assert_eq!(exporter.queued().requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_sender_may_wait_for_room() {
    let sink = Arc::new(Told::default());
    sink.behave(down());
    for storage in [None, Some(Simulated::default())] {
        let mut config = DeliveryConfig::default();
        config.sending_queue.block_on_overflow = true;
        config.sending_queue.queue_size = ByteSize(2);
        let exporter = Arc::new(start(&sink, config, storage.as_ref()).await);
        exporter.send(batch(1)).await.unwrap();
        exporter.send(batch(2)).await.unwrap();
        let third = exporter.clone();
        let third = tokio::spawn(async move { third.send(batch(3)).await });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!third.is_finished());
        sink.behave(Behaviour::Takes);
        third.await.unwrap().unwrap();
        exporter.shutdown().await;
        sink.behave(down());
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_in_memory_is_emptied_at_the_end_if_the_destination_takes_it() {
    let sink = Arc::new(Told::default());
    sink.behave(down());
    let mut config = DeliveryConfig::default();
    config.sending_queue.num_consumers = 1;
    let exporter = start(&sink, config, None).await;
    for number in 0..20 {
        exporter.send(batch(number)).await.unwrap();
    }
    until(|| sink.asked() == 1).await;
    // The consumer pauses after its failure when the end comes.
    sink.behave(Behaviour::Takes);
    exporter.shutdown().await;
    assert_eq!(sink.taken.lock().len(), 20);
    assert_eq!(samples(&exporter)["cupola_exporter_lost_items"], 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_durable_queue_drops_the_oldest_if_told_to() {
    let sink = Arc::new(Told::default());
    sink.behave(Behaviour::Hangs);
    let mut config = DeliveryConfig::default();
    config.sending_queue.num_consumers = 1;
    config.sending_queue.queue_size = ByteSize(6);
    config.sending_queue.sizer = crate::queue::Sizer::Items;
    config.sending_queue.when_full = crate::queue::WhenFull::DropOldest;
    let exporter = start(&sink, config, Some(&Simulated::default())).await;
    exporter.send(batch(0)).await.unwrap();
    until(|| sink.asked() == 1).await;
    for number in 1..6 {
        exporter.send(batch(number)).await.unwrap();
    }
    assert_eq!(exporter.queued().items, 6);
    sink.behave(Behaviour::Takes);
    until(|| sink.taken.lock().len() == 3).await;
    assert_eq!(samples(&exporter)["cupola_exporter_queue_dropped_items"], 6.0);
    // The first was being sent and comes after its timeout.
    let mut taken = sink.taken.lock().clone();
    taken.sort_unstable();
    assert_eq!(taken, [0, 4, 5]);
    exporter.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_lets_the_queue_wait_or_refuses() {
    let sink = Arc::new(Told::default());
    let mut config = DeliveryConfig {
        rate_limit: Some(serde_json::from_str(r#"{"items_per_second": 20}"#).unwrap()),
        ..DeliveryConfig::default()
    };
    let exporter = start(&sink, config.clone(), None).await;
    let began = Instant::now();
    for number in 0..100 {
        exporter.send(batch(number)).await.unwrap();
    }
    until(|| sink.taken.lock().len() == 100).await;
    let seconds = began.elapsed().as_secs_f64();
    assert!((8.9..9.5).contains(&seconds), "{seconds}");
    config.rate_limit =
        Some(serde_json::from_str(r#"{"items_per_second": 20, "when_limited": "refuse"}"#).unwrap());
    let exporter = start(&sink, config, None).await;
    let mut refused = 0;
    for number in 0..100 {
        refused += u64::from(exporter.send(batch(number)).await.is_err());
    }
    assert_eq!(refused, 90);
    assert_eq!(samples(&exporter)["otelcol_exporter_enqueue_failed_spans"], 180.0);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_beyond_its_limit_is_in_nobodys_way() {
    let sink = Arc::new(Told::default());
    let limit = r#"{"items_per_second": 1000, "per_tenant": {"items_per_second": 2}}"#;
    let config = DeliveryConfig {
        rate_limit: Some(serde_json::from_str(limit).unwrap()),
        ..DeliveryConfig::default()
    };
    let exporter = start(&sink, config, None).await;
    let of = |tenant: &str, number: u64| {
        let tenant = TenantId::parse(tenant).unwrap();
        Batch::from_canonical(Signal::Traces, tenant, batch(number).payload().clone(), 2)
    };
    let mut refused = 0;
    for number in 0..50 {
        refused += u64::from(exporter.send(of("noisy", number)).await.is_err());
    }
    assert_eq!(refused, 49);
    assert_eq!(samples(&exporter)["cupola_exporter_limited_items"], 98.0);
    let began = Instant::now();
    exporter.send(of("quiet", 99)).await.unwrap();
    until(|| sink.taken.lock().contains(&99)).await;
    assert!(
        began.elapsed() < Duration::from_millis(100),
        "{:?}",
        began.elapsed()
    );
    exporter.shutdown().await;
}

#[test]
fn settings_are_those_of_the_collector() {
    let read = |text: &str| serde_json::from_str::<DeliveryConfig>(text);
    assert_eq!(read("{}").unwrap(), DeliveryConfig::default());
    let config = read(
        r#"{"timeout": "30s", "retry_on_failure": {"enabled": false}, "sending_queue": {"enabled": true,
            "num_consumers": 4, "queue_size": 10000, "sizer": "items", "storage": "file_storage/otlp",
            "block_on_overflow": true, "wait_for_result": false}}"#,
    )
    .unwrap();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.sending_queue.storage.as_deref(), Some("file_storage/otlp"));
    let sized = read(r#"{"sending_queue": {"queue_size": "512MiB", "sizer": "bytes"}}"#).unwrap();
    assert_eq!(sized.sending_queue.queue_size.0, 512 << 20);
    assert!(read(r#"{"sending_queue": {"sizer": "spans"}}"#).is_err());
    let none = read(r#"{"sending_queue": {"num_consumers": 0}}"#).unwrap();
    assert_eq!(none.validate().unwrap_err().key, "sending_queue.num_consumers");
}

#[tokio::test]
async fn a_queue_that_is_to_be_durable_never_is_in_memory() {
    let mut config = DeliveryConfig::default();
    config.sending_queue.storage = Some("file_storage".to_owned());
    let sink = Arc::new(Told::default());
    let started = Exporter::start("told", config, sink, None, None, MemoryBudget::unlimited()).await;
    assert!(matches!(started, Err(ExporterError::Setting(_))));
}
