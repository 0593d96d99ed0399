//! Cupola's own telemetry is kept under its own tenant, and does not feed on itself.

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::TenantId;

use crate::support::{Server, by_first, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn own_logs_spans_and_metrics_are_found_under_their_tenant() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let mut generator = Generator::new(GeneratorConfig::default());
    server.send_ok(&generator.logs(10)).await;
    eventually("an own log", || async {
        let sql = "SELECT count(*) FROM logs WHERE service_name = 'cupola' AND body = 'cupola is ready'";
        server.count("cupola", sql).await == 1
    })
    .await;
    eventually("an own span about users' data", || async {
        let sql =
            "SELECT count(*) FROM spans WHERE name = 'store.append' AND attributes['cupola.items'] = 10";
        server.count("cupola", sql).await == 1
    })
    .await;
    assert_eq!(
        server.count("default", "SELECT count(*) FROM logs").await,
        10,
        "users' data stands apart"
    );
    let (status, log) = server.stop().await;
    assert!(status.success(), "{log}");
    let server = Server::start_with(data.path(), &["--own-telemetry", "off"]).await;
    let sql = "SELECT count(*) FROM metrics WHERE name = 'cupola_memory_limit_bytes'";
    assert!(
        server.count("cupola", sql).await >= 1,
        "own metrics are written at the latest when it stops"
    );
}

/// Each about users' data, which is what makes them worth keeping.
#[tokio::test(flavor = "multi_thread")]
async fn requests_statements_and_the_work_of_the_store_are_traced() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("cupola.yaml");
    let directory = data.path().join("data");
    // Everything that was sent is old.
    std::fs::write(
        &config,
        "store: {retention: [{keep: 1s, tenant: default}], retention_interval: 200ms, \
         compaction: {files_min: 2, interval: 1h}}\n",
    )
    .unwrap();
    let flags = ["--config", config.to_str().unwrap()];
    let server = Server::start_with(&directory, &flags).await;
    let mut generator = Generator::new(GeneratorConfig::default());
    server.send_ok(&generator.logs(10)).await;
    assert!(server.count("default", "SELECT count(*) FROM logs").await <= 10);
    for _ in 0..2 {
        let flush = server.http.post(format!("{}/api/v1/admin/flush", server.api));
        assert!(flush.send().await.unwrap().status().is_success());
        server.send_ok(&generator.logs(10)).await;
    }
    let spans = async |condition: &str| {
        let sql = format!("SELECT count(*) FROM spans WHERE {condition}");
        server.count("cupola", &sql).await
    };
    for condition in [
        "name = 'POST /api/v1/sql' AND kind = 'server' AND attributes['http.route'] = '/api/v1/sql' \
         AND attributes['http.response.status_code'] = 200 AND attributes['cupola.tenant'] = 'default'",
        "name = 'query' AND attributes['db.namespace'] = 'default' AND attributes['db.response.returned_rows'] = 1",
        "name = 'POST /api/v1/admin/flush'",
        "name = 'store.flush' AND attributes['cupola.bytes'] > 0",
        "name = 'store.retention' AND attributes['cupola.tenant'] = 'default'",
        "name = 'store.recovery'",
    ] {
        eventually(condition, || async { spans(condition).await > 0 }).await;
    }
    let joined = "SELECT count(*) FROM spans AS query JOIN spans AS request ON query.trace_id = request.trace_id \
                  AND query.parent_span_id = request.span_id \
                  WHERE query.name = 'query' AND request.name = 'POST /api/v1/sql'";
    assert!(
        server.count("cupola", joined).await > 0,
        "a statement is part of its request"
    );
    assert_eq!(
        spans("attributes['cupola.tenant'] = 'cupola'").await,
        0,
        "questions about own telemetry are not kept"
    );
    let (status, log) = server.stop().await;
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_are_traced() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let mut generator = Generator::new(GeneratorConfig::default());
    let post = async |path: &str| {
        let request = server.http.post(format!("{}{path}", server.api)).send().await;
        assert!(request.unwrap().status().is_success(), "{path}");
    };
    for _ in 0..5 {
        server.send_ok(&generator.logs(10)).await;
        post("/api/v1/admin/flush").await;
    }
    post("/api/v1/admin/compact").await;
    eventually("a span of a merge", || async {
        let sql = "SELECT count(*) FROM spans WHERE name = 'store.compaction' \
                   AND attributes['cupola.tenant'] = 'default' AND attributes['cupola.table'] = 'logs'";
        server.count("cupola", sql).await > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_does_not_talk_about_storing_its_own_telemetry() {
    let data = tempfile::tempdir().unwrap();
    // Flushing all the time: if storing own telemetry were recorded, it would never end.
    let server = Server::start_with(data.path(), &["--flush-interval", "100ms"]).await;
    eventually("an own log", || async {
        server.count("cupola", "SELECT count(*) FROM logs").await > 0
    })
    .await;
    let spans = "SELECT count(*) FROM spans WHERE name = 'store.append'";
    // What is stored after the first logs were flushed would be about storing them; metrics come at the latest.
    eventually("a flush of what came after the first", || async {
        server.metric("cupola_store_flushes_total").await >= 2.0
    })
    .await;
    assert_eq!(server.count("cupola", spans).await, 0);
    let flushes = "SELECT count(*) FROM spans WHERE name = 'store.flush' OR name = 'store.compaction'";
    assert_eq!(
        server.count("cupola", flushes).await,
        0,
        "all were of own telemetry alone"
    );
    let about = "SELECT count(*) FROM logs WHERE attributes['code.namespace'] LIKE 'cupola_store%'";
    assert_eq!(server.count("cupola", about).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_kept_a_week_and_users_data_for_ever() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--own-telemetry", "off"]).await;
    for tenant in ["cupola", "default"] {
        let mut generator = Generator::new(GeneratorConfig {
            tenants: vec![TenantId::parse(tenant).unwrap()],
            ..GeneratorConfig::default()
        });
        // Years ago.
        server.send_ok(&generator.logs(10)).await;
        server.send_ok(&generator.points(10)).await;
    }
    let counts = "SELECT 'logs', count(*) FROM logs WHERE timestamp < now() - interval '7 days' \
                  UNION ALL SELECT 'metrics', count(*) FROM metrics WHERE timestamp < now() - interval '7 days'";
    let all = by_first(server.sql("cupola", counts).await);
    assert_eq!((all["logs"], all["metrics"]), (10, 10));
    assert!(server.stop().await.0.success());
    let server = Server::start(data.path()).await;
    eventually("the end of old own telemetry", || async {
        let left = by_first(server.sql("cupola", counts).await);
        left.values().all(|count| *count == 0)
    })
    .await;
    assert_eq!(by_first(server.sql("default", counts).await), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_switched_off() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), &["--own-telemetry", "off"]).await;
    server
        .send_ok(&Generator::new(GeneratorConfig::default()).logs(1))
        .await;
    let (status, _) = server.stop().await;
    assert!(status.success());
    let server = Server::start_with(data.path(), &["--own-telemetry", "off"]).await;
    assert_eq!(server.count("cupola", "SELECT count(*) FROM logs").await, 0);
    assert_eq!(server.count("cupola", "SELECT count(*) FROM metrics").await, 0);
}

/// As the Helm chart of the Collector has it: the pipeline scrapes the page that the reader opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_open_a_page_of_metrics_and_the_resource_is_what_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cupola.yaml");
    let config = "receivers: {otlp: {protocols: {http: }}}\nexporters: {store: }\nservice:\n  pipelines: {logs: {receivers: [otlp], exporters: [store]}}\n  \
                  telemetry:\n    resource: {service.name: gateway, host.name: null, zone: north}\n    \
                  metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 0, without_units: true}}}}]}\n";
    std::fs::write(&file, config).unwrap();
    let arguments = ["--config", file.to_str().unwrap()];
    let server = Server::start_with(&directory.path().join("data"), &arguments).await;
    let (status, page) = server.page("metrics", "/metrics").await;
    assert_eq!(status, 200);
    let (_, of_api) = server.page("api", "/metrics").await;
    let families = |page: &str| -> Vec<String> {
        page.lines()
            .filter(|line| line.starts_with("# TYPE"))
            .map(str::to_owned)
            .collect()
    };
    assert!(families(&page).len() > 20, "{page}");
    assert_eq!(families(&page), families(&of_api));
    assert_eq!(
        server.page("metrics", "/api/v1/status").await.0,
        404,
        "nothing else is there"
    );
    eventually("own logs with that resource", || async {
        let sql = "SELECT count(*) FROM logs WHERE service_name = 'gateway' AND resource_attributes['zone'] = 'north' \
                   AND resource_attributes['host.name'] IS NULL AND resource_attributes['process.pid'] IS NOT NULL";
        server.count("cupola", sql).await > 0
    })
    .await;
    let taken = server.ready["metrics"].as_str().unwrap().to_owned();
    let port = taken.rsplit_once(':').unwrap().1.to_owned();
    std::fs::write(&file, config.replace("port: 0", &format!("port: {port}"))).unwrap();
    let Err(log) = Server::try_start(&directory.path().join("other"), &arguments).await else {
        panic!("the port is taken");
    };
    assert!(
        log.contains("the page of own metrics") && log.contains(&taken),
        "{log}"
    );
    eventually("a change is told to hold later", || async {
        server
            .log()
            .contains("holding after a restart: service.telemetry")
    })
    .await;
    let (status, log) = server.stop().await;
    assert!(status.success(), "{log}");
}
