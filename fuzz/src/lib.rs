//! What must hold for any input of each decoder. The targets in `fuzz_targets/` only name the check.

use std::fmt::{self, Write};

use arrow::array::RecordBatch;
use cupola_export::otlp::response;
use cupola_export::rpc_status::RpcStatus;
use cupola_store::columns::{SealContext, SealError, SealedChunks, seal};
use cupola_store::readback::{self, MetricRows};
use cupola_store::schema::{PromotionProfiles, Table};
use cupola_store::segment::{self, SegmentOptions, SegmentSource};
use cupola_store::series::SeriesRegistry;
use cupola_telemetry::view::{AnyValue, MetricData};
use cupola_telemetry::{Batch, Problem, Signal, TenantId, encode, json};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// Protobuf: no panic; prost agrees on what is valid and on what it means; canonical is a fixed point.
pub fn check_protobuf(signal: Signal, input: &[u8]) {
    let by_prost = through_prost(signal, input);
    // Views of anything at all must not panic.
    walk(&Batch::from_canonical(
        signal,
        TenantId::default_tenant(),
        input.to_vec().into(),
        0,
    ));
    match Batch::decode_protobuf(signal, TenantId::default_tenant(), input.to_vec().into()) {
        Ok(batch) => {
            let expected = by_prost.expect("what we accept, prost accepts");
            assert_eq!(
                through_prost(signal, batch.payload()).expect("we write what prost reads"),
                expected
            );
            check_canonical(&batch);
            check_json(signal, batch.to_json().as_bytes());
        }
        Err(error) => {
            assert!(error.offset <= input.len(), "{error}");
            // Only here are we stricter.
            let stricter = matches!(error.problem, Problem::IdLength { .. } | Problem::Nesting);
            assert!(
                stricter || by_prost.is_err(),
                "prost accepts what we refuse: {error}"
            );
        }
    }
}

/// OTLP/JSON: no panic; what is read is canonical, and written as JSON reads back equal.
pub fn check_json(signal: Signal, input: &[u8]) {
    let Ok(batch) = Batch::decode_json(signal, TenantId::default_tenant(), input) else {
        return;
    };
    check_canonical(&batch);
    let again = Batch::decode_json(signal, TenantId::default_tenant(), batch.to_json().as_bytes())
        .expect("we read what we write");
    assert_eq!(
        through_prost(signal, again.payload()).expect("prost reads what we write"),
        through_prost(signal, batch.payload()).expect("prost reads what we write"),
    );
}

/// A value in OTLP/JSON: no panic; exact round trip.
pub fn check_any_value_json(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(bytes) = json::parse_any_value(text) else {
        return;
    };
    let value = AnyValue::parse(&bytes);
    let again = json::parse_any_value(&json::any_value(value)).expect("we read what we write");
    assert_eq!(AnyValue::parse(&again), value);
    json::plain(value);
}

/// A log file: no panic; sequence numbers ascend; damaged places follow one another inside the file.
#[cfg(fuzzing)]
pub fn check_journal_file(input: &[u8]) {
    let [after, void_from, data @ ..] = input else {
        return;
    };
    let void_from = Some(u64::from(*void_from)).filter(|number| *number > 0);
    let found = cupola_store::fuzzing::journal_file(data, u64::from(*after), void_from);
    let mut last = u64::from(*after);
    for (sequence, batch) in &found.records {
        assert!(*sequence > last, "{sequence} after {last}");
        assert!(void_from.is_none_or(|first| *sequence < first));
        last = *sequence;
        walk(batch);
    }
    let mut end = 0;
    for (offset, bytes) in &found.damaged {
        assert!(*offset >= end, "damage at {offset} before {end}");
        end = offset + bytes;
    }
    assert!(end <= data.len() as u64);
    assert!(found.torn_bytes <= data.len() as u64);
}

/// A manifest: no panic; written as it was read.
#[cfg(fuzzing)]
pub fn check_manifest(input: &[u8]) {
    cupola_store::fuzzing::manifest(input);
}

/// Syslog, an expression, and what parsers of text are given.
#[cfg(fuzzing)]
pub fn check_operators(input: &[u8]) {
    cupola_pipeline::fuzzing::operators(input);
}

/// A body of a receiver of another protocol than OTLP; the first byte chooses the format.
#[cfg(fuzzing)]
pub fn check_received(input: &[u8]) {
    cupola_pipeline::fuzzing::received(input);
}

/// A compressed body: never more than the limit, and all memory is given back.
#[cfg(fuzzing)]
pub fn check_compressed_body(input: &[u8]) {
    cupola_pipeline::fuzzing::decompress(input);
}

/// A call in pieces: the message is what was framed, and all memory is given back.
#[cfg(fuzzing)]
pub fn check_grpc_message(input: &[u8]) {
    cupola_pipeline::fuzzing::grpc_message(input);
}

/// A segment of the spool: no panic; no more is read than there is.
#[cfg(fuzzing)]
pub fn check_spool_segment(input: &[u8]) {
    cupola_sdk_core::fuzzing::segment(input);
}

/// A file of configuration of the SDK; the first byte chooses the kind.
#[cfg(fuzzing)]
pub fn check_sdk_configuration(input: &[u8]) {
    cupola_sdk_core::fuzzing::configuration(input);
}

/// Compiles a text as statement and as condition, and runs what can be compiled over a log.
pub fn check_ottl(input: &[u8]) {
    use cupola_pipeline::ottl::{Conditions, Context, Statements, SystemEnv};
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut logs = encode::LogsEncoder::new();
    logs.resource_logs()
        .scope_logs()
        .record()
        .body(text)
        .attribute("text", text)
        .attribute("count", 3);
    // Metrics that editors can make others of, and a span.
    let json = |signal, text: &str| Batch::decode_json(signal, TenantId::default_tenant(), text.as_bytes()).ok();
    let batches: Vec<Batch> = [
        Some(logs.finish(TenantId::default_tenant())),
        json(Signal::Metrics, include_str!("../../crates/pipeline/tests/oracle/cases/metrics.json")),
        json(Signal::Traces, include_str!("../../crates/pipeline/tests/oracle/cases/traces.json")),
    ]
    .into_iter()
    .flatten()
    .collect();
    for context in Context::ALL {
        match Statements::compile(context, &[text.to_owned()]) {
            Err(errors) => assert!(errors[0].render().contains('^'), "{}", errors[0]),
            Ok(statements) => {
                for batch in &batches {
                    let outcome = statements.apply(batch, &SystemEnv).expect("errors are ignored");
                    outcome.batch.as_ref().map(check_canonical);
                }
            }
        }
        if let Err(errors) = Conditions::compile(context, &[text.to_owned()]) {
            assert!(errors[0].render().contains('^'), "{}", errors[0]);
        }
    }
}

/// The answer to an export, in protobuf and in JSON: no panic; what is read is written and read again as it was.
pub fn check_export_response(input: &[u8]) {
    if let Ok(accepted) = response::decode(input) {
        assert_eq!(response::decode(&response::encode(&accepted)), Ok(accepted));
    }
    for signal in Signal::ALL {
        if let Ok(accepted) = response::from_json(signal, input) {
            let text = response::to_json(signal, &accepted);
            assert_eq!(response::from_json(signal, text.as_bytes()), Ok(accepted));
        }
    }
}

/// A `google.rpc.Status`, in protobuf and in JSON: no panic; what is read from protobuf is written and read again as it was.
pub fn check_rpc_status(input: &[u8]) {
    if let Some(status) = RpcStatus::decode(input) {
        assert_eq!(RpcStatus::decode(&status.encode()), Some(status));
    }
    // A delay in JSON is a decimal fraction, of which a double holds the first digits: the rest must agree.
    if let Some(status) = RpcStatus::from_json(input) {
        let again = RpcStatus::from_json(status.to_json().as_bytes()).expect("we read what we write");
        assert_eq!(
            (
                again.code,
                again.message,
                again.violations,
                again.retry_delay.is_some()
            ),
            (
                status.code,
                status.message,
                status.violations,
                status.retry_delay.is_some()
            ),
        );
    }
}

/// The first byte chooses the signal: what is accepted can be kept, each item once, and means the same the second time.
pub fn check_columns(input: &[u8]) {
    let Some((first, payload)) = input.split_first() else {
        return;
    };
    let signal = [Signal::Logs, Signal::Traces, Signal::Metrics][usize::from(*first) % 3];
    let Ok(batch) = Batch::decode_protobuf(signal, TenantId::default_tenant(), payload.to_vec().into())
    else {
        return;
    };
    let once = through_columns(&batch);
    assert_eq!(once.items(), batch.items());
    let twice = through_columns(&once);
    if signal == Signal::Metrics {
        // Points of one series and time share their exemplars: only their number is certain.
        assert_eq!(twice.items(), once.items());
    } else {
        assert_eq!(twice.payload(), once.payload());
    }
}

/// To columns, to a Parquet file, and back.
fn through_columns(batch: &Batch) -> Batch {
    let (profiles, series) = (PromotionProfiles::default(), SeriesRegistry::default());
    let context = SealContext {
        received_unix_nano: 1_700_000_000_000_000_000,
        profiles: &profiles,
        series: &series,
    };
    let batches = std::slice::from_ref(batch);
    let sealed = match seal(batches, &context) {
        Err(SealError::DaysNotLoaded { days }) => {
            days.into_iter()
                .for_each(|day| series.load(day, &[]).expect("an empty day"));
            seal(batches, &context)
        }
        sealed => sealed,
    };
    let sealed = sealed.expect("what is accepted can be kept");
    let tables = Table::ALL.map(|table| stored(&sealed, table));
    let of = |table: Table| tables[table as usize].as_slice();
    let tenant = TenantId::default_tenant();
    let back = match batch.signal() {
        Signal::Logs => readback::logs(of(Table::Logs), tenant),
        Signal::Traces => readback::traces(of(Table::Spans), tenant),
        Signal::Metrics => readback::metrics(
            MetricRows {
                series: of(Table::Series),
                samples: of(Table::Samples),
                histograms: of(Table::Histograms),
                exponential_histograms: of(Table::ExponentialHistograms),
                summaries: of(Table::Summaries),
                exemplars: of(Table::Exemplars),
            },
            tenant,
        ),
    };
    back.expect("what was kept can be read")
}

fn stored(sealed: &SealedChunks, table: Table) -> Vec<RecordBatch> {
    let chunks = sealed.chunks.iter().filter(|chunk| chunk.table == table);
    let chunks: Vec<RecordBatch> = chunks.map(|chunk| chunk.batch.clone()).collect();
    let segments =
        segment::write(table, &chunks, &SegmentOptions::default()).expect("columns can be written");
    let sources = segments
        .into_iter()
        .map(|segment| SegmentSource::Memory(segment.bytes));
    sources
        .flat_map(|source| segment::read(table, source).expect("what was written can be read"))
        .collect()
}

fn check_canonical(batch: &Batch) {
    let again = Batch::decode_protobuf(batch.signal(), batch.tenant().clone(), batch.payload().clone())
        .expect("canonical bytes are valid");
    assert_eq!(
        again.payload().as_ptr(),
        batch.payload().as_ptr(),
        "canonical bytes are kept"
    );
    assert_eq!(again.items(), batch.items());
    walk(batch);
}

/// What prost makes of a payload, encoded again, so that NaN equals itself.
fn through_prost(signal: Signal, payload: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Logs => ExportLogsServiceRequest::decode(payload)?.encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(payload)?.encode_to_vec(),
        Signal::Traces => ExportTraceServiceRequest::decode(payload)?.encode_to_vec(),
    })
}

/// Looks at every field of every view; a debug print does that.
fn walk(batch: &Batch) {
    let mut nowhere = Nowhere;
    let mut look = |field: &dyn fmt::Debug| write!(nowhere, "{field:?}").expect("nothing to fail");
    match batch.signal() {
        Signal::Logs => {
            for resource in batch.logs().resources() {
                look(&(resource.resource(), resource.schema_url()));
                resource
                    .scopes()
                    .for_each(|scope| look(&(scope.scope(), scope.schema_url(), scope.records())));
            }
        }
        Signal::Traces => {
            for resource in batch.traces().resources() {
                look(&(resource.resource(), resource.schema_url()));
                resource
                    .scopes()
                    .for_each(|scope| look(&(scope.scope(), scope.schema_url(), scope.spans())));
            }
        }
        Signal::Metrics => {
            for resource in batch.metrics().resources() {
                look(&(resource.resource(), resource.schema_url()));
                for scope in resource.scopes() {
                    look(&(scope.scope(), scope.schema_url()));
                    scope
                        .metrics()
                        .for_each(|metric| look(&(metric, metric.data().as_ref().map(points))));
                }
            }
        }
    }
}

fn points<'a>(data: &'a MetricData<'a>) -> &'a dyn fmt::Debug {
    match data {
        MetricData::Gauge(points) | MetricData::Sum { points, .. } => points,
        MetricData::Histogram { points, .. } => points,
        MetricData::ExponentialHistogram { points, .. } => points,
        MetricData::Summary(points) => points,
    }
}

struct Nowhere;

impl Write for Nowhere {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}
