//! Writes the first inputs of each fuzz target to `corpus/<target>/seed-*`: `cargo run --example seed` in `fuzz/`.
//!
//! Every run writes the same files, which are committed. They hold each kind of field once, small, so that the
//! fuzzer starts from all of the schema instead of finding it.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use cupola_export::Accepted;
use cupola_export::otlp::response;
use cupola_export::rpc_status::{FieldViolation, RpcStatus};
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, Signal, TenantId, encode, json};

fn main() -> io::Result<()> {
    for batch in [logs(), traces(), metrics()] {
        let signal = batch.signal();
        write(&format!("{signal}_protobuf"), "all", batch.payload())?;
        write(&format!("{signal}_protobuf"), "empty", b"")?;
        write(
            &format!("{signal}_protobuf"),
            "scrambled",
            &not_canonical(batch.payload()),
        )?;
        write(&format!("{signal}_json"), "all", batch.to_json().as_bytes())?;
        write(&format!("{signal}_json"), "empty", b"{}")?;
    }
    for (choice, batch) in (0_u8..).zip([logs(), traces(), metrics()]) {
        let input = [&[choice], &batch.payload()[..]].concat();
        write("columns", batch.signal().as_str(), &input)?;
    }
    let payload = logs().payload().clone();
    let zstd = zstd::bulk::compress(&payload, 1)?;
    let gzip = gzip(&payload)?;
    for (name, choice, body) in [("gzip", 0_u8, gzip), ("zstd", 1, zstd)] {
        write("compressed_body", name, &[&[choice], &body[..]].concat())?;
    }
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    write(
        "grpc_message",
        "whole",
        &[&[255, 0], &length.to_be_bytes()[..], &payload[..]].concat(),
    )?;
    write(
        "grpc_message",
        "pieces",
        &[&[3, 0], &length.to_be_bytes()[..], &payload[..]].concat(),
    )?;
    let accepted = Accepted::partial(300, "too old");
    write("export_response", "protobuf", &response::encode(&accepted))?;
    for signal in Signal::ALL {
        let text = response::to_json(signal, &accepted);
        write("export_response", signal.as_str(), text.as_bytes())?;
    }
    let status = refused();
    write("rpc_status", "protobuf", &status.encode())?;
    write("rpc_status", "json", status.to_json().as_bytes())?;
    fixture_files("journal_file", "journal", &[0, 0])?;
    fixture_files("manifest", "manifest", &[])?;
    for (name, text) in STATEMENTS {
        write("ottl", name, text.as_bytes())?;
    }
    for (name, text) in TEXTS {
        write("operators", name, text.as_bytes())?;
    }
    for (name, format, body) in RECEIVED {
        write("received", name, &[&[format], body.as_bytes()].concat())?;
    }
    for (name, packet) in PACKETS {
        write("received", name, &[&[3], packet].concat())?;
    }
    write("spool_segment", "logs", &segment())?;
    for (name, kind, text) in CONFIGURATIONS {
        write("sdk_configuration", name, &[&[kind], text.as_bytes()].concat())?;
    }
    for (name, text) in VALUES {
        write("any_value_json", name, text.as_bytes())?;
    }
    write("any_value_json", "all", json::any_value(body(&logs())).as_bytes())
}

fn refused() -> RpcStatus {
    let mut status = RpcStatus::new(14, "größer");
    status.retry_delay = Some(Duration::from_millis(1500));
    status.violations = vec![FieldViolation {
        field: "body".to_owned(),
        description: "too large".to_owned(),
    }];
    status
}

/// A file as the SDK writes it: a scope, and a record with it and without.
fn segment() -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or(0).to_le_bytes();
    // A name and a version; a time, a number of severity and a text.
    let scope = [&number(10)[..], b"\x0a\x04shop\x12\x02v1", b"https://s"].concat();
    let record = [&[9][..], &7_u64.to_le_bytes(), b"\x10\x09\x2a\x05\x0a\x03buy"].concat();
    let mut entries = Vec::new();
    for (of, entry) in [(u32::MAX, &scope), (1, &record), (0, &record)] {
        entries.extend_from_slice(&number(entry.len()));
        entries.extend_from_slice(&of.to_le_bytes());
        entries.extend_from_slice(entry);
    }
    let written = (entries.len() as u64).to_le_bytes();
    [&b"CUPOLA\x00\x01"[..], &[1, 0, 0, 0, 0, 0, 0, 0], &written, &entries].concat()
}

/// A name, the byte that chooses the kind, and a file.
const CONFIGURATIONS: [(&str, u8, &str); 3] = [
    (
        "own",
        0,
        "logger: {service_name: a, log_level: INFO, backends: [{backend_type: otlp, fallback: f.jsonl, config: {headers: {k: $SECRET}}}]}\n\
         traces: {ratio: 0.1, rules: [{when: {route: '/x*'}, sampler: always_off}], tail: {slow: 1s}, pending: {after: 2s}}\n\
         rate_limits: {rules: [{per_second: 1}]}\nscrub: {keys: ['^a$']}\nlimits: {attribute_count: 3}\n",
    ),
    (
        "declarative",
        1,
        "file_format: '1.0'\nresource: {attributes: [{name: a, value: ${N:-1}, type: int}]}\npropagator: {composite: [{b3: }]}\n\
         tracer_provider:\n  processors: [{batch: {exporter: {otlp_http: {endpoint: 'http://c/v1/traces', headers: [{name: k, value: '${SECRET}'}]}}}}]\n\
        \x20 sampler: {composite/development: {rule_based: {rules: [{span_kinds: [server], sampler: {probability: {ratio: 0.5}}}]}}}\n",
    ),
    (
        "variables",
        2,
        "# some\nexport OTEL_SERVICE_NAME=a\nOTEL_TRACES_SAMPLER=traceidratio\nOTEL_TRACES_SAMPLER_ARG=2\nCUPOLA_TAIL_RATIO=\"0.5\"\n\
         OTEL_EXPORTER_OTLP_HEADERS='a=b,c'\nOTEL_RESOURCE_ATTRIBUTES=a=%20,b=c\n",
    ),
];

const SEED_BYTES_MAX: usize = 8 << 10;

const STATEMENTS: [(&str, &str); 5] = [
    (
        "set",
        r#"set(log.attributes["a"]["b"], Concat([body, -1, .5, nil], "\n")) where not (severity_number >= SEVERITY_NUMBER_WARN or IsMatch(body, "^x")) and true"#,
    ),
    (
        "map",
        r#"merge_maps(attributes, ParseJSON("{\"a\": [1, {}]}"), "upsert")"#,
    ),
    (
        "replace",
        r#"replace_pattern(body, "(\\w+)", "$1", SHA256, replacementFormat = "<%s>")"#,
    ),
    ("flatten", r#"flatten(attributes, prefix = "p", depth = 2)"#),
    (
        "condition",
        r#"resource.attributes["k"] == {"x": 0x0a} and (Now() - time) > Duration("1h") * 2"#,
    ),
];

const TEXTS: [(&str, &str); 9] = [
    (
        "rfc5424",
        "<165>1 2003-10-11T22:14:15.003Z host app 111 ID47 [a@1 k=\"v\\]\"][b@1] BOM text",
    ),
    ("rfc3164", "<34>Oct 11 22:14:15 host su[7]: 'su root' failed"),
    (
        "expression",
        r#"body matches "^a" and (attributes.k ?? 2) in [1, 2] or not (len(body) > 3) ? "x" : nil"#,
    ),
    ("json", r#"{"a": {"b": [1, -2.5e3, null, "\u00e9"]}}"#),
    ("key_value", r#"level=info msg="a b" n=1"#),
    ("csv", "\"a, b\",c"),
    ("uri", "https://user@host:80/path?k=v&k=w#part"),
    (
        "docker",
        r#"{"log":"text\n","stream":"stdout","time":"2024-01-02T03:04:05.6Z"}"#,
    ),
    (
        "containerd",
        "2024-01-02T03:04:05.678901234Z stdout P part of a line",
    ),
];

/// A name, the byte that chooses the format, and a body.
const RECEIVED: [(&str, u8, &str); 3] = [
    (
        "loki",
        0,
        r#"{"streams": [{"stream": {"app": "a"}, "values": [["1700000000000000000", "line", {"k": "v"}]]}]}"#,
    ),
    (
        "zipkin",
        2,
        r#"[{"traceId": "0123456789abcdef", "id": "0123456789abcdef", "kind": "SERVER", "name": "get",
            "timestamp": 1700000000000000, "duration": 5, "localEndpoint": {"serviceName": "a", "ipv4": "127.0.0.1"},
            "annotations": [{"timestamp": 1700000000000001, "value": "x"}], "tags": {"k": "v"}}]"#,
    ),
    (
        "prometheus",
        4,
        "# HELP a Help.\n# TYPE a histogram\na_bucket{le=\"1\"} 1 # {trace_id=\"x\"} 0.5 1.0\na_bucket{le=\"+Inf\"} 2\n\
         a_sum 3\na_count 2\n# TYPE b counter\nb_total{k=\"\\\"\"} NaN 1700000000\n# EOF\n",
    ),
];

/// Packets for an agent of Jaeger.
const PACKETS: [(&str, &[u8]); 2] = [
    (
        "jaeger-compact",
        b"\x82\x81\x01\x09emitBatch\x1c\x1c\x18\x04cart\x00\x19\x1c\x16\x02&\x04(\x03payY\x1c\x18\x01k\x15\x041\x00\x00\x00\x00",
    ),
    (
        "jaeger-binary",
        b"\x80\x01\x00\x04\x00\x00\x00\x09emitBatch\x00\x00\x00\x01\x0c\x00\x01\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x04cart\x00\x0f\x00\x02\x0c\x00\x00\x00\x01\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x0a\x00\x03\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00",
    ),
];

const VALUES: [(&str, &str); 5] = [
    ("empty", "{}"),
    ("int", r#"{"intValue":"-9223372036854775808"}"#),
    ("double", r#"{"doubleValue":"-Infinity"}"#),
    ("null", r#"{"stringValue":null,"boolValue":true,"x":[{}]}"#),
    ("bytes", r#"{"bytesValue":"-_8="}"#),
];

fn write(target: &str, name: &str, input: &[u8]) -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(format!("seed-{name}")), input)
}

fn gzip(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data)?;
    encoder.finish()
}

/// The files of a folder of the store that every version must open, each behind `prefix`.
fn fixture_files(target: &str, folder: &str, prefix: &[u8]) -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/store-v1/data");
    for entry in fs::read_dir(root.join(folder))? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .trim_start_matches('0')
            .to_owned();
        let data = fs::read(&path)?;
        // Cut off where it is long: a torn file is as good a start.
        let head = &data[..data.len().min(SEED_BYTES_MAX)];
        write(target, &name, &[prefix, head].concat())?;
    }
    Ok(())
}

/// A resource in two pieces, its scalar twice, an unknown field and a group; then the payload.
fn not_canonical(payload: &[u8]) -> Vec<u8> {
    let pieces = [
        0x0a, 13, 0x0a, 2, 0x10, 1, 0x0a, 2, 0x10, 2, 0x1a, 0, 0x9b, 1, 0x9c, 1,
    ];
    let mut input = pieces.to_vec();
    input[1] = (pieces.len() - 2) as u8;
    input.extend_from_slice(payload);
    input
}

fn body(batch: &Batch) -> AnyValue<'_> {
    let records = batch
        .logs()
        .resources()
        .flat_map(|r| r.scopes())
        .flat_map(|s| s.records());
    records
        .filter_map(|record| record.body)
        .next()
        .unwrap_or_default()
}

/// One attribute of each type.
fn write_value(value: &mut encode::AnyValue<'_>) {
    let mut list = value.key_value_list();
    list.attribute("text", "größe")
        .attribute("bool", true)
        .attribute("int", -5)
        .attribute("double", 0.1)
        .attribute("bytes", &[1, 0xff][..])
        .attribute("empty", AnyValue::Empty)
        .attribute("index", AnyValue::StringIndex(3));
    list.attribute_with("array", |value| {
        value.array().push(1).push("a");
    });
}

fn write_resource(mut resource: encode::Resource<'_>) {
    resource
        .attribute("service.name", "cart")
        .dropped_attributes_count(1);
    resource
        .entity_ref()
        .schema_url("s")
        .r#type("service")
        .id_key("service.name")
        .description_key("d");
}

fn write_scope(mut scope: encode::Scope<'_>) {
    scope
        .name("n")
        .version("1")
        .attribute("a", "b")
        .dropped_attributes_count(2);
}

fn logs() -> Batch {
    let mut encoder = encode::LogsEncoder::new();
    {
        let mut resource = encoder.resource_logs();
        write_resource(resource.resource());
        resource.schema_url("r");
        let mut scope = resource.scope_logs();
        write_scope(scope.scope());
        scope.schema_url("s");
        let mut record = scope.record();
        record
            .time_unix_nano(1)
            .observed_time_unix_nano(2)
            .severity_number(9)
            .severity_text("INFO")
            .attribute("http.route", "/")
            .dropped_attributes_count(300)
            .flags(1)
            .trace_id(&[1; 16])
            .span_id(&[2; 8])
            .event_name("e");
        write_value(&mut record.body_with());
    }
    encoder.finish(TenantId::default_tenant())
}

fn traces() -> Batch {
    let mut encoder = encode::TracesEncoder::new();
    {
        let mut resource = encoder.resource_spans();
        write_resource(resource.resource());
        let mut scope = resource.scope_spans();
        write_scope(scope.scope());
        let mut span = scope.span();
        span.trace_id(&[1; 16])
            .span_id(&[2; 8])
            .trace_state("a=b")
            .parent_span_id(&[3; 8])
            .name("GET")
            .kind(2)
            .start_time_unix_nano(1)
            .end_time_unix_nano(2)
            .dropped_attributes_count(1)
            .dropped_events_count(2)
            .dropped_links_count(3)
            .flags(0x100)
            .attribute_with("v", write_value);
        span.event()
            .time_unix_nano(3)
            .name("e")
            .attribute("a", 1)
            .dropped_attributes_count(1);
        span.link()
            .trace_id(&[4; 16])
            .span_id(&[5; 8])
            .trace_state("c")
            .attribute("a", 1)
            .flags(1);
        span.status().message("no").code(2);
    }
    encoder.finish(TenantId::default_tenant())
}

fn metrics() -> Batch {
    let mut encoder = encode::MetricsEncoder::new();
    {
        let mut resource = encoder.resource_metrics();
        write_resource(resource.resource());
        let mut scope = resource.scope_metrics();
        write_scope(scope.scope());
        let mut metric = scope.metric();
        metric.name("m").description("d").unit("1").metadata("k", "v");
        let mut gauge = metric.gauge();
        let mut point = gauge.point();
        point
            .start_time_unix_nano(1)
            .time_unix_nano(2)
            .value(1.5)
            .attribute("a", "b")
            .flags(1);
        point
            .exemplar()
            .time_unix_nano(1)
            .value(3)
            .span_id(&[1; 8])
            .trace_id(&[2; 16])
            .filtered_attribute("f", 1);
        drop(point);
        drop(gauge);
        drop(metric);
        let mut metric = scope.metric();
        metric
            .sum()
            .aggregation_temporality(2)
            .is_monotonic(true)
            .point()
            .value(7);
        drop(metric);
        let mut metric = scope.metric();
        let mut histogram = metric.histogram();
        histogram.aggregation_temporality(1);
        histogram
            .point()
            .count(3)
            .sum(1.0)
            .bucket_counts([1, 2])
            .explicit_bounds([0.5])
            .min(0.1)
            .max(0.9);
        drop(histogram);
        drop(metric);
        let mut metric = scope.metric();
        let mut histogram = metric.exponential_histogram();
        let mut point = histogram.point();
        point
            .count(3)
            .sum(-1.0)
            .scale(-2)
            .zero_count(1)
            .min(0.1)
            .max(0.9)
            .zero_threshold(1e-9);
        point.positive().offset(-1).bucket_counts([1, 300]);
        point.negative().offset(4).bucket_counts([0]);
        drop(point);
        drop(histogram);
        drop(metric);
        let mut metric = scope.metric();
        metric
            .summary()
            .point()
            .count(1)
            .sum(2.0)
            .quantile_value()
            .quantile(0.5)
            .value(2.0);
    }
    encoder.finish(TenantId::default_tenant())
}
