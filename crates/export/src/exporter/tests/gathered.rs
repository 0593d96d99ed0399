//! `sending_queue.batch`: what is small goes together, what cannot be delivered goes alone.

use cupola_config::units::TimeSpan;
use cupola_telemetry::Client;
use cupola_telemetry::encode::LogsEncoder;
use parking_lot::Mutex;

use super::*;
use crate::queue::Sizer;
use crate::simulation::{batch_of, items_of};

/// Remembers the requests it takes, and refuses those that have an item it does not like.
#[derive(Default)]
struct Picky {
    requests: Mutex<Vec<Batch>>,
    dislikes: Mutex<Option<u64>>,
    is_down: Mutex<bool>,
}

#[async_trait]
impl Sink for Picky {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if *self.is_down.lock() {
            return Err(SendError::retryable("down"));
        }
        let disliked = *self.dislikes.lock();
        if disliked.is_some_and(|item| items_of(&batch).contains(&item)) {
            return Err(SendError::permanent("poison"));
        }
        self.requests.lock().push(batch);
        Ok(Accepted::all())
    }
}

impl Component for Picky {}

impl Picky {
    fn taken(&self) -> Vec<Vec<u64>> {
        self.requests.lock().iter().map(items_of).collect()
    }
}

fn settings(min_size: u64) -> DeliveryConfig {
    let mut config = DeliveryConfig::default();
    config.sending_queue.sizer = Sizer::Items;
    config.sending_queue.queue_size = ByteSize(10_000);
    config.sending_queue.batch = Some(BatchSettings {
        flush_timeout: TimeSpan(Duration::from_secs(10)),
        min_size: ByteSize(min_size),
        ..BatchSettings::default()
    });
    config
}

async fn start(sink: &Arc<Picky>, config: DeliveryConfig, storage: Option<&Simulated>) -> Exporter {
    let file_system = Arc::new(storage.cloned().unwrap_or_default());
    let directory = storage.map(|_| PathBuf::from("/queue"));
    let budget = MemoryBudget::new(1 << 20);
    let id = "picky".to_owned();
    let started = Exporter::start_on(file_system, id, config, sink.clone(), directory, None, budget).await;
    started.unwrap()
}

#[tokio::test(start_paused = true)]
async fn small_batches_go_together_once_there_are_enough_or_time_is_over() {
    for durable in [false, true] {
        let storage = durable.then(Simulated::default);
        let sink = Arc::new(Picky::default());
        let exporter = start(&sink, settings(6), storage.as_ref()).await;
        for item in 0..7 {
            exporter.send(batch_of(&[2 * item, 2 * item + 1])).await.unwrap();
        }
        until(|| sink.taken().len() == 2).await;
        let expected: Vec<Vec<u64>> = vec![(0..6).collect(), (6..12).collect()];
        assert_eq!(sink.taken(), expected, "durable: {durable}");
        assert_eq!(exporter.queued().items, 2, "what waits is held by the queue");
        let began = Instant::now();
        until(|| sink.taken().len() == 3).await;
        assert!(began.elapsed() > Duration::from_secs(9), "{:?}", began.elapsed());
        assert_eq!(sink.taken()[2], [12, 13]);
        assert_eq!(samples(&exporter)["otelcol_exporter_sent_log_records"], 14.0);
        exporter.shutdown().await;
        assert_eq!(exporter.queued().items, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn signals_tenants_and_values_of_the_keys_stay_apart() {
    let sink = Arc::new(Picky::default());
    let mut config = settings(2);
    let batch = config.sending_queue.batch.as_mut().unwrap();
    batch.partition.metadata_keys = vec!["X-Team".to_owned()];
    let exporter = start(&sink, config, None).await;
    let of = |signal, tenant: &str, team: Option<&str>, item: u64| {
        let client = Client::default().with_metadata(team.map(|team| ("x-team", team)));
        let tenant = TenantId::parse(tenant).unwrap();
        let payload = Bytes::copy_from_slice(&item.to_le_bytes());
        Batch::from_canonical(signal, tenant, payload, 1).with_client(Some(Arc::new(client)))
    };
    for item in [0, 10] {
        for (number, signal) in [Signal::Logs, Signal::Traces].into_iter().enumerate() {
            exporter
                .send(of(signal, "a", None, item + number as u64))
                .await
                .unwrap();
        }
        exporter
            .send(of(Signal::Logs, "b", None, item + 2))
            .await
            .unwrap();
        exporter
            .send(of(Signal::Logs, "b", Some("blue"), item + 3))
            .await
            .unwrap();
        exporter
            .send(of(Signal::Logs, "b", Some("red"), item + 4))
            .await
            .unwrap();
    }
    until(|| sink.taken().len() == 5).await;
    let mut taken = sink.taken();
    taken.sort_unstable();
    assert_eq!(taken, [[0, 10], [1, 11], [2, 12], [3, 13], [4, 14]]);
    for request in sink.requests.lock().iter() {
        let team = request
            .client()
            .map_or(&[][..], |client| client.metadata("x-team"));
        match items_of(request)[0] {
            3 => assert_eq!(team, ["blue"]),
            4 => assert_eq!(team, ["red"]),
            _ => assert!(team.is_empty()),
        }
    }
    exporter.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_delivered_takes_no_other_with_it() {
    let sink = Arc::new(Picky::default());
    *sink.dislikes.lock() = Some(3);
    let exporter = start(&sink, settings(4), None).await;
    for item in 1..5 {
        exporter.send(batch_of(&[item])).await.unwrap();
    }
    until(|| samples(&exporter)["otelcol_exporter_send_failed_log_records"] == 1.0).await;
    until(|| sink.taken().len() == 3).await;
    let mut taken = sink.taken();
    taken.sort_unstable();
    assert_eq!(taken, [[1], [2], [4]]);
    exporter.shutdown().await;
    assert_eq!(samples(&exporter)["cupola_exporter_lost_items"], 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_others_at_the_end_is_sent_or_stays_on_the_disk() {
    for durable in [false, true] {
        let storage = durable.then(Simulated::default);
        let sink = Arc::new(Picky::default());
        let exporter = start(&sink, settings(100), storage.as_ref()).await;
        for item in 0..5 {
            exporter.send(batch_of(&[item])).await.unwrap();
        }
        until(|| exporter.sending().items == 5).await;
        exporter.shutdown().await;
        let expected: Vec<u64> = (0..5).collect();
        if let Some(storage) = storage {
            assert!(sink.taken().is_empty());
            let after = storage.after(Crash::Forgotten);
            let exporter = start(&sink, settings(5), Some(&after)).await;
            until(|| !sink.taken().is_empty()).await;
            exporter.shutdown().await;
        }
        assert_eq!(sink.taken(), [expected], "durable: {durable}");
    }
}

#[tokio::test(start_paused = true)]
async fn senders_that_wait_for_the_result_hear_it_and_are_not_mixed_with_others() {
    let sink = Arc::new(Picky::default());
    *sink.is_down.lock() = true;
    let mut config = settings(3);
    config.sending_queue.wait_for_result = true;
    config.retry_on_failure.enabled = false;
    let exporter = start(&sink, config, None).await;
    let sent = futures::future::join_all((0..3).map(|item| exporter.send(batch_of(&[item])))).await;
    assert!(
        sent.iter()
            .all(|answer| matches!(answer, Err(SendError::Retryable { .. }))),
        "{sent:?}"
    );
    *sink.is_down.lock() = false;
    let sent = futures::future::join_all((0..3).map(|item| exporter.send(batch_of(&[item])))).await;
    assert!(
        sent.iter().all(|answer| *answer == Ok(Accepted::all())),
        "{sent:?}"
    );
    assert_eq!(sink.taken(), [[0, 1, 2]]);
    exporter.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_split_and_an_item_that_is_too_large_goes_alone() {
    let logs = |bodies: &[&str]| {
        let mut logs = LogsEncoder::new();
        for body in bodies {
            logs.resource_logs().scope_logs().record().body(*body);
        }
        logs.finish(TenantId::default_tenant())
    };
    let long = "x".repeat(1000);
    let sizes = async |change: &dyn Fn(&mut BatchSettings)| {
        let sink = Arc::new(Picky::default());
        let mut config = settings(4);
        change(config.sending_queue.batch.as_mut().unwrap());
        let exporter = start(&sink, config, None).await;
        exporter.send(logs(&["a", "b", "c"])).await.unwrap();
        exporter.send(logs(&["d", &long, "e", "f"])).await.unwrap();
        until(|| sink.requests.lock().iter().map(Batch::items).sum::<usize>() == 7).await;
        exporter.shutdown().await;
        let requests = sink.requests.lock();
        requests
            .iter()
            .map(|one| (one.items(), one.payload().len()))
            .collect::<Vec<_>>()
    };
    let by_items = sizes(&|batch| batch.max_size = ByteSize(4)).await;
    assert_eq!(
        by_items.iter().map(|(items, _)| *items).collect::<Vec<_>>(),
        [4, 3]
    );
    let by_bytes = sizes(&|batch| {
        batch.sizer = BatchSizer::Bytes;
        (batch.min_size, batch.max_size) = (ByteSize(100), ByteSize(100));
    })
    .await;
    assert!(
        by_bytes.iter().all(|(items, bytes)| *bytes <= 100 || *items == 1),
        "{by_bytes:?}"
    );
}

#[test]
fn settings_have_the_collectors_names_and_defaults() {
    let read = |text: &str| -> DeliveryConfig { cupola_config::yaml::from_str(text).unwrap() };
    let config = read("sending_queue: {batch: }");
    let batch = config.sending_queue.batch.unwrap();
    assert_eq!(
        (batch.flush_timeout.0, batch.min_size.0, batch.max_size.0),
        (Duration::from_millis(200), 8192, 0)
    );
    assert_eq!(read("sending_queue: {}").sending_queue.batch, None);
    for (text, key) in [
        (
            "sending_queue: {batch: {flush_timeout: 0s}}",
            "sending_queue.batch.flush_timeout",
        ),
        (
            "sending_queue: {batch: {min_size: 10, max_size: 5}}",
            "sending_queue.batch.max_size",
        ),
    ] {
        assert_eq!(read(text).validate().unwrap_err().key, key);
    }
}
