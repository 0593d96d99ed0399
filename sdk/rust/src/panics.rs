//! Panics as log records: the message, where, the stack, and the span in which it happened, which failed by it.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::{Exception, Status};
use cupola_sdk_core::value::Value;

use crate::context::stack;

/// Longest that a thread that ends the process by its panic waits for the record to be delivered.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

thread_local! {
    /// A panic of this thread is being recorded: another one inside it is left alone.
    static IS_RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Records panics, then calls the hook that was there.
pub(crate) fn install(sdk: Sdk) {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let is_nested = IS_RECORDING
            .try_with(|recording| recording.replace(true))
            .unwrap_or(true);
        if !is_nested {
            record(&sdk, info);
        }
        previous(info);
        if !is_nested {
            if ends_process() {
                sdk.flush(FLUSH_TIMEOUT);
            }
            let _ = IS_RECORDING.try_with(|recording| recording.set(false));
        }
    }));
}

/// Other threads end alone, and their tasks: what they recorded is delivered as usual.
fn ends_process() -> bool {
    cfg!(panic = "abort") || std::thread::current().name() == Some("main")
}

fn record(sdk: &Sdk, info: &PanicHookInfo<'_>) {
    let message = message(info.payload());
    let stack_trace = Backtrace::force_capture().to_string();
    let exception = Exception {
        kind: "panic",
        message,
        stack_trace: Some(&stack_trace),
    };
    stack::with_current(|around, node| {
        let logger = sdk.logger(Scope::of("panic", "", "", &[]));
        let body = format!("panicked: {message}");
        let mut record = logger.record(Severity::ERROR, body.as_str(), around.baggage());
        record.span = Some(around.span());
        if let Some(inherited) = around.attributes() {
            record.attributes_mut().inherit(inherited, |_| true);
        }
        record.set("exception.type", exception.kind);
        record.set("exception.message", message);
        record.set("exception.stacktrace", &stack_trace);
        if let Some(place) = info.location() {
            record.set("code.file.path", place.file());
            record.set("code.line.number", Value::from(place.line()));
            record.set("code.column.number", Value::from(place.column()));
        }
        if let Some(name) = std::thread::current().name() {
            record.set("thread.name", name);
        }
        logger.emit(&record);
        if let Some(mut state) = node.and_then(|node| node.try_state())
            && let Some(span) = &mut state.recording
        {
            span.record_exception(&exception, record.unix_nano, &[]);
            span.set_status(Status::Error {
                description: message.to_owned(),
            });
        }
    });
}

fn message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a value that is no text",
    }
}
