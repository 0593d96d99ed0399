//! Files read by a running receiver: refusals, restarts, real rotation, and the Collector's receiver beside ours.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::Sink;
use cupola_peers::collector::Tailing;
use cupola_peers::{debian, peer_or_skip};
use cupola_pipeline::receivers::filelog::{
    FilelogConfig, FilelogReceiver, FilelogSurroundings, RunningFilelog,
};
use cupola_telemetry::memory::MemoryBudget;
use serde_json::{Value, json};

use super::records::{Record, arrived, comparable, records};
use super::retryable;
use crate::support::Capture;

fn config(directory: &Path, more: Value) -> FilelogConfig {
    let mut settings = json!({
        "include": [directory.join("*.log*")],
        "start_at": "beginning",
        "poll_interval": "10ms",
        "force_flush_period": "100ms",
        "retry_on_failure": { "initial_interval": "10ms", "max_interval": "20ms" },
    });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let config: FilelogConfig = serde_json::from_value(settings).unwrap();
    assert_eq!(config.problems(), []);
    config
}

async fn start(config: FilelogConfig, sink: &Arc<Capture>, storage: Option<&Path>) -> RunningFilelog {
    let surroundings = FilelogSurroundings {
        storage: storage.map(Path::to_owned),
        memory: MemoryBudget::new(64 << 20),
        variables: Arc::default(),
    };
    FilelogReceiver::start(config, sink.clone() as Arc<dyn Sink>, surroundings)
        .await
        .unwrap()
}

fn append(path: &Path, text: &str) {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

fn bodies(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| record.body.as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn what_is_refused_is_offered_again_and_what_was_taken_is_not_after_a_restart() {
    let (directory, storage) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = directory.path().join("app.log");
    let sink = Arc::new(Capture::default());
    for _ in 0..3 {
        sink.answer(Err(retryable()));
    }
    append(&path, "one\ntwo\nhalf");
    let running = start(
        config(directory.path(), json!({ "force_flush_period": "0s" })),
        &sink,
        Some(storage.path()),
    )
    .await;
    assert_eq!(bodies(&arrived(&sink, 2).await), ["one", "two"]);
    let mut samples = Vec::new();
    running.collect(&mut samples);
    let value = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(value("otelcol_receiver_refused_log_records"), 6.0);
    assert_eq!(value("otelcol_receiver_accepted_log_records"), 2.0);
    running.shutdown().await;
    append(&path, " a line\nthree\n");
    sink.drain();
    let running = start(config(directory.path(), json!({})), &sink, Some(storage.path())).await;
    assert_eq!(bodies(&arrived(&sink, 2).await), ["half a line", "three"]);
    running.shutdown().await;
}

#[tokio::test]
async fn a_batch_that_is_refused_when_the_receiver_ends_comes_after_the_next_start() {
    let (directory, storage) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = directory.path().join("app.log");
    append(&path, "one\ntwo\n");
    let refusing = Arc::new(Capture::default());
    for _ in 0..100_000 {
        refusing.answer(Err(retryable()));
    }
    let running = start(
        config(directory.path(), json!({})),
        &refusing,
        Some(storage.path()),
    )
    .await;
    refusing.entered.notified().await;
    // Rotated and gone from the pattern while the sink refuses.
    fs::rename(&path, directory.path().join("old")).unwrap();
    running.shutdown().await;
    let sink = Arc::new(Capture::default());
    append(&path, "three\n");
    let running = start(config(directory.path(), json!({})), &sink, Some(storage.path())).await;
    let mut found = bodies(&arrived(&sink, 3).await);
    found.sort();
    assert_eq!(found, ["one", "three", "two"]);
    running.shutdown().await;
}

#[tokio::test]
async fn a_second_receiver_cannot_have_the_same_checkpoints() {
    let (directory, storage) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sink = Arc::new(Capture::default());
    let running = start(config(directory.path(), json!({})), &sink, Some(storage.path())).await;
    let surroundings = FilelogSurroundings {
        storage: Some(storage.path().to_owned()),
        memory: MemoryBudget::unlimited(),
        variables: Arc::default(),
    };
    let second =
        FilelogReceiver::start(config(directory.path(), json!({})), sink.clone(), surroundings).await;
    assert!(second.unwrap_err().to_string().contains("another process"));
    running.shutdown().await;
}

/// Rotates with the real program, in the mode that is asked for, while lines are written.
async fn rotates(mode: &str) {
    let logrotate = peer_or_skip!(debian("logrotate", &["/usr/sbin"], "logrotate"));
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = directory.path().join("app.log");
    let script = outside.path().join("logrotate.conf");
    let owner = if rustix::process::getuid().is_root() {
        "su root root"
    } else {
        ""
    };
    let text = format!(
        "{} {{\n  rotate 20\n  {mode}\n  {owner}\n  compress\n  delaycompress\n}}\n",
        path.display()
    );
    fs::write(&script, text).unwrap();
    let sink = Arc::new(Capture::default());
    // The rotated files have other names than the pattern says: they are found by what they are.
    let only = json!({ "include": [path] });
    let running = start(
        config(directory.path(), only),
        &sink,
        Some(&outside.path().join("checkpoints")),
    )
    .await;
    let mut expected = Vec::new();
    for round in 0..8 {
        for line in 0..50 {
            let text = format!("round {round} line {line}");
            append(&path, &format!("{text}\n"));
            expected.push(text);
            // Every other time only the first line has been read when the file is rotated.
            if round % 2 == 0 || line == 0 {
                arrived(&sink, expected.len()).await;
            }
        }
        let rotated = Command::new(&logrotate)
            .arg("--force")
            .arg("--state")
            .arg(outside.path().join("state"))
            .arg(&script)
            .output()
            .unwrap();
        assert!(
            rotated.status.success(),
            "{}",
            String::from_utf8_lossy(&rotated.stderr)
        );
        append(&path, "");
    }
    let mut found = bodies(&arrived(&sink, expected.len()).await);
    running.shutdown().await;
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "each line once");
}

#[tokio::test]
async fn logrotate_renames_and_nothing_is_lost_or_doubled() {
    rotates("create").await;
}

#[tokio::test]
async fn logrotate_copies_and_truncates_and_nothing_is_lost_or_doubled() {
    rotates("copytruncate").await;
}

/// Files and settings for both receivers.
fn corpus() -> Vec<(&'static str, String, Value)> {
    vec![
        ("plain lines", "one\n two \r\n\n\tthree\nfour".to_owned(), json!({ "include_file_path": true, "include_file_record_number": true, "include_file_record_offset": true })),
        ("white space kept", "  a \n\tb\t\n".to_owned(), json!({ "preserve_leading_whitespaces": true, "preserve_trailing_whitespaces": true })),
        ("long lines", format!("{}\nshort\n", "0123456789".repeat(30)), json!({ "max_log_size": 100 })),
        ("long lines cut", format!("{}\nshort\n", "0123456789".repeat(30)), json!({ "max_log_size": 100, "max_log_size_behavior": "truncate" })),
        ("a start pattern", "lead\n2024 a\n b\n2024 c\n d\n".to_owned(), json!({ "multiline": { "line_start_pattern": "^\\d{4}" } })),
        ("an end pattern", "a;b\nc;d".to_owned(), json!({ "multiline": { "line_end_pattern": ";", "omit_pattern": true } })),
        ("json", "{\"time\":\"2024-05-06T07:08:09.25Z\",\"level\":\"warn\",\"msg\":\"m\",\"n\":1,\"f\":1.5,\"b\":true,\"z\":null,\"o\":{\"l\":[1,\"x\",{}]}}\n{\"time\":\"2024-05-06 07:08\",\"level\":\"odd\"}\nno json\n".to_owned(),
            json!({ "operators": [{ "type": "json_parser", "timestamp": { "parse_from": "attributes.time", "layout": "%Y-%m-%dT%H:%M:%S.%LZ" }, "severity": { "parse_from": "attributes.level" } }] })),
        ("whole numbers", "{\"a\":9007199254740993,\"b\":1.0,\"c\":-1}\n".to_owned(), json!({ "operators": [{ "type": "json_parser", "parse_ints": true, "parse_to": "body" }] })),
        ("nginx", "1.2.3.4 - bob [10/Oct/2000:13:55:36 -0700] \"GET /a?b=1 HTTP/1.1\" 500 2326\n::1 - - [10/Oct/2000:13:55:36 -0700] \"POST / HTTP/2\" 204 0\n".to_owned(),
            json!({ "operators": [
                { "type": "regex_parser", "regex": "^(?P<client>\\S+) \\S+ (?P<user>\\S+) \\[(?P<time>[^\\]]+)\\] \"(?P<method>\\S+) (?P<path>\\S+) [^\"]*\" (?P<status>\\d+) (?P<bytes>\\d+)",
                  "timestamp": { "parse_from": "attributes.time", "layout": "%d/%b/%Y:%H:%M:%S %z" },
                  "severity": { "parse_from": "attributes.status", "mapping": { "error": "5xx", "warn": "4xx", "info": ["2xx", "3xx"] } } },
                { "type": "uri_parser", "parse_from": "attributes.path", "parse_to": "attributes.uri" },
                { "type": "remove", "field": "attributes.time" } ] })),
        ("logfmt", "a=1 b=\"x y\" c='z=1' d=\\\"q\nbroken\nx=1  y=2 \n".to_owned(), json!({ "operators": [{ "type": "key_value_parser" }] })),
        ("csv", "a,\"b,c\",d\nx,y\n1,2,\"3\"\"4\"\n".to_owned(), json!({ "operators": [{ "type": "csv_parser", "header": "p,q,r" }] })),
        ("times", "2024-3-4 5:6:7\n2024-03-04 05:06:07.5\n2024-02-30 00:00:00\n".to_owned(),
            json!({ "operators": [{ "type": "time_parser", "parse_from": "body", "layout": "%Y-%m-%d %H:%M:%S", "location": "America/New_York" }] })),
        ("epochs", "1136214245.123\n12\n".to_owned(), json!({ "operators": [{ "type": "time_parser", "parse_from": "body", "layout_type": "epoch", "layout": "s.ms" }] })),
        ("go times", "Mon, 02 Jan 2006 15:04:05 MST\nTue, 3 Feb 2015 1:02:03 EST\n".to_owned(),
            json!({ "operators": [{ "type": "time_parser", "parse_from": "body", "layout_type": "gotime", "layout": "Mon, 2 Jan 2006 15:04:05 MST", "location": "America/New_York" }] })),
        ("transforms", "{\"u\":{\"n\":\"ann\"},\"k\":7,\"d\":{\"x\":1,\"y\":[1]},\"s\":\"a1b22\",\"l\":[1,2],\"q\":\"\\\"a\\\\tb\\\"\"}\n".to_owned(),
            json!({ "attributes": { "fixed": "v", "by": "EXPR(body startsWith \"{\" ? \"json\" : \"text\")" }, "resource": { "service.name": "cart" }, "operators": [
                { "type": "json_parser", "parse_to": "body" },
                { "type": "add", "field": "attributes.sum", "value": "EXPR(body.u.n + \"!\")" },
                { "type": "add", "field": "resource.deep.er", "value": ["y", "x"] },
                { "type": "move", "from": "body.u.n", "to": "attributes[\"user.name\"]" },
                { "type": "copy", "from": "body.k", "to": "attributes.k" },
                { "type": "flatten", "field": "body.d" },
                { "type": "regex_replace", "field": "body.s", "regex": "(\\d)", "replace_with": "<$1>" },
                { "type": "assign_keys", "field": "body.l", "keys": ["a", "b"] },
                { "type": "unquote", "field": "body.q" },
                { "type": "retain", "fields": ["body.x", "body.y", "body.s", "body.l", "body.q", "body.none"] } ] })),
        ("conditions", "a 1\nb 2\nc 3\n".to_owned(), json!({ "operators": [
                { "type": "regex_parser", "regex": "^(?P<l>\\w) (?P<n>\\d)$" },
                { "type": "add", "if": "attributes.l in [\"a\", \"b\"] and int(attributes.n) > 1", "field": "attributes.yes", "value": true },
                { "type": "filter", "expr": "attributes.l == \"c\"" } ] })),
        ("routes", "{\"a\":1}\nk=v\nplain\n".to_owned(), json!({ "operators": [
                { "type": "router", "default": "end", "routes": [ { "expr": "body matches \"^{\"", "output": "json" }, { "expr": "body contains \"=\"", "output": "kv" } ] },
                { "type": "json_parser", "id": "json", "output": "end" },
                { "type": "key_value_parser", "id": "kv", "output": "end" },
                { "type": "noop", "id": "end" } ] })),
        ("recombined", "start 1\n a\n b\nstart 2\n c\nstart 3\n".to_owned(), json!({ "operators": [{ "type": "recombine", "combine_field": "body", "is_first_entry": "body startsWith \"start\"" }], "preserve_leading_whitespaces": true })),
        ("containers", "2024-01-01T10:00:00.5Z stdout P one \n2024-01-01T10:00:01Z stdout F line\n{\"log\":\"docker\\n\",\"stream\":\"stderr\",\"time\":\"2024-01-01T10:00:02.25Z\"}\nneither\n".to_owned(),
            json!({ "include_file_path": true, "operators": [{ "type": "container", "add_metadata_from_filepath": false }] })),
        ("traces", "{\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"b7ad6b7169203331\",\"trace_flags\":\"01\",\"logger\":\"db\"}\n{\"trace_id\":\"xyz\",\"logger\":\"db\"}\n".to_owned(),
            json!({ "operators": [{ "type": "json_parser", "parse_to": "body" }, { "type": "trace_parser" }, { "type": "scope_name_parser", "parse_from": "body.logger" }] })),
        ("rfc3164", "<34>Jan 12 22:14:15 mymachine su[231]: 'su root' failed for lonvick on /dev/pts/8\n<13>Feb 05 01:02:03 10.1.2.3 no tag here\n<13>Feb  5 01:02:03 host tag: \n<13>Feb  5 01:02:03 tag[7]: without a host\n<13>Feb  5 01:02:03 host foo:bar baz\n<192>Feb  5 01:02:03 h x\nnonsense\n<5>Feb  5 01:02:03  spaced   app[a b]:  two spaces\n<14>Mar 31 02:30:00 h a-b_c.d: tab\there\n".to_owned(),
            json!({ "operators": [{ "type": "syslog_parser", "protocol": "rfc3164", "location": "Europe/Berlin" }] })),
        ("rfc5424", "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 111 ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"App\\\"lic\\]ation\" eventID=\"1011\"][ex@1 p=\"h\"] BOMAn application event\n<34>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time\n<0>1 2003-08-24T05:14:15Z - - - - [e]\n<1>0 2003-08-24T05:14:15Z h a p m - x\n<1>1 2003-08-24 h a p m - x\n<14>1 2003-08-24T05:14:15.1234567Z h a p m - x\n<14>1 2003-08-24T05:14:15Z h a p m [a b=\"1\"][a c=\"2\"] x\n<14>1 2003-08-24T05:14:15Z h a p m -\n".to_owned(),
            json!({ "operators": [{ "type": "syslog_parser", "protocol": "rfc5424" }] })),
        ("a header", "#Software: Cupola\r\n#Version: 1.0\n# Version: 2\n#Fields: a b\r\n1 2\n#Version: 3\n3 4\n".to_owned(),
            json!({ "header": { "pattern": "^#", "metadata_operators": [{ "type": "regex_parser", "regex": "^# ?(?P<key>\\w+): (?P<value>.*)$" }, { "type": "move", "from": "attributes.value", "to": "attributes.last" }] },
                "include_file_record_number": true, "include_file_record_offset": true, "multiline": { "line_end_pattern": "\n" } })),
        ("headers of several kinds", "json {\"app\":\"cart\",\"n\":1.5,\"l\":[1,{\"a\":null}]}\nnothing to see: json\njson {\"n\":7}\nbody\n".to_owned(),
            json!({ "header": { "pattern": "json", "metadata_operators": [
                { "type": "regex_parser", "regex": "^json (?P<json>.*)$", "parse_to": "body" }, { "type": "json_parser", "parse_from": "body.json" }] } })),
        ("a header of IIS", "#Software: Microsoft Internet Information Services 10.0\n#Fields: date time cs-method sc-status\n2024-05-06 07:08:09 GET 200\n2024-05-06 07:08:10 \"POST\" 500\n".to_owned(),
            json!({ "header": { "pattern": "^#", "metadata_operators": [
                { "type": "regex_parser", "regex": "^#(?P<key>\\w+): (?P<value>.*)$" },
                { "type": "move", "if": "attributes.key == \"Fields\"", "from": "attributes.value", "to": "attributes.columns" },
                { "type": "retain", "fields": ["attributes.columns"] } ] },
                "operators": [{ "type": "csv_parser", "header_attribute": "columns", "delimiter": " ", "lazy_quotes": true }, { "type": "remove", "field": "attributes.columns" }] })),
        ("no header", "one\n# two\n".to_owned(), json!({ "header": { "pattern": "^#", "metadata_operators": [{ "type": "noop" }] } })),
        ("rows of json", "[1,\"a\\u00e9\",true,null,-3]\n[{\"b\": [1, {\"c\" : \"d \\\" e\"}], \"n\":1.50}]\n[]\n[1,[2]]\n[1] x\nno json\n".to_owned(),
            json!({ "operators": [{ "type": "json_array_parser", "parse_to": "body" }] })),
        ("rows of json with a header", "[1,\"warn\",\"m\"]\n[1,2]\n".to_owned(),
            json!({ "operators": [{ "type": "json_array_parser", "header": "n,level, text", "severity": { "parse_from": "attributes.level" } }] })),
        ("any syslog", "<14>what ever\nno priority\n<999>x\n".to_owned(), json!({ "operators": [{ "type": "syslog_parser", "protocol": "none" }] })),
    ]
}

#[tokio::test]
async fn it_makes_the_records_that_the_collector_makes() {
    let collectors = peer_or_skip!(Tailing::install());
    for (name, text, more) in corpus() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("app.log"), text).unwrap();
        let mut settings = json!({ "include": [directory.path().join("*.log")], "start_at": "beginning", "poll_interval": "20ms", "force_flush_period": "300ms" });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let theirs = collectors
            .start("filelog", &settings.to_string(), 1000, "1500ms")
            .unwrap();
        let theirs = comparable(records(&theirs.logs().unwrap().into()));
        let sink = Arc::new(Capture::default());
        let ours: FilelogConfig = serde_json::from_value(settings).unwrap();
        assert_eq!(ours.problems(), [], "{name}");
        let running = start(ours, &sink, None).await;
        arrived(&sink, theirs.len().saturating_sub(1)).await;
        // What is held for a while comes at the end.
        tokio::time::sleep(Duration::from_millis(500)).await;
        running.shutdown().await;
        let ours = comparable(
            sink.batches()
                .iter()
                .flat_map(|batch| records(batch.payload()))
                .collect(),
        );
        for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "{name}: record {index} (ours first)");
        }
        assert_eq!(ours.len(), theirs.len(), "{name}: {ours:#?}");
        assert!(!theirs.is_empty(), "{name}");
    }
}
