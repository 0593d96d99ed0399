//! Panics as log records: the message, where, the stack; and the span in which it happened failed by it. The hook that was there is
//! called afterwards, as before.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::span::{Exception, Status};

use crate::context::stack;

/// Longest that a thread that ends the process by its panic waits for the record to be delivered.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

thread_local! {
    /// A panic of this thread is being recorded: another one inside it is left alone.
    static IS_RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Has panics recorded from now on.
pub(crate) fn install(sdk: &Sdk) {
    let before = panic::take_hook();
    let sdk = sdk.clone();
    panic::set_hook(Box::new(move |info| {
        let is_nested = IS_RECORDING.try_with(|recording| recording.replace(true));
        let is_first = is_nested == Ok(false);
        if is_first {
            record(&sdk, info);
        }
        before(info);
        if is_first {
            if ends_process() {
                // There may be no other moment.
                sdk.flush(FLUSH_TIMEOUT);
            }
            let _ = IS_RECORDING.try_with(|recording| recording.set(false));
        }
    }));
}

/// Other threads end alone: what they recorded is delivered as usual.
fn ends_process() -> bool {
    cfg!(panic = "abort") || std::thread::current().name() == Some("main")
}

fn record(sdk: &Sdk, info: &PanicHookInfo<'_>) {
    let message = message(info.payload());
    let stack_trace = Backtrace::force_capture().to_string();
    let place = info.location();
    tracing::error!(
        target: "panic",
        {
            code.file.path = place.map(|place| place.file()),
            code.line.number = place.map(|place| place.line()),
            code.column.number = place.map(|place| place.column()),
            exception.type = "panic",
            exception.message = message,
            exception.stacktrace = stack_trace.as_str(),
        },
        "panicked: {message}"
    );
    stack::with_current(|_, node| {
        // Not waited for: this thread may be the one that has it.
        if let Some(mut state) = node.and_then(|node| node.try_state())
            && let Some(span) = &mut state.recording
        {
            let exception = Exception {
                kind: "panic",
                message,
                stack_trace: Some(&stack_trace),
            };
            span.record_exception(&exception, sdk.clock().now(), &[]);
            span.set_status(Status::Error {
                description: message.to_owned(),
            });
        }
    });
}

pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a value that is no text",
    }
}
