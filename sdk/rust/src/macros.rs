//! What the attributes [`otel_trace`](crate::otel_trace) and [`otel_log`](crate::otel_log) and the macro
//! [`otel_span!`](crate::otel_span) are made of. Public for them alone.

use std::fmt::{self, Debug, Display, Write as _};
use std::future::Future;
use std::sync::OnceLock;

pub use tracing;
use tracing::Span;
use tracing::field::{DisplayValue, display};
use tracing::instrument::Instrumented;

pub use crate::__cupola_failed as failed;
use crate::context::{Context, InContext as _, WithContext};
use cupola_sdk_core::scrub::Scrubber;

/// What stands for an argument whose name says that it is a secret.
const REDACTED: &str = "[REDACTED]";
/// Behind a text that was cut.
const CUT: &str = "…";

/// A context in which everything has a correlation id.
pub fn correlated(context: Context, id: &dyn Display) -> Context {
    context.with_attribute("correlation_id", id.to_string().as_str())
}

/// Calls the body of a function: what returns early in it comes back here.
pub fn call<T>(body: impl FnOnce() -> T) -> T {
    body()
}

/// A future in a span, in a context.
pub fn in_span<F: Future>(context: Context, span: Span, future: F) -> WithContext<Instrumented<F>> {
    tracing::Instrument::instrument(future, span).in_context(context)
}

/// An argument as an attribute: as `Debug` writes it, up to so many characters. Not one whose name is that of a secret.
pub fn argument<T: Debug + ?Sized>(name: &str, value: &T, length_max: usize) -> DisplayValue<String> {
    display(match is_secret(name) {
        true => REDACTED.to_owned(),
        false => cut(value, length_max),
    })
}

/// Records what a function has returned.
pub fn result<T: Debug + ?Sized>(span: &Span, value: &T, length_max: usize) {
    if !span.is_disabled() {
        span.record("result", display(cut(value, length_max)));
    }
}

/// Makes a span a failed one.
pub fn fail(span: &Span, message: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", message);
}

/// Records an error as that of a span, and as a log record.
#[doc(hidden)]
#[macro_export]
macro_rules! __cupola_failed {
    ($span:expr, $error:expr) => {{
        let message = ::std::string::ToString::to_string($error);
        $crate::__macros::fail(&$span, &message);
        $crate::__macros::tracing::error!(
            parent: &$span,
            error = message.as_str(),
            exception.type = ::std::any::type_name_of_val($error),
            "{message}"
        );
    }};
}

fn is_secret(name: &str) -> bool {
    static SCRUBBER: OnceLock<Scrubber> = OnceLock::new();
    SCRUBBER.get_or_init(Scrubber::usual).is_secret_key(name)
}

/// As `Debug` writes it, up to so many characters: of something large, no more is written than is kept.
fn cut<T: Debug + ?Sized>(value: &T, length_max: usize) -> String {
    let mut text = Cut {
        text: String::new(),
        left: length_max,
    };
    // An error is the end of the room, and what there is until then is kept.
    if write!(text, "{value:?}").is_err() {
        text.text.push_str(CUT);
    }
    text.text
}

struct Cut {
    text: String,
    left: usize,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        match more.char_indices().nth(self.left) {
            None => {
                self.left -= more.chars().count();
                self.text.push_str(more);
                Ok(())
            }
            Some((end, _)) => {
                self.text.push_str(&more[..end]);
                self.left = 0;
                Err(fmt::Error)
            }
        }
    }
}

/// A span at level INFO, with attributes as `tracing` writes them.
///
/// ```
/// use cupola_sdk::otel_span;
///
/// let order = 17;
/// let _entered = otel_span!("checkout", order.id = order, shop = %"north").entered();
/// ```
#[macro_export]
macro_rules! otel_span {
    ($name:expr $(, $($attributes:tt)*)?) => {
        $crate::__macros::tracing::span!($crate::__macros::tracing::Level::INFO, $name, $($($attributes)*)?)
    };
}
