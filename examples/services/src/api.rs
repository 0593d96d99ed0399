//! The api: products and orders in a database, and deliveries in a queue.

use apalis_sqlite::{Config, SqliteStorage};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cupola_sdk::Cupola;
use cupola_sdk::apalis::{Producer, PushTraced as _};
use cupola_sdk::http::ServerLayer;
use cupola_sdk::sqlx::TracedPool;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::Sqlite;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Failure;
use crate::server::{Problem, database};
use crate::tokens::TENANTS;

/// Databases in the directory that api and worker share.
pub(crate) const SHOP: &str = "shop.db";
pub(crate) const JOBS: &str = "jobs.db";
pub(crate) const QUEUE: &str = "deliveries";

/// A job of the worker.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Delivery {
    pub(crate) tenant: String,
    pub(crate) order: i64,
    pub(crate) product: String,
}

#[derive(Clone)]
struct Api {
    shop: TracedPool<Sqlite>,
    deliveries: SqliteStorage<Delivery>,
    producer: Producer,
}

#[derive(Debug, Deserialize)]
struct Order {
    product: String,
    quantity: u32,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS products (tenant TEXT, id TEXT, price REAL, stock INTEGER, PRIMARY KEY (tenant, id));
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, tenant TEXT, product TEXT, quantity INTEGER, state TEXT);
CREATE TABLE IF NOT EXISTS deliveries (order_id INTEGER PRIMARY KEY, carrier TEXT, attempts INTEGER);";

const PRODUCTS: [(&str, f64, i64); 6] = [
    ("anvil", 49.0, 1_000_000),
    ("dodo", 99.0, 0),
    ("hole", 5.0, 1_000_000),
    ("rocket", 999.0, 1_000_000),
    ("rope", 9.5, 1_000_000),
    ("tnt", 19.95, 1_000_000),
];

/// The queue, as those who fill and who empty it see it.
pub(crate) async fn deliveries(data: &std::path::Path) -> Result<SqliteStorage<Delivery>, Failure> {
    let pool = database(data, JOBS).await?;
    SqliteStorage::setup(&pool).await?;
    Ok(SqliteStorage::new(&pool).with_config(Config::default().queue(QUEUE)))
}

pub(crate) async fn routes(cupola: &Cupola, data: &std::path::Path) -> Result<Router, Failure> {
    let shop = database(data, SHOP).await?;
    sqlx::raw_sql(SCHEMA).execute(&shop).await?;
    for tenant in TENANTS {
        for (id, price, stock) in PRODUCTS {
            let insert = "INSERT OR IGNORE INTO products VALUES (?, ?, ?, ?)";
            let insert = sqlx::query(insert).bind(tenant).bind(id).bind(price).bind(stock);
            insert.execute(&shop).await?;
        }
    }
    let api = Api {
        shop: TracedPool::new(cupola.sdk(), shop),
        deliveries: deliveries(data).await?,
        producer: Producer::new(cupola.sdk(), QUEUE),
    };
    Ok(Router::new()
        .route("/tenants/{tenant}/products", get(products))
        .route("/tenants/{tenant}/products/{id}", get(product))
        .route("/tenants/{tenant}/orders", post(place))
        .route("/tenants/{tenant}/orders/{id}", get(status).post(change))
        .with_state(api)
        .layer(CatchPanicLayer::new())
        .layer(ServerLayer::new(cupola.sdk())))
}

async fn products(Path(tenant): Path<String>, State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let select = sqlx::query_as("SELECT id, price FROM products WHERE tenant = ? ORDER BY id");
    let found: Vec<(String, f64)> = select.bind(&tenant).fetch_all(&api.shop).await?;
    tracing::info!(count = found.len(), "products listed");
    let products = found
        .iter()
        .map(|(id, price)| json!({ "id": id, "price": price }));
    Ok(Json(products.collect()))
}

async fn product(
    Path((tenant, id)): Path<(String, String)>,
    State(api): State<Api>,
) -> Result<Json<Value>, Problem> {
    let select = sqlx::query_as("SELECT price, stock FROM products WHERE tenant = ? AND id = ?");
    let found: (f64, i64) = select.bind(&tenant).bind(&id).fetch_one(&api.shop).await?;
    match found {
        (_, 0) => Err(Problem::new(StatusCode::CONFLICT, format!("no {id} is left"))),
        (price, _) => Ok(Json(json!({ "id": id, "price": price }))),
    }
}

async fn place(
    Path(tenant): Path<String>,
    State(mut api): State<Api>,
    Json(order): Json<Order>,
) -> Result<Json<Value>, Problem> {
    let Order { product, quantity } = order;
    assert_ne!(product, "hole", "somebody fell into it");
    let update = sqlx::query("UPDATE products SET stock = stock - ? WHERE tenant = ? AND id = ?");
    let update = update.bind(quantity).bind(&tenant).bind(&product);
    update.execute(&api.shop).await?;
    let insert = "INSERT INTO orders (tenant, product, quantity, state) VALUES (?, ?, ?, 'placed')";
    let insert = sqlx::query(insert).bind(&tenant).bind(&product).bind(quantity);
    let order = insert.execute(&api.shop).await?.last_insert_rowid();
    tracing::info!(order, product, quantity, "order placed");
    let delivery = Delivery {
        tenant,
        order,
        product,
    };
    let queued = api.deliveries.push_traced(&api.producer, delivery).await;
    queued.map_err(Failure::from)?;
    Ok(Json(json!({ "order": order })))
}

async fn status(
    Path((tenant, id)): Path<(String, i64)>,
    State(api): State<Api>,
) -> Result<Json<Value>, Problem> {
    let select = sqlx::query_as("SELECT product, state FROM orders WHERE tenant = ? AND id = ?");
    let (product, state): (String, String) = select.bind(&tenant).bind(id).fetch_one(&api.shop).await?;
    Ok(Json(json!({ "order": id, "product": product, "state": state })))
}

async fn change(
    Path((tenant, id)): Path<(String, i64)>,
    State(api): State<Api>,
    Json(change): Json<Value>,
) -> Result<Json<Value>, Problem> {
    let state = change["state"].as_str().unwrap_or_default();
    let update = sqlx::query("UPDATE orders SET state = ? WHERE tenant = ? AND id = ?");
    update
        .bind(state)
        .bind(&tenant)
        .bind(id)
        .execute(&api.shop)
        .await?;
    tracing::info!(order = id, state, "order changed");
    Ok(Json(json!({ "order": id, "state": state })))
}
