//! What is kept of a message that cannot be read: its bytes, and where it was.

use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, Signal, TenantId};

use super::partition::{Message, Partition};
use crate::receivers::http::intake::now_unix_nano;

/// A message that cannot be read.
pub(super) struct Unreadable {
    pub(super) offset: i64,
    pub(super) reason: String,
    /// A log record with the message as its body.
    pub(super) batch: Batch,
}

impl Unreadable {
    /// `signal` is what it should have been.
    pub(super) fn new(
        partition: &Partition,
        message: &Message,
        signal: Signal,
        reason: String,
    ) -> Unreadable {
        let mut logs = LogsEncoder::new();
        logs.resource_logs()
            .scope_logs()
            .record()
            .observed_time_unix_nano(now_unix_nano())
            .body(message.payload.as_deref().unwrap_or_default())
            .attribute("messaging.system", "kafka")
            .attribute("messaging.destination.name", partition.topic.as_str())
            .attribute(
                "messaging.destination.partition.id",
                partition.number.to_string().as_str(),
            )
            .attribute("messaging.kafka.offset", message.offset)
            .attribute("otelcol.signal", signal.as_str());
        let tenant = message.tenant.clone();
        Unreadable {
            offset: message.offset,
            reason,
            batch: logs.finish(tenant.unwrap_or_else(|_| TenantId::default_tenant())),
        }
    }
}
