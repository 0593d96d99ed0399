//! The shop of the demo: the services of `examples/services`, each a process of this program that ends with it, and users who
//! look around and order.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_example_services::processes;
use cupola_example_services::tokens::{TENANTS, User};
use cupola_example_services::users::visit;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::cli::DEMO_SERVICE;
use crate::failure::Failure;

/// The environment of the services: what is short in it is so that what happens is seen at once.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ("OTEL_BSP_SCHEDULE_DELAY", "500"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "500"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
    // Metrics are kept by tenant too.
    ("CUPOLA_BAGGAGE_METRICS", "tenant.id"),
    ("CUPOLA_SELF_METRICS", "false"),
    ("CUPOLA_CONSOLE", "off"),
    ("RUST_LOG", "info"),
];

/// The running application.
pub(super) struct Shop {
    services: processes::Shop,
    visits: JoinSet<()>,
    made: Arc<AtomicU64>,
    /// Its databases, which are removed with it.
    _data: TempDir,
}

impl Shop {
    /// Starts it, with so many users of each tenant, so that it sends to this address over HTTP.
    pub(super) async fn start(otlp: SocketAddr, users: usize) -> Result<Shop, Failure> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failure::new("cannot start the shop of the demo").caused_by(error)
        };
        let data = tempfile::Builder::new().prefix("cupola-shop-").tempdir();
        let data = data.map_err(|error| failed(&error))?;
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let command = || service(&program, otlp, data.path());
        let started = processes::Shop::start(command, data.path()).await;
        let services = started.map_err(|error| failed(&error))?;
        // All of it is on this machine, which no proxy reaches.
        let http = reqwest::Client::builder().no_proxy().build();
        let http = http.map_err(|error| failed(&error))?;
        let (mut visits, made) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        for (tenant, number) in TENANTS
            .iter()
            .flat_map(|tenant| (1..=users).map(move |number| (tenant, number)))
        {
            let (http, gateway, made) = (http.clone(), services.gateway.clone(), made.clone());
            let user = User {
                id: format!("{tenant}-user-{number}"),
                tenant: (*tenant).to_owned(),
            };
            visits.spawn(async move {
                let count = || {
                    made.fetch_add(1, Ordering::Relaxed);
                };
                visit(&http, &gateway, &user, count).await;
            });
        }
        Ok(Shop {
            services,
            visits,
            made,
            _data: data,
        })
    }

    /// Sends the users home and ends the services, which export what is left; gives the number of requests.
    pub(super) async fn stop(mut self) -> u64 {
        self.visits.shutdown().await;
        self.services.stop().await;
        self.made.load(Ordering::Relaxed)
    }
}

/// This program as one of the services, which knows nothing of how Cupola itself was set up.
fn service(program: &Path, otlp: SocketAddr, data: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OTEL_") || text.starts_with("CUPOLA_") {
            command.env_remove(&name);
        }
    }
    command
        .arg(DEMO_SERVICE)
        .envs(ENVIRONMENT)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{otlp}"))
        // A `cupola.yaml` where the demo was started is that of a server.
        .current_dir(data)
        // Their panics are part of the show, on the page.
        .stderr(Stdio::null());
    command
}
