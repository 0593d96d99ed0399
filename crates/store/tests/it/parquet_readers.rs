//! Segments are plain Parquet: DuckDB, pandas and Spark read rows, attributes and types, of what a flush writes and of what
//! a compaction makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::RecordBatch;
use cupola_store::columns::SealedChunks;
use cupola_store::schema::Table;
use cupola_store::segment::{self, EncodedSegment, SegmentOptions, SegmentSource};
use cupola_telemetry::encode::{LogsEncoder, TracesEncoder};
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::round_trip::Sealer;

/// 2023-11-14T22:13:20Z
const START: u64 = 1_700_000_000_000_000_000;
const TRACE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Of two services, each a request of its own, so that each table is made of several segments when it is merged.
fn logs() -> Vec<Batch> {
    [("cart", 0_u64), ("größe", 1)]
        .map(|(service, offset)| {
            let mut encoder = LogsEncoder::new();
            {
                let mut resource = encoder.resource_logs();
                resource.resource().attribute("service.name", service);
                let mut scope = resource.scope_logs();
                for number in (offset..200).step_by(2) {
                    let mut record = scope.record();
                    record
                        .time_unix_nano(START + number)
                        .severity_number(9)
                        .body(format!("request number {number}").as_str())
                        .trace_id(if offset == 0 { &TRACE } else { &[] })
                        .attribute("http.route", "/cart")
                        .attribute("retries", (number % 3) as i64)
                        .attribute("ratio", number as f64 / 4.0)
                        .attribute("cached", number >= 100);
                    if number == 150 {
                        record.attribute("rare", 42_i64);
                    }
                }
            }
            encoder.finish(TenantId::default_tenant())
        })
        .into()
}

fn spans() -> Vec<Batch> {
    ["GET /cart", "POST /cart"]
        .map(|name| {
            let mut encoder = TracesEncoder::new();
            {
                let mut resource = encoder.resource_spans();
                let mut scope = resource.scope_spans();
                let mut span = scope.span();
                span.name(name)
                    .start_time_unix_nano(START)
                    .end_time_unix_nano(START + 1500);
                if name.starts_with("GET") {
                    span.event().name("retry").attribute("number", 1_i64);
                    span.link().trace_id(&TRACE);
                }
            }
            encoder.finish(TenantId::default_tenant())
        })
        .into()
}

/// Points of every kind, twice: of zone `a`, and of zone `b` a nanosecond later.
fn points() -> Vec<Batch> {
    [("a", START), ("b", START + 1)]
        .map(|(zone, time)| {
            let point = format!(
                r#""timeUnixNano": "{time}", "attributes": [{{"key": "zone", "value": {{"stringValue": "{zone}"}}}}]"#
            );
            let exemplar = format!(
                r#""exemplars": [{{"timeUnixNano": "{time}", "asDouble": 1.5, "traceId": "000102030405060708090a0b0c0d0e0f"}}]"#
            );
            let json = format!(
                r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [
                {{"name": "temperature", "gauge": {{"dataPoints": [{{{point}, "asDouble": 0.5}}]}}}},
                {{"name": "requests", "sum": {{"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
                    {{{point}, "asInt": "7", {exemplar}}}]}}}},
                {{"name": "duration", "unit": "ms", "histogram": {{"aggregationTemporality": 1, "dataPoints": [
                    {{{point}, "count": "6", "sum": 61.5, "bucketCounts": ["1", "2", "3"], "explicitBounds": [5, 10]}}]}}}},
                {{"name": "latency", "exponentialHistogram": {{"aggregationTemporality": 1, "dataPoints": [
                    {{{point}, "count": "4", "sum": 3.25, "scale": 2, "zeroCount": "1",
                      "positive": {{"offset": -1, "bucketCounts": ["2", "1"]}}}}]}}}},
                {{"name": "calls", "summary": {{"dataPoints": [
                    {{{point}, "count": "9", "sum": 4.5, "quantileValues": [{{"quantile": 0.5, "value": 0.25}}]}}]}}}}
                ]}}]}}]}}"#
            );
            Batch::decode_json(Signal::Metrics, TenantId::default_tenant(), json.as_bytes()).unwrap()
        })
        .into()
}

/// Writes each table into `written` as a flush makes it, and into `merged` as a compaction does.
fn write(folder: &Path) -> [PathBuf; 2] {
    let folders = ["written", "merged"].map(|name| folder.join(name));
    for folder in &folders {
        std::fs::create_dir(folder).unwrap();
    }
    let options = SegmentOptions::default();
    let sealer = Sealer::default();
    let batches = [logs(), spans(), points()].concat();
    let sealed: Vec<SealedChunks> = batches
        .iter()
        .map(|batch| sealer.seal(std::slice::from_ref(batch)))
        .collect();
    for table in Table::ALL {
        let chunks: Vec<RecordBatch> = sealed
            .iter()
            .flat_map(|sealed| &sealed.chunks)
            .filter(|chunk| chunk.table == table)
            .map(|chunk| chunk.batch.clone())
            .collect();
        assert!(chunks.len() > 1, "a merge of {table} needs several segments");
        let written = segment::write(table, &chunks, &options).unwrap();
        let parts: Vec<EncodedSegment> = chunks
            .iter()
            .flat_map(|chunk| segment::write(table, std::slice::from_ref(chunk), &options).unwrap())
            .collect();
        let inputs = parts
            .iter()
            .map(|part| (SegmentSource::Memory(part.bytes.clone()), &part.meta))
            .collect();
        let merged = segment::merge(table, inputs, None, &options).unwrap();
        assert_eq!(
            merged[0].meta.words.is_some(),
            table == Table::Logs,
            "what readers of Parquet have to pass over"
        );
        for (folder, segments) in folders.iter().zip([written, merged]) {
            assert_eq!(segments.len(), 1);
            std::fs::write(folder.join(format!("{table}.parquet")), &segments[0].bytes).unwrap();
        }
    }
    folders
}

/// The Python of a virtual environment with what a list names, made once and kept.
fn python(name: &str) -> Result<PathBuf, String> {
    let requirements = file(&format!("{name}.txt"));
    let wanted = std::fs::read_to_string(&requirements).map_err(|error| error.to_string())?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("parquet-readers-{name}"));
    let (python, installed) = (folder.join("bin/python"), folder.join("installed.txt"));
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "-r",
    ];
    run(Command::new(&python).args(install).arg(&requirements))?;
    std::fs::write(&installed, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/parquet_readers")
        .join(name)
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!(
        "{command:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

fn check(python: &Path, script: &str) {
    let folder = tempfile::tempdir().unwrap();
    let said = run(Command::new(python).arg(file(script)).args(write(folder.path()))).unwrap();
    assert_eq!(said.trim(), "checked");
}

#[test]
fn duckdb_and_pandas_read_segments() {
    match python("duckdb_pandas") {
        Ok(python) => check(&python, "duckdb_pandas.py"),
        Err(reason) => println!("skipped: DuckDB and pandas cannot be installed: {reason}"),
    }
}

/// The package has 400 MB: it is not fetched where it could not run.
#[test]
fn spark_reads_segments() {
    if let Err(reason) = run(Command::new("java").arg("-version")) {
        return println!("skipped: Spark needs Java: {reason}");
    }
    match python("spark") {
        Ok(python) => check(&python, "spark.py"),
        Err(reason) => println!("skipped: Spark cannot be installed: {reason}"),
    }
}
