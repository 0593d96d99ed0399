//! What an exporter says in the log.

use super::*;

/// The exporter of this test: all tests of the process log to [`Lines`].
const NAME: &str = "heard";

/// Remembers what is logged of [`NAME`]. It stands for the whole process: whether an event is wanted is remembered for
/// each place in the code, and asked of whichever thread comes by first.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                line.push_str(&format!(" {}={value:?}", field.name()));
            },
        );
        if line.contains(&format!("exporter={NAME:?}")) {
            self.0.lock().push(line);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn failing_and_recovering_are_said_once_each() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let sink = Arc::new(Told::default());
    let exporter = start_named(NAME, &sink, DeliveryConfig::default(), None).await;
    for _ in 0..2 {
        sink.behave(down());
        for number in 0..30 {
            exporter.send(batch(number)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        sink.behave(Behaviour::Takes);
        until(|| exporter.queued().requests == 0).await;
    }
    let lines = lines.0.lock().clone();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for pair in lines.chunks(2) {
        for part in [
            "WARN",
            "message=exporter failing",
            "reason=\"down\"",
            "waiting_items=60",
        ] {
            assert!(pair[0].contains(part), "{part}: {pair:?}");
        }
        for part in [
            "INFO",
            "message=exporter recovered",
            "seconds=10",
            "waiting_items=60",
        ] {
            assert!(pair[1].contains(part), "{part}: {pair:?}");
        }
    }
}
