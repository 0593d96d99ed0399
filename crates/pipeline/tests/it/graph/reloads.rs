//! Changing what runs: only what changed restarts, nothing in flight is lost, and a plan that cannot be is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cupola_export::SendError;
use cupola_pipeline::graph::{Pipelines, ReloadError};

use super::bench_components::{Bench, bodies, context, logs};

fn configuration(exporter: &str, processor: &str) -> String {
    format!(
        "receivers: {{push: , push/2: }}\nprocessors: {{batch: {{timeout: 1ms}}, filter: {processor}}}\n\
         exporters: {{keep: {exporter}, keep/2: {{label: second}}}}\n\
         service:\n  pipelines:\n    logs: {{receivers: [push], processors: [batch, filter], exporters: [keep, keep/2]}}\n    \
         logs/2: {{receivers: [push/2], exporters: [keep/2]}}\n"
    )
}

const NOISE: &str = "{logs: {log_record: ['body == \"noise\"']}}";

#[tokio::test]
async fn only_what_changed_is_made_anew() {
    let bench = Bench::default();
    let pipelines = Pipelines::start(bench.plan(&configuration("{label: a}", NOISE)), context())
        .await
        .unwrap();
    bench.push("push", logs(&["1"])).await.unwrap();
    let same = pipelines
        .reload(bench.plan(&configuration("{ label: a }", NOISE)))
        .await
        .unwrap();
    assert!(same.made.is_empty() && same.ended.is_empty(), "{same:?}");
    let changed = pipelines
        .reload(bench.plan(&configuration("{label: b}", NOISE)))
        .await
        .unwrap();
    assert_eq!(changed.made, ["exporters.keep"]);
    assert_eq!(changed.kept, 5);
    bench.push("push", logs(&["2", "noise"])).await.unwrap();
    assert_eq!(
        (bodies(&bench.arrived("a")), bodies(&bench.arrived("b"))),
        (vec!["1".into()], vec!["2".into()])
    );
    let filter = pipelines
        .reload(bench.plan(&configuration("{label: b}", "{}")))
        .await
        .unwrap();
    assert_eq!(filter.made, ["processors.filter of logs"]);
    bench.push("push", logs(&["noise"])).await.unwrap();
    assert_eq!(bodies(&bench.arrived("b")), ["2", "noise"]);
    pipelines.shutdown().await;
}

#[tokio::test]
async fn pipelines_and_components_come_and_go() {
    let bench = Bench::default();
    let one = "receivers: {push: }\nexporters: {keep: }\nservice: {pipelines: {logs: {receivers: [push], exporters: [keep]}}}\n";
    let pipelines = Pipelines::start(bench.plan(one), context()).await.unwrap();
    let two = configuration("{}", NOISE);
    let change = pipelines.reload(bench.plan(&two)).await.unwrap();
    assert!(
        change.ended.is_empty() && change.made.contains(&"receivers.push/2".to_owned()),
        "{change:?}"
    );
    bench.push("push", logs(&["a"])).await.unwrap();
    bench.push("push/2", logs(&["b"])).await.unwrap();
    assert_eq!(bodies(&bench.arrived("second")), ["a", "b"]);
    let change = pipelines.reload(bench.plan(one)).await.unwrap();
    assert!(
        change.ended.contains(&"exporters.keep/2".to_owned()),
        "{change:?}"
    );
    bench.push("push", logs(&["c"])).await.unwrap();
    assert_eq!(bodies(&bench.arrived("keep")), ["a", "c"]);
    assert_eq!(bodies(&bench.arrived("second")), ["a", "b"]);
    pipelines.shutdown().await;
}

#[tokio::test]
async fn a_plan_that_cannot_start_leaves_the_running_one_in_charge() {
    let bench = Bench::default();
    let good = configuration("{label: a}", NOISE);
    let pipelines = Pipelines::start(bench.plan(&good), context()).await.unwrap();
    let broken = configuration("{label: b, broken: true}", "{}");
    let error = pipelines.reload(bench.plan(&broken)).await.unwrap_err();
    assert!(matches!(error, ReloadError::Refused(_)), "{error:?}");
    bench.push("push", logs(&["1", "noise"])).await.unwrap();
    assert_eq!(bodies(&bench.arrived("a")), ["1"], "with the filter it had");
    let receiver = good.replace("{push: ,", "{push: {broken: true},");
    assert!(pipelines.reload(bench.plan(&receiver)).await.is_err());
    bench.push("push", logs(&["2"])).await.unwrap();
    assert_eq!(bodies(&bench.arrived("a")), ["1", "2"]);
    pipelines.shutdown().await;
}

/// Many senders push while the configuration changes all the time: each batch that was acknowledged arrives once at each
/// of the destinations that one configuration has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_everything_changes() {
    let bench = Bench::default();
    let variant = |index: usize| {
        configuration(
            ["{label: a}", "{label: a, refuse: false}"][index % 2],
            [NOISE, "{}"][index / 2 % 2],
        )
    };
    let pipelines = Arc::new(
        Pipelines::start(bench.plan(&variant(0)), context())
            .await
            .unwrap(),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = Vec::new();
    for sender in 0..8 {
        let (bench, stop) = (bench.clone(), stop.clone());
        senders.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let body = format!("{sender}-{number}");
                loop {
                    match bench.push("push", logs(&[&body])).await {
                        Ok(_) => break,
                        Err(SendError::Retryable { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
                acknowledged.push(body);
            }
            acknowledged
        }));
    }
    for index in 1..40 {
        pipelines.reload(bench.plan(&variant(index))).await.unwrap();
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(sender.await.unwrap());
    }
    pipelines.shutdown().await;
    assert!(
        acknowledged.len() > 40,
        "senders got through: {}",
        acknowledged.len()
    );
    acknowledged.sort();
    for label in ["a", "second"] {
        let mut arrived = bodies(&bench.arrived(label));
        arrived.sort();
        let before = arrived.len();
        arrived.dedup();
        assert_eq!(arrived, acknowledged, "{label}");
        assert_eq!(before, arrived.len(), "{label}: none twice");
    }
}

/// What is on its way into something that stays and does not answer: the change is given up, and nothing is broken.
#[tokio::test(start_paused = true)]
async fn a_change_that_would_wait_for_ever_is_given_up() {
    let bench = Bench::default();
    let text = |filter: &str| {
        format!(
            "receivers: {{push: }}\nprocessors: {{filter: {filter}}}\nexporters: {{keep: {{hang: true}}}}\n\
             service: {{pipelines: {{logs: {{receivers: [push], processors: [filter], exporters: [keep]}}}}}}\n"
        )
    };
    let pipelines = Pipelines::start(bench.plan(&text(NOISE)), context())
        .await
        .unwrap();
    let stuck = tokio::spawn({
        let bench = bench.clone();
        async move { bench.push("push", logs(&["a"])).await }
    });
    tokio::task::yield_now().await;
    let error = pipelines.reload(bench.plan(&text("{}"))).await.unwrap_err();
    assert!(matches!(error, ReloadError::Busy), "{error:?}");
    bench.let_go();
    assert!(stuck.await.unwrap().is_ok());
    bench.push("push", logs(&["noise", "b"])).await.unwrap();
    assert_eq!(
        bodies(&bench.arrived("keep")),
        ["a", "b"],
        "with the filter it had"
    );
    pipelines.reload(bench.plan(&text("{}"))).await.unwrap();
    pipelines.shutdown().await;
    let after = pipelines.reload(bench.plan(&text(NOISE))).await.unwrap_err();
    assert!(matches!(after, ReloadError::Ended), "{after:?}");
}
