//! Pipelines as a configuration says: an agent in front of a server, changed while it runs, through crashes and refusals.

use std::path::Path;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, TenantId};

use crate::support::{Server, cupola, eventually, run, succeed, try_sql};

pub(crate) fn logs(tenant: &str, bodies: &[&str]) -> Batch {
    let mut encoder = LogsEncoder::new();
    {
        let mut resource = encoder.resource_logs();
        let mut scope = resource.scope_logs();
        for body in bodies {
            scope.record().body(*body);
        }
    }
    encoder.finish(TenantId::parse(tenant).unwrap())
}

pub(crate) fn write(directory: &Path, text: &str) -> String {
    let path = directory.join("agent.yaml");
    // As editors and mounts do it: the new file takes the place of the old one.
    let draft = directory.join("agent.yaml.new");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(&draft, &path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// An agent that hands everything to the server at `grpc`.
pub(crate) fn agent(grpc: &str, more: &str) -> String {
    let endpoint = grpc.trim_start_matches("http://");
    format!(
        "receivers: {{otlp: }}\nprocessors:\n  transform: {{log_statements: ['set(log.attributes[\"agent\"], \"yes\")']}}\n\
         \x20 filter: {{logs: {{log_record: ['body == \"noise\"']}}}}\n\
         exporters:\n  otlp: {{endpoint: '{endpoint}', tls: {{insecure: true}}}}\n{more}\
         service:\n  pipelines:\n    logs: {{receivers: [otlp], processors: [transform], exporters: [otlp]}}\n    \
         traces: {{receivers: [otlp], exporters: [otlp]}}\n    metrics: {{receivers: [otlp], exporters: [otlp]}}\n"
    )
}

const COUNT: &str = "SELECT count(*) FROM logs WHERE attributes->>'agent' = 'yes'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_hands_on_what_it_takes_and_its_tenants() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("server")).await;
    let file = write(directory.path(), &agent(&server.otlp_grpc, ""));
    let agent = Server::start_with(&directory.path().join("agent"), &["--config", &file]).await;
    agent.send_ok(&logs("acme", &["a", "b"])).await;
    let mut generator = Generator::new(GeneratorConfig::default());
    let (spans, points) = (generator.traces(200), generator.points(200));
    agent.send_ok(&spans).await;
    agent.send_ok(&points).await;
    eventually("the logs arrive", || async {
        server.count("acme", COUNT).await == 2
    })
    .await;
    let tenant = spans.tenant().as_str().to_owned();
    let count = "SELECT count(*) FROM spans";
    eventually("the spans arrive", || async {
        server.count(&tenant, count).await == spans.items() as i64
    })
    .await;
    let sent = "otelcol_exporter_sent_log_records_total{exporter=\"otlp\"}";
    eventually("they are counted", || async { agent.metric(sent).await == 2.0 }).await;
    let kept = try_sql(&agent.http, &agent.api, "acme", "SELECT count(*) FROM logs").await;
    assert!(
        kept.unwrap_err().contains("no_store"),
        "no pipeline of the agent has the store"
    );
    assert!(agent.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_changes_while_it_runs_and_a_bad_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("server")).await;
    let text = agent(&server.otlp_grpc, "");
    let file = write(directory.path(), &text);
    let agent = Server::start_with(&directory.path().join("agent"), &["--config", &file]).await;
    agent.send_ok(&logs("default", &["noise"])).await;
    eventually("the first arrives", || async {
        server.count("default", COUNT).await == 1
    })
    .await;

    // By looking at the file.
    write(
        directory.path(),
        &text.replace("[transform]", "[filter, transform]"),
    );
    eventually("it is read again", || async {
        agent.log().contains("configuration read again")
    })
    .await;
    agent.send_ok(&logs("default", &["noise", "signal"])).await;
    eventually("the filter works", || async {
        server.count("default", COUNT).await == 2
    })
    .await;

    // On request, with the answer.
    let broken = text
        .replace("[transform]", "[transfrom]")
        .replace("receivers: {otlp: }", "receivers: {otlp: {protocol: }}");
    write(directory.path(), &broken);
    let url = format!("{}/api/v1/admin/reload", agent.api);
    let answer = agent.http.post(&url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 422);
    let told = answer.text().await.unwrap();
    for expected in ["`transform`", "`protocols`", "agent.yaml:1"] {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
    let metrics = async || {
        let url = format!("{}/metrics", agent.api);
        agent.http.get(&url).send().await.unwrap().text().await.unwrap()
    };
    let counted = metrics().await;
    for expected in [
        "cupola_config_reloads_total{result=\"applied\"} 1\n",
        "cupola_config_last_reload_successful 0\n",
    ] {
        assert!(counted.contains(expected), "{expected} is not in {counted}");
    }
    // On request, and because the file has changed.
    assert!(!counted.contains("cupola_config_reloads_total{result=\"refused\"} 0\n"));
    agent.send_ok(&logs("default", &["noise", "more"])).await;
    eventually("the running one goes on", || async {
        server.count("default", COUNT).await == 3
    })
    .await;

    // By a signal.
    write(directory.path(), &text);
    agent.signal("HUP").await;
    eventually("SIGHUP is heard", || async {
        agent.log().matches("configuration read again").count() >= 2
    })
    .await;
    agent.send_ok(&logs("default", &["noise"])).await;
    assert!(
        metrics()
            .await
            .contains("cupola_config_last_reload_successful 1\n")
    );
    eventually("the filter has gone", || async {
        server.count("default", COUNT).await == 4
    })
    .await;
    assert!(agent.stop().await.0.success());
}

/// A durable queue while the destination is away: everything acknowledged is there after `kill -9` and arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_on_disk_survives_a_kill_while_its_destination_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("server")).await;
    let address = server.otlp_grpc.clone();
    let port = address.rsplit(':').next().unwrap().to_owned();
    server.kill().await;
    let queue = directory.path().join("queue");
    let storage = format!(
        "extensions: {{file_storage: {{directory: '{}'}}}}\n",
        queue.display()
    );
    let text = agent(&address, &storage).replace(
        "tls: {insecure: true}}",
        "tls: {insecure: true}, sending_queue: {storage: file_storage}, retry_on_failure: {initial_interval: 50ms, max_interval: 200ms}}",
    );
    let file = write(directory.path(), &text);
    let data = directory.path().join("agent");
    let first = Server::start_with(&data, &["--config", &file]).await;
    for number in 0..20 {
        first.send_ok(&logs("default", &[&format!("{number}")])).await;
    }
    first.kill().await;
    let second = Server::start_with(&data, &["--config", &file]).await;
    let listen = format!("127.0.0.1:{port}");
    let server = Server::start_with(&directory.path().join("server"), &["--otlp-grpc", &listen]).await;
    let distinct = "SELECT count(DISTINCT body) FROM logs";
    eventually("all of it arrives", || async {
        server.count("default", distinct).await == 20
    })
    .await;
    assert!(second.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_good_becomes_a_dead_letter_and_can_be_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("server")).await;
    let data = directory.path().join("agent");
    let text = |endpoint: &str| {
        format!(
            "store: {{directory: '{}'}}\nreceivers: {{otlp: }}\nexporters: {{otlphttp/far: {{endpoint: '{endpoint}'}}}}\n\
             service: {{pipelines: {{logs: {{receivers: [otlp], exporters: [otlphttp/far]}}}}}}\n",
            data.display()
        )
    };
    // The API does not take telemetry.
    let file = write(directory.path(), &text(&server.api));
    let agent = Server::start_with(&data, &["--config", &file]).await;
    agent.send_ok(&logs("acme", &["a", "b"])).await;
    let list = ["deadletter", "list", "--config", &file];
    eventually("there is a letter", || async {
        succeed(&list).await.contains("2 logs of acme")
    })
    .await;
    let letters = succeed(&list).await;
    assert!(
        letters.contains("otlphttp/far") && letters.contains("40"),
        "{letters}"
    );
    let id = letters.split_whitespace().next().unwrap().to_owned();
    let shown = succeed(&["deadletter", "show", &id, "--config", &file]).await;
    for part in [
        &id,
        "otlphttp/far",
        "acme",
        "\nreason    40",
        "{\"resourceLogs\":",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let shown = succeed(&["deadletter", "show", "--all", "--json", "--config", &file]).await;
    let letter: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&letter["tenant"], &letter["items"]), (&"acme".into(), &2.into()));
    assert!(letter["batch"]["resourceLogs"].is_array(), "{shown}");
    let bytes = async || {
        let (_, page) = agent.page("api", "/metrics").await;
        let mut lines = page.lines();
        let line = lines
            .find(|line| line.starts_with("cupola_exporter_dead_letter_bytes{"))
            .unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    assert!(bytes().await > 0.0);
    let retry = run(&["deadletter", "retry", &id, "--config", &file]).await;
    assert_eq!(retry.status.code(), Some(1), "it is refused again");
    let file = write(directory.path(), &text(&server.otlp_http));
    let retried = succeed(&["deadletter", "retry", "--all", "--config", &file]).await;
    assert_eq!(retried, "1 letters were taken\n");
    assert_eq!(server.count("acme", "SELECT count(*) FROM logs").await, 2);
    let none = succeed(&list).await;
    let looked = data.join("pipeline/dead-letters");
    assert_eq!(
        none,
        format!("there are no dead letters in {}\n", looked.display())
    );
    eventually("the server that runs has seen it", || async {
        bytes().await == 0.0
    })
    .await;
    let elsewhere = directory.path().join("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let lost = run(&["deadletter", "list", "--data-dir", elsewhere]).await;
    assert_eq!(lost.status.code(), Some(2), "no letters there are no news");
    let lost = String::from_utf8(lost.stderr).unwrap();
    assert!(lost.contains(elsewhere) && lost.contains("--data-dir"), "{lost}");
    let nothing = run(&["deadletter", "drop", "--config", &file]).await;
    assert_eq!(
        nothing.status.code(),
        Some(2),
        "dropping must be asked for by name"
    );
    assert!(agent.stop().await.0.success());
}

#[tokio::test]
async fn files_are_merged_references_resolved_and_secrets_masked() {
    let directory = tempfile::tempdir().unwrap();
    let one = directory.path().join("one.yaml");
    let two = directory.path().join("two.yaml");
    std::fs::write(&one, agent("http://${env:FAR:-far}:4317", "")).unwrap();
    std::fs::write(
        &two,
        "exporters: {otlp: {headers: {authorization: 'Bearer ${env:TOKEN}'}, timeout: 9s}, unused: }\n",
    )
    .unwrap();
    let paths = [one.to_str().unwrap(), two.to_str().unwrap()];
    let show = cupola(&["config", "show", paths[0], paths[1]])
        .env("TOKEN", "hunter22")
        .output()
        .await
        .unwrap();
    assert_eq!(show.status.code(), Some(2), "`unused` is no exporter");
    let told = String::from_utf8(show.stderr).unwrap();
    assert!(
        told.contains("two.yaml:1") && told.contains("exporters.unused") && !told.contains("hunter22"),
        "{told}"
    );
    std::fs::write(
        &two,
        "exporters: {otlp: {headers: {authorization: 'Bearer ${env:TOKEN}'}, timeout: 9s}}\n",
    )
    .unwrap();
    let show = cupola(&["config", "show", paths[0], paths[1]])
        .env("TOKEN", "hunter22")
        .output()
        .await
        .unwrap();
    let shown = String::from_utf8(show.stdout).unwrap();
    assert!(
        shown.contains("far:4317") && shown.contains("9s") && !shown.contains("hunter22"),
        "{shown}"
    );
    let checked = succeed(&["config", "check", paths[0], paths[1]]).await;
    assert!(
        checked.contains("TOKEN") && checked.ends_with("are valid together\n"),
        "{checked}"
    );
}

#[tokio::test]
async fn the_schema_knows_every_component() {
    let schema: serde_json::Value = serde_json::from_str(&succeed(&["config", "schema"]).await).unwrap();
    for (section, kind, key) in [
        ("receivers", "otlp", "protocols"),
        ("receivers", "hostmetrics", "scrapers"),
        ("processors", "batch", "send_batch_size"),
        ("exporters", "otlp", "sending_queue"),
        ("exporters", "otlp_grpc", "sending_queue"),
        ("connectors", "span_metrics", "dimensions"),
        ("extensions", "basic_auth", "htpasswd"),
        ("exporters", "postgres", "retry_on_failure"),
        ("connectors", "spanmetrics", "dimensions"),
        ("extensions", "file_storage", "directory"),
        ("extensions", "zpages", "expvar"),
        ("extensions", "pprof", "save_to_file"),
    ] {
        let of = &schema["properties"][section]["patternProperties"][format!("^{kind}(/.+)?$")]["anyOf"][0];
        assert!(!of["properties"][key].is_null(), "{section}.{kind}.{key}: {of}");
    }
    assert_eq!(schema["additionalProperties"], false);
}
