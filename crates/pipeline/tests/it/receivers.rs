//! Receivers of protocols other than OTLP: item for item, refusals, and real clients.

mod filelog;
#[cfg(target_os = "linux")]
mod hostmetrics;
mod jaeger;
#[cfg(feature = "kafka")]
mod kafka;
mod loki;
mod metrics;
mod programs;
mod prometheus;
mod prometheus_remote_write;
pub(crate) mod prometheus_server;
mod records;
mod syslog;
mod zipkin;

use std::sync::Arc;
use std::time::Duration;

use cupola_export::SendError;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::view::{AnyValue, Attributes};
use serde_json::{Value, json};

use crate::support::{Answer, Capture};

/// A refusal that asks to come again.
fn retryable() -> SendError {
    SendError::Retryable {
        reason: "the queue is full".to_owned(),
        retry_after: Some(Duration::from_millis(2500)),
    }
}

fn sink() -> (Arc<Capture>, MemoryBudget) {
    (Arc::default(), MemoryBudget::new(64 * 1024 * 1024))
}

/// Sends one request and reads the answer.
async fn post(url: String, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.post(url).body(body.into());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer {
        status,
        headers,
        body: answer.bytes().await.unwrap(),
    }
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

/// Attributes as a JSON object; values that are not texts, numbers or truth values as their debug form.
fn attributes(attributes: Attributes<'_>) -> Value {
    let pairs = attributes.map(|pair| (pair.key.to_owned(), value(pair.value)));
    Value::Object(pairs.collect())
}

fn value(value: AnyValue<'_>) -> Value {
    match value {
        AnyValue::String(text) => json!(text),
        AnyValue::Bool(flag) => json!(flag),
        AnyValue::Int(number) => json!(number),
        AnyValue::Double(number) => json!(number),
        other => json!(format!("{other:?}")),
    }
}
