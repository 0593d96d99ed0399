//! The benchmark itself: a short run of it, in which everything that Cupola records arrives.

use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
fn what_cupola_records_in_a_short_run_arrives_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let status = Command::new(env!("CARGO_BIN_EXE_cupola-bench-sdk"))
        .args([
            "--rounds",
            "1",
            "--milliseconds",
            "1",
            "--paced-milliseconds",
            "30",
        ])
        .args(["--sides", "cupola-core,cupola-tracing,cupola-opentelemetry"])
        .arg("--json")
        .arg(&json)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());

    let figures: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let rows = figures["rows"].as_array().unwrap();
    for row in rows {
        let operation = row["operation"].as_str().unwrap();
        let is_wanted = !["disabled-log", "unsampled-span"].contains(&operation);
        let expected = if is_wanted { row["made"].as_u64() } else { Some(0) };
        assert_eq!(row["arrived"].as_u64(), expected, "{row}");
        // Where nothing was recorded there is nothing to tell of either.
        assert_eq!(row["lost"].as_u64(), is_wanted.then_some(0), "{row}");
        assert!(row["process"]["median"].as_f64().unwrap() >= 0.0, "{row}");
    }
    let full = rows.iter().filter(|row| row["mode"] == "full").count();
    assert_eq!(
        full,
        12 + 8 + 11,
        "two of ten also with two threads, and not through the layer; through the API all but the disabled log"
    );
    assert_eq!(rows.len() - full, 3 * 6, "and six at a pace");
}
