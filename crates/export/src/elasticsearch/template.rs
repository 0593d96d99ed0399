//! Our index templates: for clusters that have none for these indices, and never in the place of one that is there.
//! Elasticsearch brings its own for `logs-*.otel-*` and its like; OpenSearch has none, and without one `create` would make
//! a plain index with guessed fields.

use bytes::Bytes;
use cupola_telemetry::Signal;
use http::Method;
use serde_json::{Value, json};

use super::bulk::RETRYABLE;
use super::client::{Answer, Cluster};
use super::config::{ElasticsearchConfig, MappingMode};
use super::index::pattern;

const JSON: &str = "application/json";
/// Longer keywords are kept and not indexed.
const KEYWORD_CHARACTERS_MAX: u32 = 1_024;

/// What a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    Elasticsearch,
    OpenSearch,
}

/// Which of the two it is; one that does not tell is taken for the former.
pub(super) async fn flavour(cluster: &Cluster) -> Result<Flavour, String> {
    let answer = cluster.ask(&Method::GET, "/", JSON, Bytes::new()).await?;
    mendable(&answer)?;
    let root: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    Ok(match root["version"]["distribution"].as_str() {
        Some("opensearch") => Flavour::OpenSearch,
        _ => Flavour::Elasticsearch,
    })
}

/// Installs the template of a signal unless there is one. A right that we do not have is told once and is no reason not
/// to send.
pub(super) async fn install(
    cluster: &Cluster,
    config: &ElasticsearchConfig,
    flavour: Flavour,
    signal: Signal,
) -> Result<(), String> {
    let name = format!("{}-{signal}", config.template.name);
    let path = format!("/_index_template/{name}");
    let there = cluster.ask(&Method::GET, &path, JSON, Bytes::new()).await?;
    mendable(&there)?;
    if there.status.is_success() || is_covered(cluster, config, signal).await? {
        return Ok(());
    }
    let body = Bytes::from(template(config, flavour, signal).to_string());
    let answer = cluster.ask(&Method::PUT, &path, JSON, body).await?;
    mendable(&answer)?;
    match answer.status.is_success() {
        true => tracing::info!(template = name, "installed an index template"),
        false => tracing::warn!(
            template = name,
            status = answer.status.as_u16(),
            reason = %String::from_utf8_lossy(&answer.body),
            "could not install an index template, sending without; set `template.enabled: false` if that is intended"
        ),
    }
    Ok(())
}

/// Whether a template of somebody else applies to these indices.
async fn is_covered(cluster: &Cluster, config: &ElasticsearchConfig, signal: Signal) -> Result<bool, String> {
    let index = pattern(config, signal)
        .replace(".otel-*", ".otel-default")
        .replace("-*", "-generic");
    let index = index.replace('*', "x");
    let path = format!("/_index_template/_simulate_index/{index}");
    let answer = cluster.ask(&Method::POST, &path, JSON, Bytes::new()).await?;
    mendable(&answer)?;
    let simulated: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let template = &simulated["template"];
    let is_filled = |value: &Value| value.as_object().is_some_and(|members| !members.is_empty());
    Ok(is_filled(&template["mappings"]) || is_filled(&template["settings"]))
}

/// An error where the answer says to come again: what is sent without a template that was to be there would be kept wrong.
fn mendable(answer: &Answer) -> Result<(), String> {
    let status = answer.status.as_u16();
    match RETRYABLE.contains(&status) {
        true => Err(format!("status {status} while looking for index templates")),
        false => Ok(()),
    }
}

fn template(config: &ElasticsearchConfig, flavour: Flavour, signal: Signal) -> Value {
    let patterns = match config.template.patterns.is_empty() {
        true => vec![pattern(config, signal)],
        false => config.template.patterns.clone(),
    };
    let mappings = match config.mapping.mode {
        MappingMode::Otel => native(flavour),
        _ => flat(),
    };
    let mut template = json!({
        "index_patterns": patterns,
        "priority": config.template.priority,
        "template": {"mappings": mappings},
        "_meta": {"description": "made by Cupola"},
    });
    if config.static_index(signal).is_empty() && !config.logstash_format.enabled {
        template["data_stream"] = json!({});
    }
    template
}

/// Attributes are one field, of which each key can be searched: keys of any number and of any type beside one another.
fn native(flavour: Flavour) -> Value {
    let bag = match flavour {
        Flavour::Elasticsearch => json!({"type": "flattened", "ignore_above": KEYWORD_CHARACTERS_MAX}),
        Flavour::OpenSearch => json!({"type": "flat_object"}),
    };
    let keyword = json!({"type": "keyword", "ignore_above": KEYWORD_CHARACTERS_MAX});
    let time = json!({"type": "date_nanos"});
    let described = json!({"properties": {
        "attributes": bag, "name": keyword, "version": keyword, "schema_url": keyword,
        "dropped_attributes_count": {"type": "long"},
    }});
    json!({
        "date_detection": false,
        // Otherwise they are of 32 bits, and documents with greater numbers are refused.
        "dynamic_templates": [{"doubles": {
            "match_mapping_type": "double", "path_match": "metrics.*", "mapping": {"type": "double"},
        }}],
        "properties": {
            "@timestamp": time, "observed_timestamp": time, "start_timestamp": time,
            "trace_id": keyword, "span_id": keyword, "parent_span_id": keyword, "trace_state": keyword,
            "trace_flags": {"type": "long"},
            "severity_text": keyword, "severity_number": {"type": "integer"},
            "event_name": keyword, "name": keyword, "kind": keyword, "duration": {"type": "long"}, "unit": keyword,
            "attributes": bag, "resource": described, "scope": described,
            "dropped_attributes_count": {"type": "long"},
            "dropped_events_count": {"type": "long"},
            "dropped_links_count": {"type": "long"},
            "body": {"properties": {"text": {"type": "text"}, "structured": bag}},
            "links": {"properties": {
                "trace_id": keyword, "span_id": keyword, "trace_state": keyword, "attributes": bag,
            }},
            "status": {"properties": {"code": keyword, "message": {"type": "text"}}},
            "_metric_names_hash": keyword,
            "metrics": {"type": "object", "dynamic": true},
            "data_stream": {"properties": {"type": keyword, "dataset": keyword, "namespace": keyword}},
        },
    })
}

fn flat() -> Value {
    json!({
        "date_detection": false,
        "dynamic_templates": [{"texts": {
            "match_mapping_type": "string",
            "mapping": {"type": "keyword", "ignore_above": KEYWORD_CHARACTERS_MAX},
        }}],
        "properties": {
            "@timestamp": {"type": "date_nanos"},
            "message": {"type": "text"},
            "error": {"properties": {"stack_trace": {"type": "text"}, "message": {"type": "text"}}},
        },
    })
}
