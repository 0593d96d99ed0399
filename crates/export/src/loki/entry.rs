//! One log record as an entry of a stream: its labels, its line and its metadata.

use std::fmt::Write as _;

use cupola_telemetry::json;
use cupola_telemetry::view::{AnyValue, Attributes, LogRecord, Resource, Scope};

use super::LokiConfig;
use crate::prometheus::{Labels, label_name};

const HINT_RESOURCE_LABELS: &str = "loki.resource.labels";
const HINT_ATTRIBUTE_LABELS: &str = "loki.attribute.labels";
const HINT_FORMAT: &str = "loki.format";
const HINT_TENANT: &str = "loki.tenant";
const HINTS: [&str; 4] = [
    HINT_RESOURCE_LABELS,
    HINT_ATTRIBUTE_LABELS,
    HINT_FORMAT,
    HINT_TENANT,
];

/// A record and what it stands under.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) record: LogRecord<'a>,
    pub(super) resource: Resource<'a>,
    pub(super) scope: Scope<'a>,
}

/// What is sent of a record.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) tenant: Option<String>,
    pub(super) labels: Labels,
    pub(super) time_unix_nano: u64,
    pub(super) line: String,
    pub(super) metadata: Labels,
}

impl<'a> Record<'a> {
    pub(super) fn entry(self, config: &LokiConfig, now: u64) -> Entry {
        let (resource_keys, attribute_keys) =
            (self.keys(HINT_RESOURCE_LABELS), self.keys(HINT_ATTRIBUTE_LABELS));
        let mut labels = Labels::default();
        for (keys, attributes) in [
            (&resource_keys, self.resource.attributes),
            (&attribute_keys, self.record.attributes),
        ] {
            for key in keys {
                if let Some(value) = attributes.get(key) {
                    labels.set(&label_name(key), text(value));
                }
            }
        }
        self.add_defaults(&mut labels, config);
        // What became a label is not said again.
        let rest = Rest {
            record: self,
            resource_keys,
            attribute_keys,
        };
        let default_format = if config.structured_metadata { "raw" } else { "json" };
        let line = match self
            .hint(HINT_FORMAT)
            .unwrap_or_else(|| default_format.to_owned())
            .as_str()
        {
            "raw" => self.record.body.map(text).unwrap_or_default(),
            "logfmt" => rest.logfmt(),
            _ => rest.json(),
        };
        let metadata = if config.structured_metadata {
            rest.metadata()
        } else {
            Labels::default()
        };
        let times = [self.record.time_unix_nano, self.record.observed_time_unix_nano];
        Entry {
            tenant: self.tenant(),
            labels,
            time_unix_nano: times.into_iter().find(|time| *time > 0).unwrap_or(now),
            line,
            metadata,
        }
    }

    fn add_defaults(self, labels: &mut Labels, config: &LokiConfig) {
        let enabled = config.default_labels_enabled;
        let of = |key| self.resource.attributes.get(key).map(text).unwrap_or_default();
        if enabled.exporter {
            labels.set_missing("exporter", "OTLP");
        }
        let (name, namespace) = (of("service.name"), of("service.namespace"));
        if enabled.job && !name.is_empty() {
            let job = if namespace.is_empty() {
                name
            } else {
                format!("{namespace}/{name}")
            };
            labels.set_missing("job", &job);
        }
        if enabled.instance {
            labels.set_missing("instance", &of("service.instance.id"));
        }
        if enabled.level {
            let level = match self.record.attributes.get("level") {
                Some(level) => text(level),
                None => level(self.record.severity_number),
            };
            labels.set_missing("level", &level);
        }
    }

    /// A hint, of the resource first.
    fn hint(self, key: &str) -> Option<String> {
        let found = self
            .resource
            .attributes
            .get(key)
            .or_else(|| self.record.attributes.get(key));
        found.map(text).filter(|hint| !hint.is_empty())
    }

    /// The keys that a hint names, in a text with commas or a list.
    fn keys(self, hint: &str) -> Vec<String> {
        let found = [
            self.resource.attributes.get(hint),
            self.record.attributes.get(hint),
        ];
        let mut keys = Vec::new();
        for value in found.into_iter().flatten() {
            match value {
                AnyValue::Array(values) => keys.extend(values.map(text)),
                value => keys.extend(text(value).split(',').map(|key| key.trim().to_owned())),
            }
        }
        keys.retain(|key| !key.is_empty());
        keys
    }

    fn tenant(self) -> Option<String> {
        let key = self.hint(HINT_TENANT)?;
        let value = self
            .resource
            .attributes
            .get(&key)
            .or_else(|| self.record.attributes.get(&key));
        value.map(text).filter(|tenant| !tenant.is_empty())
    }
}

/// What of a record is not a label.
struct Rest<'a> {
    record: Record<'a>,
    resource_keys: Vec<String>,
    attribute_keys: Vec<String>,
}

impl<'a> Rest<'a> {
    fn attributes(&self) -> impl Iterator<Item = (&'a str, AnyValue<'a>)> {
        without(self.record.record.attributes, &self.attribute_keys)
    }

    fn resource(&self) -> impl Iterator<Item = (&'a str, AnyValue<'a>)> {
        without(self.record.resource.attributes, &self.resource_keys)
    }

    fn json(&self) -> String {
        let record = &self.record.record;
        let mut out = String::from("{");
        if let Some(body) = record.body {
            field(&mut out, "body", body);
        }
        for (name, id) in [("traceid", record.trace_id), ("spanid", record.span_id)] {
            if !id.is_empty() {
                field(&mut out, name, AnyValue::String(&hex(id)));
            }
        }
        if !record.severity_text.is_empty() {
            field(&mut out, "severity", AnyValue::String(record.severity_text));
        }
        if record.flags != 0 {
            field(&mut out, "flags", AnyValue::Int(i64::from(record.flags)));
        }
        if !record.event_name.is_empty() {
            field(&mut out, "name", AnyValue::String(record.event_name));
        }
        object(&mut out, "attributes", self.attributes());
        object(&mut out, "resources", self.resource());
        let scope = self.record.scope;
        let fields = [("name", scope.name), ("version", scope.version)];
        let named = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let mut inner = String::from("{");
        named.for_each(|(name, value)| field(&mut inner, name, AnyValue::String(value)));
        object(
            &mut inner,
            "attributes",
            scope.attributes.map(|pair| (pair.key, pair.value)),
        );
        if inner.len() > 1 {
            separate(&mut out);
            let _ = write!(out, "\"instrumentation_scope\":{inner}}}");
        }
        out.push('}');
        out
    }

    fn logfmt(&self) -> String {
        let record = &self.record.record;
        let mut out = String::new();
        let mut pair = |prefix: &str, key: &str, value: &str| {
            if !value.is_empty() {
                let separator = if out.is_empty() { "" } else { " " };
                let _ = write!(
                    out,
                    "{separator}{prefix}{}={}",
                    logfmt_key(key),
                    logfmt_value(value)
                );
            }
        };
        pair("", "msg", &record.body.map(text).unwrap_or_default());
        pair("", "traceID", &hex(record.trace_id));
        pair("", "spanID", &hex(record.span_id));
        pair("", "severity", record.severity_text);
        pair("", "name", record.event_name);
        if record.flags != 0 {
            pair("", "flags", &record.flags.to_string());
        }
        self.attributes()
            .for_each(|(key, value)| pair("attribute_", key, &text(value)));
        self.resource()
            .for_each(|(key, value)| pair("resource_", key, &text(value)));
        let scope = self.record.scope;
        pair("instrumentation_scope_", "name", scope.name);
        pair("instrumentation_scope_", "version", scope.version);
        for attribute in scope.attributes {
            pair(
                "instrumentation_scope_attribute_",
                attribute.key,
                &text(attribute.value),
            );
        }
        out
    }

    fn metadata(&self) -> Labels {
        let record = &self.record.record;
        let mut metadata = Labels::default();
        metadata.set("trace_id", hex(record.trace_id));
        metadata.set("span_id", hex(record.span_id));
        metadata.set("severity_text", record.severity_text);
        metadata.set("event_name", record.event_name);
        if record.severity_number != 0 {
            metadata.set("severity_number", record.severity_number.to_string());
        }
        if record.flags != 0 {
            metadata.set("flags", record.flags.to_string());
        }
        let scope = self.record.scope;
        metadata.set("scope_name", scope.name);
        metadata.set("scope_version", scope.version);
        for (key, value) in self.attributes().chain(self.resource()) {
            metadata.set_missing(&label_name(key), &text(value));
        }
        for attribute in scope.attributes {
            metadata.set_missing(
                &label_name(&format!("scope_{}", attribute.key)),
                &text(attribute.value),
            );
        }
        metadata
    }
}

/// Pairs but for hints and `keys`.
fn without<'a>(attributes: Attributes<'a>, keys: &[String]) -> impl Iterator<Item = (&'a str, AnyValue<'a>)> {
    let kept = move |key: &str| !HINTS.contains(&key) && !keys.iter().any(|other| other == key);
    let pairs: Vec<_> = attributes
        .map(|pair| (pair.key, pair.value))
        .filter(|(key, _)| kept(key))
        .collect();
    pairs.into_iter()
}

fn separate(out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
}

fn field(out: &mut String, name: &str, value: AnyValue<'_>) {
    separate(out);
    json::write_string(out, name);
    out.push(':');
    json::write_plain(out, value);
}

/// Pairs under a name; nothing without any.
fn object<'a>(out: &mut String, name: &str, pairs: impl Iterator<Item = (&'a str, AnyValue<'a>)>) {
    let mut inner = String::from("{");
    pairs.for_each(|(key, value)| field(&mut inner, key, value));
    if inner.len() > 1 {
        separate(out);
        json::write_string(out, name);
        let _ = write!(out, ":{inner}}}");
    }
}

/// A text as it is, anything else as JSON.
fn text(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::String(text) => text.to_owned(),
        AnyValue::Empty => String::new(),
        value => json::plain(value),
    }
}

fn logfmt_key(key: &str) -> String {
    let clean = |letter: char| {
        if letter <= ' ' || letter == '=' || letter == '"' {
            '_'
        } else {
            letter
        }
    };
    key.chars().map(clean).collect()
}

fn logfmt_value(value: &str) -> String {
    if value
        .chars()
        .any(|letter| letter <= ' ' || letter == '=' || letter == '"' || letter == '\\')
    {
        let mut quoted = String::new();
        json::write_string(&mut quoted, value);
        return quoted;
    }
    value.to_owned()
}

/// `INFO` for 9, `INFO2` for 10; nothing where there is no severity.
fn level(number: i32) -> String {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let place = usize::try_from(number - 1).ok();
    match place.and_then(|place| NAMES.get(place / 4).map(|name| (name, place % 4 + 1))) {
        None => String::new(),
        Some((name, 1)) => (*name).to_owned(),
        Some((name, step)) => format!("{name}{step}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
