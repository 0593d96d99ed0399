//! Editing batches: bytes in, bytes out, and only what is touched is decoded.
//!
//! [`edit`] walks a batch from resources over scopes to items and the parts of items, shows each level to an
//! [`Editor`] as a [`Message`] over the borrowed bytes, and writes the payload anew around what was changed or
//! dropped. Stretches that nobody touched are copied in one piece, unknown fields, order and encoding included. A
//! batch in which nothing was changed comes back as it was, with the same bytes.
//!
//! The result is canonical because the input is and because a message writes each singular field once. Numbers of
//! fields are those of the proto files. Refuses to know what the fields mean: that is the caller's.
//!
//! ```
//! use cupola_telemetry::edit::{Editor, Level, Place, Value, Verdict, edit};
//! use cupola_telemetry::{TenantId, encode::LogsEncoder};
//!
//! struct Mark;
//!
//! impl<'a> Editor<'a> for Mark {
//!     type Error = std::convert::Infallible;
//!
//!     fn deepest(&self) -> Level {
//!         Level::Item
//!     }
//!
//!     fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Self::Error> {
//!         if level == Level::Item {
//!             place.item.map_mut(6).set("seen".into(), Value::Bool(true));
//!         }
//!         Ok(Verdict::Keep)
//!     }
//! }
//!
//! let mut logs = LogsEncoder::new();
//! logs.resource_logs().scope_logs().record().body("hello");
//! let batch = logs.finish(TenantId::default_tenant());
//! let marked = edit(&batch, &mut Mark).unwrap().unwrap();
//! let record = marked.logs().resources().next().unwrap().scopes().next().unwrap().records().next().unwrap();
//! assert!(record.attributes.get("seen").is_some());
//! ```

mod array;
mod field;
mod map;
mod message;
mod patch;
mod place;
mod value;
mod walk;

pub use array::Array;
pub use field::{Field, Fields};
pub use map::Map;
pub use message::Message;
pub use place::{Level, MetricKind, Place};
pub use value::{VALUE_NESTING_MAX, Value};
pub use walk::{Editor, Verdict, edit};
