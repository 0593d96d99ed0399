//! `cupola serve`: runs until asked to stop.

use crate::config::Settings;
use crate::failure::Failure;
use crate::server::{Addresses, Server};
use crate::signals::StopSignals;
use crate::{logging, own};

pub(crate) async fn run(settings: &Settings) -> Result<(), Failure> {
    let mut signals = StopSignals::listen()?;
    let (layer, collected) = own::channel(settings.own_tenant.as_ref());
    logging::start(&settings.log, layer)?;
    let server = tokio::select! {
        started = Server::start(settings, collected) => started?,
        // Asked to stop while still recovering: nothing was received yet, so there is nothing to drain.
        name = signals.asked() => {
            tracing::info!(signal = name, "stopped before serving");
            return Ok(());
        }
    };
    announce(&server.addresses, settings);
    let name = signals.asked().await;
    tracing::info!(
        signal = name,
        "shutting down: taking no more, finishing what is under way"
    );
    signals.exit_on_next();
    server.shutdown().await?;
    tracing::info!("shut down; everything acknowledged is kept");
    Ok(())
}

fn announce(addresses: &Addresses, settings: &Settings) {
    let shown = |address: Option<std::net::SocketAddr>| {
        address.map_or("off".to_owned(), |address| address.to_string())
    };
    tracing::info!(
        api = %addresses.api,
        otlp_grpc = shown(addresses.otlp_grpc),
        otlp_http = shown(addresses.otlp_http),
        postgres = shown(addresses.postgres),
        flight_sql = shown(addresses.flight_sql),
        health = shown(addresses.health),
        data = %settings.directory.display(),
        memory_limit_bytes = settings.memory.limit,
        version = env!("CARGO_PKG_VERSION"),
        "cupola is ready"
    );
}
