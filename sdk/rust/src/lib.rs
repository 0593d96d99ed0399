//! Logs, metrics and traces of a Rust application, over the core that the SDK's languages share.
//!
//! [`context`] knows which span and which baggage are the current ones, whoever made them: spans of `tracing`, spans of the
//! API of OpenTelemetry, or a request that was taken in.
//!
//! Never panics into an application, and never blocks it.

#[doc(hidden)]
#[path = "macros.rs"]
pub mod __macros;
#[cfg(feature = "apalis")]
pub mod apalis;
pub mod console;
pub mod context;
#[cfg(any(feature = "redis", feature = "sqlx-without-macros"))]
mod database;
#[cfg(feature = "http")]
pub mod http;
mod init;
pub mod layer;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
mod panics;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlx-without-macros")]
pub mod sqlx;
mod targets;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tonic")]
pub mod tonic;

pub use context::{Context, ContextGuard, InContext};
pub use cupola_sdk_core as core;
/// Records each call of a function as a log record, when it begins: `#[otel_log(level = "info", message = "…")]`. Its other options
/// are `correlation_id` and `attributes`, as those of [`otel_trace`].
pub use cupola_sdk_macros::otel_log;
/// Records each call of a function as a span, whether it is `async` or not, and whatever calls what.
///
/// ```
/// use cupola_sdk::otel_trace;
///
/// #[otel_trace("checkout", args, skip(card), result, correlation_id = order, attributes(shop = "north"))]
/// fn check_out(order: &str, items: u32, card: &str) -> Result<u32, std::num::ParseIntError> {
///     Ok(items * card.len() as u32)
/// }
/// # check_out("o-1", 2, "4711").unwrap();
/// ```
///
/// - `name`, or a text in front: of the span; that of the function without it.
/// - `level` (`"info"`) and `kind` (`"internal"`, `"server"`, `"client"`, `"producer"`, `"consumer"`).
/// - `args`: arguments as attributes `args.<name>`, as `Debug` writes them; not those in `skip(…)`, and of those whose names are of
///   secrets only that they are. `max_length` is that of each, in characters: 256.
/// - `result`: what it returns as the attribute `result`; of a `Result` what is in `Ok`.
/// - `errors`: what is in `Err`, as the error of the span and as a log record. On where a `Result` is returned.
/// - `correlation_id`: an expression, for everything that is recorded inside.
/// - `attributes(…)`: further ones, written as fields of `tracing`: `order.id = id`, `user = %user`, `cart = ?cart`.
pub use cupola_sdk_macros::otel_trace;
pub use init::{Builder, Cupola, InitError, builder, init};
