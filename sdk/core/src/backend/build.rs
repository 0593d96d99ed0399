//! From the settings of a destination to what sends to it.

use std::fs::File;
use std::future::Future as _;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use cupola_export::debug::{DebugConfig, DebugSink};
use cupola_export::elasticsearch::ElasticsearchSink;
use cupola_export::file::FileSink;
use cupola_export::json_lines::JsonLinesSink;
use cupola_export::otlp::{OtlpConfig, OtlpSink};
use cupola_export::retry::RetryConfig;
use cupola_export::{Accepted, Component, Condition, Sample, SendError, Sink};
use cupola_telemetry::Batch;

use super::custom::CustomSink;
use super::{BackendError, Custom, CustomBackend, CustomError, Destination};

impl Destination {
    /// What sends to it, alone: without queue and retries. Opens files; connects to nothing yet. To be called on the runtime that
    /// it is to work on.
    pub(crate) fn build(&self, name: &str) -> Result<Arc<dyn Component>, BackendError> {
        Ok(match self {
            Destination::Otlp(config) => {
                let config = OtlpConfig {
                    // The queue tries again, and knows that it does.
                    retry: RetryConfig::disabled(),
                    ..config.clone()
                };
                Arc::new(OtlpSink::new(config).map_err(BackendError::of)?)
            }
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
                let sink = cupola_export::kafka::KafkaSink::quiet(
                    (**config).clone(),
                    crate::suppress::suppress_thread,
                );
                Arc::new(sink.map_err(BackendError::of)?)
            }
            Destination::Console(config) => Arc::new(ConsoleSink::start(name, config.clone())?),
            Destination::Custom(custom) => Arc::new(CustomSink::start(name, custom.clone())?),
        })
    }

    /// What it is, in a word, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Destination::Otlp(_) => "otlp",
            Destination::JsonLines(_) => "json lines",
            Destination::File(_) => "file",
            Destination::Elasticsearch(_) => "elasticsearch",
            #[cfg(feature = "postgres")]
            Destination::Postgres(_) => "postgres",
            #[cfg(feature = "kafka")]
            Destination::Kafka(_) => "kafka",
            Destination::Console(_) => "console",
            Destination::Custom(_) => "custom",
        }
    }
}

/// Standard output, which nobody may be reading: on a thread of its own.
struct ConsoleSink {
    thread: CustomSink,
    printer: Arc<DebugSink>,
}

impl ConsoleSink {
    fn start(name: &str, config: DebugConfig) -> Result<ConsoleSink, BackendError> {
        let printer = Arc::new(DebugSink::with_writer(config, standard_output()));
        let custom = Custom(Arc::new(Printing(printer.clone())));
        Ok(ConsoleSink {
            thread: CustomSink::start(name, custom)?,
            printer,
        })
    }
}

/// Without the lock that the standard library has on it, which the child of a fork could find shut.
fn standard_output() -> Box<dyn Write + Send> {
    let output = io::stdout();
    match output.as_fd().try_clone_to_owned() {
        Ok(own) => Box::new(File::from(own)),
        Err(_) => Box::new(output),
    }
}

struct Printing(Arc<DebugSink>);

impl CustomBackend for Printing {
    fn export(&self, batch: &Batch) -> Result<(), CustomError> {
        // It waits for the output alone, as any writer does.
        let mut printing = pin!(self.0.send(batch.clone()));
        match printing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => Err(CustomError::GiveUp(error.to_string())),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }
}

#[async_trait]
impl Sink for ConsoleSink {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.thread.send(batch).await
    }
}

#[async_trait]
impl Component for ConsoleSink {
    async fn shutdown(&self) {
        self.thread.shutdown().await;
    }

    fn condition(&self) -> Condition {
        self.thread.condition()
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.thread.collect(samples);
        self.printer.collect(samples);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cupola_telemetry::TenantId;
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_for_the_terminal_is_printed_before_it_counts_as_delivered() {
        let screen = Screen::default();
        let printer = Arc::new(DebugSink::with_writer(
            DebugConfig::default(),
            Box::new(screen.clone()),
        ));
        let custom = Custom(Arc::new(Printing(printer.clone())));
        let thread = CustomSink::start("console", custom).unwrap();
        let sink = ConsoleSink { thread, printer };
        let mut logs = LogsEncoder::new();
        logs.resource_logs().scope_logs().record().body("b");
        let batch = logs.finish(TenantId::default_tenant());
        assert_eq!(sink.send(batch).await, Ok(Accepted::all()));
        let text = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        assert!(
            text.ends_with('\n') && text.to_lowercase().contains("log"),
            "{text}"
        );
        sink.shutdown().await;
    }
}
