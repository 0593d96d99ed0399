//! Editing keeps what nobody touched, gives canonical batches, and agrees with the same edit of generated structs.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use cupola_telemetry::edit::{Array, Editor, Level, Map, Message, Place, Value, Verdict, edit};
use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{self as common, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;
use prost::Message as _;

use crate::dice::Dice;
use crate::oracle::{decode, normalised, random_request};
use crate::scramble::{Freedom, Type, scramble, unknown_fields};

const LEVELS: [Level; 4] = [Level::Resource, Level::Scope, Level::Item, Level::Part];

/// An editor from a closure.
struct With<F>(Level, F);

impl<'a, F: FnMut(Level, &mut Place<'a>) -> Verdict> Editor<'a> for With<F> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        self.0
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        Ok((self.1)(level, place))
    }
}

fn run<'a>(
    batch: &'a Batch,
    deepest: Level,
    visit: impl FnMut(Level, &mut Place<'a>) -> Verdict,
) -> Option<Batch> {
    edit(batch, &mut With(deepest, visit)).unwrap()
}

fn random_batch(signal: Signal, dice: &mut Dice) -> Batch {
    decode(signal, random_request(signal, dice)).unwrap()
}

/// A batch with unknown fields and fields in any order.
fn scrambled_batch(signal: Signal, dice: &mut Dice) -> Batch {
    let request = random_request(signal, dice);
    let payload = scramble(
        Type::Request(signal),
        &request,
        dice,
        Freedom { overwrite: false },
    );
    decode(signal, payload).unwrap()
}

/// The message of a level, and the number of its attributes.
fn attributes_at<'p, 'a>(
    signal: Signal,
    level: Level,
    place: &'p mut Place<'a>,
) -> (&'p mut Message<'a>, u32) {
    use cupola_telemetry::edit::MetricKind;
    match (level, signal) {
        (Level::Resource, _) => (place.resource.message_mut(1), 1),
        (Level::Scope, _) => (place.scope.message_mut(1), 3),
        (Level::Item, Signal::Logs) => (&mut place.item, 6),
        (Level::Item, Signal::Traces) => (&mut place.item, 9),
        (Level::Item, Signal::Metrics) => (&mut place.item, 12),
        (Level::Part, Signal::Metrics) => {
            let number = match place.metric_kind() {
                Some(MetricKind::Histogram) => 9,
                Some(MetricKind::ExponentialHistogram) => 1,
                _ => 7,
            };
            (&mut place.part, number)
        }
        (Level::Part, _) => (&mut place.part, 3),
    }
}

#[track_caller]
fn assert_canonical(batch: &Batch) {
    let again = decode(batch.signal(), batch.payload().clone()).unwrap();
    assert_eq!(
        again.payload().as_ptr(),
        batch.payload().as_ptr(),
        "the output was not canonical"
    );
    assert_eq!(again.items(), batch.items());
}

/// A value made by hand, with everything in it that can be.
fn random_value(dice: &mut Dice, depth: usize) -> Value<'static> {
    match dice.below(if depth > 2 { 6 } else { 8 }) {
        0 => Value::Empty,
        1 => Value::String(Cow::Owned(dice.text())),
        2 => Value::Bool(dice.chance(50)),
        3 => Value::Int(dice.u64() as i64),
        4 => Value::Double(dice.f64()),
        5 => Value::Bytes(Cow::Owned(dice.bytes())),
        6 => Value::Array(
            (0..dice.below(3))
                .map(|_| random_value(dice, depth + 1))
                .collect(),
        ),
        _ => Value::Map(
            (0..dice.below(3))
                .map(|_| (Cow::Owned(dice.text()), random_value(dice, depth + 1)))
                .collect(),
        ),
    }
}

/// Renames the first pair of that name. Says whether there is one.
fn rename(map: &mut Map<'_>, old: &str, new: &str) -> bool {
    let mut found = false;
    let renamed = map.rename_keys(|key| {
        let first = key == old && !std::mem::replace(&mut found, true);
        Ok::<_, Infallible>(first.then(|| new.to_owned()))
    });
    let Ok(()) = renamed;
    found
}

/// Does something to a map; nothing that removes what it does not know.
fn change_map(map: &mut Map<'_>, dice: &mut Dice) {
    match dice.below(6) {
        0 => map.set(Cow::Owned(dice.text()), random_value(dice, 0)),
        1 => map.push(Cow::Owned(dice.text()), random_value(dice, 0)),
        2 => drop(rename(map, "a", "b")),
        3 => {
            let keys: Vec<_> = map.iter().map(|(key, _)| key).collect();
            for key in keys {
                match map.inner_mut(&key) {
                    Some(Value::Map(inner)) => change_map(inner, dice),
                    Some(Value::Array(array)) => array.push(Value::Int(1)),
                    _ => {}
                }
            }
        }
        4 => map
            .edit_values(|_, value| {
                Ok::<_, Infallible>(value.as_str().map(|text| Value::from(format!("{text}!"))))
            })
            .unwrap(),
        _ => drop(map.contains_key("a")),
    }
}

proptest! {
    #[test]
    fn no_change_gives_the_same_bytes(seed: u64) {
        for signal in Signal::ALL {
            let batch = scrambled_batch(signal, &mut Dice::new(seed));
            for deepest in LEVELS {
                let same = run(&batch, deepest, |level, place| {
                    // A look at everything is no change.
                    let (message, number) = attributes_at(signal, level, place);
                    let map = message.map_mut(number);
                    let _ = (map.len(), map.remove("no such key"), map.retain(|_| true));
                    Verdict::Keep
                })
                .unwrap();
                prop_assert_eq!(same.payload().as_ptr(), batch.payload().as_ptr());
                prop_assert_eq!(same.items(), batch.items());
            }
        }
    }

    #[test]
    fn renaming_there_and_back_is_the_identity(seed: u64) {
        for signal in Signal::ALL {
            let batch = random_batch(signal, &mut Dice::new(seed));
            let rename = |batch: &Batch, old: &str, new: &'static str| {
                run(batch, Level::Part, |level, place| {
                    let (message, number) = attributes_at(signal, level, place);
                    let named = |name: &str| message.map(number).iter().filter(|(key, _)| key == name).count();
                    // A name that is there twice does not come back.
                    if named(old) == 1 && named(new) == 0 {
                        assert!(rename(message.map_mut(number), old, new));
                    }
                    Verdict::Keep
                })
                .unwrap()
            };
            let there = rename(&batch, "a", "elsewhere");
            assert_canonical(&there);
            let back = rename(&there, "elsewhere", "a");
            prop_assert_eq!(back.payload(), batch.payload());
        }
    }

    #[test]
    fn dropping_everything_leaves_no_batch(seed: u64) {
        for signal in Signal::ALL {
            let batch = scrambled_batch(signal, &mut Dice::new(seed));
            if batch.items() == 0 {
                continue;
            }
            for deepest in LEVELS {
                if deepest == Level::Part && signal != Signal::Metrics {
                    continue;
                }
                let left = run(&batch, deepest, |level, _| {
                    if level == deepest { Verdict::Drop } else { Verdict::Keep }
                });
                prop_assert!(left.is_none());
            }
        }
    }

    #[test]
    fn any_edit_gives_a_canonical_batch(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let batch = scrambled_batch(signal, &mut dice);
            let edited = run(&batch, Level::Part, |level, place| {
                // Any level may be changed from any level at or below it.
                let level = LEVELS[dice.below(level as usize + 1)];
                if dice.chance(40) {
                    let (message, number) = attributes_at(signal, level, place);
                    change_map(message.map_mut(number), &mut dice);
                }
                if dice.chance(10) {
                    place.resource.set_text(3, Cow::Borrowed("https://example.org/schema"));
                }
                if dice.chance(10) { Verdict::Drop } else { Verdict::Keep }
            });
            if let Some(edited) = edited {
                assert_canonical(&edited);
            }
        }
    }

    #[test]
    fn unknown_fields_survive_edits_beside_them(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let batch = scrambled_batch(signal, &mut dice);
            let edited = run(&batch, Level::Part, |level, place| {
                let (message, number) = attributes_at(signal, level, place);
                let map = message.map_mut(number);
                map.set(Cow::Borrowed("new"), random_value(&mut dice, 0));
                rename(map, "a", "other");
                let inner = map.iter().find(|(_, value)| matches!(value, Value::Map(_) | Value::Array(_)));
                if let Some((key, _)) = inner {
                    match map.inner_mut(&key) {
                        Some(Value::Map(inner)) => inner.set(Cow::Borrowed("new"), Value::Bool(true)),
                        Some(Value::Array(inner)) => inner.push(Value::Bool(true)),
                        _ => {}
                    }
                }
                Verdict::Keep
            })
            .unwrap();
            // What is renamed takes the place of what had the name; no key is called so here.
            prop_assert_eq!(
                unknown_fields(Type::Request(signal), edited.payload()),
                unknown_fields(Type::Request(signal), batch.payload())
            );
        }
    }

    #[test]
    fn the_same_edit_of_generated_structs_agrees(seed: u64) {
        for signal in Signal::ALL {
            let batch = random_batch(signal, &mut Dice::new(seed));
            let edited = run(&batch, Level::Part, |level, place| {
                let (message, number) = attributes_at(signal, level, place);
                let map = message.map_mut(number);
                map.remove("a");
                map.set(Cow::Borrowed("http.route"), Value::Int(7));
                let odd = |message: &Message<'_>, number| message.number(number).is_some_and(|n| n % 2 == 1);
                let drop = match (signal, level) {
                    (Signal::Logs, Level::Item) => odd(&place.item, 2),
                    (Signal::Traces, Level::Item) => odd(&place.item, 6),
                    (Signal::Traces, Level::Part) => odd(&place.part, 4),
                    (Signal::Metrics, Level::Part) => {
                        let histogram = matches!(attributes_at(signal, level, place).1, 1 | 9);
                        odd(&place.part, if histogram { 10 } else { 8 })
                    }
                    _ => false,
                };
                if drop { Verdict::Drop } else { Verdict::Keep }
            });
            let expected = reference(signal, batch.payload());
            match edited {
                None => prop_assert_eq!(expected.1, 0),
                Some(edited) => {
                    assert_canonical(&edited);
                    prop_assert_eq!(edited.items(), expected.1);
                    prop_assert_eq!(normalised(signal, edited.payload()).unwrap(), expected.0);
                }
            }
        }
    }
}

/// What the edit above makes of the generated structs, and how many items are left.
fn reference(signal: Signal, payload: &Bytes) -> (Vec<u8>, usize) {
    match signal {
        Signal::Logs => reference_logs(payload),
        Signal::Traces => reference_traces(payload),
        Signal::Metrics => reference_metrics(payload),
    }
}

fn edit_attributes(attributes: &mut Vec<common::KeyValue>) {
    attributes.retain(|pair| pair.key != "a");
    let seven = common::AnyValue {
        value: Some(any_value::Value::IntValue(7)),
    };
    match attributes.iter_mut().find(|pair| pair.key == "http.route") {
        Some(pair) => pair.value = Some(seven),
        None => attributes.push(common::KeyValue {
            key: "http.route".to_owned(),
            value: Some(seven),
            key_strindex: 0,
        }),
    }
}

/// Keeps those of which `keep` says so; says whether some went and none is left.
fn retain<T>(items: &mut Vec<T>, keep: impl FnMut(&mut T) -> bool) -> bool {
    let before = items.len();
    items.retain_mut(keep);
    before > 0 && items.is_empty()
}

macro_rules! reference_envelopes {
    ($request:expr, $scopes:ident, $items:ident, $keep:expr) => {
        $request.retain_mut(|resource| {
            edit_attributes(&mut resource.resource.get_or_insert_default().attributes);
            !retain(&mut resource.$scopes, |scope| {
                edit_attributes(&mut scope.scope.get_or_insert_default().attributes);
                !retain(&mut scope.$items, $keep)
            })
        })
    };
}

fn reference_logs(payload: &Bytes) -> (Vec<u8>, usize) {
    let mut request = ExportLogsServiceRequest::decode(payload.clone()).unwrap();
    let mut left = 0;
    reference_envelopes!(request.resource_logs, scope_logs, log_records, |record| {
        edit_attributes(&mut record.attributes);
        let keep = record.severity_number & 1 == 0;
        left += usize::from(keep);
        keep
    });
    (request.encode_to_vec(), left)
}

fn reference_traces(payload: &Bytes) -> (Vec<u8>, usize) {
    let mut request = ExportTraceServiceRequest::decode(payload.clone()).unwrap();
    let mut left = 0;
    reference_envelopes!(request.resource_spans, scope_spans, spans, |span| {
        edit_attributes(&mut span.attributes);
        span.events.retain_mut(|event| {
            edit_attributes(&mut event.attributes);
            event.dropped_attributes_count & 1 == 0
        });
        let keep = span.kind & 1 == 0;
        left += usize::from(keep);
        keep
    });
    (request.encode_to_vec(), left)
}

fn reference_metrics(payload: &Bytes) -> (Vec<u8>, usize) {
    let mut request = ExportMetricsServiceRequest::decode(payload.clone()).unwrap();
    let mut left = 0;
    macro_rules! points {
        ($data:expr) => {{
            let gone = retain(&mut $data.data_points, |point| {
                edit_attributes(&mut point.attributes);
                point.flags & 1 == 0
            });
            left += $data.data_points.len();
            !gone
        }};
    }
    reference_envelopes!(request.resource_metrics, scope_metrics, metrics, |metric| {
        edit_attributes(&mut metric.metadata);
        match metric.data.as_mut() {
            None => true,
            Some(Data::Gauge(data)) => points!(data),
            Some(Data::Sum(data)) => points!(data),
            Some(Data::Histogram(data)) => points!(data),
            Some(Data::ExponentialHistogram(data)) => points!(data),
            Some(Data::Summary(data)) => points!(data),
        }
    });
    (request.encode_to_vec(), left)
}

#[test]
fn untouched_neighbours_of_a_changed_item_keep_their_bytes() {
    let mut dice = Dice::new(11);
    let batch = loop {
        let batch = scrambled_batch(Signal::Logs, &mut dice);
        if batch.items() > 5 {
            break batch;
        }
    };
    let mut index = 0;
    let edited = run(&batch, Level::Item, |level, place| {
        if level == Level::Item {
            if index == 2 {
                place.item.set_text(3, Cow::Borrowed("changed"));
            }
            index += 1;
        }
        Verdict::Keep
    })
    .unwrap();
    fn records(batch: &Batch) -> Vec<&[u8]> {
        let scopes = batch.logs().resources().flat_map(|resource| resource.scopes());
        scopes
            .flat_map(|scope| scope.records())
            .map(|record| record.raw())
            .collect()
    }
    for (index, (before, after)) in records(&batch).iter().zip(records(&edited)).enumerate() {
        assert_eq!(*before == after, index != 2, "record {index}");
    }
}

#[test]
fn values_in_values_can_be_changed() {
    let mut inner = Map::new();
    inner.set(
        Cow::Borrowed("list"),
        Value::Array(Array::from_iter([Value::Int(1)])),
    );
    let encoded = Value::Map(inner).encode();
    let Value::Map(mut map) = Value::decode(&encoded) else {
        panic!("not a map")
    };
    assert_eq!(Value::Map(map.clone()).nesting(), 5);
    if let Some(Value::Array(array)) = map.inner_mut("list") {
        array.push(Value::Bool(true));
        assert!(array.set(0, Value::from("one")));
    }
    let again = Value::Map(map).encode();
    let Value::Map(map) = Value::decode(&again) else {
        panic!("not a map")
    };
    let expected = Array::from_iter([Value::from("one"), Value::Bool(true)]);
    assert_eq!(map.get("list"), Some(Value::Array(expected)));
}

#[test]
fn of_pairs_that_come_to_one_name_the_last_takes_the_place_of_the_first() {
    let renamed = |keys: &[&str], without: &str| {
        let pairs = keys
            .iter()
            .zip(1..)
            .map(|(key, value)| ((*key).to_owned().into(), Value::Int(value)));
        let mut map: Map<'_> = pairs.collect();
        let Ok(()) = map.rename_keys(|key| {
            Ok::<_, Infallible>(key.contains(without).then(|| key.replacen(without, "", 1)))
        });
        let pairs = map.iter().map(|(key, value)| match value {
            Value::Int(value) => format!("{key}{value}"),
            _ => key.into_owned(),
        });
        pairs.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(renamed(&["aab", "ab", "b"], "a"), "ab1 b3");
    assert_eq!(renamed(&["k", "xk", "other"], "x"), "k2 other3");
    assert_eq!(renamed(&["xk", "k", "other"], "x"), "k2 other3");
    assert_eq!(renamed(&["x1", "1", "1x"], "x"), "13");
    assert_eq!(renamed(&["a", "b"], "x"), "a1 b2");
}
