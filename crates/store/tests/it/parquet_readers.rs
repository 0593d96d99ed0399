//! Segments are plain Parquet: DuckDB and pandas read rows, attributes and types.

use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::RecordBatch;
use cupola_store::schema::Table;
use cupola_store::segment::{self, SegmentOptions};
use cupola_telemetry::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
use cupola_telemetry::{Batch, TenantId};

use crate::round_trip::Sealer;

/// 2023-11-14T22:13:20Z
const START: u64 = 1_700_000_000_000_000_000;
const TRACE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn logs() -> Batch {
    let mut encoder = LogsEncoder::new();
    for (service, offset) in [("cart", 0_u64), ("größe", 1)] {
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
}

fn spans() -> Batch {
    let mut encoder = TracesEncoder::new();
    {
        let mut resource = encoder.resource_spans();
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.name("GET /cart")
            .start_time_unix_nano(START)
            .end_time_unix_nano(START + 1500);
        span.event().name("retry").attribute("number", 1_i64);
        span.link().trace_id(&TRACE);
    }
    encoder.finish(TenantId::default_tenant())
}

fn points() -> Batch {
    let mut encoder = MetricsEncoder::new();
    {
        let mut resource = encoder.resource_metrics();
        let mut scope = resource.scope_metrics();
        scope
            .metric()
            .name("temperature")
            .gauge()
            .point()
            .time_unix_nano(START)
            .value(0.5);
        scope
            .metric()
            .name("requests")
            .sum()
            .point()
            .time_unix_nano(START)
            .value(7_i64);
    }
    encoder.finish(TenantId::default_tenant())
}

fn write(folder: &Path, table: Table, batch: Batch) -> PathBuf {
    let sealed = Sealer::default().seal(&[batch]);
    let chunks: Vec<RecordBatch> = sealed
        .chunks
        .into_iter()
        .filter(|chunk| chunk.table == table)
        .map(|chunk| chunk.batch)
        .collect();
    let segments = segment::write(table, &chunks, &SegmentOptions::default()).unwrap();
    assert_eq!(segments.len(), 1);
    let path = folder.join(format!("{table}.parquet"));
    std::fs::write(&path, &segments[0].bytes).unwrap();
    path
}

/// The Python of a virtual environment with the readers, made once and kept.
fn python() -> Result<PathBuf, String> {
    let requirements =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/parquet_readers/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).map_err(|error| error.to_string())?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parquet-readers");
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

#[test]
fn duckdb_and_pandas_read_segments() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return println!("skipped: DuckDB and pandas cannot be installed: {reason}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let files = [
        write(folder.path(), Table::Logs, logs()),
        write(folder.path(), Table::Spans, spans()),
        write(folder.path(), Table::Samples, points()),
    ];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/parquet_readers/check.py");
    let said = run(Command::new(python).arg(script).args(&files)).unwrap();
    assert_eq!(said.trim(), "checked");
}
