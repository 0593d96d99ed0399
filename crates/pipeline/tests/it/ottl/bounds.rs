//! Whatever the telemetry says, what statements make of it is bounded; beyond a bound they fail.

use cupola_pipeline::ottl::{Context, Outcome};
use cupola_telemetry::view::MetricData;
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

#[test]
fn patterns_out_of_the_telemetry() {
    let batch = log("aaa", &[("pattern", &"a".repeat(100_000))]);
    for statement in [
        "set(attributes[\"out\"], IsMatch(body, attributes[\"pattern\"]))",
        "set(attributes[\"out\"], ExtractPatterns(body, attributes[\"pattern\"]))",
        "set(attributes[\"out\"], ExtractGrokPatterns(body, attributes[\"pattern\"]))",
        "replace_pattern(body, attributes[\"pattern\"], \"b\")",
        "replace_match(body, attributes[\"pattern\"], \"b\")",
        "delete_matching_keys(attributes, attributes[\"pattern\"])",
    ] {
        refused(&batch, statement, "longer than 65536 bytes");
    }
    // What its names stand for is bounded as well.
    let batch = log("aaa", &[("pattern", &"%{A}".repeat(10_000))]);
    let definition = "x".repeat(30_000);
    let statement = format!(
        "set(attributes[\"out\"], ExtractGrokPatterns(body, attributes[\"pattern\"], false, [\"A={definition}\"]))"
    );
    refused(&batch, &statement, "longer than 524288 bytes");
    let glob = "{a,b}*?".repeat(9_000);
    refused(
        &log("aaa", &[("pattern", &glob)]),
        "replace_match(body, attributes[\"pattern\"], \"b\")",
        "no glob",
    );
}

#[test]
fn what_takes_the_place_of_text() {
    let long = "b".repeat(5_000);
    let batch = log(&"a".repeat(5_000), &[("r", &long), ("all", &"$0".repeat(4_000))]);
    let why = "16777216 bytes longer";
    refused(&batch, "replace_pattern(body, \"a\", attributes[\"r\"])", why);
    refused(&batch, "replace_pattern(body, \"a+\", attributes[\"all\"])", why);
    changed(
        &batch,
        Context::Log,
        &[
            "replace_pattern(body, \"^a\", attributes[\"r\"])",
            "replace_pattern(body, \"a+\", \"$0$0\")",
        ],
    );
    // Of all values and keys of a map together.
    let keys: Vec<String> = (0..100).map(|index| format!("key {index}")).collect();
    let long = "b".repeat(1_000_000);
    let attributes: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "a")).collect();
    let batch = log(&long, &attributes);
    refused(
        &batch,
        "replace_all_patterns(attributes, \"key\", \"key\", body)",
        why,
    );
    // Those before the one that is too much stay replaced.
    for statement in [
        "replace_all_matches(attributes, \"*\", body)",
        "replace_all_patterns(attributes, \"value\", \"a\", body)",
    ] {
        let outcome = apply(&batch, Context::Log, &[statement]);
        let error = outcome.first_error.unwrap().source.to_string();
        assert!(error.contains(why), "{error}");
        let bytes = outcome.batch.unwrap().payload().len();
        assert!(bytes < batch.payload().len() + 17 * 1024 * 1024, "{bytes}");
    }
    // A long text is no reason not to look into it.
    let batch = log(&"a".repeat(20 * 1024 * 1024), &[]);
    changed(&batch, Context::Log, &["replace_pattern(body, \"^a+$\", \"$0\")"]);
}

#[test]
fn delimiters_out_of_the_telemetry() {
    let batch = log(&"a,".repeat(5_000), &[("d", &"d".repeat(5_000))]);
    let statement = "set(attributes[\"out\"], Concat(Split(body, \",\"), attributes[\"d\"]))";
    refused(&batch, statement, "16777216 bytes of delimiters");
}

#[test]
fn what_an_error_says_of_the_telemetry() {
    let batch = log(&"é".repeat(500_000), &[]);
    let statement = "set(attributes[\"out\"], IsInCIDR(\"10.0.0.1\", [body]))";
    let outcome = apply(&batch, Context::Log, &[statement]);
    let error = outcome.first_error.unwrap().source.to_string();
    assert!(error.starts_with("\"ééé") && error.ends_with("é…"), "{error}");
    assert!(error.len() <= 260, "{} bytes", error.len());
}

/// Summaries of so many points each.
fn summaries(points: &[usize]) -> Batch {
    let mut metrics = encode::MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        let mut scope = resource.scope_metrics();
        for (index, points) in points.iter().enumerate() {
            let mut metric = scope.metric();
            metric.name(&format!("summary {index}"));
            let mut summary = metric.summary();
            for index in 0..*points {
                let mut point = summary.point();
                point.count(index as u64).sum(1.5).time_unix_nano(7);
                point.attribute("path", "/a/path/that/is/not/short/and/not/long/either");
            }
        }
    }
    metrics.finish(TenantId::default_tenant())
}

#[test]
fn new_metrics_end_with_the_first_that_does_not_fit() {
    let batch = summaries(&[2000, 1]);
    let statement = "convert_summary_count_val_to_sum(\"cumulative\", true)";
    let outcome = apply(&batch, Context::DataPoint, &[statement]);
    let left = outcome.batch.unwrap();
    let scopes = left.metrics().resources().flat_map(|resource| resource.scopes());
    let made: Vec<String> = scopes
        .flat_map(|scope| scope.metrics())
        .filter(|metric| matches!(metric.data(), Some(MetricData::Sum { .. })))
        .map(|metric| metric.name.to_owned())
        .collect();
    assert!((50..500).contains(&made.len()), "{} were made", made.len());
    assert!(made.iter().all(|name| name == "summary 0_count"), "{made:?}");
    assert_eq!(outcome.errors + made.len(), 2001);
}
