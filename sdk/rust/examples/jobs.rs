//! Background jobs with apalis: what is logged in a job belongs to the trace of whoever queued it, and to the same tenant.
//!
//! ```text
//! cargo run -p cupola-sdk --features apalis --example jobs
//! ```
//!
//! It sends to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, by default to `http://localhost:4318`, which `cupola serve` listens on.

use apalis::prelude::*;
use apalis_sqlite::{Config, SqlitePool, SqliteStorage};
use cupola_sdk::apalis::{ConsumerLayer, Producer, PushTraced as _};
use cupola_sdk::{otel_trace, with_context};

async fn send_mail(to: String, worker: WorkerContext) -> Result<(), BoxDynError> {
    tracing::info!(to, "mail sent");
    // An example comes to an end.
    worker.stop()?;
    Ok(())
}

#[otel_trace(kind = "server", errors)]
async fn sign_up(mails: &mut SqliteStorage<String>, producer: &Producer) -> Result<(), BoxDynError> {
    mails
        .push_traced(producer, "alice@example.com".to_owned())
        .await?;
    tracing::info!("signed up");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxDynError> {
    let cupola = cupola_sdk::builder().service_name("mails").init()?;
    // Usually a file, of which other processes take the jobs.
    let pool = SqlitePool::connect(":memory:").await?;
    SqliteStorage::setup(&pool).await?;
    let mut mails = SqliteStorage::new(&pool).with_config(Config::default().queue("mails"));

    let producer = Producer::new(cupola.sdk(), "mails");
    let signing_up = with_context!(propagated tenant.id = "acme" => async {
        sign_up(&mut mails, &producer).await
    });
    signing_up.await?;

    WorkerBuilder::new("postman")
        .backend(mails)
        .retry(RetryPolicy::retries(3))
        .catch_panic()
        .layer(ConsumerLayer::new(cupola.sdk()))
        .build(send_mail)
        .run()
        .await?;
    Ok(())
}
