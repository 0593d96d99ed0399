//! The worker behind the queue: takes placed orders, in the trace of whoever placed them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::logs::Severity;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use rand::Rng as _;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::instruments::{extract, fail};
use super::shop::Service;

/// An order on its way to the worker, with the trace context in its headers.
pub(crate) struct Message {
    pub(crate) tenant: &'static str,
    pub(crate) number: u32,
    pub(crate) headers: HashMap<String, String>,
}

pub(crate) async fn work(service: Arc<Service>, mut queue: Receiver<Message>, stop: CancellationToken) {
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            message = queue.recv() => message,
        };
        match message {
            Some(message) => process(&service, &message).await,
            None => return,
        }
    }
}

async fn process(service: &Service, message: &Message) {
    let Some(instruments) = service.instruments(message.tenant) else {
        return;
    };
    let attributes = vec![
        KeyValue::new("messaging.system", "in-process"),
        KeyValue::new("messaging.destination.name", "orders.placed"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("order.number", i64::from(message.number)),
    ];
    let parent = extract(&message.headers);
    let context = instruments.span(
        "process orders.placed".to_owned(),
        SpanKind::Consumer,
        &parent,
        attributes,
    );
    instruments.queue_depth.add(-1, &[]);
    let (millis, fails) = {
        let mut random = rand::rng();
        (random.random_range(5..60), random.random_range(0..100) < 3)
    };
    tokio::time::sleep(Duration::from_millis(millis)).await;
    let number = ("order.number", i64::from(message.number).into());
    if fails {
        fail(&context, "the carrier has no slot".to_owned());
        let body = format!(
            "order {} could not be shipped, it goes to the backlog",
            message.number
        );
        instruments.log(&context, Severity::Error, body, vec![number]);
    } else {
        instruments.log(
            &context,
            Severity::Info,
            format!("order {} is on its way", message.number),
            vec![number],
        );
    }
    context.span().end();
}
