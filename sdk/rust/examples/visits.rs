//! Commands to Redis as spans: a counter, and a pipeline.
//!
//! ```text
//! cargo run -p cupola-sdk --features redis --example visits -- redis://127.0.0.1/
//! ```
//!
//! It sends to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, by default to `http://localhost:4318`, which `cupola serve` listens on.

use cupola_sdk::redis::TracedConnection;
use redis::AsyncCommands as _;
use tracing::Instrument as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cupola = cupola_sdk::builder().service_name("visits").init()?;
    let address = std::env::args().nth(1);
    let client = redis::Client::open(address.as_deref().unwrap_or("redis://127.0.0.1/"))?;
    let connection = client.get_multiplexed_async_connection().await?;
    let connection = TracedConnection::new(cupola.sdk(), connection);
    let mut connection = connection.server(client.get_connection_info()).with_keys();
    let visit = async {
        let visits: u64 = connection.incr("visits", 1).await?;
        let (last, _): (Option<String>, ()) = redis::pipe()
            .get("last")
            .set("last", format!("visit {visits}"))
            .query_async(&mut connection)
            .await?;
        tracing::info!(visits, last, "visited");
        Ok::<_, redis::RedisError>(())
    };
    visit.instrument(tracing::info_span!("visit")).await?;
    Ok(())
}
