//! Settings written as a configuration file that means the same.

use std::fmt::Write as _;
use std::net::SocketAddr;

use cupola_store::RetentionRule;

use super::Settings;
use super::file::LogEncoding;
use super::units::{ByteSize, TimeSpan};

pub(crate) fn yaml(settings: &Settings) -> String {
    let mut text = String::new();
    otlp(&mut text, settings);
    text.push_str("extensions:\n");
    listener(&mut text, "health_check", settings.health);
    store(&mut text, settings);
    let _ = write!(text, "api:\n  endpoint: {}\n", settings.api.listen);
    listener(&mut text, "postgres", settings.api.postgres_listen);
    listener(&mut text, "flight_sql", settings.api.flight_listen);
    if !settings.api.allowed_hosts.is_empty() {
        let _ = writeln!(text, "  allowed_hosts: {:?}", settings.api.allowed_hosts);
    }
    let _ = write!(text, "memory:\n  limit: {}\n", ByteSize(settings.memory.limit));
    service(&mut text, settings);
    text
}

fn otlp(text: &mut String, settings: &Settings) {
    let otlp = &settings.otlp;
    text.push_str("receivers:\n  otlp:\n    protocols:\n");
    if let Some(address) = otlp.grpc {
        let _ = write!(text, "      grpc:\n        endpoint: {address}\n");
        if let Some(bytes) = otlp.grpc_message_bytes_max {
            let _ = writeln!(text, "        max_recv_msg_size_mib: {}", bytes >> 20);
        }
    }
    if let Some(address) = otlp.http {
        let _ = write!(text, "      http:\n        endpoint: {address}\n");
        if let Some(bytes) = otlp.http_body_bytes_max {
            let _ = writeln!(text, "        max_request_body_size: {}", ByteSize(bytes as u64));
        }
        if let Some(cors) = &otlp.cors {
            let _ = write!(
                text,
                "        cors:\n          allowed_origins: {:?}\n          allowed_headers: {:?}\n",
                cors.allowed_origins, cors.allowed_headers
            );
            if let Some(seconds) = cors.max_age {
                let _ = writeln!(text, "          max_age: {seconds}");
            }
        }
    }
}

fn store(text: &mut String, settings: &Settings) {
    let effective = settings.store_config(cupola_telemetry::memory::MemoryBudget::unlimited());
    let _ = write!(text, "store:\n  directory: {:?}\n", settings.directory);
    if let Some(url) = &settings.object_store_url {
        let _ = writeln!(text, "  object_store_url: {url:?}");
    }
    if !settings.object_store_options.is_empty() {
        text.push_str("  object_store_options:\n");
        for (key, value) in &settings.object_store_options {
            let shown = if is_secret(key) { "(hidden)" } else { value };
            let _ = writeln!(text, "    {key}: {shown:?}");
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
    retention(text, &effective.retention);
}

/// Filters are shown as the store understands them, which the file's shorter form cannot always say.
fn retention(text: &mut String, rules: &[RetentionRule]) {
    if rules.is_empty() {
        return;
    }
    text.push_str("  retention:\n");
    for rule in rules {
        let _ = writeln!(text, "    - keep: {}", TimeSpan(rule.keep));
        if let Some(signal) = rule.signal {
            let _ = writeln!(text, "      signal: {}", format!("{signal:?}").to_lowercase());
        }
        if let Some(tenant) = &rule.tenant {
            let _ = writeln!(text, "      tenant: {tenant:?}");
        }
        if let Some(filter) = &rule.filter {
            let _ = writeln!(text, "      # only rows with {filter:?}");
        }
    }
}

fn listener(text: &mut String, name: &str, address: Option<SocketAddr>) {
    let _ = match address {
        Some(address) => writeln!(text, "  {name}:\n    endpoint: {address}"),
        None => writeln!(text, "  {name}:\n    enabled: false"),
    };
}

fn service(text: &mut String, settings: &Settings) {
    text.push_str("service:\n  telemetry:\n");
    match &settings.own_tenant {
        Some(tenant) => {
            let _ = writeln!(text, "    tenant: {:?}", tenant.as_str());
        }
        None => text.push_str("    enabled: false\n"),
    }
    let encoding = match settings.log.encoding {
        LogEncoding::Console => "console",
        LogEncoding::Json => "json",
    };
    let _ = write!(
        text,
        "    logs:\n      level: {:?}\n      encoding: {encoding}\n",
        settings.log.filter
    );
}

fn is_secret(key: &str) -> bool {
    ["secret", "key", "token", "password", "credential"]
        .iter()
        .any(|word| key.to_lowercase().contains(word))
}
