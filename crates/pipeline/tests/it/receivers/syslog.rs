//! Syslog from real programs, held back and counted.

use std::process::Command;
use std::sync::Arc;

use cupola_export::Sink;
use cupola_peers::collector::Tailing;
use cupola_peers::{found, free_port, peer_or_skip};
use cupola_pipeline::receivers::syslog::{RunningSyslog, SyslogReceiver, SyslogReceiverConfig};
use cupola_telemetry::memory::MemoryBudget;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::records::{Record, arrived, comparable, records};
use super::retryable;
use crate::support::Capture;

async fn start(transport: &str, more: Value) -> (RunningSyslog, Arc<Capture>) {
    let mut settings = json!({ transport: { "listen_address": "127.0.0.1:0" }, "retry_on_failure": { "initial_interval": "10ms", "max_interval": "20ms" } });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let config: SyslogReceiverConfig = serde_json::from_value(settings).unwrap();
    assert_eq!(config.problems(), []);
    let sink = Arc::new(Capture::default());
    let memory = MemoryBudget::new(64 << 20);
    let running = SyslogReceiver::start(config, sink.clone() as Arc<dyn Sink>, memory, &Default::default())
        .await
        .unwrap();
    (running, sink)
}

fn attribute<'r>(record: &'r Record, key: &str) -> &'r str {
    record.attributes[key].as_str().unwrap_or_default()
}

/// Sends with util-linux' program.
async fn log(running: &RunningSyslog, arguments: &[&str], message: &str) -> bool {
    let Some(logger) = found("logger", &["/usr/bin"]) else {
        eprintln!("skipped: there is no logger (util-linux)");
        return false;
    };
    let mut command = Command::new(logger);
    command.args([
        "-n",
        "127.0.0.1",
        "-P",
        &running.addr.port().to_string(),
        "-t",
        "app",
        "--id=42",
        "-p",
        "local3.warning",
    ]);
    command.args(arguments).arg(message);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    true
}

#[tokio::test]
async fn logger_is_understood_in_each_of_its_ways() {
    for (transport, arguments, more) in [
        (
            "tcp",
            &["--tcp", "--rfc5424", "--octet-count"][..],
            json!({ "protocol": "rfc5424", "enable_octet_counting": true }),
        ),
        (
            "tcp",
            &["--tcp", "--rfc5424"],
            json!({ "protocol": "rfc5424", "non_transparent_framing_trailer": "LF" }),
        ),
        ("tcp", &["--tcp", "--rfc3164"], json!({ "protocol": "rfc3164" })),
        (
            "tcp",
            &["--tcp", "--rfc3164", "--octet-count"],
            json!({ "protocol": "rfc3164", "enable_octet_counting": true }),
        ),
        (
            "udp",
            &["--udp", "--rfc5424", "--sd-id", "x@1", "--sd-param", "k=\"v\""],
            json!({ "protocol": "rfc5424" }),
        ),
        ("udp", &["--udp", "--rfc3164"], json!({ "protocol": "rfc3164" })),
    ] {
        let (running, sink) = start(transport, more).await;
        if !log(&running, arguments, "it is late").await {
            return;
        }
        let found = arrived(&sink, 1).await;
        assert_eq!(attribute(&found[0], "message"), "it is late", "{arguments:?}");
        assert_eq!(
            (attribute(&found[0], "appname"), attribute(&found[0], "proc_id")),
            ("app", "42"),
            "{arguments:?}"
        );
        assert_eq!(attribute(&found[0], "facility_text"), "local3");
        assert_eq!(found[0].severity, (13, "warning".to_owned()));
        assert!(found[0].time > 0, "{arguments:?}");
        if arguments.contains(&"--sd-id") {
            assert_eq!(found[0].attributes["structured_data"]["x@1"], json!({ "k": "v" }));
        }
        running.shutdown().await;
    }
}

#[tokio::test]
async fn pythons_handler_is_understood() {
    let python = peer_or_skip!(found("python3", &["/usr/bin"]).ok_or("there is no Python 3".to_owned()));
    let (running, sink) = start("udp", json!({ "protocol": "none" })).await;
    let program = format!(
        "import logging, logging.handlers as h\nlog = logging.getLogger('x')\nlog.addHandler(h.SysLogHandler(('127.0.0.1', {}), facility=h.SysLogHandler.LOG_LOCAL0))\nlog.error('from python: \\u00e9')",
        running.addr.port()
    );
    let done = Command::new(python).arg("-c").arg(program).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found = arrived(&sink, 1).await;
    assert_eq!(attribute(&found[0], "message"), "<131>from python: \u{e9}");
    assert_eq!(
        (found[0].severity.clone(), attribute(&found[0], "facility_text")),
        ((17, "err".to_owned()), "local0")
    );
    running.shutdown().await;
}

#[tokio::test]
async fn a_sender_is_held_back_while_the_sink_refuses_and_loses_nothing() {
    let (running, sink) = start("tcp", json!({ "protocol": "none" })).await;
    for _ in 0..20 {
        sink.answer(Err(retryable()));
    }
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    let lines: Vec<String> = (0..3000)
        .map(|number| format!("line {number} {}", "x".repeat(200)))
        .collect();
    for line in &lines {
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    stream.write_all(b"the end, without a line end").await.unwrap();
    drop(stream);
    let found = arrived(&sink, lines.len() + 1).await;
    let messages: Vec<&str> = found.iter().map(|record| attribute(record, "message")).collect();
    assert_eq!(messages[..lines.len()], lines);
    assert_eq!(messages[lines.len()], "the end, without a line end");
    running.shutdown().await;
    let mut samples = Vec::new();
    running.collect(&mut samples);
    let refused = samples
        .iter()
        .find(|sample| sample.name == "otelcol_receiver_refused_log_records")
        .unwrap();
    assert!(refused.value > 0.0);
}

#[tokio::test]
async fn what_is_no_syslog_is_handed_on_and_harms_nobody() {
    let (running, sink) = start(
        "tcp",
        json!({ "protocol": "rfc5424", "enable_octet_counting": true }),
    )
    .await;
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n20 <14>1 - h a - - - hi\xff\xfe 12 short")
        .await
        .unwrap();
    drop(stream);
    let found = comparable(arrived(&sink, 3).await);
    let bodies: Vec<&str> = found.iter().map(|record| record.body.as_str().unwrap()).collect();
    let expected = [
        "20 <14>1 - h a - - - hi",
        "GET / HTTP/1.1",
        "\u{fffd}\u{fffd} 12 short",
    ];
    assert_eq!(bodies, expected, "{found:#?}");
    running.shutdown().await;
}

#[tokio::test]
async fn streams_become_the_records_that_the_collector_makes() {
    let collectors = peer_or_skip!(Tailing::install());
    for (stream, more) in [
        (
            "<34>Jan 12 22:14:15 mymachine su: failed\n<13>Feb 05 01:02:03 host app[7]: second\n",
            json!({ "protocol": "rfc3164" }),
        ),
        (
            "36 <14>1 2003-08-24T05:14:15Z h a - - - 38 <14>1 2003-08-24T05:14:15Z h a - - - x",
            json!({ "protocol": "rfc5424", "enable_octet_counting": true }),
        ),
        (
            "<14>1 2003-08-24T05:14:15Z h a - - - one\n<14>1 2003-08-24T05:14:16Z h a - - - two\n",
            json!({ "protocol": "rfc5424" }),
        ),
    ] {
        let port = free_port();
        let mut settings = json!({ "tcp": { "listen_address": format!("127.0.0.1:{port}") } });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let theirs = collectors
            .start("syslog", &settings.to_string(), 2, "5s")
            .unwrap();
        let mut sender = loop {
            if let Ok(sender) = TcpStream::connect(("127.0.0.1", port)).await {
                break sender;
            }
            tokio::task::yield_now().await;
        };
        sender.write_all(stream.as_bytes()).await.unwrap();
        drop(sender);
        let logs = tokio::task::spawn_blocking(|| theirs.logs().unwrap())
            .await
            .unwrap();
        let theirs = comparable(records(&logs.into()));
        let (running, sink) = start("tcp", more).await;
        let mut sender = TcpStream::connect(running.addr).await.unwrap();
        sender.write_all(stream.as_bytes()).await.unwrap();
        drop(sender);
        let ours = comparable(arrived(&sink, theirs.len()).await);
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), 2);
        running.shutdown().await;
    }
}
