//! The gateway: checks who asks, and from there on everything is known to be theirs.

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use cupola_sdk::Cupola;
use cupola_sdk::http::{Claims, ServerLayer};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Failure;
use crate::server::{Peer, Problem};
use crate::tokens::{self, User};

pub(crate) fn routes(cupola: &Cupola, cloud: String) -> Result<Router, Failure> {
    // Nothing that strangers say of traces and tenants is believed, but for tokens, which `verify` has checked.
    let telemetry = ServerLayer::new(cupola.sdk())
        .at_the_border()
        .claims(Claims::verified_by_a_gateway([
            ("tenant", "tenant.id"),
            ("sub", "user.id"),
        ]));
    Ok(Router::new()
        .route("/products", get(products))
        .route("/orders", post(order))
        .route("/orders/{id}", get(status))
        .with_state(Peer::new(cupola, cloud)?)
        .layer(CatchPanicLayer::new())
        .layer(telemetry)
        // The last one is the outermost.
        .layer(middleware::from_fn(verify)))
}

/// Takes away tokens that are none of ours.
async fn verify(mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION);
    let token = header.and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
    match token.and_then(tokens::verify) {
        Some(user) => drop(request.extensions_mut().insert(user)),
        None => drop(request.headers_mut().remove(AUTHORIZATION)),
    }
    next.run(request).await
}

/// Somebody whom we know.
struct Caller(User);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let user = parts.extensions.get().cloned().map(Caller);
        user.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "a valid bearer token is needed"))
    }
}

async fn products(Caller(user): Caller, State(cloud): State<Peer>) -> Result<Json<Value>, Problem> {
    cloud.get(&format!("/tenants/{}/products", user.tenant)).await
}

async fn order(
    Caller(user): Caller,
    State(cloud): State<Peer>,
    Json(order): Json<Value>,
) -> Result<Json<Value>, Problem> {
    tracing::info!("order received");
    cloud
        .post(&format!("/tenants/{}/orders", user.tenant), &order)
        .await
}

async fn status(
    Caller(user): Caller,
    State(cloud): State<Peer>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Problem> {
    cloud.get(&format!("/tenants/{}/orders/{id}", user.tenant)).await
}
