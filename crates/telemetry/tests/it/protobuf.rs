//! Protobuf in, canonical protobuf out: the same to prost, nothing lost, nothing copied without need.

use bytes::Bytes;
use cupola_telemetry::{Batch, Problem, Signal, TenantId};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::oracle::{count_items, decode, normalised, random_request};
use crate::scramble::{Freedom, Type, scramble, unknown_fields};

proptest! {
    #[test]
    fn canonical_payloads_are_kept_as_they_are(seed: u64) {
        for signal in Signal::ALL {
            let payload = Bytes::from(random_request(signal, &mut Dice::new(seed)));
            let batch = decode(signal, payload.clone()).unwrap();
            prop_assert_eq!(batch.payload().as_ptr(), payload.as_ptr());
            prop_assert_eq!(batch.payload(), &payload);
            prop_assert_eq!(batch.items(), count_items(signal, &payload));
        }
    }

    #[test]
    fn any_valid_encoding_means_the_same_afterwards(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let request = random_request(signal, &mut dice);
            let payload = scramble(Type::Request(signal), &request, &mut dice, Freedom { overwrite: true });
            let expected = normalised(signal, &payload).unwrap();
            let batch = decode(signal, payload).unwrap();
            prop_assert_eq!(normalised(signal, batch.payload()).unwrap(), expected);
            prop_assert_eq!(batch.items(), count_items(signal, batch.payload()));
            // Canonical is a fixed point.
            let again = decode(signal, batch.payload().clone()).unwrap();
            prop_assert_eq!(again.payload().as_ptr(), batch.payload().as_ptr());
            prop_assert_eq!(again.items(), batch.items());
        }
    }

    #[test]
    fn unknown_fields_are_kept(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let request = random_request(signal, &mut dice);
            let payload = scramble(Type::Request(signal), &request, &mut dice, Freedom { overwrite: false });
            let batch = decode(signal, payload.clone()).unwrap();
            let kept = unknown_fields(Type::Request(signal), batch.payload());
            prop_assert_eq!(kept, unknown_fields(Type::Request(signal), &payload));
        }
    }

    #[test]
    fn concatenated_batches_are_one_batch(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let parts: Vec<Batch> =
                (0..3).map(|_| decode(signal, random_request(signal, &mut dice)).unwrap()).collect();
            let whole = Batch::concat(&parts).unwrap();
            prop_assert_eq!(whole.items(), parts.iter().map(Batch::items).sum::<usize>());
            let again = decode(signal, whole.payload().clone()).unwrap();
            prop_assert_eq!(again, whole);
        }
    }
}

#[test]
fn batches_of_two_tenants_or_signals_do_not_mix() {
    let logs = decode(Signal::Logs, Bytes::new()).unwrap();
    let traces = decode(Signal::Traces, Bytes::new()).unwrap();
    let other = TenantId::parse("other").unwrap();
    let others_logs = Batch::decode_protobuf(Signal::Logs, other, Bytes::new()).unwrap();
    assert!(Batch::concat(&[logs.clone(), traces]).is_none());
    assert!(Batch::concat(&[logs.clone(), others_logs]).is_none());
    assert!(Batch::concat(&[]).is_none());
    assert_eq!(Batch::concat(&[logs.clone(), logs.clone()]), Some(logs));
}

/// `(field, contents)` pairs outermost first, around `inner`.
fn nested(numbers: &[u8], inner: &[u8]) -> Vec<u8> {
    numbers.iter().rev().fold(inner.to_vec(), |contents, number| {
        let mut field = vec![number << 3 | 2, contents.len() as u8];
        field.extend(contents);
        field
    })
}

#[track_caller]
fn refused(signal: Signal, payload: &[u8], path: &str, offset: usize, problem: &Problem) {
    let error = decode(signal, payload.to_vec()).unwrap_err();
    assert_eq!(
        (error.path.as_str(), error.offset, &error.problem),
        (path, offset, problem),
        "{error}"
    );
}

#[test]
fn errors_name_the_field() {
    let id_length = Problem::IdLength {
        expected: 16,
        actual: 3,
    };
    // Two empty records before the one at fault.
    let records = [&[0x12, 0, 0x12, 0][..], &nested(&[2], &[0x4a, 3, 1, 2, 3])].concat();
    refused(
        Signal::Logs,
        &nested(&[1, 2], &records),
        "resource_logs[0].scope_logs[0].log_records[2].trace_id",
        10,
        &id_length,
    );
    let event_name = nested(&[1, 2, 2, 11, 2], &[b'a', 0xff]);
    refused(
        Signal::Traces,
        &event_name,
        "resource_spans[0].scope_spans[0].spans[0].events[0].name",
        8,
        &Problem::Utf8 { valid_up_to: 1 },
    );
    let packed = nested(&[1, 2, 2, 9, 1, 6], &[0; 9]);
    refused(
        Signal::Metrics,
        &packed,
        "resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0].bucket_counts",
        10,
        &Problem::PackedLength {
            element: 8,
            actual: 9,
        },
    );
    refused(Signal::Logs, &[0], "request", 0, &Problem::FieldKey { key: 0 });
    refused(
        Signal::Logs,
        &[0x0f],
        "request",
        0,
        &Problem::FieldKey { key: 0x0f },
    );
    refused(
        Signal::Logs,
        &[0x08, 1],
        "resource_logs[0]",
        0,
        &Problem::WireType {
            expected: 2,
            actual: 0,
        },
    );
    refused(
        Signal::Logs,
        &[0x0a, 5, 1],
        "resource_logs[0]",
        0,
        &Problem::Truncated {
            expected: 5,
            actual: 1,
        },
    );
    refused(
        Signal::Logs,
        &[0x9c, 1],
        "<field 19>",
        0,
        &Problem::GroupEnd {
            expected: None,
            actual: 19,
        },
    );
    let group = [0x9b, 1, 0xa4, 1];
    refused(
        Signal::Logs,
        &group,
        "<field 19>",
        0,
        &Problem::GroupEnd {
            expected: Some(19),
            actual: 20,
        },
    );
    let overflow = nested(&[1, 2, 2], &[&[0x10][..], &[0xff; 9], &[2]].concat());
    refused(
        Signal::Logs,
        &overflow,
        "resource_logs[0].scope_logs[0].log_records[0].severity_number",
        6,
        &Problem::VarintOverflow,
    );
}

#[test]
fn errors_read_well() {
    let error = decode(Signal::Logs, nested(&[1, 2, 2], &[0x4a, 3, 1, 2, 3])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "resource_logs[0].scope_logs[0].log_records[0].trace_id: id has 3 bytes, expected 16 or none (byte 6)"
    );
    let error = decode(Signal::Logs, vec![0x08, 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "resource_logs[0]: expected a length-delimited value, found a varint (byte 0)"
    );
    let batch = decode(Signal::Traces, Vec::new()).unwrap();
    assert_eq!(
        format!("{batch:?}"),
        "Batch { signal: Traces, tenant: TenantId(\"default\"), items: 0, bytes: 0 }"
    );
}
