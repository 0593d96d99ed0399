//! `cupola serve`: runs until asked to stop.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::{LogFlags, ServeFlags, Settings};
use crate::failure::Failure;
use crate::reload::Sources;
use crate::server::{Addresses, Server};
use crate::signals::StopSignals;
use crate::{logging, own};

/// How long a change of the configuration that is under way may hold up the end.
const CHANGE_PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn run(flags: &ServeFlags, log: &LogFlags, paths: &[PathBuf]) -> Result<(), Failure> {
    let sources = Sources {
        paths: paths.to_vec(),
        flags: flags.clone(),
        log: log.clone(),
    };
    let settings = &sources.settings()?;
    let mut signals = StopSignals::listen()?;
    let (layer, own) = own::channel(settings.own_tenant.as_ref(), settings.zpages.is_some());
    logging::start(&settings.log, layer)?;
    let server = tokio::select! {
        started = Server::start(settings, own) => started?,
        // Asked to stop while still recovering: nothing was received yet, so there is nothing to drain.
        name = signals.asked() => {
            tracing::info!(signal = name, "stopped before serving");
            return Ok(());
        }
    };
    for warning in &settings.warnings {
        tracing::warn!(warning, "configuration");
    }
    announce(&server.addresses, settings);
    let stop = CancellationToken::new();
    let reloader = server.reloader(sources.clone(), settings);
    let silence = tokio::spawn(reloader.clone().watch_silence(stop.clone()));
    let watching = tokio::spawn(reloader.watch(stop.clone()));
    let name = signals.asked().await;
    tracing::info!(
        signal = name,
        "shutting down: taking no more, finishing what is under way"
    );
    signals.exit_on_next();
    stop.cancel();
    // A change under way is finished first.
    let _ = tokio::time::timeout(CHANGE_PATIENCE, async { tokio::join!(watching, silence) }).await;
    server.shutdown().await?;
    tracing::info!("shut down; everything acknowledged is kept");
    Ok(())
}

fn announce(addresses: &Addresses, settings: &Settings) {
    let shown = |address: Option<std::net::SocketAddr>| {
        address.map_or("off".to_owned(), |address| address.to_string())
    };
    let page = match settings.opens_store {
        true => format!("http://{}/", addresses.api),
        false => "off".to_owned(),
    };
    let pages: Vec<String> = addresses.metrics.iter().map(ToString::to_string).collect();
    let pages = match pages.is_empty() {
        true => "off".to_owned(),
        false => pages.join(", "),
    };
    tracing::info!(
        page,
        api = %addresses.api,
        otlp_grpc = shown(addresses.otlp_grpc),
        otlp_http = shown(addresses.otlp_http),
        postgres = shown(addresses.postgres),
        flight_sql = shown(addresses.flight_sql),
        health = shown(addresses.health),
        zpages = shown(addresses.zpages),
        pprof = shown(addresses.pprof),
        metrics = pages,
        data = %settings.directory.display(),
        memory_limit_bytes = settings.memory.limit,
        version = env!("CARGO_PKG_VERSION"),
        "cupola is ready"
    );
}
