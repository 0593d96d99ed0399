//! Receivers: servers that turn a protocol into batches.

pub mod filelog;
mod handover;
pub mod hostmetrics;
mod http;
pub mod jaeger;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod loki;
pub mod otlp;
pub mod prometheus;
pub mod prometheus_remote_write;
mod protobuf;
mod series;
pub mod syslog;
mod text;
mod udp;
pub mod zipkin;

pub use http::config::HttpServerConfig;
pub use http::server::StartError;

/// Whatever the bytes are, a decoder reads or refuses them within its budget; for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn fuzz_received(data: &[u8]) {
    const BUDGET: usize = 16 << 20;
    let Some((first, input)) = data.split_first() else {
        return;
    };
    let budget = cupola_telemetry::memory::MemoryBudget::new(BUDGET);
    let mut memory = budget.reservation();
    let mut room = http::intake::Room::new(&mut memory, BUDGET / 2);
    match first % 5 {
        0 => loki::fuzz(input, &mut room),
        1 => prometheus_remote_write::fuzz(input, &mut room),
        2 => zipkin::fuzz(input, &mut room),
        3 => jaeger::fuzz(input, &mut room),
        _ => prometheus::fuzz(input),
    }
    assert!(budget.peak() <= BUDGET);
}
