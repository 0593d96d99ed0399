//! A running API over a store of its own, filled with a little telemetry of two tenants, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use cupola_api::{ApiConfig, ApiServer, PrometheusText, RunningApi, TENANT_HEADER};
use cupola_query::{QueryConfig, QueryEngine};
use cupola_store::{Store, StoreConfig};
use cupola_telemetry::encode::{LogsEncoder, TracesEncoder};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, TenantId};
use serde_json::Value;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: u64 = 1_767_225_600_000_000_000;
pub(crate) const MILLISECOND: u64 = 1_000_000;
/// The same id in both tenants: only the tenant tells their traces apart.
pub(crate) const TRACE: [u8; 16] = [0xaa; 16];
pub(crate) const TRACE_HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const OTHER: &str = "other";
/// In every answer of the other tenant, in none of the default one.
pub(crate) const SECRET: &str = "sesame";

/// Runs until it is cancelled.
pub(crate) const ENDLESS: &str =
    "SELECT count(*) FROM generate_series(1, 100000000) AS a CROSS JOIN generate_series(1, 100000000) AS b";

/// Longest a condition is waited for; on a busy machine everything takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

pub(crate) struct Server {
    pub(crate) api: RunningApi,
    pub(crate) store: Store,
    pub(crate) engine: QueryEngine,
    pub(crate) http: reqwest::Client,
    _directory: tempfile::TempDir,
}

/// What a request was answered with.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body of a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// Code of an error, after checking its shape.
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let error = self.json();
        assert!(
            error["error"]["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{error}"
        );
        error["error"]["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    pub(crate) async fn empty() -> Self {
        Self::with(ApiConfig::ephemeral(), |_| {}).await
    }

    pub(crate) async fn with(config: ApiConfig, adjust: impl FnOnce(&mut StoreConfig)) -> Self {
        let queries = QueryConfig {
            threads: 2,
            ..QueryConfig::default()
        };
        Self::start(config, queries, adjust).await
    }

    pub(crate) async fn start(
        config: ApiConfig,
        queries: QueryConfig,
        adjust: impl FnOnce(&mut StoreConfig),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = StoreConfig::new(directory.path());
        settings.background = false;
        adjust(&mut settings);
        let (store, _) = Store::open(settings).await.unwrap();
        let engine = QueryEngine::new(store.clone(), queries, MemoryBudget::new(1 << 30)).unwrap();
        let metrics = |out: &mut PrometheusText| {
            out.gauge("cupola_test", "Of the test.").value(1.0);
        };
        let api = ApiServer::start(config, engine.clone(), store.clone(), Arc::new(metrics))
            .await
            .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            api,
            store,
            engine,
            http,
            _directory: directory,
        }
    }

    /// With the telemetry of both tenants, half of it in segments.
    pub(crate) async fn filled() -> Self {
        let server = Self::empty().await;
        server.fill().await;
        server
    }

    async fn fill(&self) {
        self.store.append(traces()).await.unwrap();
        self.store.flush().await.unwrap();
        self.store.append(logs()).await.unwrap();
        for batch in secrets() {
            self.store.append(batch).await.unwrap();
        }
    }

    /// Waits until a number of `/metrics` is this.
    pub(crate) async fn await_metric(&self, name: &str, value: &str) {
        let line = format!("{name} {value}");
        let reached = async {
            while !self.get("/metrics").await.text.lines().any(|known| known == line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "{line}");
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api.addr)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        reply(self.http.get(self.url(path))).await
    }

    pub(crate) async fn get_as(&self, tenant: &str, path: &str) -> Reply {
        reply(self.http.get(self.url(path)).header(TENANT_HEADER, tenant)).await
    }

    pub(crate) async fn post_as(&self, tenant: &str, path: &str, body: Value) -> Reply {
        let request = self.http.post(self.url(path)).header(TENANT_HEADER, tenant);
        reply(
            request
                .header("content-type", "application/json")
                .body(body.to_string()),
        )
        .await
    }

    pub(crate) async fn sql(&self, query: &str) -> Reply {
        self.sql_as("default", query).await
    }

    pub(crate) async fn sql_as(&self, tenant: &str, query: &str) -> Reply {
        self.post_as(tenant, "/api/v1/sql", serde_json::json!({ "query": query }))
            .await
    }

    /// Waits until so many statements run.
    pub(crate) async fn await_running(&self, count: usize) {
        let reached = async {
            while self.engine.running().len() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| {
            panic!(
                "{count} statements should run, there are {:?}",
                self.engine.running()
            );
        });
    }
}

pub(crate) async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = tokio::time::timeout(PATIENCE, request.send())
        .await
        .expect("an answer in time")
        .unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = tokio::time::timeout(PATIENCE, response.text())
        .await
        .expect("a whole answer in time")
        .unwrap();
    Reply {
        status,
        headers,
        text,
    }
}

/// Two services, one trace of three spans, one of them failed; and one trace of a single span, later.
pub(crate) fn traces() -> Batch {
    let mut traces = TracesEncoder::new();
    {
        let mut resource = traces.resource_spans();
        resource
            .resource()
            .attribute("service.name", "front")
            .attribute("host.name", "a");
        let mut scope = resource.scope_spans();
        scope.scope().name("http");
        {
            let mut span = scope.span();
            span.trace_id(&TRACE).span_id(&[1; 8]).name("GET /cart").kind(2);
            span.start_time_unix_nano(START)
                .end_time_unix_nano(START + 50 * MILLISECOND);
            span.attribute("http.route", "/cart")
                .attribute("big", 9_007_199_254_740_993_i64);
            span.attribute("ratio", 0.5).attribute("ok", true);
        }
        let mut span = scope.span();
        span.trace_id(&[0xbb; 16])
            .span_id(&[9; 8])
            .name("GET /health")
            .kind(2);
        span.start_time_unix_nano(START + 1000 * MILLISECOND)
            .end_time_unix_nano(START + 1001 * MILLISECOND);
        span.attribute("http.route", "/health");
    }
    {
        let mut resource = traces.resource_spans();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_spans();
        {
            let mut span = scope.span();
            span.trace_id(&TRACE)
                .span_id(&[2; 8])
                .parent_span_id(&[1; 8])
                .name("load cart")
                .kind(2);
            span.start_time_unix_nano(START + 10 * MILLISECOND)
                .end_time_unix_nano(START + 40 * MILLISECOND);
            span.event()
                .time_unix_nano(START + 11 * MILLISECOND)
                .name("cache miss")
                .attribute("key", "u1");
            span.link()
                .trace_id(&[0xcc; 16])
                .span_id(&[7; 8])
                .attribute("why", "retry");
        }
        let mut span = scope.span();
        span.trace_id(&TRACE)
            .span_id(&[3; 8])
            .parent_span_id(&[2; 8])
            .name("SELECT")
            .kind(3);
        span.start_time_unix_nano(START + 20 * MILLISECOND)
            .end_time_unix_nano(START + 30 * MILLISECOND);
        span.status().code(2).message("timeout");
        span.attribute("db.system.name", "postgresql");
    }
    traces.finish(TenantId::default_tenant())
}

pub(crate) fn logs() -> Batch {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("service.name", "front");
        let mut scope = resource.scope_logs();
        let mut record = scope.record();
        record
            .time_unix_nano(START + MILLISECOND)
            .severity_number(9)
            .severity_text("INFO");
        record
            .body("cart opened by user")
            .trace_id(&TRACE)
            .span_id(&[1; 8])
            .attribute("user.id", "u1");
    }
    {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_logs();
        {
            let mut record = scope.record();
            record
                .time_unix_nano(START + 25 * MILLISECOND)
                .observed_time_unix_nano(START + 26 * MILLISECOND);
            record
                .severity_number(17)
                .severity_text("ERROR")
                .body("payment failed: Timeout of database");
            record
                .trace_id(&TRACE)
                .span_id(&[3; 8])
                .attribute("retries", 3_i64)
                .attribute("user.id", "u2");
        }
        let mut record = scope.record();
        record
            .time_unix_nano(START + 2000 * MILLISECOND)
            .severity_number(5);
        record.body_with().key_value_list().attribute("step", 1_i64);
    }
    logs.finish(TenantId::default_tenant())
}

/// Telemetry of the other tenant: like the first one's, with the secret in every text.
pub(crate) fn secrets() -> [Batch; 2] {
    let other = tenant(OTHER);
    let mut traces = TracesEncoder::new();
    {
        let mut resource = traces.resource_spans();
        resource.resource().attribute("service.name", SECRET);
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.trace_id(&TRACE)
            .span_id(&[5; 8])
            .name(SECRET)
            .kind(2)
            .attribute(SECRET, SECRET);
        span.start_time_unix_nano(START)
            .end_time_unix_nano(START + MILLISECOND);
    }
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("service.name", SECRET);
        let mut scope = resource.scope_logs();
        let mut record = scope.record();
        record
            .time_unix_nano(START)
            .severity_number(9)
            .body(SECRET)
            .trace_id(&TRACE)
            .attribute(SECRET, SECRET);
    }
    [traces.finish(other.clone()), logs.finish(other)]
}
