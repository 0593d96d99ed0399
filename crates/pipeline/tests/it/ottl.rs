//! The transformation language, function by function and path by path, against what the Collector documents.

mod bounds;
mod converters;
mod editors;
mod errors;
mod language;
mod paths;
mod properties;

use cupola_pipeline::ottl::{Context, Env, ErrorMode, Outcome, Statements};
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, TenantId, encode};

/// 2023-05-26 12:34:56.789 UTC.
pub(crate) const NOW: u64 = 1_685_104_496_789_000_000;

/// A clock that stands still and dice that always fall alike.
pub(crate) struct Still;

impl Env for Still {
    fn now_unix_nano(&self) -> u64 {
        NOW
    }

    fn random(&self) -> u128 {
        0x0123_4567_89ab_cdef_0123_4567_89ab_cdef
    }
}

/// A log with something of everything.
pub(crate) fn log_batch() -> Batch {
    let mut logs = encode::LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        resource
            .resource()
            .attribute("service.name", "cart")
            .attribute("host.name", "a-1");
        resource.schema_url("https://example.org/resource");
        let mut scope = resource.scope_logs();
        scope
            .scope()
            .name("lib")
            .version("1.2")
            .attribute("scope.key", "scope value");
        let mut record = scope.record();
        record
            .time_unix_nano(1_000_000_001)
            .observed_time_unix_nano(2)
            .severity_number(9)
            .severity_text("INFO");
        record.body("hello world");
        record
            .attribute("http.method", "GET")
            .attribute("count", 3i64)
            .attribute("ratio", 1.5);
        record.attribute("ok", true).attribute("raw", &[1u8, 2][..]);
        record.attribute_with("tags", |value| {
            value.array().push("a").push("b");
        });
        record.attribute_with("nested", |value| {
            let mut list = value.key_value_list();
            list.attribute("x", 1i64).attribute_with("deep", |value| {
                value.key_value_list().attribute("y", "z");
            });
        });
        record.attribute("empty", AnyValue::Empty);
        record.dropped_attributes_count(4).flags(1).event_name("event");
        record.trace_id(&[0xab; 16]).span_id(&[0xcd; 8]);
    }
    logs.finish(TenantId::default_tenant())
}

/// A value as this file's expectations are written: `"a"`, `1`, `1.0`, `[…]`, `{k: v}`, `0x01`, `nil`.
pub(crate) fn show(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::Empty => "nil".to_owned(),
        AnyValue::String(text) => format!("{text:?}"),
        AnyValue::Bool(value) => value.to_string(),
        AnyValue::Int(value) => value.to_string(),
        AnyValue::Double(value) => format!("{value:?}"),
        AnyValue::Bytes(bytes) => bytes
            .iter()
            .fold("0x".to_owned(), |all, byte| format!("{all}{byte:02x}")),
        AnyValue::Array(items) => format!("[{}]", items.map(show).collect::<Vec<_>>().join(", ")),
        AnyValue::KeyValueList(pairs) => {
            let pairs: Vec<String> = pairs
                .map(|pair| format!("{}: {}", pair.key, show(pair.value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        AnyValue::StringIndex(index) => format!("#{index}"),
    }
}

#[track_caller]
pub(crate) fn compile(context: Context, statements: &[&str]) -> Statements {
    let texts: Vec<String> = statements.iter().map(|text| (*text).to_owned()).collect();
    Statements::compile(context, &texts).unwrap_or_else(|errors| panic!("{}", errors[0].render()))
}

#[track_caller]
pub(crate) fn apply(batch: &Batch, context: Context, statements: &[&str]) -> Outcome {
    let outcome = compile(context, statements).apply(batch, &Still).unwrap();
    if let Some(changed) = &outcome.batch {
        let again = Batch::decode_protobuf(
            changed.signal(),
            TenantId::default_tenant(),
            changed.payload().clone(),
        );
        assert_eq!(
            again.unwrap().payload().as_ptr(),
            changed.payload().as_ptr(),
            "not canonical"
        );
    }
    outcome
}

/// The batch after statements that must not fail.
#[track_caller]
pub(crate) fn changed(batch: &Batch, context: Context, statements: &[&str]) -> Batch {
    let outcome = apply(batch, context, statements);
    assert_eq!(
        outcome
            .first_error
            .map(|error| format!("{error}: {}", error.source)),
        None
    );
    outcome.batch.unwrap()
}

/// An attribute of the first log.
pub(crate) fn log_attribute(batch: &Batch, key: &str) -> Option<String> {
    let scope = batch.logs().resources().next()?.scopes().next()?;
    let record = scope.records().next()?;
    record.attributes.get(key).map(show)
}

/// What an expression comes to for [`log_batch`], or the error.
pub(crate) fn evaluate(expression: &str) -> Result<String, String> {
    let statement = format!("set(attributes[\"out\"], {expression})");
    let statements =
        Statements::compile(Context::Log, &[statement]).map_err(|errors| errors[0].to_string())?;
    let outcome = statements
        .with_error_mode(ErrorMode::Ignore)
        .apply(&log_batch(), &Still)
        .unwrap();
    if let Some(error) = outcome.first_error {
        return Err(error.source.to_string());
    }
    Ok(log_attribute(&outcome.batch.unwrap(), "out").unwrap_or_else(|| "nil".to_owned()))
}

/// Whether a condition holds for [`log_batch`].
#[track_caller]
pub(crate) fn holds(condition: &str) -> bool {
    let statement = format!("set(attributes[\"out\"], true) where {condition}");
    let batch = changed(&log_batch(), Context::Log, &[&statement]);
    log_attribute(&batch, "out").is_some()
}
