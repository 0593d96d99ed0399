//! Exporters and metric readers of a declarative file. Each exporter has one signal; what is the same for several becomes one
//! backend later.

use std::path::PathBuf;
use std::time::Duration;

use cupola_config::Node;
use cupola_export::file::FileConfig;
use cupola_export::otlp::{Compression, OtlpConfig, Protocol};
use cupola_telemetry::Signal;

use super::model::{
    CompressionModel, EncodingModel, ExporterModel, FileModel, MeterProvider, OtlpModel, PeriodicModel,
};
use crate::backend::{Backend, Destination, Signals};
use crate::configuration::text::File;
use crate::configuration::variables::without_end;
use crate::configuration::{backends, metrics, otlp, pairs, variables};
use crate::metrics::MetricSettings;
use crate::settings::Settings;

/// The backend of an exporter; `None`, and told, where there is none.
pub(super) fn backend(
    file: &mut File<'_>,
    node: &Node,
    key: &str,
    model: Option<&ExporterModel>,
    signal: Signal,
) -> Option<Backend> {
    let Some(model) = model else {
        file.error(
            node.place(),
            key,
            "this key is missing",
            Some("add `exporter:` with for example `otlp_http:`"),
        );
        return None;
    };
    if !file.is_one(node, key) {
        return None;
    }
    let below = node.entries().first().map_or(node, |entry| &entry.value);
    let kind = node
        .entries()
        .first()
        .map(|entry| entry.key.to_string())
        .unwrap_or_default();
    let key = format!("{key}.{kind}");
    let mut backend = if let Some(http) = &model.otlp_http {
        let protocol = match http.encoding {
            Some(EncodingModel::Json) => Protocol::HttpJson,
            Some(EncodingModel::Protobuf) | None => Protocol::HttpProtobuf,
        };
        otlp_backend(file, below, &key, http, protocol, signal)?
    } else if let Some(grpc) = &model.otlp_grpc {
        otlp_backend(file, below, &key, grpc, Protocol::Grpc, signal)?
    } else if let Some(model) = &model.otlp_file {
        file_backend(file, below, &key, model)?
    } else if model.console.is_some() {
        Backend::new("console", variables::all_on_console())
    } else {
        let hint = "send to a Collector by OTLP, which sends them on";
        file.warn(
            node.place(),
            &key,
            format!("`{kind}` is not available and left out"),
            Some(hint),
        );
        return None;
    };
    backend.signals = Signals::only(signal);
    Some(backend)
}

fn otlp_backend(
    file: &mut File<'_>,
    node: &Node,
    key: &str,
    model: &OtlpModel,
    protocol: Protocol,
    signal: Signal,
) -> Option<Backend> {
    let mut config = otlp::config(protocol);
    let is_grpc = protocol == Protocol::Grpc;
    if is_grpc && let Some(entry) = node.entry("encoding") {
        file.error(
            &entry.place,
            &format!("{key}.encoding"),
            "unknown key",
            Some("there is one encoding over gRPC; leave it out"),
        );
    }
    let tls = model.tls.as_ref();
    let is_insecure = tls.and_then(|tls| tls.insecure).unwrap_or(false);
    if let Some(endpoint) = &model.endpoint {
        // Over HTTP it is the whole URL of the signal, which is the path of that signal below a base more often than not.
        let of = (!is_grpc).then_some(signal);
        if let Err(problem) = otlp::set_endpoint(&mut config, endpoint, of, is_insecure) {
            let at = node.get("endpoint").unwrap_or(node);
            file.error(at.place(), &format!("{key}.endpoint"), problem, None);
            return None;
        }
        if otlp::lacks_path(&config, signal) {
            let at = node.get("endpoint").unwrap_or(node);
            let hint = format!("add {} to it", otlp::path(signal));
            file.warn(
                at.place(),
                &format!("{key}.endpoint"),
                "has no path, and is used as it stands",
                Some(&hint),
            );
        }
    }
    if let Some(tls) = tls {
        let path = |path: &Option<String>| path.as_ref().map(PathBuf::from);
        config.tls.ca_file = path(&tls.ca_file);
        config.tls.cert_file = path(&tls.cert_file);
        config.tls.key_file = path(&tls.key_file);
        if let Err(error) = config.tls.validate() {
            let at = node.get("tls").unwrap_or(node);
            file.error(at.place(), &format!("{key}.tls"), error.to_string(), None);
        }
    }
    headers(file, node, key, model, &mut config);
    config.compression = match model.compression {
        None | Some(CompressionModel::None) => Compression::None,
        Some(CompressionModel::Gzip) => Compression::Gzip,
        Some(CompressionModel::Zstd) => Compression::Zstd,
    };
    let mut backend = otlp::backend(config);
    if let Some(timeout) = model.timeout {
        backends::set_timeout(&mut backend, Duration::from_millis(timeout));
    }
    Some(backend)
}

/// Those of the list, and before them those by name.
fn headers(file: &mut File<'_>, node: &Node, key: &str, model: &OtlpModel, config: &mut OtlpConfig) {
    if let (Some(list), Some(at)) = (&model.headers_list, node.get("headers_list")) {
        let (headers, problems) = pairs::headers(list.expose());
        config.headers = headers;
        for problem in problems {
            file.error(
                at.place(),
                &format!("{key}.headers_list"),
                problem,
                Some("write name=value,name=value"),
            );
        }
    }
    for (index, header) in model.headers.iter().flatten().enumerate() {
        let Some(value) = &header.value else { continue };
        let name = header.name.to_ascii_lowercase();
        if !pairs::is_header_name(&name) {
            let at = node.at(&["headers", &index.to_string()]).unwrap_or(node);
            let key = format!("{key}.headers[{index}].name");
            file.error(at.place(), &key, "is no name that a header can have", None);
            continue;
        }
        config.headers.retain(|(known, _)| *known != name);
        config.headers.push((name, value.clone()));
    }
}

fn file_backend(file: &mut File<'_>, node: &Node, key: &str, model: &FileModel) -> Option<Backend> {
    let stream = model.output_stream.as_deref().unwrap_or("stdout");
    let at = node.get("output_stream").unwrap_or(node);
    let key = format!("{key}.output_stream");
    let Some(path) = stream.strip_prefix("file://") else {
        match stream {
            "stdout" => file.warn(
                at.place(),
                &key,
                "OTLP on standard output is not available and left out",
                Some("use console, or output_stream: file:///path/to/file.jsonl"),
            ),
            _ => file.error(
                at.place(),
                &key,
                format!("`{stream}` is neither stdout nor a file"),
                Some("write for example file:///var/log/traces.jsonl"),
            ),
        }
        return None;
    };
    let destination = Destination::File(FileConfig {
        path: PathBuf::from(path),
        create_directory: true,
        ..FileConfig::default()
    });
    Some(Backend::new("otlp_file", destination))
}

/// The backends of metric readers, and what they say of metrics.
pub(super) fn readers(
    file: &mut File<'_>,
    node: &Node,
    provider: &MeterProvider,
    settings: &mut Settings,
) -> Vec<Backend> {
    let mut backends = Vec::new();
    let metrics = &mut settings.metrics;
    if let Some(filter) = provider.exemplar_filter {
        metrics.exemplars = filter.into();
    }
    if let (Some(views), Some(node)) = (&provider.views, node.get("views")) {
        metrics.views = metrics::views(file, node, "meter_provider.views", views);
    }
    let mut first: Option<MetricSettings> = None;
    let nodes = node.get("readers").map(Node::items).unwrap_or_default();
    if nodes.is_empty() {
        let hint = "add a reader: `periodic:` with an exporter";
        file.error(
            node.place(),
            "meter_provider.readers",
            "this key is missing",
            Some(hint),
        );
    }
    for (index, (reader, node)) in provider.readers.iter().zip(nodes).enumerate() {
        let key = format!("meter_provider.readers[{index}]");
        if !file.is_one(node, &key) {
            continue;
        }
        let Some(periodic) = &reader.periodic else {
            let hint =
                "use a periodic reader with OTLP, to a Cupola server or a Collector that Prometheus can ask";
            file.warn(
                node.place(),
                &key,
                "metrics are sent and not fetched; the reader is left out",
                Some(hint),
            );
            continue;
        };
        let mut own = MetricSettings {
            views: metrics.views.clone(),
            exemplars: metrics.exemplars,
            ..MetricSettings::default()
        };
        periodic_reader(file, node, &key, periodic, &mut own);
        if first.as_ref().is_some_and(|first| *first != own) {
            let hint = "metrics are collected once, for all of them, as the first reader says";
            file.warn(
                node.place(),
                &key,
                "is not like the first reader, which counts",
                Some(hint),
            );
        }
        first.get_or_insert(own);
        let key = format!("{key}.periodic.exporter");
        let exporter = node.at(&["periodic", "exporter"]).unwrap_or(node);
        backends.extend(backend(
            file,
            exporter,
            &key,
            periodic.exporter.as_ref(),
            Signal::Metrics,
        ));
    }
    *metrics = first.unwrap_or_else(|| metrics.clone());
    backends
}

/// What one reader and its exporter say of how metrics are collected.
fn periodic_reader(
    file: &mut File<'_>,
    node: &Node,
    key: &str,
    model: &PeriodicModel,
    metrics: &mut MetricSettings,
) {
    if let Some(interval) = model.interval {
        metrics.interval = Duration::from_millis(interval.max(1));
    }
    if let Some(timeout) = model.timeout {
        metrics.timeout = without_end(timeout);
    }
    if model.producers.is_some() {
        let at = node.at(&["periodic", "producers"]).unwrap_or(node);
        file.warn(
            at.place(),
            &format!("{key}.periodic.producers"),
            "are not available and left out",
            None,
        );
    }
    if let Some(limits) = &model.cardinality_limits {
        metrics.cardinality_limit = limits.default.unwrap_or(metrics.cardinality_limit).max(1);
        if limits.of_kinds().any(|limit| limit != metrics.cardinality_limit) {
            let at = node.at(&["periodic", "cardinality_limits"]).unwrap_or(node);
            let key = format!("{key}.periodic.cardinality_limits");
            let message = "limits of kinds of instruments are not available; `default` is used";
            let hint = "use a view with `aggregation_cardinality_limit`";
            file.warn(at.place(), &key, message, Some(hint));
        }
    }
    let (temporality, histogram) = model
        .exporter
        .as_ref()
        .map(ExporterModel::preferences)
        .unwrap_or_default();
    metrics.temporality = temporality.map_or(metrics.temporality, Into::into);
    metrics.histogram = histogram.map_or(metrics.histogram, Into::into);
}
