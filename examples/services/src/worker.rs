//! The worker: takes deliveries from the queue, in the trace and for the tenant of whoever has ordered.

use std::path::Path;
use std::time::Duration;

use apalis::prelude::*;
use cupola_sdk::Cupola;
use cupola_sdk::apalis::ConsumerLayer;
use cupola_sdk::sqlx::TracedPool;
use serde_json::json;
use sqlx::Sqlite;

use crate::api::{Delivery, SHOP, deliveries};
use crate::server::{Peer, database, say};
use crate::{Failure, Listen, lifeline};

/// The queue is asked so often while it is empty.
const ASK_EVERY: Duration = Duration::from_millis(100);
const RETRIES: usize = 3;

#[derive(Clone)]
struct Worker {
    shop: TracedPool<Sqlite>,
    api: Peer,
}

pub(crate) async fn work(cupola: &Cupola, listen: Listen, data: &Path, api: String) -> Result<(), Failure> {
    let worker = Worker {
        shop: TracedPool::new(cupola.sdk(), database(data, SHOP).await?),
        api: Peer::new(cupola, api)?,
    };
    let queue = deliveries(data).await?.poll_with_interval(ASK_EVERY);
    tracing::info!("waiting for deliveries");
    say("ready")?;
    let ended = async move {
        lifeline::ended(listen.tied).await;
        Ok::<(), std::io::Error>(())
    };
    WorkerBuilder::new(format!("worker-{}", std::process::id()))
        .backend(queue)
        .data(worker)
        .retry(RetryPolicy::retries(RETRIES))
        .catch_panic()
        .layer(ConsumerLayer::new(cupola.sdk()))
        .build(deliver)
        .run_until(ended)
        .await?;
    Ok(())
}

async fn deliver(delivery: Delivery, worker: Data<Worker>, attempt: Attempt) -> Result<(), BoxDynError> {
    let Delivery {
        tenant,
        order,
        product,
    } = delivery;
    let upsert = "INSERT INTO deliveries VALUES (?, 'road', 1)
                  ON CONFLICT DO UPDATE SET attempts = attempts + 1";
    sqlx::query(upsert).bind(order).execute(&worker.shop).await?;
    if product == "rocket" && attempt.current() == 1 {
        return Err("the carrier has no truck that is long enough".into());
    }
    tracing::info!(order, product, "delivered");
    let path = format!("/tenants/{tenant}/orders/{order}");
    let told = worker.api.post(&path, &json!({ "state": "delivered" })).await;
    told.map(drop).map_err(Into::into)
}
