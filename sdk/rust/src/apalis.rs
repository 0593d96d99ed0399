//! Jobs of apalis: what queues them, and a layer of tower for what does them. Names of spans, attributes and metrics are those of the
//! semantic conventions.
//!
//! <https://opentelemetry.io/docs/specs/semconv/messaging/>
//!
//! The context goes along in the metadata of the job, in the formats of the settings: the span of whoever does it is a child of
//! that of whoever has queued it, with the same baggage, however much later and in whatever process. Each attempt is a span of its
//! own, linked to earlier ones that this process has made.
//!
//! ```
//! use apalis::prelude::*;
//! use apalis_sqlite::SqliteStorage;
//! use cupola_sdk::apalis::{ConsumerLayer, Producer, PushTraced as _};
//! use cupola_sdk::core::Sdk;
//!
//! async fn queue(sdk: &Sdk, mut mails: SqliteStorage<String>) -> Result<(), BoxDynError> {
//!     // Made once, and kept.
//!     let producer = Producer::new(sdk, "mails");
//!     mails.push_traced(&producer, "hello".to_owned()).await?;
//!     Ok(())
//! }
//!
//! async fn work(sdk: &Sdk, mails: SqliteStorage<String>) -> Result<(), BoxDynError> {
//!     let worker = WorkerBuilder::new("postman")
//!         .backend(mails)
//!         // Before the layer, so that each attempt is a span, and a panic is seen before it is caught.
//!         .retry(RetryPolicy::retries(3))
//!         .catch_panic()
//!         .layer(ConsumerLayer::new(sdk))
//!         .build(|mail: String| async move { tracing::info!(mail, "sent") });
//!     worker.run().await?;
//!     Ok(())
//! }
//! ```

mod carried;
mod consumer;
mod operation;
mod producer;

pub use consumer::{ConsumerFuture, ConsumerLayer, ConsumerService};
pub use producer::{Producer, PushTraced};
