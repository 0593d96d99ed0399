//! The services of the shop, each an HTTP server of its own on a loopback port: storefront → orders → inventory and
//! payments, and a worker behind a queue. What each does is in `routes`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use axum::{Json, Router};
use opentelemetry::logs::{AnyValue, Severity};
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::instruments::{Headers, Instruments, channel, extract, fail, inject};
use super::worker::{Message, work};
use super::{routes, users};
use crate::failure::Failure;

/// Which tenant a request within the shop is for.
pub(crate) const TENANT_HEADER: &str = "x-shop-tenant";
const QUEUE_MESSAGES_MAX: usize = 256;
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The running application.
pub(crate) struct Shop {
    services: Vec<Arc<Service>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    handled: Arc<AtomicU64>,
}

/// One service with its telemetry for each tenant.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    instruments: HashMap<&'static str, Instruments>,
    http: reqwest::Client,
    /// Base URLs of the services it calls.
    peers: HashMap<&'static str, String>,
    pub(super) queue: Option<mpsc::Sender<Message>>,
    handled: Arc<AtomicU64>,
}

/// A request being handled.
pub(crate) struct Call<'s> {
    pub(crate) service: &'s Service,
    pub(crate) tenant: &'static str,
    pub(crate) context: Context,
    route: &'static str,
    method: &'static str,
    started: Instant,
}

pub(super) type Answer = (StatusCode, Json<Value>);

impl Shop {
    pub(crate) async fn start(
        otlp: SocketAddr,
        tenants: &'static [&'static str],
        users: usize,
    ) -> Result<Shop, Failure> {
        let channel = channel(otlp)?;
        // All of it is on this machine, which no proxy reaches.
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| Failure::new("cannot make an HTTP client for the demo").caused_by(&error))?;
        let handled = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let service = |name: &'static str, peers: &[(&'static str, SocketAddr)], queue| {
            let instruments = tenants
                .iter()
                .map(|tenant| Ok((*tenant, Instruments::new(name, tenant, &channel)?)));
            Ok::<_, Failure>(Arc::new(Service {
                name,
                instruments: instruments.collect::<Result<_, Failure>>()?,
                http: http.clone(),
                peers: peers
                    .iter()
                    .map(|(peer, address)| (*peer, format!("http://{address}")))
                    .collect(),
                queue,
                handled: handled.clone(),
            }))
        };
        let mut shop = Shop {
            services: Vec::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            handled: handled.clone(),
        };
        let payments = shop
            .serve(service("payments", &[], None)?, routes::payments())
            .await?;
        let inventory = shop
            .serve(service("inventory", &[], None)?, routes::inventory())
            .await?;
        let peers = [("payments", payments), ("inventory", inventory)];
        let orders = shop
            .serve(service("orders", &peers, Some(sender))?, routes::orders())
            .await?;
        let peers = [("orders", orders), ("inventory", inventory)];
        let storefront = shop
            .serve(service("storefront", &peers, None)?, routes::storefront())
            .await?;
        let worker = service("fulfilment", &[], None)?;
        shop.services.push(worker.clone());
        shop.tasks.spawn(work(worker, receiver, shop.stop.clone()));
        for tenant in tenants {
            for _ in 0..users {
                shop.tasks.spawn(users::act(
                    http.clone(),
                    tenant,
                    format!("http://{storefront}"),
                    shop.stop.clone(),
                ));
            }
        }
        Ok(shop)
    }

    /// Stops users, services and worker, exports what is left; gives the number of requests handled.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let mut closing = tokio::task::JoinSet::new();
        for service in &self.services {
            for tenant in service.instruments.keys().copied() {
                let service = service.clone();
                closing.spawn_blocking(move || {
                    if let Some(instruments) = service.instruments.get(tenant) {
                        instruments.shutdown();
                    }
                });
            }
        }
        closing.join_all().await;
        self.handled.load(Ordering::Relaxed)
    }

    async fn serve(
        &mut self,
        service: Arc<Service>,
        routes: Router<Arc<Service>>,
    ) -> Result<SocketAddr, Failure> {
        let failed =
            |error: std::io::Error| Failure::new("cannot start a service of the demo").caused_by(&error);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        self.services.push(service.clone());
        let stopped = self.stop.clone().cancelled_owned();
        self.tasks.spawn(async move {
            let serving = axum::serve(listener, routes.with_state(service)).with_graceful_shutdown(stopped);
            if let Err(error) = serving.await {
                tracing::warn!(%error, "a service of the demo ended");
            }
        });
        Ok(address)
    }
}

impl Service {
    /// Begins the server span of a request.
    pub(super) fn begin(
        &self,
        headers: &HeaderMap,
        method: &'static str,
        route: &'static str,
    ) -> Option<Call<'_>> {
        let named = headers.get(TENANT_HEADER)?.to_str().ok()?;
        let (tenant, instruments) = self.instruments.get_key_value(named)?;
        let user = headers
            .get("x-shop-user")
            .and_then(|user| user.to_str().ok())
            .unwrap_or("anonymous");
        let attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("url.path", route),
            KeyValue::new("user.id", user.to_owned()),
            KeyValue::new("network.protocol.version", "1.1"),
        ];
        let parent = extract(&Headers(headers));
        let context = instruments.span(format!("{method} {route}"), SpanKind::Server, &parent, attributes);
        Some(Call {
            service: self,
            tenant,
            context,
            route,
            method,
            started: Instant::now(),
        })
    }

    pub(crate) fn instruments(&self, tenant: &str) -> Option<&Instruments> {
        self.instruments.get(tenant)
    }
}

impl Call<'_> {
    pub(crate) fn instruments(&self) -> &Instruments {
        // A call is begun only for a tenant that has instruments.
        &self.service.instruments[self.tenant]
    }

    pub(super) fn log(
        &self,
        severity: Severity,
        body: impl Into<String>,
        attributes: Vec<(&'static str, AnyValue)>,
    ) {
        self.instruments()
            .log(&self.context, severity, body.into(), attributes);
    }

    /// A simulated step such as a database query: a span around some time.
    pub(super) async fn step(&self, name: &str, millis: std::ops::Range<u64>, attributes: Vec<KeyValue>) {
        let context = self
            .instruments()
            .span(name.to_owned(), SpanKind::Client, &self.context, attributes);
        let millis = rand::rng().random_range(millis);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        context.span().end();
    }

    pub(super) async fn database(&self, statement: &'static str, millis: std::ops::Range<u64>) {
        let (verb, _) = statement.split_once(' ').unwrap_or((statement, ""));
        let attributes = vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.namespace", self.service.name),
            KeyValue::new("db.query.text", statement),
        ];
        self.step(&format!("{verb} {}", self.service.name), millis, attributes)
            .await;
    }

    /// Calls another service over HTTP, within a client span whose context travels in the headers.
    pub(super) async fn request(
        &self,
        peer: &'static str,
        path: &str,
        body: Option<Value>,
        attempt: u32,
    ) -> Result<Value, StatusCode> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let url = format!(
            "{}{path}",
            self.service.peers.get(peer).map_or("", String::as_str)
        );
        let attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.full", url.clone()),
            KeyValue::new("peer.service", peer),
            KeyValue::new("http.request.resend_count", i64::from(attempt)),
        ];
        let context = self
            .instruments()
            .span(method.to_owned(), SpanKind::Client, &self.context, attributes);
        let mut carrier = HashMap::new();
        inject(&context, &mut carrier);
        let http = &self.service.http;
        let mut request = match &body {
            Some(body) => http.post(&url).json(body),
            None => http.get(&url),
        };
        for (key, value) in &carrier {
            request = request.header(key, value);
        }
        let answered = request
            .header(TENANT_HEADER, self.tenant)
            .timeout(CALL_TIMEOUT)
            .send()
            .await;
        let status = match &answered {
            Ok(response) => {
                StatusCode::from_u16(response.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY)
            }
            Err(_) => StatusCode::BAD_GATEWAY,
        };
        context.span().set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status.as_u16()),
        ));
        if !status.is_success() {
            fail(&context, format!("{peer} answered {status}"));
        }
        context.span().end();
        match answered {
            Ok(response) if status.is_success() => Ok(response.json().await.unwrap_or(Value::Null)),
            _ => Err(status),
        }
    }

    /// Ends the server span and answers.
    pub(super) fn finish(self, outcome: Result<Value, (StatusCode, String)>) -> Answer {
        let (status, body) = match outcome {
            Ok(body) => (StatusCode::OK, body),
            Err((status, message)) => {
                let severity = if status.is_server_error() {
                    Severity::Error
                } else {
                    Severity::Warn
                };
                self.log(
                    severity,
                    format!("{} {} failed: {message}", self.method, self.route),
                    vec![],
                );
                if status.is_server_error() {
                    fail(&self.context, message.clone());
                }
                (status, json!({ "error": message }))
            }
        };
        let code = i64::from(status.as_u16());
        self.context
            .span()
            .set_attribute(KeyValue::new("http.response.status_code", code));
        self.context.span().end();
        self.instruments()
            .request_done(self.route, self.method, status.as_u16(), self.started);
        self.service.handled.fetch_add(1, Ordering::Relaxed);
        (status, Json(body))
    }
}
