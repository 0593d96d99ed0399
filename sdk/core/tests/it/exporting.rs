//! From recorders to backends: flushes, ends, changes of settings, dead backends, forks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cupola_config::units::ByteSize;
use cupola_export::queue::{Sizer, WhenFull};
use cupola_sdk_core::context::TraceFlags;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::pending::PendingSettings;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::sampling::TraceIdRatio;
use cupola_sdk_core::settings::SpoolSettings;
use cupola_sdk_core::span::Status;
use cupola_sdk_core::tail::TailSettings;
use cupola_sdk_core::tracer::Start;
use cupola_sdk_core::{Settings, SpanContext};
use cupola_telemetry::{Batch, Signal, SpanId, TraceId};

use crate::forked::in_child;
use crate::kept::{Gated, Kept, LONG, say, sdk};

#[test]
fn what_was_recorded_before_a_flush_has_arrived_after_it() {
    let kept = Arc::new(Kept::default());
    let sdk = sdk(kept.settings());
    assert!(
        sdk.flush(LONG),
        "nothing was recorded: there is nothing to wait for"
    );
    assert!(sdk.health().is_empty(), "no thread before the first record");
    for n in 0..1_000 {
        assert!(say(&sdk, &n.to_string()));
    }
    let tracer = sdk.tracer(Scope::of("shop", "1", "", &[]));
    tracer.end(tracer.start(Start::new("checkout")).recording.unwrap());
    assert!(sdk.flush(LONG));
    let wanted: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    assert_eq!(kept.logs(), wanted);
    let spans: usize = kept
        .batches()
        .iter()
        .filter(|batch| batch.signal() == Signal::Traces)
        .map(Batch::items)
        .sum();
    assert_eq!(spans, 1);
    let health = sdk.health();
    assert_eq!(health.len(), 1);
    assert_eq!(health[0].name, "kept");
    assert!(sdk.shutdown(LONG));
}

#[test]
fn records_are_exported_by_themselves_when_their_time_has_come() {
    let kept = Arc::new(Kept::default());
    let mut settings = kept.settings();
    settings.logs.queue.delay = Duration::from_millis(1);
    let sdk = sdk(settings);
    assert!(say(&sdk, "soon"));
    kept.wait(|_, batches| !batches.is_empty());
    assert_eq!(kept.logs(), ["soon"]);
    assert!(say(&sdk, "and again"));
    kept.wait(|_, batches| batches.len() == 2);
}

#[test]
fn an_end_with_a_dead_backend_takes_as_long_as_it_may_and_no_longer() {
    let kept = Arc::new(Kept::default());
    kept.refuses.store(true, Ordering::SeqCst);
    let sdk = sdk(kept.settings());
    assert!(say(&sdk, "for nobody"));
    let begun = Instant::now();
    assert!(
        !sdk.flush(Duration::from_millis(100)),
        "it has not been delivered"
    );
    assert!(!sdk.shutdown(Duration::from_millis(300)));
    // The bound is what was asked for and half a second; a busy machine may take longer to wake anybody.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(kept.refused.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_backend_that_works_again_gets_everything_in_the_order_of_its_thread() {
    let kept = Arc::new(Kept::default());
    kept.refuses.store(true, Ordering::SeqCst);
    let sdk = sdk(kept.settings());
    for n in 0..100 {
        assert!(say(&sdk, &n.to_string()));
        if n % 10 == 9 {
            sdk.flush(Duration::ZERO);
        }
    }
    kept.wait(|kept, _| kept.refused.load(Ordering::SeqCst) > 2);
    kept.refuses.store(false, Ordering::SeqCst);
    assert!(sdk.flush(LONG));
    let arrived: BTreeSet<String> = kept.logs().into_iter().collect();
    assert_eq!(kept.logs().len(), 100, "each once");
    assert_eq!(arrived.len(), 100);
    sdk.shutdown(LONG);
}

#[test]
fn what_is_recorded_while_settings_change_arrives_once_at_one_of_the_backends() {
    let (before, after) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
    let sdk = sdk(before.settings());
    let is_done = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            let (sdk, is_done) = (sdk.clone(), is_done.clone());
            std::thread::spawn(move || {
                let mut count = 0;
                while !is_done.load(Ordering::Relaxed) || count < 1_000 {
                    assert!(say(&sdk, &format!("{thread} {count}")));
                    count += 1;
                    if count % 64 == 0 {
                        std::thread::yield_now();
                    }
                    if count == 20_000 {
                        break;
                    }
                }
                count
            })
        })
        .collect();
    for _ in 0..5 {
        assert_eq!(sdk.apply(after.settings(), LONG), Vec::<String>::new());
        assert_eq!(sdk.apply(before.settings(), LONG), Vec::<String>::new());
    }
    is_done.store(true, Ordering::Relaxed);
    let recorded: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(sdk.shutdown(LONG));
    let mut arrived = before.logs();
    arrived.extend(after.logs());
    assert_eq!(arrived.len(), recorded);
    let different: BTreeSet<String> = arrived.into_iter().collect();
    assert_eq!(different.len(), recorded, "none twice");
}

#[test]
fn a_level_that_is_set_while_it_runs_counts_at_once() {
    let kept = Arc::new(Kept::default());
    let sdk = sdk(kept.settings());
    let logger = sdk.logger(Scope::nameless());
    assert!(logger.is_enabled(Severity::DEBUG));
    let mut settings = kept.settings();
    settings.logs.level = Severity::WARN;
    sdk.apply(settings, LONG);
    assert!(!logger.is_enabled(Severity::INFO) && logger.is_enabled(Severity::WARN));
    let disabled = Settings {
        is_disabled: true,
        ..kept.settings()
    };
    sdk.apply(disabled, LONG);
    assert!(!say(&sdk, "nobody listens"));
    let tracer = sdk.tracer(Scope::nameless());
    let parent = SpanContext {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        flags: TraceFlags::SAMPLED,
        ..SpanContext::default()
    };
    let mut start = Start::new("not recorded");
    start.parent = &parent;
    let started = tracer.start(start);
    assert!(started.recording.is_none());
    assert_eq!(started.context, parent, "who comes next goes on from the parent");
    assert!(sdk.shutdown(LONG));
    assert!(kept.logs().is_empty());
}

#[test]
fn parent_and_child_of_a_fork_each_export_their_own_once() {
    let kept = Arc::new(Kept::default());
    let sdk = sdk(kept.settings());
    assert!(say(&sdk, "before"));
    assert!(sdk.flush(LONG), "the thread runs");
    assert!(say(&sdk, "of the parent, not exported yet"));
    let said = in_child(|| {
        for n in 0..3 {
            assert!(say(&sdk, &format!("child {n}")));
        }
        let flushed = sdk.flush(LONG);
        let ended = sdk.shutdown(LONG);
        // This process has its own copy of what had arrived before it was made.
        format!("{flushed} {ended} {}", kept.logs()[1..].join(","))
    });
    assert_eq!(said, "true true child 0,child 1,child 2");
    assert!(sdk.shutdown(LONG));
    assert_eq!(kept.logs(), ["before", "of the parent, not exported yet"]);
}

#[test]
fn of_traces_that_are_decided_upon_at_their_end_those_that_failed_arrive_and_the_others_do_not() {
    let kept = Arc::new(Kept::default());
    let mut settings = kept.settings();
    settings.traces.queue.delay = Duration::from_millis(1);
    settings.traces.tail = Some(TailSettings {
        linger: Duration::from_millis(1),
        ratio: TraceIdRatio::new(0.0).unwrap(),
        ..TailSettings::default()
    });
    let sdk = sdk(settings);
    let tracer = sdk.tracer(Scope::nameless());
    for n in 0..20 {
        let root = tracer.start(Start::new(format!("root {n}")));
        let mut child = tracer
            .start(Start {
                parent: &root.context,
                ..Start::new("child")
            })
            .recording
            .unwrap();
        if n % 10 == 0 {
            child.set_status(Status::Error {
                description: "broken".to_owned(),
            });
        }
        tracer.end(child);
        tracer.end(root.recording.unwrap());
    }
    let spans = |batches: &[Batch]| -> usize {
        let traces = batches.iter().filter(|batch| batch.signal() == Signal::Traces);
        traces.map(Batch::items).sum()
    };
    kept.wait(|_, batches| spans(batches) >= 4);
    assert!(sdk.shutdown(LONG));
    assert_eq!(spans(&kept.batches()), 4, "two roots and their children");
}

#[test]
fn a_span_that_runs_for_long_is_told_before_anything_has_ended() {
    let kept = Arc::new(Kept::default());
    let mut settings = kept.settings();
    settings.traces.pending = Some(PendingSettings {
        after: Duration::from_millis(1),
        ..PendingSettings::default()
    });
    let sdk = sdk(settings);
    let tracer = sdk.tracer(Scope::nameless());
    let running = tracer.start(Start::new("import"));
    kept.wait(|_, batches| batches.iter().any(|batch| batch.signal() == Signal::Logs));
    tracer.end(running.recording.unwrap());
    assert!(sdk.shutdown(LONG));
    let batches = kept.batches();
    let logs = batches
        .iter()
        .find(|batch| batch.signal() == Signal::Logs)
        .unwrap();
    let resource = logs.logs().resources().next().unwrap();
    let record = resource.scopes().next().unwrap().records().next().unwrap();
    assert_eq!(record.event_name, "cupola.span.pending");
    assert_eq!(record.span_id, running.context.span_id.as_bytes());
}

#[test]
fn an_end_is_an_end_whenever_it_comes_and_however_often() {
    let kept = Arc::new(Kept::default());
    let nothing = sdk(kept.settings());
    assert!(nothing.shutdown(LONG));
    assert!(say(&nothing, "too late"));
    assert!(
        nothing.flush(LONG) && nothing.health().is_empty(),
        "it starts nothing"
    );

    let twice = sdk(kept.settings());
    assert!(say(&twice, "in time"));
    assert!(twice.shutdown(LONG) && twice.shutdown(LONG));
    assert_eq!(kept.logs(), ["in time"]);
}

#[test]
fn a_flush_waits_for_what_was_before_it_and_for_nothing_that_comes_later() {
    let directory = tempfile::tempdir().unwrap();
    let on_disk = SpoolSettings {
        directory: directory.path().to_owned(),
        bytes_max: 64 << 20,
    };
    for spool in [None, Some(on_disk)] {
        let gated = Arc::new(Gated::default());
        let mut settings = Settings {
            backends: vec![gated.backend()],
            self_metrics: false,
            spool,
            ..Arc::new(Kept::default()).settings()
        };
        settings.logs.queue.delay = Duration::from_millis(1);
        let sdk = sdk(settings);
        assert!(say(&sdk, "before"));
        gated.wait_for(1);
        let queued = || sdk.health()[0].queued_batches;
        let mut flush = None;
        let (mut later, begun) = (0, Instant::now());
        while flush
            .as_ref()
            .is_none_or(|flush: &JoinHandle<bool>| !flush.is_finished())
        {
            assert!(begun.elapsed() < LONG, "it waits for what comes later");
            // There are always several that wait: one is taken when there is one more.
            if gated.is_waiting() && queued() > 4 {
                let flushing = sdk.clone();
                flush.get_or_insert_with(|| std::thread::spawn(move || flushing.flush(LONG)));
                gated.take(1);
            }
            later += 1;
            assert!(say(&sdk, &format!("later {later}")));
        }
        assert!(flush.unwrap().join().unwrap());
        assert_eq!(gated.logs().first().map(String::as_str), Some("before"));
        assert!(queued() > 1);
        gated.take(usize::MAX / 2);
        assert!(sdk.shutdown(LONG));
    }
}

#[test]
fn an_end_delivers_what_a_full_queue_had_no_room_for() {
    let kept = Arc::new(Kept::default());
    kept.refuses.store(true, Ordering::SeqCst);
    let mut settings = kept.settings();
    let queue = &mut settings.backends[0].delivery.sending_queue;
    (queue.sizer, queue.queue_size, queue.when_full) = (Sizer::Requests, ByteSize(1), WhenFull::Refuse);
    settings.self_metrics = false;
    let sdk = sdk(settings);
    for n in 0..20 {
        assert!(say(&sdk, &n.to_string()));
        // Each is a batch of its own, of which the queue takes one.
        sdk.flush(Duration::ZERO);
    }
    kept.wait(|kept, _| kept.refused.load(Ordering::SeqCst) > 2);
    kept.refuses.store(false, Ordering::SeqCst);
    assert!(sdk.shutdown(LONG), "{:?}", kept.logs());
    let arrived: BTreeSet<String> = kept.logs().into_iter().collect();
    assert_eq!((kept.logs().len(), arrived.len()), (20, 20), "each once");
}
