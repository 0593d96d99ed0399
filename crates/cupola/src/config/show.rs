//! Settings written as a configuration file that means the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use super::Settings;
use super::file::{Retention, Scalar, Severity, SignalName};
use super::telemetry::LogEncoding;
use crate::components;
use cupola_config::units::{ByteSize, TimeSpan};
use cupola_config::{Entry, Masking, Node};

pub(crate) fn yaml(settings: &Settings) -> String {
    let mut text = pipelines(settings);
    text.push_str("extensions:\n");
    listener(
        &mut text,
        "health_check",
        settings.health.as_ref().map(|health| health.listen),
    );
    if let Some(health) = &settings.health {
        if let Some(path) = &health.path {
            let _ = writeln!(text, "    path: {}", quoted(path));
        }
        if let Some(body) = &health.healthy_body {
            let _ = writeln!(text, "    response_body: {{healthy: {}}}", quoted(body));
        }
    }
    for (id, directory) in &settings.storage {
        let directory = quoted(&directory.to_string_lossy());
        let _ = write!(text, "  {id}:\n    directory: {directory}\n");
    }
    authenticators(&mut text, settings);
    diagnostics(&mut text, settings);
    store(&mut text, settings);
    let _ = write!(text, "api:\n  endpoint: {}\n", settings.api.listen);
    listener(&mut text, "postgres", settings.api.postgres_listen);
    listener(&mut text, "flight_sql", settings.api.flight_listen);
    if !settings.api.allowed_hosts.is_empty() {
        let _ = writeln!(
            text,
            "  allowed_hosts: {}",
            quoted_list(&settings.api.allowed_hosts)
        );
    }
    let _ = write!(text, "memory:\n  limit: {}\n", ByteSize(settings.memory.limit));
    settings.query.show(&mut text);
    service(&mut text, settings);
    // What is shown has its references put in; a dollar that is left is one.
    text.replace('$', "$$")
}

/// The sections of the pipelines, as they are in the tree, secrets masked.
fn pipelines(settings: &Settings) -> String {
    let shown = components::SECTIONS.iter().filter_map(|section| {
        let node = settings.tree.get(section).filter(|node| !node.is_null())?;
        Some(Entry {
            key: (*section).into(),
            place: node.place().clone(),
            value: node.clone(),
        })
    });
    let tree = Node::mapping(settings.tree.place().clone(), shown);
    cupola_config::show(&tree, &components::masking(&settings.tree))
}

/// Extensions that components refer to by name, as they are in the tree, secrets masked.
fn authenticators(text: &mut String, settings: &Settings) {
    let Some(section) = settings.tree.get(components::EXTENSIONS) else {
        return;
    };
    let of_pipelines = |entry: &&Entry| {
        let kind = entry.key.split('/').next().unwrap_or_default().trim();
        components::is_of_pipelines(kind)
    };
    let shown: Vec<Entry> = section.entries().iter().filter(of_pipelines).cloned().collect();
    if shown.is_empty() {
        return;
    }
    let extensions = Entry {
        key: components::EXTENSIONS.into(),
        place: section.place().clone(),
        value: Node::mapping(section.place().clone(), shown),
    };
    let tree = Node::mapping(section.place().clone(), [extensions]);
    let masked = cupola_config::show(&tree, &components::masking(&settings.tree));
    // The section has been begun with those of the binary.
    for line in masked.lines().skip(1) {
        let _ = writeln!(text, "{line}");
    }
}

fn diagnostics(text: &mut String, settings: &Settings) {
    if let Some(pages) = &settings.zpages {
        listener(text, "zpages", Some(pages.listen));
        let _ = writeln!(text, "    expvar: {{enabled: {}}}", pages.expvar);
    }
    if let Some(pprof) = &settings.pprof {
        listener(text, "pprof", Some(pprof.listen));
        if let Some(path) = &pprof.save_to_file {
            let _ = writeln!(text, "    save_to_file: {}", quoted(&path.to_string_lossy()));
        }
    }
}

fn store(text: &mut String, settings: &Settings) {
    let effective = settings.store_config(cupola_telemetry::memory::MemoryBudget::unlimited());
    let directory = quoted(&settings.directory.to_string_lossy());
    let _ = write!(text, "store:\n  directory: {directory}\n");
    if let Some(url) = &settings.object_store_url {
        let shown = cupola_config::mask::urls(url).unwrap_or_else(|| url.clone());
        let _ = writeln!(text, "  object_store_url: {}", quoted(&shown));
    }
    if !settings.object_store_options.is_empty() {
        text.push_str("  object_store_options:\n");
        for (key, value) in &settings.object_store_options {
            let shown = if is_secret(key) { "(hidden)" } else { value };
            let _ = writeln!(text, "    {key}: {}", quoted(shown));
        }
    }
    let _ = writeln!(
        text,
        "  flush_bytes_max: {}",
        ByteSize(effective.flush_bytes_max as u64)
    );
    let _ = writeln!(text, "  flush_interval: {}", TimeSpan(effective.flush_interval));
    let _ = writeln!(
        text,
        "  wal_segment_bytes_max: {}",
        ByteSize(effective.wal_segment_bytes_max)
    );
    let compaction = &effective.compaction;
    let _ = writeln!(
        text,
        "  compaction:\n    interval: {}",
        TimeSpan(compaction.interval)
    );
    let _ = writeln!(text, "    files_min: {}", compaction.files_min);
    let _ = writeln!(
        text,
        "    segment_bytes_target: {}",
        ByteSize(compaction.segment_bytes_target)
    );
    let _ = writeln!(text, "    settle: {}", TimeSpan(compaction.settle));
    let _ = writeln!(
        text,
        "  retention_interval: {}",
        TimeSpan(effective.retention_interval)
    );
    retention(text, &settings.store.retention_shown);
}

/// Everything that narrows a rule is shown: without it the rule would remove other rows.
fn retention(text: &mut String, rules: &[Retention]) {
    if rules.is_empty() {
        return;
    }
    text.push_str("  retention:\n");
    // Taken apart, so that a new part of a rule cannot be forgotten here.
    for Retention {
        keep,
        signal,
        tenant,
        service,
        severity_min,
        severity_max,
        attributes,
        resource_attributes,
    } in rules
    {
        let _ = writeln!(text, "    - keep: {keep}");
        let words = [
            ("signal", signal.map(SignalName::as_str)),
            ("severity_min", severity_min.map(Severity::as_str)),
            ("severity_max", severity_max.map(Severity::as_str)),
        ];
        for (key, word) in words {
            if let Some(word) = word {
                let _ = writeln!(text, "      {key}: {word}");
            }
        }
        for (key, name) in [("tenant", tenant), ("service", service)] {
            if let Some(name) = name {
                let _ = writeln!(text, "      {key}: {}", quoted(name));
            }
        }
        compared(text, "attributes", attributes);
        compared(text, "resource_attributes", resource_attributes);
    }
}

fn compared(text: &mut String, set: &str, values: &BTreeMap<String, Scalar>) {
    if values.is_empty() {
        return;
    }
    let _ = writeln!(text, "      {set}:");
    for (key, value) in values {
        let value = scalar(value);
        let _ = writeln!(text, "        {}: {value}", quoted(key));
    }
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Bool(flag) => flag.to_string(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Double(number) if number.is_nan() => ".nan".to_owned(),
        Scalar::Double(number) if number.is_infinite() => {
            if *number > 0.0 { ".inf" } else { "-.inf" }.to_owned()
        }
        // With a point or an exponent, so that it is read as a double again.
        Scalar::Double(number) => format!("{number:?}"),
        Scalar::Text(text) => quoted(text),
    }
}

/// A text of JSON is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn quoted_list(texts: &[String]) -> String {
    serde_json::Value::from(texts.to_vec()).to_string()
}

fn listener(text: &mut String, name: &str, address: Option<SocketAddr>) {
    let _ = match address {
        Some(address) => writeln!(text, "  {name}:\n    endpoint: {address}"),
        None => writeln!(text, "  {name}:\n    enabled: false"),
    };
}

fn service(text: &mut String, settings: &Settings) {
    text.push_str("service:\n");
    if let Some(pipelines) = settings.tree.at(&["service", "pipelines"]) {
        let one = Node::mapping(
            pipelines.place().clone(),
            [Entry {
                key: "pipelines".into(),
                place: pipelines.place().clone(),
                value: pipelines.clone(),
            }],
        );
        for line in cupola_config::show(&one, &Masking::new()).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text.push_str("  telemetry:\n");
    match &settings.own_tenant {
        Some(tenant) => {
            let _ = writeln!(text, "    tenant: {}", quoted(tenant.as_str()));
        }
        None => text.push_str("    enabled: false\n"),
    }
    if !settings.own_metrics.is_empty() {
        text.push_str("    metrics:\n      readers:\n");
        for address in &settings.own_metrics {
            let (host, port) = (quoted(&address.ip().to_string()), address.port());
            let _ = writeln!(
                text,
                "        - pull: {{exporter: {{prometheus: {{host: {host}, port: {port}}}}}}}"
            );
        }
    }
    if !settings.own_resource.is_empty() {
        text.push_str("    resource:\n");
        for (name, value) in &settings.own_resource {
            let value = value.as_ref().map_or_else(|| "null".to_owned(), scalar);
            let _ = writeln!(text, "      {}: {value}", quoted(name));
        }
    }
    let encoding = match settings.log.encoding {
        LogEncoding::Console => "console",
        LogEncoding::Json => "json",
    };
    let _ = write!(
        text,
        "    logs:\n      level: {}\n      encoding: {encoding}\n",
        quoted(&settings.log.filter)
    );
}

fn is_secret(key: &str) -> bool {
    ["secret", "key", "token", "password", "credential"]
        .iter()
        .any(|word| key.to_lowercase().contains(word))
}
