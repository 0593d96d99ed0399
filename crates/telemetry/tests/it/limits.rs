//! Bounds of decoding: nothing is made that was not reserved, and nothing stays reserved that was not kept.

use bytes::Bytes;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, DecodeError, DecodeLimits, Problem, Signal, TenantId};

const MIB: usize = 1 << 20;

/// Decodes within limits; the result, and the most that was reserved.
fn within(
    budget: usize,
    bytes_max: usize,
    decode: impl FnOnce(DecodeLimits<'_>) -> Result<Batch, DecodeError>,
) -> (Result<Batch, DecodeError>, usize) {
    let budget = MemoryBudget::new(budget);
    let mut memory = budget.reservation();
    let limits = DecodeLimits {
        bytes_max,
        memory: &mut memory,
    };
    let decoded = decode(limits);
    let kept = decoded.as_ref().map_or(0, |batch| batch.payload().len());
    assert_eq!(memory.bytes(), kept, "{decoded:?}");
    (decoded, budget.peak())
}

fn protobuf(payload: &Bytes, budget: usize, bytes_max: usize) -> (Result<Batch, DecodeError>, usize) {
    within(budget, bytes_max, |limits| {
        Batch::decode_protobuf_within(
            Signal::Metrics,
            TenantId::default_tenant(),
            payload.clone(),
            limits,
        )
    })
}

fn json(signal: Signal, body: &str, budget: usize, bytes_max: usize) -> (Result<Batch, DecodeError>, usize) {
    within(budget, bytes_max, |limits| {
        Batch::decode_json_within(signal, TenantId::default_tenant(), body.as_bytes(), limits)
    })
}

fn field(number: u8, contents: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = contents.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend(contents);
    field
}

#[test]
fn canonical_bytes_take_nothing() {
    let payload = Bytes::from(field(1, &field(3, b"url")));
    let budget = MemoryBudget::new(0);
    let mut memory = budget.reservation();
    let limits = DecodeLimits {
        bytes_max: 100,
        memory: &mut memory,
    };
    let batch =
        Batch::decode_protobuf_within(Signal::Logs, TenantId::default_tenant(), payload.clone(), limits)
            .unwrap();
    assert_eq!(batch.payload().as_ptr(), payload.as_ptr());
}

#[test]
fn a_message_in_many_pieces_takes_what_was_reserved_and_no_more() {
    // The resource of one message in a million empty pieces, then in as many of two bytes.
    for piece in [&[0x0a, 0][..], &[0x0a, 2, 0x10, 1]] {
        let payload = Bytes::from(field(1, &piece.repeat(MIB)));
        let (decoded, peak) = protobuf(&payload, 64 * MIB, 20 * MIB);
        assert!(decoded.unwrap().payload().len() < 20);
        assert!(peak < 16 * payload.len());
        if piece.len() > 2 {
            let (decoded, _) = protobuf(&payload, 2 * payload.len(), 20 * MIB);
            assert_eq!(decoded.unwrap_err().problem, Problem::OverMemory);
        } else {
            assert!(peak <= payload.len(), "pieces without contents take nothing");
        }
    }
}

#[test]
fn numbers_that_are_not_packed_take_no_list() {
    // Bucket counts of one histogram, a million of two bytes.
    let counts = [0x10, 5].repeat(MIB);
    let points = field(1, &field(8, &counts));
    let payload = Bytes::from(field(1, &field(2, &field(2, &field(10, &points)))));
    let (decoded, peak) = protobuf(&payload, 64 * MIB, 20 * MIB);
    assert!((MIB..MIB + 100).contains(&decoded.unwrap().payload().len()));
    assert!(peak <= payload.len());
}

#[test]
fn what_grows_by_rewriting_stays_within_the_limit() {
    // A count that is not packed gets a length: three bytes of two.
    let point = field(1, &field(8, &[0x10, 5]));
    let payload = Bytes::from(field(1, &field(2, &field(2, &field(10, &point.repeat(1000))))));
    let (decoded, peak) = protobuf(&payload, MIB, 2 * payload.len());
    let length = decoded.unwrap().payload().len();
    assert!(length > payload.len());
    assert!(peak >= length);
    let (decoded, _) = protobuf(&payload, MIB, length - 1);
    assert_eq!(
        decoded.unwrap_err().problem,
        Problem::TooLarge {
            bytes_max: length - 1
        }
    );
    let (decoded, _) = protobuf(&payload, payload.len() + 10, 2 * payload.len());
    assert_eq!(decoded.unwrap_err().problem, Problem::OverMemory);
}

#[test]
fn json_that_becomes_larger_is_bound_and_reserved() {
    // Two bytes of JSON are eight of protobuf.
    let zeros = vec!["0"; 100_000].join(",");
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{zeros}]}}]}}}}]}}]}}]}}"#
    );
    let (decoded, peak) = json(Signal::Metrics, &body, 16 * MIB, 20 * MIB);
    let length = decoded.unwrap().payload().len();
    assert!(length > 800_000);
    assert!(peak >= length + body.len());
    let (decoded, _) = json(Signal::Metrics, &body, 16 * MIB, 400_000);
    let error = decoded.unwrap_err();
    assert_eq!(error.problem, Problem::TooLarge { bytes_max: 400_000 });
    assert!(error.path.contains("bucketCounts["), "{error}");
    let (decoded, peak) = json(Signal::Metrics, &body, 600_000, 20 * MIB);
    assert_eq!(decoded.unwrap_err().problem, Problem::OverMemory);
    assert!(peak <= 600_000);
}

#[test]
fn json_without_room_for_its_text_is_refused() {
    let text = "\\n".repeat(100_000);
    let body = format!(r#"{{"resourceLogs":[{{"schemaUrl":"{text}"}}]}}"#);
    let (decoded, _) = json(Signal::Logs, &body, 1_000_000, MIB);
    assert!(decoded.unwrap().payload().len() > 100_000);
    let (decoded, _) = json(Signal::Logs, &body, 250_000, MIB);
    assert_eq!(decoded.unwrap_err().problem, Problem::OverMemory);
}
