//! Where a document goes: the index that is set, or the data stream that its attributes name.
//! <https://www.elastic.co/guide/en/ecs/current/ecs-data_stream.html>

use std::fmt::Write as _;

use chrono::DateTime;
use cupola_telemetry::Signal;
use cupola_telemetry::view::{AnyValue, Attributes};

use super::config::{ElasticsearchConfig, MappingMode};

/// Longest dataset or namespace.
const PART_BYTES_MAX: usize = 100;
/// No part of a name may hold these.
const FORBIDDEN: &str = "\\/*?\"<>| ,#:-";

/// Attributes that say where to go, and are not part of the document under `attributes`.
pub(super) const ROUTING: [&str; 5] = [
    "data_stream.type",
    "data_stream.dataset",
    "data_stream.namespace",
    "elasticsearch.index",
    "elasticsearch.mapping.mode",
];

/// Where a document goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) index: String,
    /// Type, dataset and namespace, if it is a data stream by its attributes.
    pub(super) stream: Option<(&'static str, String, String)>,
}

/// The target of an item at `nanos`, with the attributes that stand over it, innermost first. An event of a span goes to
/// the data stream of logs.
pub(super) fn target(
    config: &ElasticsearchConfig,
    signal: Signal,
    is_event: bool,
    attributes: [Attributes<'_>; 3],
    nanos: u64,
) -> Target {
    let find = |key: &str| {
        let mut values = attributes.iter().filter_map(|attributes| attributes.get(key));
        values.find_map(AnyValue::as_str).filter(|text| !text.is_empty())
    };
    let fixed = config.static_index(signal);
    let mut target = if !fixed.is_empty() && !is_event {
        Target {
            index: dated(fixed, nanos),
            stream: None,
        }
    } else if let Some(index) = find("elasticsearch.index") {
        Target {
            index: index.to_owned(),
            stream: None,
        }
    } else {
        let kind = if is_event { "logs" } else { signal.as_str() };
        let mut dataset = part(find("data_stream.dataset").unwrap_or("generic"));
        if config.mapping.mode == MappingMode::Otel && !dataset.ends_with(".otel") {
            dataset.push_str(".otel");
        }
        let namespace = part(find("data_stream.namespace").unwrap_or("default"));
        Target {
            index: format!("{kind}-{dataset}-{namespace}"),
            stream: Some((kind, dataset, namespace)),
        }
    };
    let logstash = &config.logstash_format;
    if logstash.enabled {
        target.index.push_str(&logstash.prefix_separator);
        target.index.push_str(&dated(&logstash.date_format, nanos));
        target.stream = None;
    }
    target
}

/// A pattern of strftime at a moment; text without `%` as it stands.
fn dated(pattern: &str, nanos: u64) -> String {
    if !pattern.contains('%') {
        return pattern.to_owned();
    }
    let moment = i64::try_from(nanos / 1_000_000_000).ok();
    let moment = moment
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .unwrap_or_default();
    let mut text = String::new();
    // Formats that cannot be written are refused with the settings.
    let _ = write!(text, "{}", moment.format(pattern));
    text
}

/// A dataset or a namespace as the name of an index can hold it.
fn part(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut part: String = lower
        .chars()
        .map(|character| {
            if FORBIDDEN.contains(character) {
                '_'
            } else {
                character
            }
        })
        .collect();
    part.truncate(part.floor_char_boundary(PART_BYTES_MAX));
    part
}

/// The pattern of index names that items of a signal lead to.
pub(super) fn pattern(config: &ElasticsearchConfig, signal: Signal) -> String {
    let fixed = config.static_index(signal);
    let dynamic = match config.mapping.mode {
        MappingMode::Otel => format!("{signal}-*.otel-*"),
        _ => format!("{signal}-*-*"),
    };
    match fixed.split('%').next() {
        None | Some("") => dynamic,
        Some(start) if start.len() < fixed.len() || config.logstash_format.enabled => format!("{start}*"),
        Some(whole) => whole.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::Batch;
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    fn with(attributes: &[(&str, &str)]) -> Batch {
        let mut logs = LogsEncoder::new();
        {
            let mut resource = logs.resource_logs();
            let mut scope = resource.scope_logs();
            let mut record = scope.record();
            for (key, value) in attributes {
                record.attribute(key, *value);
            }
        }
        logs.finish(cupola_telemetry::TenantId::default_tenant())
    }

    fn index(config: &ElasticsearchConfig, attributes: &[(&str, &str)]) -> String {
        let batch = with(attributes);
        let scope = batch.logs().resources().next().unwrap().scopes().next().unwrap();
        let own = scope.records().next().unwrap().attributes;
        let all = [own, Attributes::EMPTY, Attributes::EMPTY];
        target(config, Signal::Logs, false, all, 1_767_225_600_000_000_000).index
    }

    #[test]
    fn attributes_name_the_stream_unless_an_index_is_set() {
        let mut config = ElasticsearchConfig::default();
        let stream = [
            ("data_stream.dataset", "Shop-a b"),
            ("data_stream.namespace", "eu"),
        ];
        assert_eq!(index(&config, &[]), "logs-generic.otel-default");
        assert_eq!(index(&config, &stream), "logs-shop_a_b.otel-eu");
        assert_eq!(index(&config, &[("elasticsearch.index", "mine")]), "mine");
        config.mapping.mode = MappingMode::Ecs;
        assert_eq!(index(&config, &[]), "logs-generic-default");
        config.logs_index = "app-%Y.%m.%d".to_owned();
        assert_eq!(index(&config, &stream), "app-2026.01.01");
        assert_eq!(pattern(&config, Signal::Logs), "app-*");
        config.logs_dynamic_index.enabled = true;
        assert_eq!(index(&config, &stream), "logs-shop_a_b-eu");
        config.logstash_format.enabled = true;
        assert_eq!(index(&config, &stream), "logs-shop_a_b-eu-2026.01.01");
    }
}
