//! Calls of the macros of `tracing`, over whichever subscriber is behind them.

use tracing::{debug, info, info_span};

use crate::operation::{Operation, TRACE_SPANS, data};

fn bare() {
    info_span!("/orders/{id}").in_scope(|| {});
}

fn eight(n: usize) {
    let span = info_span!(
        "/orders/{id}",
        http.request.method = data::METHOD,
        http.route = data::ROUTE,
        url.path = data::path(n),
        server.address = data::ADDRESS,
        server.port = data::PORT,
        user.number = n as i64,
        is_new = true,
        share = data::SHARE,
    );
    span.in_scope(|| {});
}

fn trace(child: impl Fn(usize)) {
    info_span!("/orders/{id}").in_scope(|| (1..TRACE_SPANS).for_each(child));
}

fn log(n: usize) {
    info!(
        url.path = data::path(n),
        user.number = n as i64,
        is_new = true,
        "order placed"
    );
}

pub(crate) fn run(operation: Operation, count: usize) {
    match operation {
        Operation::RootSpan | Operation::UnsampledSpan => (0..count).for_each(|_| bare()),
        Operation::RootSpanAttributes => (0..count).for_each(eight),
        Operation::ChildSpan => (0..count / TRACE_SPANS).for_each(|_| trace(|_| bare())),
        Operation::ChildSpanAttributes => (0..count / TRACE_SPANS).for_each(|_| trace(eight)),
        Operation::Log => (0..count).for_each(log),
        Operation::LogInSpan => info_span!("/orders/{id}").in_scope(|| (0..count).for_each(log)),
        Operation::DisabledLog => {
            for n in 0..count {
                debug!(
                    url.path = data::path(n),
                    user.number = n as i64,
                    is_new = true,
                    "order placed"
                );
            }
        }
        Operation::Counter | Operation::Histogram => {}
    }
}
