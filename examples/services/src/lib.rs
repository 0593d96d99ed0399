//! A small shop of four services, as an example of `cupola-sdk` to copy from:
//!
//! ```text
//! users → gateway → cloud → api → (jobs) → worker
//!                            ↑               │
//!                            └───────────────┘
//! ```
//!
//! The gateway knows who asks and for which tenant, from a JSON Web Token; nobody behind it has to say so again: the two are
//! on every span and every log record of all four, through HTTP and through the queue, because they are in the baggage.
//!
//! What is ordered decides what there is to see: an `anvil` and a `rope` are no trouble, a `rocket` is slow and delivered at the
//! second attempt, for `tnt` no bank gives money, a `hole` makes the api panic, and a `dodo` is out of stock.

mod api;
mod cloud;
mod gateway;
pub mod lifeline;
pub mod processes;
mod server;
pub mod tokens;
pub mod users;
mod worker;

use std::path::PathBuf;

use cupola_sdk::Cupola;

/// What a service ends with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One of the four, with what it has to know.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Service {
    /// Knows who asks, and asks the cloud.
    Gateway {
        #[command(flatten)]
        listen: Listen,
        /// Where the cloud is.
        #[arg(long, value_name = "URL")]
        cloud: String,
    },
    /// Takes orders and money, and asks the api.
    Cloud {
        #[command(flatten)]
        listen: Listen,
        /// Where the api is.
        #[arg(long, value_name = "URL")]
        api: String,
    },
    /// Keeps products and orders, and queues deliveries.
    Api {
        #[command(flatten)]
        listen: Listen,
        /// Where the databases are.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Delivers, and tells the api.
    Worker {
        #[command(flatten)]
        listen: Listen,
        /// Where the databases are.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Where the api is.
        #[arg(long, value_name = "URL")]
        api: String,
    },
}

/// Where a service listens, and until when.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Listen {
    /// The port on 127.0.0.1; any that is free without it. The worker has none.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// End when standard input ends: with whoever holds the other end of it.
    #[arg(long, hide = true)]
    pub tied: bool,
}

impl Service {
    fn name(&self) -> &'static str {
        match self {
            Service::Gateway { .. } => "gateway",
            Service::Cloud { .. } => "cloud",
            Service::Api { .. } => "api",
            Service::Worker { .. } => "worker",
        }
    }
}

/// Runs a service until it is asked to end. Prints where it listens as soon as it does.
pub async fn run(service: Service) -> Result<(), Failure> {
    let cupola: Cupola = cupola_sdk::builder()
        .service_name(service.name())
        .service_version(env!("CARGO_PKG_VERSION"))
        .init()?;
    match service {
        Service::Gateway { listen, cloud } => server::serve(listen, gateway::routes(&cupola, cloud)?).await,
        Service::Cloud { listen, api } => server::serve(listen, cloud::routes(&cupola, api)?).await,
        Service::Api { listen, data } => server::serve(listen, api::routes(&cupola, &data).await?).await,
        Service::Worker { listen, data, api } => worker::work(&cupola, listen, &data, api).await,
    }
}
