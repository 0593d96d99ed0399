//! `cupola demo`: Cupola, and a small application that really runs and sends it telemetry: a shop of several services
//! with several tenants, instrumented with the official OpenTelemetry SDK.

mod instruments;
mod routes;
mod shop;
mod users;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::DemoArguments;
use crate::config::file::{Endpoint, File};
use crate::config::{LogFlags, OptionalEndpoint, ServeFlags, Settings};
use crate::failure::Failure;
use crate::server::{Addresses, Server};
use crate::signals::StopSignals;
use crate::{logging, own};
use shop::Shop;

/// The SDK complains at every failed export, the HTTP stack at every closed connection; neither helps here.
const LOG_FILTER: &str =
    "warn,opentelemetry=off,opentelemetry_sdk=off,opentelemetry-otlp=off,h2=off,hyper=off";
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

pub(crate) async fn run(arguments: &DemoArguments, log: &LogFlags, file: File) -> Result<(), Failure> {
    let mut signals = StopSignals::listen()?;
    // Kept until the end: dropping it removes the directory.
    let (directory, _temporary) = directory(arguments)?;
    let mut settings = Settings::resolve(&flags(arguments, directory), log, file)?;
    if log.log.is_none() {
        settings.log.filter = LOG_FILTER.to_owned();
    }
    let (layer, collected) = own::channel(settings.own_tenant.is_some());
    logging::start(&settings.log, layer)?;
    let server = Server::start(&settings, collected).await?;
    let Some(otlp) = server.addresses.otlp_grpc else {
        let _ = server.shutdown().await;
        return Err(Failure::usage(
            "the demo sends OTLP over gRPC, which the configuration switches off",
        ));
    };
    let shop = Shop::start(otlp, &TENANTS, arguments.users).await?;
    greet(&server.addresses, &settings, arguments);
    let wait = async {
        match arguments.run_for {
            Some(span) => tokio::time::sleep(span.0).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait => {}
        _ = signals.asked() => {}
    }
    signals.exit_on_next();
    println!("\nstopping the shop, then Cupola");
    let handled = shop.stop().await;
    server.shutdown().await?;
    println!("{handled} requests were handled; good bye");
    Ok(())
}

fn directory(arguments: &DemoArguments) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    if let Some(directory) = &arguments.data_dir {
        return Ok((directory.clone(), None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("cupola-demo-")
        .tempdir()
        .map_err(|error| Failure::new("cannot make a directory for the demo's data").caused_by(&error))?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

fn flags(arguments: &DemoArguments, directory: PathBuf) -> ServeFlags {
    let mut flags = ServeFlags {
        data_dir: Some(directory),
        memory_limit: arguments.memory_limit,
        ..ServeFlags::default()
    };
    if arguments.free_ports {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        (flags.otlp_grpc, flags.otlp_http, flags.api) =
            (Some(Endpoint(any)), Some(Endpoint(any)), Some(Endpoint(any)));
        let optional = Some(OptionalEndpoint::On(any));
        (flags.postgres, flags.flight_sql, flags.health) = (optional, optional, optional);
    }
    flags
}

fn greet(addresses: &Addresses, settings: &Settings, arguments: &DemoArguments) {
    let url = format!("http://{}", addresses.api);
    let at = if url == crate::cli::URL_DEFAULT {
        String::new()
    } else {
        format!(" --url {url}")
    };
    println!("Cupola is running, with a shop of five services that sends it telemetry.");
    println!();
    println!("  web page     {url}");
    println!(
        "  tenants      {} (and `cupola` for Cupola itself)",
        TENANTS.join(", ")
    );
    println!("  data         {}", settings.directory.display());
    println!();
    println!("Things to try in another terminal:");
    println!();
    println!("  cupola tail --tenant acme{at}");
    println!("  cupola tail spans --tenant acme --errors{at}");
    println!("  cupola query --tenant acme{at} \\");
    println!(
        "    \"SELECT service_name, count(*) AS spans, avg(duration) AS mean FROM spans GROUP BY 1 ORDER BY 2 DESC\""
    );
    println!(
        "  cupola query --tenant acme{at} \"SELECT trace_id, name FROM spans WHERE status_code = 'error' LIMIT 5\""
    );
    println!("  cupola trace --tenant acme{at} TRACE_ID");
    println!();
    match arguments.run_for {
        Some(span) => println!("It stops by itself after {span}."),
        None => println!("Ctrl-C stops it."),
    }
}
