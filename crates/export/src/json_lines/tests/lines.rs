//! What a reader of JSON finds in a line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::time::to_rfc3339;
use cupola_telemetry::{Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::*;

fn read(lines: &LinesText) -> Vec<Value> {
    let lines = lines.all().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_log_record_has_the_members_that_are_promised_and_no_others() {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_logs();
        scope.scope().name("shop").version("2");
        let mut record = scope.record();
        record
            .time_unix_nano(1_767_225_600_123_456_789)
            .severity_number(9)
            .severity_text("INFO")
            .trace_id(&[1; 16])
            .span_id(&[2; 8])
            .event_name("order.placed")
            .body("placed")
            .attribute("n", 1_i64)
            .attribute("not a number", f64::NAN)
            .attribute("n", 2_i64);
        drop(record);
        scope.record().observed_time_unix_nano(1_000_000_000);
    }
    let batch = logs.finish(TenantId::default_tenant());
    let lines = line::lines(&batch);
    let mut read = read(&lines);
    // In the order of their times, which is not that of the batch.
    read.reverse();
    let first = lines.all().lines().nth(1).unwrap();
    assert!(first.starts_with(
        "{\"timestamp\":\"2026-01-01T00:00:00.123456789Z\",\"severity_text\":\"INFO\",\"severity_number\":9,\"body\":\"placed\",\
         \"trace_id\":\"01010101010101010101010101010101\",\"span_id\":\"0202020202020202\",\"resource\":{"
    ));
    assert_eq!(
        read[0]["attributes"],
        json!({"n": 2, "not a number": null, "event.name": "order.placed", "otel.scope.name": "shop", "otel.scope.version": "2"})
    );
    assert_eq!(
        read[1],
        json!({
            "timestamp": "1970-01-01T00:00:01Z", "severity_text": "", "severity_number": 0, "body": null, "trace_id": "",
            "span_id": "", "resource": {"service.name": "cart"},
            "attributes": {"otel.scope.name": "shop", "otel.scope.version": "2"}
        })
    );
    // One by one, for whoever has no file.
    let resource = batch.logs().resources().next().unwrap();
    let scope = resource.scopes().next().unwrap();
    let (mut object, mut out) = (String::new(), "before ".to_owned());
    line::write_resource(&mut object, &resource.resource());
    write_log(
        &mut out,
        &scope.records().next().unwrap(),
        Some(&scope.scope()),
        &object,
    );
    assert_eq!(out, format!("before {first}"));
}

#[test]
fn every_item_of_every_signal_is_a_line_of_json() {
    let mut generator = Generator::new(GeneratorConfig::default());
    for signal in Signal::ALL {
        let batch = generator.batch(signal, 300);
        let lines = line::lines(&batch);
        assert_eq!(lines.len(), batch.items());
        let read = read(&lines);
        assert_eq!(read.len(), lines.len());
        let members = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let shapes: BTreeSet<Vec<String>> = read.iter().map(members).collect();
        assert_eq!(shapes.len(), 1, "one shape a signal");
    }
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Kind::StringValue),
        any::<bool>().prop_map(Kind::BoolValue),
        any::<i64>().prop_map(Kind::IntValue),
        any::<f64>().prop_map(Kind::DoubleValue),
        Just(Kind::DoubleValue(f64::NEG_INFINITY)),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Kind::BytesValue),
    ];
    let leaf = prop::option::weighted(0.95, leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        let list = list.prop_map(|values| Kind::ArrayValue(ArrayValue { values }));
        let map = pairs(inner, 4).prop_map(|values| Kind::KvlistValue(KeyValueList { values }));
        prop_oneof![list, map].prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn pairs(value: impl Strategy<Value = AnyValue>, count: usize) -> impl Strategy<Value = Vec<KeyValue>> {
    // Few different keys, so that some come twice.
    let key = prop_oneof!["[a-c]?", any::<String>(), Just("event.name".to_owned())];
    let pair = (key, value).prop_map(|(key, value)| KeyValue {
        key,
        value: Some(value),
        ..KeyValue::default()
    });
    prop::collection::vec(pair, 0..count)
}

prop_compose! {
    fn record()(
        (time, observed) in (prop::option::of(any::<u64>()), any::<u64>()),
        (severity_text, event_name) in (any::<String>(), "[a-z.]{0,5}"),
        severity_number in 0i32..25,
        body in prop::option::of(value()),
        attributes in pairs(value(), 40),
        dropped_attributes_count in 0u32..3,
        has_ids in any::<bool>(),
    ) -> LogRecord {
        LogRecord {
            time_unix_nano: time.unwrap_or(0),
            observed_time_unix_nano: observed,
            severity_text,
            severity_number,
            body,
            attributes,
            dropped_attributes_count,
            event_name,
            trace_id: if has_ids { vec![0xab; 16] } else { Vec::new() },
            span_id: if has_ids { vec![0xcd; 8] } else { Vec::new() },
            ..LogRecord::default()
        }
    }
}

fn plain(value: &AnyValue) -> Value {
    match &value.value {
        None => Value::Null,
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::BoolValue(truth)) => json!(truth),
        Some(Kind::IntValue(number)) => json!(number),
        // `json!` makes null of what is not finite.
        Some(Kind::DoubleValue(number)) => json!(number),
        Some(Kind::BytesValue(bytes)) => json!(BASE64.encode(bytes)),
        Some(Kind::ArrayValue(array)) => array.values.iter().map(plain).collect(),
        Some(Kind::KvlistValue(map)) => Value::Object(object(&map.values)),
        Some(other) => panic!("{other:?}"),
    }
}

fn object(pairs: &[KeyValue]) -> Map<String, Value> {
    let pair = |pair: &KeyValue| {
        let key = if pair.key.is_empty() { "(empty)" } else { &pair.key };
        (key.to_owned(), pair.value.as_ref().map_or(Value::Null, plain))
    };
    pairs.iter().map(pair).collect()
}

/// What a line is to be.
fn wanted(record: &LogRecord, resource: &[KeyValue], scope: &InstrumentationScope) -> Value {
    let (time, observed) = (record.time_unix_nano, record.observed_time_unix_nano);
    let moment = if time == 0 { observed } else { time };
    let mut attributes = object(&record.attributes);
    let mut add = |key: &str, value: Value, is_there: bool| {
        if is_there {
            attributes.entry(key).or_insert(value);
        }
    };
    add("otel.scope.name", json!(scope.name), !scope.name.is_empty());
    let of_scope = Value::Object(object(&scope.attributes));
    add("otel.scope.attributes", of_scope, !scope.attributes.is_empty());
    let dropped = record.dropped_attributes_count;
    add("otel.dropped_attributes_count", json!(dropped), dropped > 0);
    add(
        "event.name",
        json!(record.event_name),
        !record.event_name.is_empty(),
    );
    let is_other = observed != 0 && observed != moment;
    add("otel.observed_timestamp", json!(to_rfc3339(observed)), is_other);
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    json!({
        "timestamp": to_rfc3339(moment),
        "severity_text": record.severity_text,
        "severity_number": record.severity_number,
        "body": record.body.as_ref().map_or(Value::Null, plain),
        "trace_id": hex(&record.trace_id),
        "span_id": hex(&record.span_id),
        "resource": object(resource),
        "attributes": attributes,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_line_says_what_was_sent(
        records in prop::collection::vec(record(), 1..4),
        resource in pairs(value(), 4),
        scope_name in "[a-z]{0,3}",
        scope_attributes in pairs(value(), 3),
    ) {
        let scope = InstrumentationScope { name: scope_name, attributes: scope_attributes, ..InstrumentationScope::default() };
        let mut in_order: Vec<&LogRecord> = records.iter().collect();
        in_order.sort_by_key(|record| match record.time_unix_nano {
            0 => record.observed_time_unix_nano,
            time => time,
        });
        let wanted: Vec<Value> = in_order.into_iter().map(|record| wanted(record, &resource, &scope)).collect();
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(Resource { attributes: resource, ..Resource::default() }),
                scope_logs: vec![ScopeLogs { scope: Some(scope), log_records: records, ..ScopeLogs::default() }],
                ..ResourceLogs::default()
            }],
        };
        let bytes = request.encode_to_vec().into();
        let batch = Batch::decode_protobuf(Signal::Logs, TenantId::default_tenant(), bytes).unwrap();
        prop_assert_eq!(read(&line::lines(&batch)), wanted);
    }
}
