//! Whatever the telemetry says, what statements make of it is bounded; beyond a bound they fail.

use cupola_pipeline::ottl::{Context, Outcome};
use cupola_telemetry::{Batch, TenantId, encode};

use super::{apply, changed};

/// A log with a body and some texts as attributes.
fn log(body: &str, attributes: &[(&str, &str)]) -> Batch {
    let mut logs = encode::LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        let mut scope = resource.scope_logs();
        let mut record = scope.record();
        record.body(body);
        for (key, value) in attributes {
            record.attribute(key, *value);
        }
    }
    logs.finish(TenantId::default_tenant())
}

/// A log whose attribute `m` has a list of zeros under a long key.
fn log_with_list(key: &str, elements: usize) -> Batch {
    let mut logs = encode::LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        let mut scope = resource.scope_logs();
        let mut record = scope.record();
        record.attribute_with("m", |value| {
            value.key_value_list().attribute_with(key, |value| {
                let mut list = value.array();
                for _ in 0..elements {
                    list.push(0i64);
                }
            });
        });
    }
    logs.finish(TenantId::default_tenant())
}

/// The batch is left alone, with an error that says `why`.
#[track_caller]
fn refused(batch: &Batch, statement: &str, why: &str) {
    let Outcome {
        batch: left,
        errors,
        first_error,
    } = apply(batch, Context::Log, &[statement]);
    let error = first_error.map(|error| error.source.to_string());
    let error = error.unwrap_or_else(|| panic!("{statement} did not fail"));
    assert!(error.contains(why), "{statement}: {error}");
    assert_eq!((left.as_ref(), errors), (Some(batch), 1), "{statement}");
}

#[test]
fn keys_of_what_is_flattened() {
    let key = "k".repeat(64 * 1024);
    for statement in [
        "flatten(attributes)",
        "flatten(attributes, resolve_conflicts=true)",
    ] {
        refused(&log_with_list(&key, 1000), statement, "16777216 bytes of keys");
        changed(&log_with_list(&key, 10), Context::Log, &[statement]);
    }
}

#[test]
fn entries_of_an_extended_log() {
    let log_of = |fields: &str, lines: usize| {
        let text = format!("#Version: 1.0\n#Fields: {fields}\n{}", "x\n".repeat(lines));
        log(&text, &[])
    };
    let statement = "set(attributes[\"out\"], ParseELF(body))";
    let fields: Vec<String> = (0..1000).map(|index| format!("f{index}")).collect();
    let (many, long) = (fields.join(" "), "f".repeat(64 * 1024));
    for (fields, lines) in [(&many, 1000), (&long, 1000)] {
        refused(&log_of(fields, lines), statement, "16777216 bytes");
        changed(&log_of(fields, 10), Context::Log, &[statement]);
    }
}
