//! A ledger of what was sent and what was acknowledged, and its comparison with what is found. Every item carries a
//! unique number, and its content follows from the number alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_telemetry::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
use cupola_telemetry::{Batch, Signal, TenantId};
use parking_lot::Mutex;
use serde_json::Value;

use crate::support::Server;

const START: u64 = 1_767_225_600_000_000_000;

/// Numbers given out, and those acknowledged, of each signal.
#[derive(Default)]
pub(crate) struct Ledger {
    next: AtomicU64,
    entries: Mutex<HashMap<Signal, Entries>>,
}

#[derive(Default)]
struct Entries {
    sent: BTreeSet<i64>,
    acknowledged: BTreeSet<i64>,
}

impl Ledger {
    /// A batch of `count` items with new numbers, entered as sent.
    pub(crate) fn write(&self, signal: Signal, count: u64) -> (Batch, Vec<i64>) {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let numbers: Vec<i64> = (first..first + count).map(|number| number as i64).collect();
        self.entries
            .lock()
            .entry(signal)
            .or_default()
            .sent
            .extend(&numbers);
        let batch = match signal {
            Signal::Logs => logs(&numbers),
            Signal::Traces => spans(&numbers),
            Signal::Metrics => points(&numbers),
        };
        (batch, numbers)
    }

    pub(crate) fn acknowledge(&self, signal: Signal, numbers: &[i64]) {
        self.entries
            .lock()
            .entry(signal)
            .or_default()
            .acknowledged
            .extend(numbers);
    }

    pub(crate) fn acknowledged(&self, signal: Signal) -> usize {
        self.entries
            .lock()
            .get(&signal)
            .map_or(0, |entries| entries.acknowledged.len())
    }

    /// Compares with what the server finds: every acknowledged item once and as it was sent, no other twice, nothing
    /// that was never sent.
    pub(crate) async fn verify(&self, server: &Server, context: &str) {
        for signal in Signal::ALL {
            let rows = server.sql("default", statement(signal)).await;
            let mut found: BTreeMap<i64, usize> = BTreeMap::new();
            for row in &rows {
                let number = row[0]
                    .as_i64()
                    .unwrap_or_else(|| panic!("{context}: {signal}: {row:?}"));
                *found.entry(number).or_default() += 1;
                assert_eq!(
                    row[1..],
                    expected(signal, number),
                    "{context}: {signal} {number} is not as it was sent"
                );
            }
            let entries = self.entries.lock();
            let Some(entries) = entries.get(&signal) else {
                continue;
            };
            let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).take(10).collect();
            assert!(
                twice.is_empty(),
                "{context}: {signal} found more than once: {twice:?}"
            );
            let lost: Vec<_> = entries
                .acknowledged
                .iter()
                .filter(|number| !found.contains_key(number))
                .collect();
            assert!(
                lost.is_empty(),
                "{context}: {} of {} acknowledged {signal} are lost, such as {:?}",
                lost.len(),
                entries.acknowledged.len(),
                &lost[..lost.len().min(10)]
            );
            let strange: Vec<_> = found
                .keys()
                .filter(|number| !entries.sent.contains(number))
                .take(10)
                .collect();
            assert!(
                strange.is_empty(),
                "{context}: {signal} that were never sent: {strange:?}"
            );
        }
    }
}

fn statement(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => {
            "SELECT attributes['ledger.number'] AS number, body, severity_number, trace_id FROM logs \
             WHERE service_name = 'ledger'"
        }
        Signal::Traces => {
            "SELECT attributes['ledger.number'] AS number, name, kind, span_id FROM spans WHERE service_name = 'ledger'"
        }
        // The number of a point is its value: a series for each would be another test.
        Signal::Metrics => "SELECT value_int, name FROM metrics WHERE name LIKE 'ledger.%'",
    }
}

/// The columns after the number.
fn expected(signal: Signal, number: i64) -> Vec<Value> {
    match signal {
        Signal::Logs => vec![
            body(number).into(),
            severity(number).into(),
            hex(&trace_id(number)).into(),
        ],
        Signal::Traces => vec![
            name(number).into(),
            kind_column(number),
            hex(&span_id(number)).into(),
        ],
        Signal::Metrics => vec![metric(number).into()],
    }
}

fn logs(numbers: &[i64]) -> Batch {
    let mut encoder = LogsEncoder::new();
    let mut resource = encoder.resource_logs();
    resource.resource().attribute("service.name", "ledger");
    let mut scope = resource.scope_logs();
    for number in numbers {
        let mut record = scope.record();
        record
            .time_unix_nano(time(*number))
            .severity_number(severity(*number))
            .body(body(*number).as_str());
        record
            .attribute("ledger.number", *number)
            .trace_id(&trace_id(*number));
    }
    drop(scope);
    drop(resource);
    encoder.finish(TenantId::default_tenant())
}

fn spans(numbers: &[i64]) -> Batch {
    let mut encoder = TracesEncoder::new();
    let mut resource = encoder.resource_spans();
    resource.resource().attribute("service.name", "ledger");
    let mut scope = resource.scope_spans();
    for number in numbers {
        let mut span = scope.span();
        span.trace_id(&trace_id(*number))
            .span_id(&span_id(*number))
            .name(&name(*number))
            .kind(kind(*number));
        span.start_time_unix_nano(time(*number))
            .end_time_unix_nano(time(*number) + 1_000);
        span.attribute("ledger.number", *number);
    }
    drop(scope);
    drop(resource);
    encoder.finish(TenantId::default_tenant())
}

fn points(numbers: &[i64]) -> Batch {
    let mut encoder = MetricsEncoder::new();
    let mut resource = encoder.resource_metrics();
    resource.resource().attribute("service.name", "ledger");
    let mut scope = resource.scope_metrics();
    for number in numbers {
        let mut metric_of = scope.metric();
        metric_of.name(&metric(*number));
        let mut gauge = metric_of.gauge();
        gauge
            .point()
            .time_unix_nano(time(*number))
            .value(*number)
            .attribute("parity", number % 2 == 0);
    }
    drop(scope);
    drop(resource);
    encoder.finish(TenantId::default_tenant())
}

/// Spread over a few hours, so that several partitions are written and merged.
fn time(number: i64) -> u64 {
    START + (number as u64 % 3) * 3_600_000_000_000 + number as u64 * 1_000
}

fn body(number: i64) -> String {
    format!(
        "entry {number} of the ledger, {}",
        "padding ".repeat((number % 23) as usize)
    )
}

fn severity(number: i64) -> i32 {
    1 + (number % 24) as i32
}

fn name(number: i64) -> String {
    format!("step {}", number % 97)
}

fn kind(number: i64) -> i32 {
    1 + (number % 5) as i32
}

fn kind_column(number: i64) -> Value {
    let names = ["internal", "server", "client", "producer", "consumer"];
    names[(number % 5) as usize].into()
}

fn metric(number: i64) -> String {
    format!("ledger.points.{}", number % 7)
}

fn trace_id(number: i64) -> [u8; 16] {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

fn span_id(number: i64) -> [u8; 8] {
    (number | 1 << 62).to_be_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
