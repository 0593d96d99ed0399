//! Batches flow as the configuration says, and their senders hear the answer of the last component.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_export::Outlook;
use cupola_pipeline::graph::Pipelines;
use cupola_pipeline::graph::context::{Context, MemoryProbe};
use cupola_telemetry::Signal;

use super::bench_components::{Bench, bodies, context, logs, span};

#[tokio::test]
async fn batches_flow_through_processors_to_every_exporter() {
    let bench = Bench::default();
    let plan = bench.plan(
        "receivers: {push: }
processors:
  filter: {logs: {log_record: ['body == \"noise\"']}}
  transform: {log_statements: ['set(log.attributes[\"seen\"], true)']}
exporters: {keep/a: , keep/b: }
service:
  pipelines:
    logs: {receivers: [push], processors: [filter, transform], exporters: [keep/a, keep/b]}
    traces: {receivers: [push], exporters: [keep/b]}
",
    );
    let pipelines = Pipelines::start(plan, context()).await.unwrap();
    bench.push("push", logs(&["a", "noise", "b"])).await.unwrap();
    bench.push("push", span("s")).await.unwrap();
    for label in ["keep/a", "keep/b"] {
        let arrived = bench.arrived(label);
        let of_logs: Vec<_> = arrived
            .iter()
            .filter(|batch| batch.signal() == Signal::Logs)
            .cloned()
            .collect();
        assert_eq!(bodies(&of_logs), ["a", "b"], "{label}");
        let record = of_logs[0]
            .logs()
            .resources()
            .next()
            .unwrap()
            .scopes()
            .next()
            .unwrap()
            .records()
            .next()
            .unwrap();
        assert!(record.attributes.get("seen").is_some());
    }
    assert_eq!(bench.arrived("keep/a").len(), 1, "spans go to b only");
    let mut samples = Vec::new();
    pipelines.collect(&mut samples);
    let value = |name: &str, label: (&str, &str)| {
        let has = |sample: &&cupola_export::Sample| {
            sample.name == name
                && sample
                    .labels
                    .iter()
                    .any(|(key, value)| (*key, value.as_str()) == label)
        };
        samples
            .iter()
            .find(has)
            .unwrap_or_else(|| panic!("no {name}"))
            .value
    };
    assert_eq!(
        value("otelcol_processor_incoming_items", ("processor", "filter")),
        3.0
    );
    assert_eq!(
        value("otelcol_processor_outgoing_items", ("processor", "filter")),
        2.0
    );
    assert_eq!(
        value("otelcol_processor_filter_logs_filtered", ("processor", "filter")),
        1.0
    );
    pipelines.shutdown().await;
    assert_eq!(bench.ended()[0], "push", "receivers end first");
}

#[tokio::test]
async fn a_refusal_reaches_the_sender_and_a_signal_without_a_pipeline_is_named() {
    let bench = Bench::default();
    let plan = bench.plan(
        "receivers: {push: }\nexporters: {keep: {refuse: true}}\nservice: {pipelines: {logs: {receivers: [push], exporters: [keep]}}}\n",
    );
    let pipelines = Pipelines::start(plan, context()).await.unwrap();
    assert!(bench.push("push", logs(&["a"])).await.unwrap_err().is_retryable());
    let refusal = bench.push("push", span("s")).await.unwrap_err();
    assert!(
        !refusal.is_retryable() && refusal.reason().contains("no pipeline takes traces"),
        "{refusal}"
    );
    pipelines.shutdown().await;
}

/// So many mebibytes are taken.
struct Taken(AtomicU64);

impl MemoryProbe for Taken {
    fn resident(&self) -> u64 {
        self.0.load(Ordering::Relaxed) << 20
    }

    fn total(&self) -> u64 {
        1 << 30
    }
}

/// Refuses from 80 mebibytes on what is new, and from 100 on everything.
const LIMITER: &str = "{check_interval: 1ns, limit_mib: 100, spike_limit_mib: 20}";

#[tokio::test]
async fn a_receiver_hears_before_it_reads_what_a_limiter_of_one_of_its_pipelines_will_say() {
    let bench = Bench::default();
    let plan = bench.plan(&format!(
        "receivers: {{push: }}
processors: {{memory_limiter: {LIMITER}, filter: {{logs: {{log_record: ['body == \"noise\"']}}}}}}
exporters: {{keep: }}
connectors: {{forward: }}
service:
  pipelines:
    logs: {{receivers: [push], processors: [filter], exporters: [keep]}}
    logs/forward: {{receivers: [push], exporters: [forward]}}
    logs/limited: {{receivers: [forward], processors: [memory_limiter, filter], exporters: [keep]}}
    traces: {{receivers: [push], exporters: [keep]}}
"
    ));
    let taken = Arc::new(Taken(AtomicU64::new(90)));
    let surroundings = Context {
        memory: taken.clone(),
        ..context()
    };
    let pipelines = Pipelines::start(plan, surroundings).await.unwrap();
    let Outlook::Refused(refusal) = bench.outlook("push", Signal::Logs) else {
        panic!("memory is short");
    };
    assert!(refusal.is_retryable(), "{refusal}");
    assert_eq!(bench.push("push", logs(&["new"])).await, Err(refusal));
    let read = || logs(&["a"]).with_admission(true);
    bench.push("push", read()).await.unwrap();
    assert_eq!(
        bench.outlook("push", Signal::Traces),
        Outlook::Unknown,
        "no limiter is in the way of spans"
    );
    taken.0.store(100, Ordering::Relaxed);
    assert!(bench.push("push", read()).await.is_err());
    taken.0.store(50, Ordering::Relaxed);
    assert_eq!(bench.outlook("push", Signal::Logs), Outlook::Open);
    bench.push("push", logs(&["b"])).await.unwrap();
    pipelines.shutdown().await;
}

#[tokio::test]
async fn a_limiter_that_no_receiver_can_ask_lets_nothing_pass_from_its_first_limit_on() {
    let bench = Bench::default();
    let plan = bench.plan(&format!(
        "receivers: {{push: }}
processors: {{memory_limiter: {LIMITER}, filter: {{logs: {{log_record: ['body == \"noise\"']}}}}}}
exporters: {{keep: }}
service: {{pipelines: {{logs: {{receivers: [push], processors: [filter, memory_limiter], exporters: [keep]}}}}}}
"
    ));
    let surroundings = Context {
        memory: Arc::new(Taken(AtomicU64::new(90))),
        ..context()
    };
    let pipelines = Pipelines::start(plan, surroundings).await.unwrap();
    assert_eq!(bench.outlook("push", Signal::Logs), Outlook::Unknown);
    let read = logs(&["a"]).with_admission(true);
    assert!(bench.push("push", read).await.is_err());
    pipelines.shutdown().await;
}

#[tokio::test]
async fn connectors_join_pipelines() {
    let bench = Bench::default();
    let plan = bench.plan(
        "receivers: {push: }\nexporters: {keep: }\nconnectors: {join: }
service:
  pipelines:
    logs/in: {receivers: [push], exporters: [join]}
    logs/out: {receivers: [join], exporters: [keep]}
",
    );
    let pipelines = Pipelines::start(plan, context()).await.unwrap();
    bench.push("push", logs(&["a"])).await.unwrap();
    assert_eq!(bodies(&bench.arrived("keep")), ["a"]);
    pipelines.shutdown().await;
    assert_eq!(
        bench.ended(),
        ["push", "join", "keep"],
        "in the direction of the data"
    );
}

#[tokio::test]
async fn what_was_made_ends_if_something_cannot_be() {
    let bench = Bench::default();
    let plan = bench.plan(
        "receivers: {push: {broken: true}}\nexporters: {keep: }\nservice: {pipelines: {logs: {receivers: [push], exporters: [keep]}}}\n",
    );
    let error = Pipelines::start(plan, context()).await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "cannot start the receiver `push`");
    assert_eq!(
        (bench.made(), bench.ended()),
        (vec!["keep".to_owned()], vec!["keep".to_owned()])
    );
}

/// One destination is dead and its queue full: the other gets everything, and what the dead one misses is counted.
#[tokio::test]
async fn a_dead_destination_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::default();
    let dead = cupola_peers::free_port();
    let plan = bench.plan(&format!(
        "receivers: {{push: }}
exporters:
  keep:
  otlp:
    endpoint: '127.0.0.1:{dead}'
    tls: {{insecure: true}}
    sending_queue: {{queue_size: 2}}
    retry_on_failure: {{initial_interval: 1ms, max_interval: 5ms}}
service: {{pipelines: {{logs: {{receivers: [push], exporters: [otlp, keep]}}}}}}
"
    ));
    let context = cupola_pipeline::graph::Context::unbounded(directory.path());
    let pipelines = Pipelines::start(plan, context).await.unwrap();
    let value = |name: &str| {
        let mut samples = Vec::new();
        pipelines.collect(&mut samples);
        let found = samples.iter().find(|sample| sample.name == name);
        found.map(|sample| sample.value).unwrap()
    };
    for number in 0..2 {
        bench.push("push", logs(&[&number.to_string()])).await.unwrap();
    }
    let down = async {
        while value("cupola_exporter_up") > 0.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), down)
        .await
        .expect("it is found to be dead");
    for number in 2..10 {
        bench.push("push", logs(&[&number.to_string()])).await.unwrap();
    }
    assert_eq!(bodies(&bench.arrived("keep")).len(), 10);
    assert_eq!(value("cupola_exporter_queue_dropped_items"), 8.0);
}

#[tokio::test(start_paused = true)]
async fn what_nothing_comes_into_is_told() {
    let bench = Bench::default();
    let plan = bench.plan(
        "receivers: {push: }\nexporters: {keep: }\nconnectors: {join: }
service:
  pipelines:
    logs/in: {receivers: [push], exporters: [join]}
    logs/out: {receivers: [join], exporters: [keep]}
",
    );
    let pipelines = Pipelines::start(plan, context()).await.unwrap();
    let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
    tokio::time::advance(minutes(11)).await;
    assert_eq!(
        pipelines.silent(minutes(10)),
        ["the connector join has seen nothing since it was started, 11 minutes ago"]
    );
    bench.push("push", logs(&["a"])).await.unwrap();
    assert!(pipelines.silent(minutes(10)).is_empty());
    tokio::time::advance(minutes(12)).await;
    assert_eq!(
        pipelines.silent(minutes(10)),
        ["the connector join has seen nothing for 12 minutes"]
    );
}

#[tokio::test]
async fn what_runs_is_described_in_the_order_of_the_data_with_what_fails() {
    let bench = Bench::default();
    let plan = bench.plan(
        "receivers: {push: }
processors:
  filter: {logs: {log_record: ['body == \"noise\"']}}
exporters: {keep/a: , keep/bad: {refuse: true}}
connectors: {forward: }
service:
  pipelines:
    logs/in: {receivers: [push], processors: [filter], exporters: [forward]}
    logs/out: {receivers: [forward], exporters: [keep/a]}
    traces: {receivers: [push], exporters: [keep/bad]}
",
    );
    let pipelines = Pipelines::start(plan, context()).await.unwrap();
    bench.push("push", logs(&["a", "noise", "b"])).await.unwrap();
    bench.push("push", span("s")).await.unwrap_err();
    let described = pipelines.describe();
    let shown: Vec<String> = described
        .iter()
        .map(|pipeline| {
            let parts = pipeline.parts().map(|part| {
                let outgoing = part.outgoing.map(|outgoing| format!(">{outgoing}"));
                format!(
                    " {} {} {}{}",
                    part.role.as_str(),
                    part.id,
                    part.counts.incoming,
                    outgoing.unwrap_or_default()
                )
            });
            format!("{}:{}", pipeline.id, parts.collect::<Vec<_>>().join(","))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "logs/in: receiver push 3, processor filter 3>2, connector forward 2",
            "logs/out: connector forward 0, exporter keep/a 2",
            "traces: receiver push 0, exporter keep/bad 1",
        ]
    );
    let bad = &described[2].exporters[0];
    assert_eq!(bad.counts.refused, 1);
    let failing = bad.condition.failing.clone().unwrap();
    assert!(failing.reason.contains("not now") && failing.recoverable && failing.since.is_some());
    assert!(
        described[0]
            .parts()
            .all(|part| part.condition.failing.is_none() && !part.missing)
    );
    pipelines.shutdown().await;
}
