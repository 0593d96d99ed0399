//! From the settings of a destination to what sends to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cupola_export::debug::DebugSink;
use cupola_export::elasticsearch::ElasticsearchSink;
use cupola_export::file::FileSink;
use cupola_export::json_lines::JsonLinesSink;
use cupola_export::otlp::OtlpSink;
use cupola_export::{Accepted, Component, SendError, Sink};
use cupola_telemetry::Batch;
use tokio::sync::oneshot;

use super::{BackendError, Custom, CustomError, Destination};

impl Destination {
    /// What sends to it, alone: without queue and retries. Opens files; connects to nothing yet.
    pub(crate) fn build(&self, name: &str) -> Result<Arc<dyn Component>, BackendError> {
        Ok(match self {
            Destination::Otlp(config) => Arc::new(OtlpSink::new(config.clone()).map_err(BackendError::of)?),
            Destination::JsonLines(config) => {
                Arc::new(JsonLinesSink::new(config.clone()).map_err(BackendError::of)?)
            }
            Destination::File(config) => Arc::new(FileSink::new(config.clone()).map_err(BackendError::of)?),
            Destination::Elasticsearch(config) => {
                Arc::new(ElasticsearchSink::new((**config).clone()).map_err(BackendError::of)?)
            }
            #[cfg(feature = "postgres")]
            Destination::Postgres(config) => {
                let sink = cupola_export::postgres::PostgresSink::new((**config).clone());
                Arc::new(sink.map_err(BackendError::of)?)
            }
            #[cfg(feature = "kafka")]
            Destination::Kafka(config) => {
                let sink = cupola_export::kafka::KafkaSink::new((**config).clone());
                Arc::new(sink.map_err(BackendError::of)?)
            }
            Destination::Console(config) => Arc::new(DebugSink::with_writer(
                config.clone(),
                Box::new(std::io::stdout()),
            )),
            Destination::Custom(custom) => Arc::new(CustomSink::start(name, custom.clone())?),
        })
    }
}

/// A custom backend on a thread of its own, which may wait.
struct CustomSink {
    /// `None` once closed.
    calls: Mutex<Option<Sender<Call>>>,
}

enum Call {
    Export(Batch, oneshot::Sender<Result<(), CustomError>>),
    Close(oneshot::Sender<()>),
}

impl CustomSink {
    fn start(name: &str, custom: Custom) -> Result<CustomSink, BackendError> {
        let (calls, called) = channel();
        std::thread::Builder::new()
            .name(format!("cupola-{name}"))
            .spawn(move || serve(&custom, &called))
            .map_err(BackendError::of)?;
        Ok(CustomSink {
            calls: Mutex::new(Some(calls)),
        })
    }

    fn call(&self, call: Call) -> bool {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.as_ref().is_some_and(|calls| calls.send(call).is_ok())
    }
}

/// Answers calls until the sink is gone.
fn serve(custom: &Custom, called: &Receiver<Call>) {
    while let Ok(call) = called.recv() {
        match call {
            Call::Export(batch, answer) => {
                let answered = catch_unwind(AssertUnwindSafe(|| custom.0.export(&batch)));
                let panicked = || Err(CustomError::GiveUp("the backend panicked".to_owned()));
                let _ = answer.send(answered.unwrap_or_else(|_| panicked()));
            }
            Call::Close(answer) => {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let flushed = custom.0.flush();
                    custom.0.close();
                    flushed
                }));
                let _ = answer.send(());
                return;
            }
        }
    }
}

#[async_trait]
impl Sink for CustomSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let (answer, answered) = oneshot::channel();
        if !self.call(Call::Export(batch, answer)) {
            return Err(SendError::retryable("the backend has been closed"));
        }
        match answered.await {
            Ok(Ok(())) => Ok(Accepted::all()),
            Ok(Err(CustomError::Again(reason))) => Err(SendError::retryable(reason)),
            Ok(Err(CustomError::GiveUp(reason))) => Err(SendError::permanent(reason)),
            Err(_) => Err(SendError::retryable("the backend has been closed")),
        }
    }
}

#[async_trait]
impl Component for CustomSink {
    async fn shutdown(&self) {
        let (answer, answered) = oneshot::channel();
        if self.call(Call::Close(answer)) {
            let _ = answered.await;
        }
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
