//! The extension `zpages`: pages that show what the server does, need no script, and give nothing away.

use cupola_generator::{Generator, GeneratorConfig};

use crate::support::{Server, eventually, run};

const CONFIG: &str = "\
receivers: {otlp: }
processors: {transform: {log_statements: ['set(log.attributes[\"a\"], \"<b>\")']}}
exporters:
  store:
  otlp/far: {endpoint: '127.0.0.1:9', tls: {insecure: true}, headers: {authorization: Bearer hunter22}}
extensions:
  health_check:
  zpages: {endpoint: '127.0.0.1:0', expvar: {enabled: true}}
service:
  extensions: [health_check, zpages]
  pipelines:
    logs: {receivers: [otlp], processors: [transform], exporters: [store]}
    traces/far: {receivers: [otlp], exporters: [otlp/far]}
";

async fn start(directory: &std::path::Path, config: &str, more: &[&str]) -> Server {
    let file = directory.join("cupola.yaml");
    std::fs::write(&file, config).unwrap();
    let arguments = [&["--config", file.to_str().unwrap()], more].concat();
    Server::start_with(&directory.join("data"), &arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_show_spans_pipelines_and_extensions_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), CONFIG, &[]).await;
    let mut generator = Generator::new(GeneratorConfig::default());
    server.send_ok(&generator.logs(10)).await;
    server.send_ok(&generator.traces(10)).await;
    let mut seen = String::new();
    for page in [
        "servicez",
        "pipelinez",
        "extensionz",
        "featurez",
        "tracez",
        "expvarz",
    ] {
        let (status, text) = server.page("zpages", &format!("/debug/{page}")).await;
        assert_eq!(status, 200, "{page}");
        assert!(!text.contains("<script"), "{page} needs no script");
        seen.push_str(&text);
    }
    for expected in [
        "Build Info",
        "kafka",
        "health_check",
        "zpages",
        "otlp/far",
        "cupola_uptime_seconds",
    ] {
        assert!(seen.contains(expected), "{expected} is not in {seen}");
    }

    let (_, pipelines) = server.page("zpages", "/debug/pipelinez").await;
    let row = pipelines
        .lines()
        .find(|line| line.contains("<td>logs</td>"))
        .unwrap();
    let parts = ["otlp 10", "transform 10 → 10", "store 10"].map(|part| row.find(part));
    assert!(parts[0].is_some() && parts.is_sorted(), "{row}");
    let asked = "zpipelinename=traces%2Ffar&zcomponentname=otlp%2Ffar&zcomponentkind=exporter";
    eventually("the last error of the exporter is told", || async {
        let (_, far) = server.page("zpages", &format!("/debug/pipelinez?{asked}")).await;
        assert!(
            far.contains("exporter: otlp/far of traces/far") && far.contains("127.0.0.1:9"),
            "{far}"
        );
        assert!(!far.contains("hunter22"), "{far}");
        far.contains("Last error")
    })
    .await;
    assert!(!seen.contains("hunter22"));
    assert!(server.stop().await.0.success());
}

/// Cupola's own telemetry is off: the pages have spans of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_are_sampled_by_latency_and_can_be_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), CONFIG, &["--own-telemetry", "off"]).await;
    let mut generator = Generator::new(GeneratorConfig::default());
    for _ in 0..60 {
        server.send_ok(&generator.logs(10)).await;
    }
    let (_, page) = server.page("zpages", "/debug/tracez").await;
    let row = page
        .lines()
        .find(|line| line.contains("<td>store.append</td>"))
        .unwrap();
    // Running, nine buckets, errors.
    let numbers: Vec<u64> = row
        .split("</a>")
        .filter_map(|cell| cell.rsplit('>').next()?.parse().ok())
        .collect();
    assert_eq!(numbers.len(), 11, "{row}");
    assert_eq!(
        numbers.iter().sum::<u64>(),
        60,
        "more than own telemetry would keep: {row}"
    );
    for bound in ["&gt;0s", "&gt;10µs", "&gt;1ms", "&gt;100s", "Running", "Errors"] {
        assert!(page.contains(bound), "{bound}");
    }
    let bucket = numbers[1..10].iter().position(|count| *count > 0).unwrap();
    let link = format!("/debug/tracez?zspanname=store.append&amp;ztype=1&amp;zlatencybucket={bucket}");
    assert!(row.contains(&link), "{row}");
    let (_, samples) = server.page("zpages", &link.replace("&amp;", "&")).await;
    assert!(
        samples.contains("cupola.items=10") && samples.contains("cupola.tenant=default"),
        "{samples}"
    );
    let (status, hostile) = server
        .page("zpages", "/debug/tracez?zspanname=%3Cscript%3E&ztype=2")
        .await;
    assert!(status == 200 && hostile.contains("&lt;script&gt;") && !hostile.contains("<script>"));
    assert!(server.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_this_machine_is_answered_and_the_pages_are_off_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), CONFIG, &[]).await;
    let page = server.url("zpages", "/debug/servicez");
    let foreign = server
        .http
        .get(&page)
        .header("host", "rebound.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status().as_u16(), 421);
    let hint = foreign.text().await.unwrap();
    assert!(hint.contains("api.allowed_hosts"), "{hint}");
    let answered = server.http.get(&page).send().await.unwrap();
    let policy = answered.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(server.stop().await.0.success());

    let named = format!("{CONFIG}api: {{allowed_hosts: [rebound.example]}}\n");
    let server = start(directory.path(), &named, &[]).await;
    for url in [
        server.url("zpages", "/debug/servicez"),
        server.url("health", "/health"),
    ] {
        let answered = server
            .http
            .get(&url)
            .header("host", "rebound.example")
            .send()
            .await;
        assert_eq!(
            answered.unwrap().status().as_u16(),
            200,
            "as the hint says: {url}"
        );
    }
    assert!(server.stop().await.0.success());

    let unlisted = CONFIG.replace("extensions: [health_check, zpages]", "extensions: [health_check]");
    let server = start(directory.path(), &unlisted, &[]).await;
    assert_eq!(server.ready["zpages"], "off");
    assert!(
        server.log().contains("not in `service.extensions`"),
        "{}",
        server.log()
    );
    assert!(server.stop().await.0.success());
    let missing = CONFIG
        .replace("  zpages: {endpoint", "  pprof: {endpoint")
        .replace(", expvar: {enabled: true}", "");
    let file = directory.path().join("missing.yaml");
    std::fs::write(&file, missing).unwrap();
    let checked = run(&["config", "check", file.to_str().unwrap()]).await;
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        !checked.status.success() && told.contains("no extension `zpages`"),
        "{told}"
    );
}
