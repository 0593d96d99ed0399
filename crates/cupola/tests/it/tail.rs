//! `cupola tail`: each option shows what it says and nothing else.

use std::process::Stdio;

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::LogsEncoder;
use serde_json::Value;

use crate::commands::{TRACE_HEX, logs, trace};
use crate::support::{PATIENCE, Server, cupola, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn each_option_shows_what_it_says() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let placed = format!("00:00:00.000 INFO  orders           order placed trace={TRACE_HEX}");
    let slow = format!("00:00:00.001 WARN  orders           slow trace={TRACE_HEX}");
    let out = format!("00:00:00.002 ERROR orders           out of stock trace={TRACE_HEX}");
    let root = format!("00:00:00.000     100ms web              GET /checkout trace={TRACE_HEX}");
    let failed = format!("00:00:00.020    70.0ms orders           ✗ POST /orders trace={TRACE_HEX}");
    let cases: [(&[&str], Vec<String>); 8] = [
        (&["spans"], vec![root.clone(), failed.clone()]),
        (&["spans", "--errors"], vec![failed]),
        (&["spans", "--words", "checkout get"], vec![root]),
        (&["--errors"], vec![out.clone()]),
        (&["--words", "STOCK"], vec![out.clone()]),
        (&["--attribute", "order.number=101"], vec![slow.clone()]),
        (&["--trace-id", TRACE_HEX], vec![placed, slow, out]),
        (
            &["--service", "elsewhere"],
            vec!["00:00:00.000 INFO  elsewhere        elsewhere".to_owned()],
        ),
    ];
    let tail = |arguments: &[&str], lines: usize, colour: &str| {
        let lines = lines.to_string();
        let fixed = ["tail", "--url", &server.api, "--color", colour, "--lines", &lines];
        cupola(&[&fixed[..], arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut tails: Vec<_> = cases
        .iter()
        .map(|(arguments, expected)| tail(arguments, expected.len(), "never"))
        .collect();
    tails.push(tail(&["--json", "--errors"], 1, "never"));
    tails.push(tail(&["--errors"], 1, "always"));
    eventually("every tail", async || {
        server.metric("cupola_api_tails").await == tails.len() as f64
    })
    .await;

    server.send_ok(&elsewhere()).await;
    server
        .send_ok(&logs(&[("order placed", 9), ("slow", 13), ("out of stock", 17)]))
        .await;
    server.send_ok(&trace()).await;
    let mut shown = Vec::new();
    for child in tails {
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        assert!(output.status.success());
        shown.push(String::from_utf8(output.stdout).unwrap());
    }
    for ((arguments, expected), shown) in cases.iter().zip(&shown) {
        assert_eq!(shown.lines().collect::<Vec<_>>(), *expected, "{arguments:?}");
    }
    let json: Value = serde_json::from_str(&shown[cases.len()]).unwrap();
    assert_eq!(
        (&json["body"], &json["attributes"]["order.number"]),
        (&"out of stock".into(), &102.into())
    );
    let coloured = &shown[cases.len() + 1];
    assert!(coloured.contains("\u{1b}[31mERROR\u{1b}[0m"), "{coloured:?}");
}

/// A log of another service, of no trace.
fn elsewhere() -> cupola_telemetry::Batch {
    let mut encoder = LogsEncoder::new();
    let mut resource = encoder.resource_logs();
    resource.resource().attribute("service.name", "elsewhere");
    let mut scope = resource.scope_logs();
    let mut record = scope.record();
    record
        .time_unix_nano(1_767_225_600_000_000_000)
        .severity_number(9)
        .body("elsewhere");
    drop(record);
    drop(scope);
    drop(resource);
    encoder.finish(TenantId::default_tenant())
}
