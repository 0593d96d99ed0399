//! A web service with logs, metrics and traces: `GET /price/{base_price}?discount=10`.
//!
//! ```text
//! cargo run -p cupola-sdk --features axum --example price
//! curl -H 'x-tenant-id: acme' 'http://127.0.0.1:8080/price/120?discount=10'
//! ```
//!
//! It sends to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, by default to `http://localhost:4318`, which `cupola serve` listens on.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use cupola_sdk::http::ServerLayer;
use cupola_sdk::otel_trace;
use serde_json::{Value, json};

/// Why there is no price.
#[derive(Debug, thiserror::Error)]
enum PriceError {
    #[error("a discount is from 0 to 100 percent, and {0} is not")]
    Discount(f64),
    #[error("a price is above zero, and {0} is not")]
    Price(f64),
}

#[derive(Debug)]
struct Discount(f64);

#[otel_trace(args, result)]
fn price(base_price: f64, discount: f64) -> Result<f64, PriceError> {
    if base_price <= 0.0 || !base_price.is_finite() {
        return Err(PriceError::Price(base_price));
    }
    if !(0.0..=100.0).contains(&discount) {
        return Err(PriceError::Discount(discount));
    }
    Ok(base_price * (1.0 - discount / 100.0))
}

async fn answer(
    Path(base_price): Path<f64>,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let discount = query.get("discount").map_or(Ok(0.0), |text| text.parse());
    let Discount(discount) = discount
        .map(Discount)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("discount: {error}")))?;
    let final_price =
        price(base_price, discount).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    tracing::info!(base_price, discount, final_price, "price told");
    Ok(Json(
        json!({ "base_price": base_price, "discount": discount, "final_price": final_price }),
    ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cupola = cupola_sdk::builder()
        .service_name("price-calculator")
        .service_version(env!("CARGO_PKG_VERSION"))
        .init()?;
    let telemetry = ServerLayer::new(cupola.sdk())
        .excluded(["/health"])
        .header("x-tenant-id", "tenant.id");
    let routes = Router::new()
        .route("/price/{base_price}", get(answer))
        .route("/health", get(|| async { "ok" }))
        .layer(telemetry);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    axum::serve(listener, routes)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
