//! The cloud: takes orders and money. What it keeps is with the api.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cupola_sdk::core::metrics::{Description, Instrument};
use cupola_sdk::core::value::Value as Attribute;
use cupola_sdk::http::ServerLayer;
use cupola_sdk::{Cupola, otel_trace};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Failure;
use crate::server::{Peer, Problem};

#[derive(Clone)]
struct Cloud {
    api: Peer,
    orders: Instrument<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    product: String,
    quantity: u32,
}

pub(crate) fn routes(cupola: &Cupola, api: String) -> Result<Router, Failure> {
    let cloud = Cloud {
        api: Peer::new(cupola, api)?,
        orders: cupola.meter("shop").counter(&Description {
            unit: "{order}",
            ..Description::new("shop.orders")
        }),
    };
    Ok(Router::new()
        .route("/tenants/{tenant}/products", get(products))
        .route("/tenants/{tenant}/orders", post(order))
        .route("/tenants/{tenant}/orders/{id}", get(status))
        .with_state(cloud)
        .layer(CatchPanicLayer::new())
        .layer(ServerLayer::new(cupola.sdk())))
}

async fn products(Path(tenant): Path<String>, State(cloud): State<Cloud>) -> Result<Json<Value>, Problem> {
    cloud.api.get(&format!("/tenants/{tenant}/products")).await
}

async fn status(
    Path((tenant, id)): Path<(String, i64)>,
    State(cloud): State<Cloud>,
) -> Result<Json<Value>, Problem> {
    cloud.api.get(&format!("/tenants/{tenant}/orders/{id}")).await
}

async fn order(
    Path(tenant): Path<String>,
    State(cloud): State<Cloud>,
    Json(order): Json<Order>,
) -> Result<Json<Value>, Problem> {
    let product = &order.product;
    let found = cloud
        .api
        .get(&format!("/tenants/{tenant}/products/{product}"))
        .await?;
    let price = found["price"].as_f64().unwrap_or_default();
    if product == "rocket" {
        build(product).await;
    }
    charge(product, price * f64::from(order.quantity)).await?;
    let placed = cloud
        .api
        .post(&format!("/tenants/{tenant}/orders"), &order)
        .await?;
    cloud.orders.record(1, &[("product", Attribute::String(product))]);
    Ok(placed)
}

/// What is made to order takes its time.
#[otel_trace(args)]
async fn build(product: &str) {
    let millis = rand::rng().random_range(300..900);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    tracing::warn!(millis, "made to order, the customer waits");
}

#[otel_trace(args, errors)]
async fn charge(product: &str, amount: f64) -> Result<(), Problem> {
    if product == "tnt" {
        let reason = "the bank does not answer";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason));
    }
    tracing::info!(amount, "charged");
    Ok(())
}
