//! The receiver that scrapes, before targets of our own and real ones.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::SendError;
use cupola_peers::{Process, free_port, peer_or_skip};
use cupola_pipeline::receivers::prometheus::{
    PrometheusReceiver, PrometheusReceiverConfig, RunningPrometheus,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::metrics::points;
use super::prometheus_server::{PrometheusServer, debian};
use super::{retryable, sink};
use crate::support::{Capture, gzip};

/// What a target shows, and what it was asked.
#[derive(Clone, Default)]
struct Page {
    status: u16,
    content_type: &'static str,
    body: String,
    gzip: bool,
}

struct TargetServer {
    address: SocketAddr,
    page: Arc<Mutex<Page>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TargetServer {
    async fn start(body: &str) -> TargetServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let text = Page {
            status: 200,
            content_type: "text/plain; version=0.0.4",
            body: body.to_owned(),
            gzip: false,
        };
        let page = Arc::new(Mutex::new(text));
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (shown, asked) = (page.clone(), requests.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                asked.lock().push(String::from_utf8(head).unwrap());
                let page = shown.lock().clone();
                let (body, encoding) = match page.gzip {
                    true => (gzip(page.body.as_bytes()).to_vec(), "content-encoding: gzip\r\n"),
                    false => (page.body.into_bytes(), ""),
                };
                let head = format!(
                    "HTTP/1.1 {} X\r\ncontent-type: {}\r\n{encoding}connection: close\r\ncontent-length: {}\r\n\r\n",
                    page.status,
                    page.content_type,
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            }
        });
        TargetServer {
            address,
            page,
            requests,
        }
    }

    fn show(&self, body: &str) {
        self.page.lock().body = body.to_owned();
    }
}

struct Scraping {
    running: RunningPrometheus,
    sink: Arc<Capture>,
}

impl Scraping {
    async fn start(config: &str) -> Scraping {
        let config = cupola_config::yaml::from_str::<PrometheusReceiverConfig>(config).unwrap();
        let (sink, memory) = sink();
        let running = PrometheusReceiver::start(config, sink.clone(), memory)
            .await
            .unwrap();
        Scraping { running, sink }
    }

    /// The points of the next scrape that `wanted` holds for.
    async fn scrape(&self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let waiting = async {
            loop {
                for batch in self.sink.drain() {
                    let points = points(&batch);
                    if wanted(&points) {
                        return points;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect("such a scrape comes")
    }

    fn count(&self, name: &str) -> f64 {
        let mut samples = Vec::new();
        self.running.collect(&mut samples);
        samples.iter().find(|sample| sample.name == name).unwrap().value
    }
}

fn config(address: SocketAddr, more: &str) -> String {
    format!(
        "config:\n  global: {{scrape_interval: 200ms}}\n  scrape_configs:\n  - job_name: shop\n    \
         static_configs: [{{targets: ['{address}'], labels: {{env: test}}}}]\n{more}"
    )
}

fn find<'p>(points: &'p [Value], name: &str) -> Vec<&'p Value> {
    points.iter().filter(|point| point["name"] == name).collect()
}

fn value(points: &[Value], name: &str) -> Option<f64> {
    find(points, name).first()?["value"].as_f64()
}

const TEXT: &str = "\
# HELP hits_total Hits.
# TYPE hits_total counter
hits_total{code=\"200\",job=\"own\"} 7
hits_total{code=\"500\"} 1 1700000000123
# TYPE room gauge
room -3.5
# TYPE latency histogram
latency_bucket{le=\"0.5\"} 1
latency_bucket{le=\"1\"} 3
latency_bucket{le=\"+Inf\"} 4
latency_sum 5.5
latency_count 4
# TYPE odd histogram
odd_bucket{le=\"0.5\"} 1.5
odd_sum 1
odd_count 2
# TYPE size summary
size{quantile=\"0.5\"} 10
size{quantile=\"0.9\"} NaN
size_sum 30
size_count 3
plain 1
# TYPE target_info gauge
target_info{host_name=\"a\"} 1
";

#[tokio::test]
async fn a_page_in_the_text_format_arrives_sample_for_sample() {
    let target = TargetServer::start(TEXT).await;
    target.page.lock().gzip = true;
    let scraping = Scraping::start(&config(target.address, "")).await;
    let points = scraping.scrape(|points| value(points, "up") == Some(1.0)).await;
    let instance = target.address.to_string();
    let resource = json!({"service.name": "shop", "service.instance.id": instance, "host_name": "a",
        "server.port": target.address.port().to_string(), "url.scheme": "http"});
    let hits = find(&points, "hits_total");
    assert_eq!(hits.len(), 2);
    assert_eq!(
        hits[0]["attributes"],
        json!({"code": "200", "exported_job": "own", "env": "test"})
    );
    assert_eq!(
        (&hits[0]["kind"], &hits[0]["value"], &hits[0]["help"]),
        (&json!("counter"), &json!(7.0), &json!("Hits."))
    );
    assert_eq!(
        (&hits[1]["time"], &hits[1]["value"]),
        (&json!(1_700_000_000_123_000_000u64), &json!(1.0))
    );
    assert_eq!(hits[0]["start"], hits[0]["time"]);
    let latency = &find(&points, "latency")[0];
    assert_eq!(
        (&latency["bounds"], &latency["counts"]),
        (&json!([0.5, 1.0]), &json!([1, 2, 1]))
    );
    assert_eq!((&latency["count"], &latency["sum"]), (&json!(4), &json!(5.5)));
    // Not whole, and so kept as it came.
    assert_eq!(
        (
            value(&points, "odd_bucket"),
            value(&points, "odd_sum"),
            value(&points, "odd_count")
        ),
        (Some(1.5), Some(1.0), Some(2.0))
    );
    assert_eq!(find(&points, "odd_bucket")[0]["attributes"]["le"], "0.5");
    let size = &find(&points, "size")[0];
    assert_eq!((&size["count"], &size["sum"]), (&json!(3), &json!(30.0)));
    assert_eq!(size["quantiles"].as_array().unwrap().len(), 2);
    assert_eq!(
        (value(&points, "room"), value(&points, "plain")),
        (Some(-3.5), Some(1.0))
    );
    assert_eq!(value(&points, "scrape_samples_scraped"), Some(17.0));
    assert_eq!(
        value(&points, "scrape_samples_post_metric_relabeling"),
        Some(17.0)
    );
    assert!(value(&points, "scrape_duration_seconds") > Some(0.0));
    assert!(find(&points, "target_info").is_empty());
    for point in &points {
        assert_eq!(point["resource"], resource, "{point:#}");
    }
    let request = target.requests.lock()[0].to_lowercase();
    for part in [
        "get /metrics http/1.1",
        "accept: application/openmetrics-text",
        "x-prometheus-scrape-timeout-seconds: 0.2",
    ] {
        assert!(request.contains(part), "{request}");
    }
    scraping.running.shutdown().await;
}

#[tokio::test]
async fn openmetrics_gives_start_times_units_and_exemplars() {
    let target = TargetServer::start(
        "# TYPE hits counter\n# UNIT hits things\nhits_total 7 # {trace_id=\"0102030405060708090a0b0c0d0e0f10\"} 0.5 1.25\n\
         hits_created 1700000000.5\n# TYPE build info\nbuild_info{v=\"1\"} 1\n# EOF\n",
    )
    .await;
    target.page.lock().content_type = "application/openmetrics-text; version=1.0.0";
    let scraping = Scraping::start(&config(target.address, "")).await;
    let points = scraping.scrape(|points| value(points, "up") == Some(1.0)).await;
    let hits = find(&points, "hits_total")[0];
    assert_eq!(
        (&hits["start"], &hits["unit"]),
        (&json!(1_700_000_000_500_000_000u64), &json!("things"))
    );
    assert_eq!(hits["exemplars"][0]["trace"], "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(hits["exemplars"][0]["time"], 1_250_000_000u64);
    assert_eq!(find(&points, "build_info")[0]["kind"], "sum");
    assert!(find(&points, "hits_created").is_empty());
    // A page that breaks off is refused as a whole: what it lacks has not ended.
    target.show("# TYPE hits counter\nhits_total 8\n");
    let points = scraping.scrape(|points| value(points, "up") == Some(0.0)).await;
    assert_eq!(find(&points, "hits_total")[0]["flags"], 1);
}

#[tokio::test]
async fn start_times_stay_until_a_counter_begins_anew_and_what_is_gone_is_marked() {
    let target = TargetServer::start("# TYPE a counter\na 5\n# TYPE b gauge\nb 1\n").await;
    let scraping = Scraping::start(&config(target.address, "")).await;
    let first = scraping.scrape(|points| value(points, "a") == Some(5.0)).await;
    let start = find(&first, "a")[0]["start"].as_u64().unwrap();
    target.show("# TYPE a counter\na 6\n");
    let second = scraping.scrape(|points| value(points, "a") == Some(6.0)).await;
    assert_eq!(find(&second, "a")[0]["start"], start);
    let gone = find(&second, "b")[0];
    assert_eq!(
        (&gone["value"], &gone["flags"], &gone["attributes"]),
        (&Value::Null, &json!(1), &json!({"env": "test"}))
    );
    // Once, and never again.
    let third = scraping.scrape(|points| value(points, "a") == Some(6.0)).await;
    assert!(find(&third, "b").is_empty());
    target.show("# TYPE a counter\na 1\n");
    let anew = scraping.scrape(|points| value(points, "a") == Some(1.0)).await;
    assert!(find(&anew, "a")[0]["start"].as_u64().unwrap() > start);
    target.page.lock().status = 500;
    let down = scraping.scrape(|points| value(points, "up") == Some(0.0)).await;
    assert_eq!(find(&down, "a")[0]["flags"], 1);
    assert!(scraping.count("cupola_receiver_scrapes_failed_total") >= 1.0);
}

#[tokio::test]
async fn labels_are_rewritten_honoured_and_limited_as_the_settings_say() {
    let target = TargetServer::start("a{job=\"own\",x=\"1\"} 1\nb{x=\"1\"} 2\nc 3\n").await;
    let more = "    honor_labels: true\n    params: {match: ['{x}', y]}\n    metrics_path: /federate\n    \
                basic_auth: {username: me, password: secret}\n    \
                relabel_configs: [{source_labels: [env], target_label: stage, regex: '(t)est', replacement: '$1'}]\n    \
                metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: b}, \
                {action: labeldrop, regex: x}]\n";
    let scraping = Scraping::start(&config(target.address, more)).await;
    let points = scraping.scrape(|points| value(points, "up") == Some(1.0)).await;
    let a = find(&points, "a")[0];
    assert_eq!(a["resource"]["service.name"], "own");
    assert_eq!(a["attributes"], json!({"env": "test", "stage": "t"}));
    assert!(find(&points, "b").is_empty());
    assert_eq!(value(&points, "scrape_samples_post_metric_relabeling"), Some(2.0));
    let request = target.requests.lock()[0].clone();
    assert!(
        request.starts_with("GET /federate?match=%7Bx%7D&match=y "),
        "{request}"
    );
    assert!(request.contains("authorization: Basic bWU6c2VjcmV0"), "{request}");

    let limited = Scraping::start(&config(target.address, "    sample_limit: 2\n")).await;
    let points = limited.scrape(|_| true).await;
    assert_eq!(value(&points, "up"), Some(0.0));
    assert!(find(&points, "a").is_empty());
}

#[tokio::test]
async fn a_scrape_that_is_refused_is_offered_again_until_the_next_is_due() {
    let target = TargetServer::start("a 1\n").await;
    let later = || SendError::retryable("later");
    let slow = config(target.address, "").replace("200ms", "1500ms");
    let scraping = Scraping::start(&slow).await;
    scraping.sink.answer(Err(later()));
    scraping.sink.answer(Err(later()));
    let points = scraping.scrape(|points| value(points, "a") == Some(1.0)).await;
    assert_eq!(
        scraping.count("cupola_receiver_scrapes_total"),
        1.0,
        "the same scrape, not a later one"
    );
    assert_eq!(
        scraping.count("otelcol_receiver_refused_metric_points"),
        2.0 * points.len() as f64
    );
    assert_eq!(
        scraping.count("otelcol_receiver_accepted_metric_points"),
        points.len() as f64
    );
    // Too long.
    let quick = Scraping::start(&config(target.address, "")).await;
    quick.sink.answer(Err(retryable()));
    quick.scrape(|points| value(points, "a") == Some(1.0)).await;
    assert_eq!(quick.count("cupola_receiver_scraped_points_lost_total"), 6.0);
}

#[tokio::test]
async fn targets_of_files_come_and_go_with_them() {
    let (one, two) = (
        TargetServer::start("one 1\n").await,
        TargetServer::start("two 2\n").await,
    );
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("targets.json");
    let write = |address: SocketAddr| {
        // Moved into place, as writers of such files do.
        let text = json!([{"targets": [address.to_string()], "labels": {"zone": "a"}}]).to_string();
        let draft = folder.path().join("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, &file).unwrap();
    };
    write(one.address);
    let scraping = Scraping::start(&format!(
        "config:\n  scrape_configs:\n  - job_name: files\n    scrape_interval: 200ms\n    file_sd_configs: [{{files: \
         ['{}/*.json'], refresh_interval: 50ms}}]\n",
        folder.path().display()
    ))
    .await;
    let points = scraping.scrape(|points| value(points, "one") == Some(1.0)).await;
    assert_eq!(find(&points, "one")[0]["attributes"], json!({"zone": "a"}));
    write(two.address);
    let ended = scraping
        .scrape(|points| find(points, "up").iter().any(|up| up["flags"] == 1))
        .await;
    assert_eq!(find(&ended, "one")[0]["flags"], 1);
    scraping.scrape(|points| value(points, "two") == Some(2.0)).await;
}

#[test]
fn settings_that_cannot_work_are_refused_by_their_key() {
    let job = "scrape_configs: [{job_name: a";
    for (text, part) in [
        ("scrape_configs: []".to_owned(), "scrape_configs"),
        ("scrape_configs: [{}]".to_owned(), "job_name"),
        (format!("{job}}}, {{job_name: a}}]"), "another job"),
        (
            format!("{job}, scrape_interval: 5s, scrape_timeout: 6s}}]"),
            "scrape_timeout",
        ),
        (format!("{job}, bearer_token: x, basic_auth: {{}}}}]"), "only one"),
        (
            format!("{job}, relabel_configs: [{{regex: '('}}]}}]"),
            "relabel_configs[0]",
        ),
        (
            format!("{job}, kubernetes_sd_configs: [{{role: pod}}]}}]"),
            "kubernetes_sd_configs",
        ),
    ] {
        let error =
            match cupola_config::yaml::from_str::<PrometheusReceiverConfig>(&format!("config: {{{text}}}")) {
                Ok(config) => config.validate().unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// Names and labels of the series of a page in the text format, read in the plainest way.
fn series_of(page: &str) -> BTreeSet<String> {
    let samples = page
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples
        .map(|line| {
            line.rsplit_once(' ')
                .unwrap()
                .0
                .split('{')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// Every series of what a real target shows is in a scrape of it, whole histograms and summaries under their own names.
async fn check_target(address: String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{address}/metrics");
    let ask = || async { client.get(&url).send().await.unwrap().text().await.unwrap() };
    let lines = |page: &str| {
        page.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .count()
    };
    // Targets that have just started, and the requests themselves, make new series for a while.
    let mut page = ask().await;
    loop {
        let next = ask().await;
        let same = lines(&next) == lines(&page);
        page = next;
        if same {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let scraping = Scraping::start(&config(address.parse().unwrap(), "")).await;
    let points = scraping.scrape(|points| value(points, "up") == Some(1.0)).await;
    let scraped: BTreeSet<&str> = points
        .iter()
        .map(|point| point["name"].as_str().unwrap())
        .collect();
    for name in series_of(&page) {
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts
            .iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(&name);
        assert!(scraped.contains(&*name) || scraped.contains(whole), "{name}");
    }
    let lines = lines(&page) as f64;
    let samples = value(&points, "scrape_samples_scraped").unwrap();
    assert!(
        (samples - lines).abs() < 0.05 * lines,
        "{samples} samples of {lines} lines"
    );
}

#[tokio::test]
async fn certificates_that_are_not_there_are_told_by_their_key() {
    let address = "127.0.0.1:1".parse().unwrap();
    let settings = config(address, "    tls_config: {ca_file: /not/there.pem}\n");
    let settings = cupola_config::yaml::from_str(&settings).unwrap();
    let (sink, memory) = sink();
    let started = PrometheusReceiver::start(settings, sink, memory).await;
    let error = started.err().unwrap().to_string();
    assert!(
        error.contains("\"shop\": `tls_config.ca_file`: cannot read /not/there.pem"),
        "{error}"
    );
}

#[tokio::test]
async fn node_exporter_is_scraped_series_for_series() {
    let program = peer_or_skip!(
        tokio::task::spawn_blocking(|| debian("prometheus-node-exporter"))
            .await
            .unwrap()
    );
    let (port, folder) = (free_port(), TempDir::new().unwrap());
    let mut command = std::process::Command::new(program);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = peer_or_skip!(Process::start(command, folder.path().join("log")));
    let ready = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    peer_or_skip!(process.wait_until(Duration::from_secs(30), ready));
    check_target(format!("127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn prometheus_is_scraped_series_for_series() {
    let server = tokio::task::spawn_blocking(|| PrometheusServer::start("global: {}\n"))
        .await
        .unwrap();
    let server = peer_or_skip!(server);
    check_target(format!("127.0.0.1:{}", server.port)).await;
}
