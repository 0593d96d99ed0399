//! Time, number, size, memory: what happens at each bound, and what a sender is told.

use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Accepted, Component, SendError, Sink};
use cupola_telemetry::memory::MemoryBudget;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{A_WHILE, Running, keeping, span_names, spans, start, start_within};
use crate::processors::with_held_clock;

const EARLY: &str = "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early";
const LATE: &str = "otelcol_processor_tail_sampling_early_releases_from_cache_decision";

#[test]
fn a_trace_waits_for_its_time_and_late_spans_follow_it() {
    with_held_clock(async {
        let running = start(json!({ "policies": keeping() }));
        running.send(spans(&[1, 2], "a", true)).await;
        sleep(Duration::from_secs(20)).await;
        running.send(spans(&[1], "keep", false)).await;
        assert_eq!(running.names(), Vec::<String>::new());
        assert_eq!(running.sampling.held(), 2);
        sleep(Duration::from_secs(12)).await;
        assert_eq!(running.names(), ["a1", "keep1"]);
        assert_eq!((running.sampling.held(), running.memory.used() < 1000), (0, true));
        running.send(spans(&[1, 2], "late", false)).await;
        assert_eq!(running.names(), ["late1"]);
        assert_eq!(running.count(LATE, &[("sampled", "true")]), 1);
        assert_eq!(running.count(LATE, &[("sampled", "false")]), 1);
        assert_eq!(
            running.count("otelcol_processor_tail_sampling_new_trace_id_received", &[]),
            2
        );
        let global = "otelcol_processor_tail_sampling_global_count_traces_sampled";
        assert_eq!(running.count(global, &[("sampled", "true")]), 1);
        let policy = "otelcol_processor_tail_sampling_count_traces_sampled";
        assert_eq!(
            running.count(policy, &[("policy", "keep"), ("decision", "not_sampled")]),
            1
        );
        // A late span that the next sink refuses is the sender's still, and so is what came with it.
        running.sink.answer(Err(SendError::retryable("full")));
        let answer = running.sampling.send(spans(&[1, 9], "keep", false)).await;
        assert_eq!(answer, Err(SendError::retryable("full")));
        assert_eq!(running.sampling.held(), 0);
    });
}

#[test]
fn a_root_brings_the_decision_forward() {
    with_held_clock(async {
        let running = start(json!({ "decision_wait_after_root_received": "5s", "policies": keeping() }));
        running.send(spans(&[1, 2], "keep", false)).await;
        running.send(spans(&[1], "root", true)).await;
        sleep(Duration::from_secs(7)).await;
        assert_eq!(running.names(), ["keep1", "root1"]);
        sleep(A_WHILE).await;
        assert_eq!(running.names(), ["keep2"]);
    });
}

#[test]
fn the_oldest_traces_make_room_for_new_ones() {
    with_held_clock(async {
        let running = start(json!({ "num_traces": 2, "policies": keeping() }));
        running.send(spans(&[1], "keep", false)).await;
        running.send(spans(&[2], "other", false)).await;
        running.send(spans(&[3], "keep", false)).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(running.names(), ["keep1"]);
        assert_eq!((running.sampling.held(), running.count(EARLY, &[])), (2, 1));
        // Without a configured cache, as many decisions are known as traces are held.
        running.send(spans(&[1], "late", false)).await;
        assert_eq!(running.names(), ["late1"]);
        let blocking = start(json!({ "num_traces": 1, "block_on_overflow": true, "policies": keeping() }));
        blocking.send(spans(&[1], "keep", false)).await;
        let answer = blocking.sampling.send(spans(&[2], "keep", false)).await;
        assert!(answer.unwrap_err().is_retryable());
        blocking.send(spans(&[1], "more", false)).await;
    });
}

#[test]
fn a_large_trace_is_decided_at_once() {
    with_held_clock(async {
        let one = spans(&[1], "keep", false).payload().len();
        let running = start(json!({ "maximum_trace_size_bytes": one + 1, "policies": keeping() }));
        running.send(spans(&[1], "keep", false)).await;
        running.send(spans(&[2], "no", false)).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(running.names(), Vec::<String>::new());
        running.send(spans(&[1], "big", false)).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(running.names(), ["big1", "keep1"]);
        running.send(spans(&[1], "after", false)).await;
        assert_eq!(running.names(), ["after1"]);
        assert_eq!(running.sampling.held(), 1);
        assert_eq!(
            running.count("otelcol_processor_tail_sampling_traces_dropped_too_large", &[]),
            1
        );
    });
}

#[test]
fn memory_is_never_exceeded_and_nothing_is_lost_for_it() {
    with_held_clock(async {
        let budget = MemoryBudget::new(16 * 1024);
        let running = start_within(json!({ "policies": keeping() }), budget.clone());
        let gate = Arc::new(Notify::new());
        *running.sink.gate.lock() = Some(gate.clone());
        let (mut taken, mut refused) = (Vec::new(), 0);
        for trace in 1..=200 {
            match running.sampling.send(spans(&[trace], "keep", false)).await {
                Ok(_) => taken.push(format!("keep{trace}")),
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    refused += 1;
                }
            }
            tokio::task::yield_now().await;
        }
        assert!(refused > 0 && running.count(EARLY, &[]) > 0);
        // What is remembered of decisions, and the copy that is being delivered, come on top.
        assert!(budget.peak() < 64 * 1024, "{}", budget.peak());
        *running.sink.gate.lock() = None;
        for _ in 0..16 {
            gate.notify_waiters();
            sleep(Duration::from_secs(10)).await;
        }
        taken.sort();
        assert_eq!(running.names(), taken);
        // Larger than all of it: never.
        let tiny = start_within(json!({ "policies": keeping() }), MemoryBudget::new(64));
        let answer = tiny.sampling.send(spans(&[1], "keep", false)).await;
        assert!(!answer.unwrap_err().is_retryable());
    });
}

#[test]
fn a_destination_that_is_away_gets_everything_later() {
    with_held_clock(async {
        let running = start(json!({ "policies": keeping() }));
        for _ in 0..5 {
            running.sink.answer(Err(SendError::retryable("away")));
        }
        running.send(spans(&[1], "keep", false)).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(running.names(), ["keep1"]);
        running.sink.answer(Err(SendError::permanent("no")));
        running.send(spans(&[2], "keep", false)).await;
        sleep(A_WHILE).await;
        assert_eq!(
            running.count("otelcol_processor_tail_sampling_failed_spans", &[]),
            1
        );
    });
}

#[test]
fn a_sender_that_waits_hears_what_became_of_its_traces() {
    with_held_clock(async {
        let running = start(json!({ "acknowledge": "decided", "policies": keeping() }));
        let began = tokio::time::Instant::now();
        let kept = running.sampling.send(spans(&[1, 2], "keep", false));
        let gone = running.sampling.send(spans(&[3], "no", false));
        let (kept, gone) = tokio::join!(kept, gone);
        assert!(began.elapsed() >= Duration::from_secs(30));
        assert_eq!((kept, gone), (Ok(Accepted::all()), Ok(Accepted::all())));
        assert_eq!(running.names(), ["keep1", "keep2"]);
        running.sink.answer(Err(SendError::retryable("away")));
        let answer = running.sampling.send(spans(&[4], "keep", false)).await;
        assert_eq!(answer, Err(SendError::retryable("away")));
        // Sent again, it follows its decision.
        running.send(spans(&[4], "keep", false)).await;
        assert_eq!(running.names(), ["keep4"]);
    });
}

async fn with_some_held(config: serde_json::Value) -> Running {
    let running = start(config);
    running.send(spans(&[1], "keep", false)).await;
    running.send(spans(&[2], "no", false)).await;
    running.sampling.shutdown().await;
    running
}

#[test]
fn a_shutdown_decides_everything() {
    with_held_clock(async {
        let running = with_some_held(json!({ "policies": keeping() })).await;
        assert_eq!(
            running
                .sink
                .batches()
                .iter()
                .flat_map(span_names)
                .collect::<Vec<_>>(),
            ["keep1"]
        );
        let answer = running.sampling.send(spans(&[3], "keep", false)).await;
        assert!(answer.unwrap_err().is_retryable());
        let dropping =
            with_some_held(json!({ "drop_pending_traces_on_shutdown": true, "policies": keeping() })).await;
        assert_eq!(dropping.names(), Vec::<String>::new());
        let dropped = "otelcol_processor_tail_sampling_dropped_at_shutdown_spans";
        assert_eq!(dropping.count(dropped, &[]), 2);
    });
}
