//! An OpenSearch node, over the interface that it has in common with Elasticsearch: each log record, span, event of a span and
//! point is a document.

use cupola_peers::expected::documents::{documents, log_documents, span_documents};
use cupola_peers::expected::normal;
use cupola_peers::{opensearch, peer_or_skip};
use cupola_sdk_peers::items::assert_same;
use cupola_telemetry::{Batch, Signal};
use serde_json::Value;

use crate::application::run;
use crate::levels::of;

pub(crate) fn backend(node: &opensearch::Running, level: &str) -> String {
    format!(
        "{{backend_type: elasticsearch, level: {level}, config: {{hosts: [\"{}\"]}}}}",
        node.url()
    )
}

#[test]
fn everything_is_found_in_an_index_as_it_was_said() {
    let node = peer_or_skip!(opensearch::start());
    let ran = run(150, &[backend(&node, "TRACE")]);
    check(&node, &ran.checked());
}

pub(crate) fn check(node: &opensearch::Running, exported: &[Batch]) {
    let mut logs: Vec<Value> = of(Signal::Logs, exported)
        .iter()
        .flat_map(log_documents)
        .collect();
    let mut spans = Vec::new();
    for batch in of(Signal::Traces, exported) {
        let (of_batch, events) = span_documents(&batch);
        spans.extend(of_batch);
        logs.extend(events);
    }
    assert_same(
        "spans",
        &documents(node, "traces-generic.otel-default"),
        &texts(spans),
    );
    assert_same(
        "log records and events",
        &documents(node, "logs-generic.otel-default"),
        &texts(logs),
    );
    // What is in them the tests of the exporter compare.
    let points: usize = of(Signal::Metrics, exported).iter().map(Batch::items).sum();
    assert_eq!(documents(node, "metrics-generic.otel-default").len(), points);
}

fn texts(documents: Vec<Value>) -> Vec<String> {
    let mut texts: Vec<String> = documents
        .into_iter()
        .map(|document| normal(document).to_string())
        .collect();
    texts.sort();
    texts
}
