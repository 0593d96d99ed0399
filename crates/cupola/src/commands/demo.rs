//! `cupola demo`: Cupola, and a small application that really runs and sends it telemetry: a shop of several services
//! with several tenants, the example of `cupola-sdk` (`examples/services`).

mod shop;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::DemoArguments;
use crate::config::file::File;
use crate::config::{LogFlags, OptionalEndpoint, ServeFlags, Settings};
use crate::failure::Failure;
use crate::server::{Addresses, Server};
use crate::signals::StopSignals;
use crate::{logging, output, own};
use cupola_config::{Endpoint, Node};
use cupola_example_services::Service;
use cupola_example_services::tokens::TENANTS;
use shop::Shop;

/// The HTTP stack complains at every closed connection, which does not help here.
const LOG_FILTER: &str = "warn,h2=off,hyper=off";

/// Keeps what the services send under the tenant that it is about: one service has many. Below what a file says.
const PIPELINES: &str = "
receivers: { otlp: }
processors: { tenant: { as_tenant: true } }
exporters: { store: }
service:
  pipelines:
    traces: { receivers: [otlp], processors: [tenant], exporters: [store] }
    logs: { receivers: [otlp], processors: [tenant], exporters: [store] }
    metrics: { receivers: [otlp], processors: [tenant], exporters: [store] }
";

pub(crate) async fn run(arguments: &DemoArguments, log: &LogFlags, mut file: File) -> Result<(), Failure> {
    let mut signals = StopSignals::listen()?;
    let level = &mut file.service.telemetry.logs.level;
    level.get_or_insert_with(|| LOG_FILTER.to_owned());
    with_pipelines(&mut file)?;
    // Kept until the end: dropping it removes the directory.
    let (directory, _temporary) = directory(arguments)?;
    let mut settings = Settings::resolve(&flags(arguments, directory), log, file)?;
    settings.has_address_flags = false;
    let (layer, own) = own::channel(settings.own_tenant.as_ref(), settings.zpages.is_some());
    logging::start(&settings.log, layer)?;
    let server = tokio::select! {
        started = Server::start(&settings, own) => started?,
        _ = signals.asked() => return Ok(()),
    };
    let started = tokio::select! {
        started = open_shop(&server, arguments) => started.map(Some),
        _ = signals.asked() => Ok(None),
    };
    let shop = match started {
        Ok(Some(shop)) => shop,
        // What stopped us matters more than how the server stopped.
        not_started => {
            let _ = server.shutdown().await;
            return not_started.map(|_| ());
        }
    };
    output::print(&greeting(&server.addresses, &settings, arguments))?;
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
    output::print("\nstopping the shop, then Cupola\n")?;
    let made = shop.stop().await;
    server.shutdown().await?;
    output::print(&format!("{made} requests were made; good bye\n"))
}

/// A service of the shop, as one of the processes that the demo starts.
pub(crate) async fn serve(service: Service) -> Result<(), Failure> {
    let ended = cupola_example_services::run(service).await;
    ended.map_err(|error| Failure::new("a service of the demo ended").caused_by(&*error))
}

/// Unless the file has pipelines of its own.
fn with_pipelines(file: &mut File) -> Result<(), Failure> {
    let root = &mut file.document.root;
    if root
        .at(&["service", "pipelines"])
        .is_some_and(|said| !said.is_null())
    {
        return Ok(());
    }
    let own = Node::parse("(demo)", PIPELINES)
        .map_err(|problem| Failure::new(format!("cannot read the pipelines of the demo: {problem}")))?;
    *root = cupola_config::merge([own, root.clone()]).unwrap_or_else(|| root.clone());
    Ok(())
}

async fn open_shop(server: &Server, arguments: &DemoArguments) -> Result<Shop, Failure> {
    let Some(otlp) = server.addresses.otlp_http else {
        return Err(Failure::usage(
            "the demo sends OTLP over HTTP, which the configuration switches off",
        ));
    };
    Shop::start(otlp, arguments.users).await
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

fn greeting(addresses: &Addresses, settings: &Settings, arguments: &DemoArguments) -> String {
    let url = format!("http://{}", addresses.api);
    let at = if url == crate::cli::URL_DEFAULT {
        String::new()
    } else {
        format!(" --url {url}")
    };
    let program = program();
    let tenant = TENANTS[0];
    let end = match arguments.run_for {
        Some(span) => format!("It stops by itself after {span}."),
        None => "Ctrl-C stops it.".to_owned(),
    };
    let removed = match arguments.data_dir {
        Some(_) => "",
        None => " (removed at the end; --data-dir DIR keeps it)",
    };
    format!(
        "Cupola is running, with a shop of four services that sends it telemetry.

  web page     {url}/?tenant={tenant}
  tenants      {tenants} (and `cupola` for Cupola itself)
  data         {data}{removed}

Things to try in another terminal:

  {program} tail --tenant {tenant}{at}
  {program} tail spans --tenant {tenant} --errors{at}
  {program} query --tenant {tenant}{at} \\
    \"SELECT service_name, count(*) AS spans, avg(duration) / 1e6 AS mean_ms FROM spans GROUP BY 1 ORDER BY 2 DESC\"
  {program} query --tenant {tenant}{at} \"SELECT trace_id, name FROM spans WHERE status_code = 'error' LIMIT 5\"
  {program} trace --tenant {tenant}{at} TRACE_ID

{end}
",
        tenants = TENANTS.join(", "),
        data = settings.directory.display(),
    )
}

/// What to type to run this program again: how it was called, which after `cargo run` is a path.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "cupola".to_owned())
}
