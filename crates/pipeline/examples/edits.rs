//! Measures one core: what statements of the transformation language cost on generated telemetry.
//!
//! `cargo run --release -p cupola-pipeline --example edits`. Each figure is the best of several runs over the same batch,
//! in MB of protobuf a second and nanoseconds an item.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cupola_generator::{Generator, GeneratorConfig};
use cupola_pipeline::ottl::{Conditions, Context, Statements, SystemEnv};
use cupola_telemetry::{Batch, Signal};

const ITEMS: usize = 8_192;
const MEASURE_FOR: Duration = Duration::from_millis(500);

const STATEMENTS: [(&str, Signal, Context, &[&str]); 7] = [
    (
        "nothing matches",
        Signal::Logs,
        Context::Log,
        &["set(attributes[\"a\"], 1) where severity_text == \"none\""],
    ),
    (
        "rename an attribute",
        Signal::Logs,
        Context::Log,
        &[
            "set(attributes[\"user\"], attributes[\"user.id\"])",
            "delete_key(attributes, \"user.id\")",
        ],
    ),
    (
        "rename an attribute",
        Signal::Traces,
        Context::Span,
        &[
            "set(attributes[\"route\"], attributes[\"http.route\"])",
            "delete_key(attributes, \"http.route\")",
        ],
    ),
    (
        "set of the resource",
        Signal::Logs,
        Context::Resource,
        &["set(attributes[\"env\"], \"prod\")"],
    ),
    (
        "truncate, nothing long",
        Signal::Logs,
        Context::Log,
        &["truncate_all(attributes, 4096)"],
    ),
    (
        "replace in the body",
        Signal::Logs,
        Context::Log,
        &["replace_pattern(body, \"[0-9]+\", \"#\")"],
    ),
    (
        "set of a point",
        Signal::Metrics,
        Context::DataPoint,
        &["set(attributes[\"env\"], metric.unit)"],
    ),
];

fn main() {
    let mut generator = Generator::new(GeneratorConfig::default());
    let batches = Signal::ALL.map(|signal| generator.batch(signal, ITEMS));
    let batch_of = |signal: Signal| {
        batches
            .iter()
            .find(|batch| batch.signal() == signal)
            .expect("one a signal")
    };
    for (name, signal, context, texts) in STATEMENTS {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let statements = Statements::compile(context, &texts).expect("the statements are right");
        report(name, batch_of(signal), |batch| {
            statements
                .apply(batch, &SystemEnv)
                .is_ok_and(|outcome| outcome.batch.is_some())
        });
    }
    let condition = ["IsMatch(body, \"timeout\")".to_owned()];
    let conditions = Conditions::compile(Context::Log, &condition).expect("the condition is right");
    report("drop by a pattern", batch_of(Signal::Logs), |batch| {
        conditions.drop_matching(batch, &SystemEnv).is_ok()
    });
}

fn report(name: &str, batch: &Batch, run: impl Fn(&Batch) -> bool) {
    let mut best = Duration::MAX;
    let began = Instant::now();
    while began.elapsed() < MEASURE_FOR {
        let start = Instant::now();
        black_box(run(batch));
        best = best.min(start.elapsed());
    }
    let rate = batch.payload().len() as f64 / best.as_secs_f64() / 1e6;
    let each = best.as_nanos() as f64 / batch.items() as f64;
    println!(
        "{:8} {name:24} {rate:>7.0} MB/s {each:>7.0} ns an item",
        batch.signal()
    );
}
