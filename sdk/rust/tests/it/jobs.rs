//! Jobs of apalis over a file of SQLite: who queues them and who does them share nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePool, SqliteStorage};
use cupola_sdk::apalis::{ConsumerLayer, Producer, PushTraced as _};
use cupola_sdk::core::Settings;
use cupola_sdk::core::sampling::AlwaysOff;
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::testing::{Capture, CapturedSpan};
use cupola_sdk::{Context, InContext as _, with_context};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use prost::Message as _;
use tracing::Instrument as _;

/// A side of the queue `mails`, with a pool of its own.
async fn side(file: &Path) -> SqliteStorage<String> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    SqliteStorage::setup(&pool).await.unwrap();
    SqliteStorage::new(&pool).with_config(Config::default().queue("mails"))
}

/// Does what is in the queue, as a worker of a name that no other has had, until a job has stopped it. Each job is asked with the
/// number of jobs so far.
async fn work<F>(file: &Path, name: &str, layer: ConsumerLayer, job: F)
where
    F: Fn(usize, &WorkerContext) -> Result<(), BoxDynError> + Send + Sync + 'static,
{
    let (calls, job) = (Arc::new(AtomicUsize::new(0)), Arc::new(job));
    let worker = WorkerBuilder::new(name)
        .backend(side(file).await)
        .retry(RetryPolicy::retries(3).retry_if(|error: &BoxDynError| !error.is::<AbortError>()))
        .catch_panic()
        .layer(layer)
        .build(move |mail: String, worker: WorkerContext| {
            let (calls, job) = (calls.clone(), job.clone());
            async move {
                tracing::info!(mail, "at work");
                job(calls.fetch_add(1, Ordering::SeqCst) + 1, &worker)
            }
        });
    worker.run().await.unwrap();
}

fn stop(worker: &WorkerContext) -> Result<(), BoxDynError> {
    worker.stop()?;
    Ok(())
}

fn named(spans: &[CapturedSpan], name: &str) -> Vec<CapturedSpan> {
    spans.iter().filter(|span| span.name == name).cloned().collect()
}

/// How many times something was counted or measured, with and without an error.
fn counted(capture: &Capture, metric: &str) -> u64 {
    let batches = capture.batches();
    let metrics = batches
        .iter()
        .filter(|batch| batch.signal().as_str() == "metrics");
    let all = metrics.flat_map(|batch| {
        let request = ExportMetricsServiceRequest::decode(batch.payload().as_ref()).unwrap();
        request
            .resource_metrics
            .into_iter()
            .flat_map(|all| all.scope_metrics)
    });
    let found = all
        .flat_map(|all| all.metrics)
        .filter(|found| found.name == metric);
    let totals = found.map(|found| match found.data.unwrap() {
        Data::Histogram(histogram) => histogram.data_points.iter().map(|point| point.count).sum(),
        Data::Sum(sum) => sum
            .data_points
            .iter()
            .map(|point| match point.value {
                Some(Value::AsInt(value)) => u64::try_from(value).unwrap(),
                _ => 0,
            })
            .sum(),
        _ => 0,
    });
    totals.last().unwrap_or(0)
}

#[tokio::test(flavor = "current_thread")]
async fn a_job_goes_on_in_the_trace_and_for_the_tenant_of_who_queued_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jobs.db");
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let producer = Producer::new(capture.sdk(), "mails");
    let mut mails = side(&file).await;
    let request = with_context!(propagated tenant.id = "acme" => async {
        let push = mails.push_traced(&producer, "to alice".to_owned());
        push.instrument(tracing::info_span!("request")).await
    });
    request.await.unwrap();
    work(
        &file,
        "postman",
        ConsumerLayer::new(capture.sdk()),
        |_, worker| stop(worker),
    )
    .await;

    let (request, send, process) = (
        capture.span("request"),
        capture.span("send mails"),
        capture.span("process mails"),
    );
    assert_eq!((send.kind, process.kind), (4, 5));
    assert_eq!(send.parent_span_id, request.span_id);
    assert_eq!(process.parent_span_id, send.span_id);
    assert_eq!(
        (&send.trace_id, &process.trace_id),
        (&request.trace_id, &request.trace_id)
    );
    assert_eq!((send.status_code, process.status_code), (0, 0));
    for (span, operation) in [(&send, "send"), (&process, "process")] {
        for (key, value) in [
            ("messaging.system", "apalis"),
            ("messaging.operation.name", operation),
            ("messaging.operation.type", operation),
            ("messaging.destination.name", "mails"),
            ("tenant.id", "acme"),
        ] {
            assert_eq!(span.attributes[key], value, "{operation} {key}");
        }
    }
    assert_eq!(
        send.attributes["messaging.message.id"],
        process.attributes["messaging.message.id"]
    );
    assert_eq!(process.attributes["apalis.task.name"], "String");
    assert_eq!(process.attributes["apalis.task.attempt"], 1i64);
    assert_eq!(process.attributes["apalis.worker.name"], "postman");
    let logs = capture.logs();
    let log = logs.iter().find(|log| log.body == "at work").unwrap();
    assert_eq!(log.span_id, process.span_id);
    assert_eq!(log.attributes["tenant.id"], "acme");
    assert_eq!(
        log.attributes["apalis.task.id"],
        process.attributes["messaging.message.id"]
    );
    for metric in [
        "messaging.client.operation.duration",
        "messaging.client.sent.messages",
        "messaging.process.duration",
        "messaging.client.consumed.messages",
    ] {
        assert_eq!(counted(&capture, metric), 1, "{metric}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn each_attempt_is_a_span_with_its_error_and_links_to_those_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jobs.db");
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let producer = Producer::new(capture.sdk(), "mails");
    side(&file)
        .await
        .push_traced(&producer, "to bob".to_owned())
        .await
        .unwrap();
    work(
        &file,
        "postman",
        ConsumerLayer::new(capture.sdk()),
        |call, worker| match call {
            1 | 2 => Err(std::io::Error::other("no connection").into()),
            _ => stop(worker),
        },
    )
    .await;

    let attempts = named(&capture.spans(), "process mails");
    let numbers: Vec<_> = attempts
        .iter()
        .map(|span| &span.attributes["apalis.task.attempt"])
        .collect();
    assert!(
        numbers
            .iter()
            .zip(1i64..)
            .all(|(number, wanted)| **number == wanted),
        "{numbers:?}"
    );
    assert_eq!(attempts.len(), 3);
    let links = |span: &CapturedSpan| {
        span.links
            .iter()
            .map(|link| link.span_id.clone())
            .collect::<Vec<_>>()
    };
    assert!(links(&attempts[0]).is_empty());
    assert_eq!(links(&attempts[1]), [attempts[0].span_id.clone()]);
    assert_eq!(
        links(&attempts[2]),
        [attempts[0].span_id.clone(), attempts[1].span_id.clone()]
    );
    let codes: Vec<_> = attempts.iter().map(|span| span.status_code).collect();
    assert_eq!(codes, [2, 2, 0]);
    let failed = &attempts[0];
    assert_eq!(failed.status_message, "no connection");
    assert_eq!(failed.events[0].name, "exception");
    assert_eq!(failed.events[0].attributes["exception.message"], "no connection");
    let logs = capture.logs();
    let errors: Vec<_> = logs.iter().filter(|log| log.body == "job failed").collect();
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].span_id, failed.span_id);
    assert_eq!(errors[0].attributes["exception.message"], "no connection");
    assert_eq!(counted(&capture, "messaging.process.duration"), 3);
}

#[tokio::test(flavor = "current_thread")]
async fn a_job_that_panics_ends_its_span_with_an_error_and_the_worker_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jobs.db");
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let producer = Producer::new(capture.sdk(), "mails");
    let mut mails = side(&file).await;
    for mail in ["to carol", "to dan"] {
        mails.push_traced(&producer, mail.to_owned()).await.unwrap();
    }
    work(
        &file,
        "postman",
        ConsumerLayer::new(capture.sdk()),
        |call, worker| match call {
            1 => panic!("no such mailbox"),
            _ => stop(worker),
        },
    )
    .await;

    let spans = named(&capture.spans(), "process mails");
    assert_eq!(spans.len(), 2);
    let panicked = spans.iter().find(|span| span.status_code == 2).unwrap();
    assert_eq!(panicked.attributes["error.type"], "panic");
    assert_eq!(panicked.status_message, "no such mailbox");
    assert_eq!(
        panicked.events[0].attributes["exception.message"],
        "no such mailbox"
    );
    assert_eq!(spans.iter().filter(|span| span.status_code == 0).count(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_job_that_nobody_traced_begins_a_trace_and_a_linked_one_names_its_sender() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jobs.db");
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    side(&file).await.push("untraced".to_owned()).await.unwrap();
    work(
        &file,
        "postman",
        ConsumerLayer::new(capture.sdk()),
        |_, worker| stop(worker),
    )
    .await;
    assert_eq!(capture.span("process mails").parent_span_id, "");

    capture.clear();
    let producer = Producer::new(capture.sdk(), "mails");
    side(&file)
        .await
        .push_traced(&producer, "later".to_owned())
        .await
        .unwrap();
    work(
        &file,
        "postwoman",
        ConsumerLayer::new(capture.sdk()).linked(),
        |_, worker| stop(worker),
    )
    .await;
    let (send, process) = (capture.span("send mails"), capture.span("process mails"));
    assert_ne!(process.trace_id, send.trace_id);
    assert_eq!(
        (process.links.len(), process.links[0].span_id.as_str()),
        (1, send.span_id.as_str())
    );
}

/// Which spans of a job are recorded whose trace is forced by who queues it, where nothing else is recorded.
async fn forced(from_callers: bool) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jobs.db");
    let mut settings = Settings::default();
    settings.traces.sampler = Arc::new(AlwaysOff);
    settings.traces.force.from_callers = from_callers;
    let capture = Capture::with(settings, LayerOptions::default());
    let _subscriber = capture.set_default();
    let producer = Producer::new(capture.sdk(), "mails");
    let mut queue = side(&file).await;
    let push = queue.push_traced(&producer, "urgent".to_owned());
    push.in_context(Context::root().with_forced(true)).await.unwrap();
    let layer = ConsumerLayer::new(capture.sdk());
    work(&file, "postman", layer, |_, worker| stop(worker)).await;
    let spans = capture.spans().into_iter();
    spans
        .filter(|span| span.scope == "cupola-sdk/apalis")
        .map(|span| span.name)
        .collect()
}

#[tokio::test(flavor = "current_thread")]
async fn who_queues_a_job_may_force_its_trace_if_the_settings_believe_callers() {
    assert_eq!(forced(true).await, ["send mails", "process mails"]);
    assert_eq!(forced(false).await, ["send mails"]);
}
