//! Official OpenTelemetry clients, each sending the same telemetry in every way it can: what the sink takes
//! is compared value by value. Clients in other languages are programs under `tests/clients/`, installed
//! from their package registry with pinned versions; one that cannot be had is skipped and says why.

pub(crate) mod expected;
mod node;
pub(crate) mod programs;
pub(crate) mod python;
mod rust;

use cupola_telemetry::memory::MemoryBudget;

use crate::support::{Receiver, config, start_with};

async fn start() -> Receiver {
    start_with(config(), MemoryBudget::new(256 * 1024 * 1024)).await
}

/// Where a client sends to, by the names of `OTEL_EXPORTER_OTLP_PROTOCOL`.
fn endpoint(receiver: &Receiver, protocol: &str) -> String {
    match protocol {
        "grpc" => format!("http://{}", receiver.running.grpc_addr.unwrap()),
        _ => format!("http://{}", receiver.running.http_addr.unwrap()),
    }
}
