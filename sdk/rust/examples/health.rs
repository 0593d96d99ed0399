//! A server of gRPC, and a client that asks it: one trace from the client to what the handler says.
//!
//! ```text
//! cargo run -p cupola-sdk --features tonic --example health
//! ```
//!
//! It sends to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, by default to `http://localhost:4318`, which `cupola serve` listens on.

use cupola_sdk::tonic::{ClientLayer, ServerLayer};
use tonic::transport::{Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::Layer as _;
use tracing::Instrument as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cupola = cupola_sdk::builder().service_name("health").init()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let (reporter, service) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("shop.Orders", ServingStatus::Serving)
        .await;
    let server = Server::builder()
        .layer(ServerLayer::new(cupola.sdk()).metadata("x-tenant-id", "tenant.id"))
        .add_service(service);
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(server.serve_with_incoming(incoming));

    let endpoint: Endpoint = format!("http://{address}").parse()?;
    let layer = ClientLayer::new(cupola.sdk()).server(endpoint.uri());
    let mut client = HealthClient::new(layer.layer(endpoint.connect_lazy()));
    let asked = async {
        for service in ["shop.Orders", "shop.Nothing"] {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            match client.check(request).await {
                Ok(answer) => tracing::info!(service, status = answer.into_inner().status, "answered"),
                Err(status) => tracing::warn!(service, reason = status.message(), "refused"),
            }
        }
    };
    asked.instrument(tracing::info_span!("rounds")).await;
    Ok(())
}
