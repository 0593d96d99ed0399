//! Panics as log records. The hook that was there is called afterwards, as before.

use std::any::Any;
use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

use cupola_sdk_core::Sdk;

/// Has panics recorded from now on.
pub(super) fn install(sdk: &Sdk) {
    let before = std::panic::take_hook();
    let sdk = sdk.clone();
    std::panic::set_hook(Box::new(move |panic| {
        record(panic);
        if cfg!(panic = "abort") {
            // There will be no other moment.
            sdk.flush(sdk.settings().exit_timeout);
        }
        before(panic);
    }));
}

fn record(panic: &PanicHookInfo<'_>) {
    let message = message(panic.payload());
    let stack_trace = Backtrace::force_capture().to_string();
    let location = panic.location();
    tracing::error!(
        exception.type = "panic",
        exception.message = message,
        exception.stacktrace = stack_trace.as_str(),
        panic.file = location.map_or("", |location| location.file()),
        panic.line = location.map_or(0, |location| location.line()),
        "panicked: {message}"
    );
}

fn message(payload: &dyn Any) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return text;
    }
    payload
        .downcast_ref::<String>()
        .map_or("of no text", String::as_str)
}
