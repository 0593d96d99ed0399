//! The producer of librdkafka, with the thread on which it tells what has become of messages, and how loud both are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use tokio::sync::oneshot;

/// After so long, the thread looks whether it is over.
const POLL: Duration = Duration::from_millis(100);

/// What becomes of what librdkafka says. It says it on threads that do not know for whom they work.
#[derive(Clone, Copy, Debug)]
pub(super) enum Voice {
    /// As events of `tracing`, under the target `librdkafka`.
    Loud,
    /// Nothing, and the thread for answers first calls this, for whoever knows threads whose events do not count.
    Quiet(fn()),
}

/// What has become of a message.
pub(super) type Answer = Result<(), KafkaError>;

/// Ends, and waits for its thread, when it is dropped.
pub(super) struct Client {
    producer: Arc<BaseProducer<Context>>,
    is_over: Arc<AtomicBool>,
    polling: Option<JoinHandle<()>>,
}

struct Context(Voice);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if let Voice::Loud = self.0 {
            DefaultClientContext.log(level, facility, text);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Voice::Loud = self.0 {
            DefaultClientContext.error(error, reason);
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Answer>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Self::DeliveryOpaque) {
        let answer = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody waits any more, if it came too late.
        let _ = sender.send(answer);
    }
}

impl Client {
    pub(super) fn start(config: &ClientConfig, voice: Voice) -> Result<Client, KafkaError> {
        let producer: BaseProducer<Context> = config.create_with_context(Context(voice))?;
        let (producer, is_over) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let (polled, is_stopped) = (producer.clone(), is_over.clone());
        let polling = std::thread::Builder::new().name("kafka-answers".to_owned());
        let polling = polling.spawn(move || {
            if let Voice::Quiet(on_thread) = voice {
                on_thread();
            }
            while !is_stopped.load(Ordering::Relaxed) {
                polled.poll(POLL);
            }
        });
        let failed =
            |error: std::io::Error| KafkaError::ClientCreation(format!("no thread for answers: {error}"));
        Ok(Client {
            producer,
            is_over,
            polling: Some(polling.map_err(failed)?),
        })
    }

    /// What librdkafka knows it by.
    #[cfg(test)]
    pub(super) fn native(&self) -> *mut rdkafka::types::RDKafka {
        use rdkafka::producer::Producer as _;
        self.producer.client().native_ptr()
    }

    /// Hands a message over. The answer comes when a broker has it, or when that is given up.
    pub(super) fn send<'m>(
        &self,
        topic: &'m str,
        fill: impl FnOnce(Record<'m>) -> Record<'m>,
    ) -> Result<oneshot::Receiver<Answer>, KafkaError> {
        let (sender, answer) = oneshot::channel();
        let record = fill(BaseRecord::with_opaque_to(topic, Box::new(sender)));
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(answer)
    }
}

/// A message under construction.
pub(super) type Record<'m> = BaseRecord<'m, [u8], [u8], Box<oneshot::Sender<Answer>>>;

impl Drop for Client {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(polling) = self.polling.take() {
            let _ = polling.join();
        }
    }
}
