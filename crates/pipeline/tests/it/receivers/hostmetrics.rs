//! The receiver that measures the host: a recorded one, before what the Collector made of it; hosts that are damaged, and
//! sinks that refuse.

mod against_collector;
mod nfs;
mod tree;
mod trouble;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cupola_pipeline::receivers::hostmetrics::{HostMetricsConfig, HostMetricsReceiver, RunningHostMetrics};
use cupola_telemetry::view::{MetricData, NumberValue};
use cupola_telemetry::{Batch, Signal, TenantId};
use serde_json::{Value, json};

use super::{attributes, sink};
use crate::support::Capture;

/// Every scraper, with its defaults.
const DEFAULTS: &str =
    "{cpu: , disk: , filesystem: , load: , memory: , network: , paging: , processes: , process: , system: }";

/// Every metric that is off by default, by its scraper.
const OFF: &[(&str, &[&str])] = &[
    (
        "cpu",
        &[
            "system.cpu.frequency",
            "system.cpu.physical.count",
            "system.cpu.utilization",
        ],
    ),
    ("filesystem", &["system.filesystem.utilization"]),
    (
        "memory",
        &[
            "system.linux.memory.available",
            "system.linux.memory.dirty",
            "system.memory.limit",
            "system.memory.linux.hugepages.limit",
            "system.memory.linux.hugepages.page_size",
            "system.memory.linux.hugepages.reserved",
            "system.memory.linux.hugepages.surplus",
            "system.memory.linux.hugepages.usage",
            "system.memory.linux.hugepages.utilization",
            "system.memory.linux.shared",
            "system.memory.page_size",
            "system.memory.utilization",
        ],
    ),
    (
        "network",
        &["system.network.conntrack.count", "system.network.conntrack.max"],
    ),
    ("paging", &["system.paging.utilization"]),
    (
        "process",
        &[
            "process.context_switches",
            "process.cpu.utilization",
            "process.disk.operations",
            "process.memory.utilization",
            "process.open_file_descriptors",
            "process.paging.faults",
            "process.signals_pending",
            "process.threads",
            "process.uptime",
        ],
    ),
];

/// Settings below `root`, with everything that can be switched on.
fn everything(root: &Path) -> Value {
    let mut settings = defaults(root);
    for (scraper, metrics) in OFF {
        for metric in *metrics {
            settings["scrapers"][scraper]["metrics"][metric] = json!({ "enabled": true });
        }
    }
    // The attribute that has to be asked for.
    settings["scrapers"]["cpu"]["metrics"]["system.cpu.time"] = json!({ "attributes": ["cpu", "state"] });
    settings["scrapers"]["filesystem"]["include_virtual_filesystems"] = json!(true);
    settings["scrapers"]["load"]["cpu_average"] = json!(false);
    for attribute in ["process.cgroup", "process.linux.cgroup"] {
        settings["scrapers"]["process"]["resource_attributes"][attribute] = json!({ "enabled": true });
    }
    settings
}

fn defaults(root: &Path) -> Value {
    let names = [
        "cpu",
        "disk",
        "filesystem",
        "load",
        "memory",
        "network",
        "paging",
        "processes",
        "process",
        "system",
    ];
    let scrapers: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    json!({ "root_path": root, "initial_delay": "0s", "collection_interval": "100ms", "scrapers": scrapers })
}

struct Measuring {
    running: RunningHostMetrics,
    sink: Arc<Capture>,
}

impl Measuring {
    async fn start(settings: &str) -> Measuring {
        let config = cupola_config::yaml::from_str::<HostMetricsConfig>(settings).unwrap();
        let (sink, memory) = sink();
        let running = HostMetricsReceiver::start(config, sink.clone(), memory)
            .await
            .unwrap();
        Measuring { running, sink }
    }

    /// The batch of a scrape, from 1.
    async fn batch(&self, number: usize) -> Batch {
        let waiting = async {
            loop {
                if let Some(batch) = self.sink.batches().get(number - 1) {
                    return batch.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect("a scrape")
    }

    fn count(&self, name: &str, scraper: Option<&str>) -> f64 {
        let mut samples = Vec::new();
        self.running.collect(&mut samples);
        let is_meant = |sample: &&cupola_export::Sample| {
            sample.name == name
                && scraper.is_none_or(|scraper| sample.labels == [("scraper", scraper.to_owned())])
        };
        samples.iter().find(is_meant).unwrap().value
    }

    async fn until(&self, name: &str, wanted: f64) {
        let waiting = async {
            while self.count(name, None) < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        waited.unwrap_or_else(|_| panic!("{name} is {}", self.count(name, None)));
    }
}

/// A point with all that it says but its time; in an order of its own.
fn points(batch: &Batch) -> Vec<Value> {
    let mut all = Vec::new();
    for resource in batch.metrics().resources() {
        for scope in resource.scopes() {
            for metric in scope.metrics() {
                let (kind, points) = match metric.data().unwrap() {
                    MetricData::Gauge(points) => ("gauge", points),
                    MetricData::Sum {
                        points,
                        temporality,
                        monotonic,
                    } => {
                        assert_eq!(temporality, 2);
                        (if monotonic { "counter" } else { "level" }, points)
                    }
                    other => panic!("{other:?}"),
                };
                for point in points {
                    assert!(point.time_unix_nano > 0);
                    let value = match point.value.unwrap() {
                        NumberValue::Int(value) => json!(value),
                        NumberValue::Double(value) => json!(format!("{value:?}")),
                    };
                    all.push(json!({
                        "name": metric.name, "kind": kind, "unit": metric.unit, "help": metric.description,
                        "resource": attributes(resource.resource().attributes),
                        "scope": scope.scope().name, "schema": resource.schema_url(),
                        "attributes": attributes(point.attributes), "value": value, "start": point.start_time_unix_nano,
                    }));
                }
            }
        }
    }
    all.sort_by_cached_key(Value::to_string);
    all
}

/// Values that depend on this machine, or on when they are read, are not compared: `null`. Starts are counted from that of
/// the host, because in a container of Docker the Collector reckons it from the uptime.
fn comparable(points: Vec<Value>) -> Vec<Value> {
    let is_of_this_machine = |name: &str| name.starts_with("system.filesystem") || name.ends_with(".uptime");
    let began = began(&points);
    let mut points: Vec<_> = points
        .into_iter()
        .map(|mut point| {
            if is_of_this_machine(point["name"].as_str().unwrap()) {
                point["value"] = Value::Null;
            }
            point["start"] = json!(point["start"].as_u64().unwrap() - began);
            point
        })
        .collect();
    points.sort_by_cached_key(Value::to_string);
    points
}

/// When the host began to count.
fn began(points: &[Value]) -> u64 {
    let of_host = |point: &&Value| point["resource"] == json!({});
    points.iter().find(of_host).unwrap()["start"].as_u64().unwrap()
}

fn names(points: &[Value]) -> BTreeSet<&str> {
    points
        .iter()
        .map(|point| point["name"].as_str().unwrap())
        .collect()
}

fn decode(bytes: Vec<u8>) -> Batch {
    Batch::decode_protobuf(Signal::Metrics, TenantId::default_tenant(), bytes.into()).unwrap()
}

/// What the Collector made of the recorded host, one point a line; `against_collector` sees to it that it does.
fn collectors(settings: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("hostmetrics/collector.json")).unwrap();
    all[settings].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_recorded_host_has_the_metrics_that_the_collector_makes_of_it() {
    let folder = tree::recorded();
    for (which, settings) in [
        ("defaults", defaults(folder.path())),
        ("everything", everything(folder.path())),
    ] {
        let measuring = Measuring::start(&settings.to_string()).await;
        let found = comparable(points(&measuring.batch(2).await));
        let expected = collectors(which);
        assert!(expected.len() > 100);
        let found = against_collector::shared(found);
        assert_eq!(names(&found), names(&expected), "{which}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{which}");
        }
        assert_eq!(found.len(), expected.len(), "{which}");
        for (scraper, _) in settings["scrapers"].as_object().unwrap() {
            let errors = measuring.count("otelcol_scraper_errored_metric_points", Some(scraper));
            let scraped = measuring.count("otelcol_scraper_scraped_metric_points", Some(scraper));
            assert!(
                errors == 0.0 && scraped > 0.0,
                "{scraper}: {scraped}, errors {errors}"
            );
        }
        measuring.running.shutdown().await;
    }
}

/// What the Collector reads past its `root_path`, and is read below it here.
#[tokio::test]
async fn the_whole_host_is_read_below_the_root() {
    let folder = tree::recorded();
    let mut settings = everything(folder.path());
    settings["scrapers"]["load"]["cpu_average"] = json!(true);
    let measuring = Measuring::start(&settings.to_string()).await;
    let points = points(&measuring.batch(2).await);
    let value = |name: &str, attributes: Value| {
        let mut found = points
            .iter()
            .filter(|point| point["name"] == name && point["attributes"] == attributes);
        let value = found.next().unwrap_or_else(|| panic!("{name} {attributes}"))["value"].clone();
        assert!(found.next().is_none());
        value
    };
    assert_eq!(began(&points), 1_795_830_280_000_000_000);
    assert_eq!(value("system.cpu.logical.count", json!({})), 2);
    assert_eq!(value("system.cpu.physical.count", json!({})), 1);
    assert_eq!(
        value("system.cpu.frequency", json!({ "cpu": "cpu1" })),
        "3012004000.0"
    );
    assert_eq!(value("system.cpu.load_average.1m", json!({})), "3.725");
    assert_eq!(value("system.uptime", json!({})), "30929.0");
    let swap = |state: &str| json!({ "device": "/dev/dm-1", "state": state });
    assert_eq!(value("system.paging.usage", swap("used")), 1024 * 1024);
    assert_eq!(
        value("system.paging.usage", swap("free")),
        (2_097_148 - 1024) * 1024
    );
    for (status, count) in [
        ("blocked", 1),
        ("running", 3),
        ("sleeping", 3),
        ("idle", 1),
        ("zombies", 1),
    ] {
        assert_eq!(
            value("system.processes.count", json!({ "status": status })),
            count,
            "{status}"
        );
    }
    measuring.running.shutdown().await;
}

#[tokio::test]
async fn filters_and_switches_choose() {
    let folder = tree::recorded();
    let measuring = Measuring::start(&format!(
        "{{root_path: {}, initial_delay: 0s, collection_interval: 1h, scrapers: {{\
           disk: {{include: {{devices: ['^sd', dm-0], match_type: regexp}}, exclude: {{devices: [sda1], match_type: strict}},\
             metrics: {{system.disk.io: {{attributes: [direction]}}, system.disk.merged: {{enabled: false}},\
               system.disk.operations: {{attributes: [], aggregation_strategy: max}}}}}},\
           network: {{exclude: {{interfaces: [lo], match_type: strict}}, metrics: {{system.network.connections: {{enabled: false}}}}}},\
           filesystem: {{exclude_fs_types: {{fs_types: [squashfs, vfat], match_type: strict}},\
             exclude_mount_points: {{mount_points: ['^/media/'], match_type: regexp}}, include_devices: {{devices: [/dev/], match_type: regexp}}}},\
           process: {{include: {{names: [kube-controller-manager, writer], match_type: strict}}, scrape_process_delay: 0s,\
             resource_attributes: {{process.command_line: {{enabled: false}}}}}}}}}}",
        folder.path().display(),
    ))
    .await;
    let points = points(&measuring.batch(1).await);
    let of = |name: &str, attribute: &str| -> BTreeSet<String> {
        let found = points.iter().filter(|point| point["name"] == name);
        found
            .map(|point| {
                point["attributes"][attribute]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(
        of("system.disk.io_time", "device"),
        ["dm-0", "sda"].map(str::to_owned).into()
    );
    assert!(!names(&points).contains("system.disk.merged"));
    let io = points
        .iter()
        .filter(|point| point["name"] == "system.disk.io" && point["attributes"]["direction"] == "read");
    let io: Vec<_> = io
        .map(|point| (point["attributes"].clone(), point["value"].clone()))
        .collect();
    assert_eq!(
        io,
        [(
            json!({ "direction": "read" }),
            json!((98_123_456_u64 + 616) * 512)
        )]
    );
    let most = points
        .iter()
        .find(|point| point["name"] == "system.disk.operations")
        .unwrap();
    assert_eq!(
        (&most["attributes"], &most["value"]),
        (&json!({}), &json!(1_234_567))
    );
    assert_eq!(
        of("system.network.io", "device"),
        ["eth0", "eth0:1"].map(str::to_owned).into()
    );
    assert!(!names(&points).contains("system.network.connections"));
    assert_eq!(
        of("system.filesystem.usage", "mountpoint"),
        ["/", "/home"].map(str::to_owned).into()
    );
    let processes: BTreeSet<_> = points
        .iter()
        .filter_map(|point| point["resource"]["process.executable.name"].as_str())
        .collect();
    assert_eq!(processes, ["kube-controller-manager", "writer"].into());
    assert!(
        points
            .iter()
            .all(|point| point["resource"]["process.command_line"].is_null())
    );
    measuring.running.shutdown().await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_where_they_stand() {
    let refused = |settings: &str| {
        let config = cupola_config::yaml::from_str::<HostMetricsConfig>(settings).unwrap();
        config.validate().unwrap_err().to_string()
    };
    for (settings, key, said) in [
        ("{}", "scrapers", "name at least one"),
        (
            "{scrapers: {cpu: }, collection_interval: 0s}",
            "collection_interval",
            "longer than nothing",
        ),
        (
            "{scrapers: {cpu: {metrics: {system.cpu.tme: {enabled: true}}}}}",
            "scrapers.cpu.metrics",
            "did you mean `system.cpu.time`?",
        ),
        (
            "{scrapers: {cpu: {metrics: {system.cpu.time: {attributes: [core]}}}}}",
            "scrapers.cpu.metrics.system.cpu.time",
            "there are: cpu, state",
        ),
        (
            "{scrapers: {system: {metrics: {system.uptime: {aggregation_strategy: sum}}}}}",
            "scrapers.system.metrics.system.uptime",
            "no attributes",
        ),
        (
            "{scrapers: {disk: {include: {devices: [sda]}}}}",
            "scrapers.disk.include",
            "match_type",
        ),
        (
            "{scrapers: {process: {exclude: {names: ['('], match_type: regexp}}}}",
            "scrapers.process.exclude.names",
            "unclosed",
        ),
    ] {
        let message = refused(settings);
        assert!(
            message.contains(key) && message.contains(said),
            "{settings}: {message}"
        );
    }
    let nowhere = tempfile::tempdir().unwrap();
    let settings = format!("{{root_path: {}, scrapers: {{cpu: }}}}", nowhere.path().display());
    let config = cupola_config::yaml::from_str(&settings).unwrap();
    let (taking, memory) = sink();
    let error = HostMetricsReceiver::start(config, taking, memory)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("proc/stat") && error.contains("root_path"),
        "{error}"
    );
    assert!(cupola_config::yaml::from_str::<HostMetricsConfig>(&format!("{{scrapers: {DEFAULTS}}}")).is_ok());
}
