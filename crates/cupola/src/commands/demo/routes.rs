//! What the services of the shop do: their routes and handlers. Some calls are slow, some fail, some are tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use opentelemetry::KeyValue;
use opentelemetry::logs::Severity;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use rand::Rng as _;
use serde_json::{Value, json};

use super::instruments::{fail, inject};
use super::shop::{Answer, Call, Service};
use super::worker::Message;

const PAYMENT_ATTEMPTS_MAX: u32 = 3;

fn unknown_tenant() -> Answer {
    (
        StatusCode::BAD_REQUEST,
        Json(json!({ "error": "no tenant of the shop was named" })),
    )
}

pub(super) fn storefront() -> Router<Arc<Service>> {
    Router::new()
        .route("/products", get(products))
        .route("/checkout", post(checkout))
}

async fn products(State(service): State<Arc<Service>>, headers: HeaderMap) -> Answer {
    let Some(call) = service.begin(&headers, "GET", "/products") else {
        return unknown_tenant();
    };
    call.step("GET cache", 1..4, vec![KeyValue::new("db.system.name", "redis")])
        .await;
    let stock = call.request("inventory", "/stock", None, 0).await;
    let outcome = stock.map_err(|status| (StatusCode::BAD_GATEWAY, format!("no stock: {status}")));
    call.log(Severity::Info, "listed the products for a visitor", vec![]);
    call.finish(outcome)
}

async fn checkout(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Json(basket): Json<Value>,
) -> Answer {
    let Some(call) = service.begin(&headers, "POST", "/checkout") else {
        return unknown_tenant();
    };
    let items = basket["items"].as_i64().unwrap_or(1);
    call.log(
        Severity::Info,
        format!("checking out a basket of {items} items"),
        vec![("items", items.into())],
    );
    let placed = call.request("orders", "/orders", Some(basket), 0).await;
    let outcome = placed.map_err(|status| (status, format!("the order was not placed: {status}")));
    call.finish(outcome)
}

pub(super) fn orders() -> Router<Arc<Service>> {
    Router::new().route("/orders", post(place_order))
}

async fn place_order(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Json(basket): Json<Value>,
) -> Answer {
    let Some(call) = service.begin(&headers, "POST", "/orders") else {
        return unknown_tenant();
    };
    let outcome = order(&call, &basket).await;
    call.finish(outcome)
}

async fn order(call: &Call<'_>, basket: &Value) -> Result<Value, (StatusCode, String)> {
    let number: u32 = rand::rng().random_range(10_000..1_000_000);
    call.database("SELECT * FROM customers WHERE id = $1", 1..6).await;
    call.request("inventory", "/reservations", Some(basket.clone()), 0)
        .await
        .map_err(|status| {
            (
                StatusCode::CONFLICT,
                format!("nothing could be reserved: {status}"),
            )
        })?;
    charge(call, basket, number).await?;
    call.database(
        "INSERT INTO orders (number, customer, items) VALUES ($1, $2, $3)",
        2..9,
    )
    .await;
    let instruments = call.instruments();
    instruments.orders.add(1, &[KeyValue::new("shop.channel", "web")]);
    instruments
        .order_value
        .record(basket["value"].as_f64().unwrap_or(0.0), &[]);
    publish(call, number).await;
    call.log(
        Severity::Info,
        format!("order {number} is placed"),
        vec![("order.number", i64::from(number).into())],
    );
    Ok(json!({ "order": number }))
}

/// A payment that failed in a way that may pass is tried again.
async fn charge(call: &Call<'_>, basket: &Value, number: u32) -> Result<(), (StatusCode, String)> {
    for attempt in 0..PAYMENT_ATTEMPTS_MAX {
        match call
            .request("payments", "/charges", Some(basket.clone()), attempt)
            .await
        {
            Ok(_) => return Ok(()),
            Err(StatusCode::PAYMENT_REQUIRED) => {
                return Err((StatusCode::PAYMENT_REQUIRED, "the card was declined".into()));
            }
            Err(status) => {
                let body = format!(
                    "charging order {number} failed with {status}, attempt {}",
                    attempt + 1
                );
                call.log(
                    Severity::Warn,
                    body,
                    vec![("retry.count", i64::from(attempt).into())],
                );
                tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
            }
        }
    }
    Err((StatusCode::BAD_GATEWAY, "payments are not available".into()))
}

/// Hands the order to the worker; the trace goes on behind the queue.
async fn publish(call: &Call<'_>, number: u32) {
    let Some(queue) = &call.service.queue else { return };
    let attributes = vec![
        KeyValue::new("messaging.system", "in-process"),
        KeyValue::new("messaging.destination.name", "orders.placed"),
        KeyValue::new("messaging.operation.type", "send"),
    ];
    let context = call.instruments().span(
        "send orders.placed".to_owned(),
        SpanKind::Producer,
        &call.context,
        attributes,
    );
    let mut headers = HashMap::new();
    inject(&context, &mut headers);
    match queue.try_send(Message {
        tenant: call.tenant,
        number,
        headers,
    }) {
        Ok(()) => call.instruments().queue_depth.add(1, &[]),
        Err(error) => fail(&context, format!("the queue took no message: {error}")),
    }
    context.span().end();
}

pub(super) fn payments() -> Router<Arc<Service>> {
    Router::new().route("/charges", post(charge_card))
}

async fn charge_card(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Json(basket): Json<Value>,
) -> Answer {
    let Some(call) = service.begin(&headers, "POST", "/charges") else {
        return unknown_tenant();
    };
    let fate = rand::rng().random_range(0..100);
    let patience = if fate < 4 { 300..900 } else { 5..40 };
    call.step(
        "POST bank",
        patience,
        vec![KeyValue::new("server.address", "bank.example")],
    )
    .await;
    let outcome = match fate {
        90..=95 => Err((
            StatusCode::SERVICE_UNAVAILABLE,
            "the bank does not answer".to_owned(),
        )),
        96..=98 => Err((StatusCode::PAYMENT_REQUIRED, "declined by the issuer".to_owned())),
        _ => Ok(json!({ "charged": basket["value"] })),
    };
    if outcome.is_ok() {
        call.log(
            Severity::Info,
            "the card was charged",
            vec![("amount", basket["value"].as_f64().unwrap_or(0.0).into())],
        );
    }
    call.finish(outcome)
}

pub(super) fn inventory() -> Router<Arc<Service>> {
    Router::new()
        .route("/stock", get(stock))
        .route("/reservations", post(reserve))
}

async fn stock(State(service): State<Arc<Service>>, headers: HeaderMap) -> Answer {
    let Some(call) = service.begin(&headers, "GET", "/stock") else {
        return unknown_tenant();
    };
    call.database("SELECT sku, amount FROM stock ORDER BY sku LIMIT 50", 1..12)
        .await;
    call.log(
        Severity::Debug,
        "read 50 rows of the stock",
        vec![("db.rows", 50.into())],
    );
    call.finish(Ok(json!({ "products": 50 })))
}

async fn reserve(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Json(basket): Json<Value>,
) -> Answer {
    let Some(call) = service.begin(&headers, "POST", "/reservations") else {
        return unknown_tenant();
    };
    call.database("UPDATE stock SET amount = amount - $2 WHERE sku = $1", 2..15)
        .await;
    let outcome = match rand::rng().random_range(0..100) {
        0..=2 => Err((StatusCode::CONFLICT, "out of stock".to_owned())),
        _ => Ok(json!({ "reserved": basket["items"] })),
    };
    call.finish(outcome)
}
