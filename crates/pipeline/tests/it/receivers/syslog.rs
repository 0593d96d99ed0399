//! Syslog from real programs, held back and counted.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::{SendError, Sink};
use cupola_peers::collector::Tailing;
use cupola_peers::{found, free_port, peer_or_skip};
use cupola_pipeline::receivers::StartError;
use cupola_pipeline::receivers::syslog::{RunningSyslog, SyslogReceiver, SyslogReceiverConfig};
use cupola_telemetry::memory::MemoryBudget;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::records::{Record, arrived, comparable, records};
use super::retryable;
use crate::support::Capture;

async fn start(transport: &str, more: Value) -> (RunningSyslog, Arc<Capture>) {
    let (started, sink) = start_within(64 << 20, transport, more).await;
    (started.unwrap(), sink)
}

async fn start_within(
    memory: usize,
    transport: &str,
    more: Value,
) -> (Result<RunningSyslog, StartError>, Arc<Capture>) {
    let mut settings = json!({ transport: { "listen_address": "127.0.0.1:0" }, "retry_on_failure": { "initial_interval": "10ms", "max_interval": "20ms" } });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let config: SyslogReceiverConfig = serde_json::from_value(settings).unwrap();
    assert_eq!(config.problems(), []);
    let sink = Arc::new(Capture::default());
    let memory = MemoryBudget::new(memory);
    let started =
        SyslogReceiver::start(config, sink.clone() as Arc<dyn Sink>, memory, &Default::default()).await;
    (started, sink)
}

fn counted(running: &RunningSyslog, name: &str) -> f64 {
    let mut samples = Vec::new();
    running.collect(&mut samples);
    let found = samples.iter().find(|sample| sample.name == name);
    found.map_or_else(|| panic!("{name} is not counted"), |sample| sample.value)
}

async fn until(running: &RunningSyslog, name: &str, least: f64) {
    while counted(running, name) < least {
        tokio::task::yield_now().await;
    }
}

/// A refusal for now, without a wish when to come again.
fn busy() -> SendError {
    SendError::Retryable {
        reason: "busy".to_owned(),
        retry_after: None,
    }
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
    assert!(counted(&running, "otelcol_receiver_refused_log_records") > 0.0);
}

/// Memory for one packet, or one message of 64 KiB, and as much again.
const LITTLE: usize = 2 * ((64 << 10) * 5 + 1024);

#[tokio::test]
async fn packets_that_wait_leave_memory_to_hand_them_over() {
    let (running, sink) = start_within(LITTLE, "udp", json!({ "protocol": "none" })).await;
    let running = running.unwrap();
    for _ in 0..5 {
        sink.answer(Err(busy()));
    }
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(running.addr).await.unwrap();
    let packet = vec![b'x'; 60_000];
    for sent in 1..20 {
        sender.send(&packet).await.unwrap();
        until(&running, "cupola_receiver_packets_total", f64::from(sent)).await;
    }
    let lost = counted(&running, "cupola_receiver_packets_dropped_total") as usize;
    assert!(lost < 19, "all of them");
    assert_eq!(arrived(&sink, 19 - lost).await.len(), 19 - lost);
    running.shutdown().await;
}

#[tokio::test]
async fn messages_that_are_not_complete_are_held_within_the_memory_that_there_is() {
    let tcp =
        json!({ "tcp": { "listen_address": "127.0.0.1:0", "max_log_size": "64KiB" }, "protocol": "none" });
    let (running, sink) = start_within(LITTLE, "tcp", tcp).await;
    let running = running.unwrap();
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(running.addr).await.unwrap();
        // Until it is closed, for want of memory.
        let _ = stream.write_all(&[b'x'; 60_000]).await;
        open.push(stream);
    }
    until(&running, "cupola_receiver_connections_over_memory_total", 1.0).await;
    let mut closed = 0;
    for stream in &mut open {
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut [0])).await;
        closed += u32::from(read.is_ok());
    }
    assert!((1..10).contains(&closed), "{closed} of ten were closed");
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(b"whole\n").await.unwrap();
    assert_eq!(attribute(&arrived(&sink, 1).await[0], "message"), "whole");
    running.shutdown().await;
}

#[tokio::test]
async fn memory_that_no_message_fits_is_refused_at_the_start() {
    for (transport, key) in [("tcp", "tcp.max_log_size"), ("udp", "udp")] {
        let (started, _) = start_within(LITTLE - 1, transport, json!({ "protocol": "none" })).await;
        let problem = started.unwrap_err().to_string();
        assert!(problem.contains(key) && problem.contains("memory"), "{problem}");
    }
}

#[tokio::test]
async fn what_operators_hold_when_the_receiver_ends_is_handed_over() {
    let recombine =
        json!({ "type": "recombine", "combine_field": "body", "is_last_entry": "body == 'last'" });
    let (running, sink) = start(
        "udp",
        json!({
            "protocol": "none", "operators": [recombine],
            "retry_on_failure": { "initial_interval": "1h", "max_interval": "1h" },
        }),
    )
    .await;
    sink.answer(Err(busy()));
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(running.addr).await.unwrap();
    sender.send(b"last").await.unwrap();
    until(&running, "otelcol_receiver_refused_log_records", 1.0).await;
    // Waits behind the one that was refused, until the receiver ends.
    sender.send(b"held").await.unwrap();
    until(&running, "cupola_receiver_packets_total", 2.0).await;
    running.shutdown().await;
    let found = arrived(&sink, 1).await;
    assert_eq!(found[0].body, json!("held"));
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
            "36 <14>1 2003-08-24T05:14:15Z h a - - -38 <14>1 2003-08-24T05:14:15Z h a - - - x",
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
