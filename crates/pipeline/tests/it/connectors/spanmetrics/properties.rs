//! What is delivered equals a plain count over decoded spans, whatever is refused on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cupola_export::Component;
use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::{Batch, TenantId};
use proptest::prelude::*;
use serde_json::json;

use super::super::{Point, find, points, spans};
use super::start;

/// What the calls and durations of one series come to.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    calls: u64,
    bytes: u64,
    nanos: Vec<u64>,
}

fn count_plainly(batch: &Batch, expected: &mut BTreeMap<String, Expected>) {
    use prost::Message as _;
    for (resource, span) in spans(batch) {
        let kind = span.kind().as_str_name();
        let status = span.status.clone().unwrap_or_default();
        let labels = format!(
            "{}service={},span_kind={kind},span_name={},status_code={}",
            find(&span.attributes, "http.response.status_code")
                .map_or(String::new(), |code| format!("http.response.status_code={code},")),
            find(&resource, "service.name").unwrap(),
            span.name,
            status.code().as_str_name(),
        );
        let series = expected
            .entry(format!("{}|{labels}", batch.tenant()))
            .or_default();
        series.calls += 1;
        series.bytes += span.encoded_len() as u64;
        series
            .nanos
            .push(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano));
    }
}

/// Adds up points: all of delta ones, the last of cumulative ones.
fn add_up(sent: &[Batch]) -> BTreeMap<(String, String), Point> {
    let mut sums: BTreeMap<(String, String), Point> = BTreeMap::new();
    for batch in sent {
        for point in points(batch) {
            let key = (point.name.clone(), format!("{}|{}", batch.tenant(), point.labels));
            match sums.get_mut(&key) {
                Some(sum) if point.temporality == 1 => {
                    assert!(sum.time <= point.start, "windows overlap");
                    sum.time = point.time;
                    sum.count += point.count;
                    sum.sum += point.sum;
                    for (bucket, more) in sum.buckets.iter_mut().zip(&point.buckets) {
                        *bucket += more;
                    }
                    sum.exemplars.extend(point.exemplars);
                }
                Some(last) => {
                    assert_eq!(last.start, point.start);
                    assert!(last.time < point.time && last.count <= point.count);
                    let mut exemplars = std::mem::take(&mut last.exemplars);
                    exemplars.extend(point.exemplars.clone());
                    *last = Point { exemplars, ..point };
                }
                None => {
                    sums.insert(key, point);
                }
            }
        }
    }
    sums
}

fn check(
    sums: &BTreeMap<(String, String), Point>,
    expected: &BTreeMap<String, Expected>,
    known: &BTreeSet<(Vec<u8>, Vec<u8>)>,
) {
    assert_eq!(sums.len(), expected.len() * 3);
    for (labels, expected) in expected {
        let of = |name: &str| &sums[&(format!("traces_spanmetrics_{name}"), labels.clone())];
        assert_eq!(of("calls_total").count, expected.calls);
        assert_eq!(of("size_total").count, expected.bytes);
        let latency = of("latency");
        let seconds = |nanos: &u64| *nanos as f64 / 1e9;
        let sum: f64 = expected.nanos.iter().map(seconds).sum();
        assert!(
            (latency.sum - sum).abs() <= 1e-9 * sum.max(1.0),
            "{} {sum}",
            latency.sum
        );
        assert_eq!(latency.count, expected.calls);
        assert!(!latency.exemplars.is_empty());
        for (trace, span, value) in &latency.exemplars {
            assert!(known.contains(&(trace.clone(), span.clone())));
            assert!(expected.nanos.iter().any(|nanos| seconds(nanos) == *value));
        }
        if latency.bounds.is_empty() {
            continue;
        }
        let mut buckets = vec![0; latency.bounds.len() + 1];
        for nanos in &expected.nanos {
            let holds = |bound: &f64| seconds(nanos) <= *bound;
            buckets[latency
                .bounds
                .iter()
                .position(holds)
                .unwrap_or(latency.bounds.len())] += 1;
        }
        assert_eq!(latency.buckets, buckets);
        for (_, _, value) in &latency.exemplars {
            let bucket = latency.bounds.iter().position(|bound| value <= bound);
            assert!(buckets[bucket.unwrap_or(latency.bounds.len())] > 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_delivered_equals_a_plain_count(
        seed in any::<u64>(),
        delta in any::<bool>(),
        exponential in any::<bool>(),
        // Spans, whether to flush after them, whether that is refused.
        steps in proptest::collection::vec((1usize..60, any::<bool>(), any::<bool>()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let tenants = ["a", "b"].map(|tenant| TenantId::parse(tenant).unwrap()).to_vec();
            let mut generator = Generator::new(GeneratorConfig { seed, tenants, services: 3, ..GeneratorConfig::default() });
            let temporality = if delta { "DELTA" } else { "CUMULATIVE" };
            let histogram = if exponential { json!({ "exponential": { "max_size": 20 } }) } else { json!({}) };
            let fixture = start(json!({
                "aggregation_temporality": format!("AGGREGATION_TEMPORALITY_{temporality}"),
                "histogram": histogram,
                "dimensions": [{ "name": "http.response.status_code" }],
            }));
            let (mut expected, mut known, mut sent) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
            for (count, flush, refused) in steps {
                let batch = generator.traces(count);
                count_plainly(&batch, &mut expected);
                known.extend(spans(&batch).into_iter().map(|(_, span)| (span.trace_id, span.span_id)));
                fixture.send(batch).await;
                fixture.clock.advance(Duration::from_secs(7));
                if flush {
                    if refused {
                        fixture.refuse();
                    }
                    assert_eq!(fixture.connector.flush().await, !refused);
                    sent.extend(fixture.sink.drain());
                }
            }
            fixture.clock.advance(Duration::from_secs(7));
            fixture.connector.shutdown().await;
            sent.extend(fixture.sink.drain());
            check(&add_up(&sent), &expected, &known);
        });
    }
}
