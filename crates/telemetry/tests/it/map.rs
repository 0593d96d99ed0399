//! A map that is changed in any way is what a plain list of pairs would be, wherever its pairs came from.

use std::borrow::Cow;
use std::convert::Infallible;

use cupola_telemetry::edit::{Map, Message, Value};
use cupola_telemetry::wire::{VARINT, close, open, write_bytes, write_key, write_varint};
use proptest::prelude::*;

use crate::dice::Dice;

const ATTRIBUTES: u32 = 6;
const BODY: u32 = 5;
/// A number of a log record that is not of its pairs.
const FLAGS: u32 = 11;
/// Few, so that they meet.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

type Pairs = Vec<(String, i64)>;

fn key(dice: &mut Dice) -> &'static str {
    KEYS[dice.below(KEYS.len())]
}

fn random_pairs(dice: &mut Dice) -> Pairs {
    (0..dice.below(6))
        .map(|_| (key(dice).to_owned(), dice.below(100) as i64))
        .collect()
}

fn write_pairs(out: &mut Vec<u8>, number: u32, pairs: &Pairs, mut between: impl FnMut(&mut Vec<u8>)) {
    for (key, value) in pairs {
        let pair = open(out, number);
        write_bytes(out, 1, key.as_bytes());
        write_bytes(out, 2, &Value::Int(*value).encode());
        close(out, pair);
        between(out);
    }
}

/// A log record with `pairs` as attributes, and other fields before, between and behind them.
fn record(pairs: &Pairs, dice: &mut Dice) -> Vec<u8> {
    let mut record = Vec::new();
    write_bytes(&mut record, BODY, &Value::from("body").encode());
    let mut flags = (dice.below(8) < 2).then_some(7);
    write_pairs(&mut record, ATTRIBUTES, pairs, |record| {
        if let Some(flags) = flags.take() {
            write_key(record, FLAGS, VARINT);
            write_varint(record, flags);
        }
    });
    write_bytes(&mut record, 100, b"unknown");
    record
}

fn list(pairs: &Pairs) -> Vec<u8> {
    let mut value = Vec::new();
    let list = open(&mut value, 6);
    write_pairs(&mut value, 1, pairs, |_| {});
    close(&mut value, list);
    value
}

/// The same to a map and to its model.
fn change(map: &mut Map<'_>, model: &mut Pairs, dice: &mut Dice) {
    let (first, second) = (key(dice), key(dice));
    let number = dice.below(100) as i64;
    match dice.below(8) {
        0 => {
            map.set(Cow::Borrowed(first), Value::Int(number));
            set(model, first, number);
        }
        1 => {
            map.push(Cow::Borrowed(first), Value::Int(number));
            model.push((first.to_owned(), number));
        }
        2 => {
            let before = model.len();
            model.retain(|(key, _)| key != first);
            assert_eq!(map.remove(first), model.len() < before);
        }
        3 => {
            map.move_value(first, Cow::Borrowed(second));
            if let Some(value) = get(model, first) {
                set(model, second, value);
                model.retain(|(key, _)| key != first);
            }
        }
        4 => {
            let Ok(()) =
                map.rename_keys(|key| Ok::<_, Infallible>((key == first).then(|| second.to_owned())));
            rename(model, first, second);
        }
        5 => {
            map.retain(|key| key != first && key != second);
            model.retain(|(key, _)| key != first && key != second);
        }
        6 => {
            let changed = |key: &str| key == first;
            let Ok(()) =
                map.edit_values(|key, _| Ok::<_, Infallible>(changed(key).then_some(Value::Int(number))));
            let matching = model.iter_mut().filter(|(key, _)| changed(key));
            matching.for_each(|(_, value)| *value = number);
        }
        _ => {
            let (insert, update) = (dice.chance(50), dice.chance(50));
            map.merge(vec![(Cow::Borrowed(first), Value::Int(number))], insert, update);
            if if get(model, first).is_some() {
                update
            } else {
                insert
            } {
                set(model, first, number);
            }
        }
    }
}

fn get(model: &Pairs, wanted: &str) -> Option<i64> {
    model
        .iter()
        .find(|(key, _)| key == wanted)
        .map(|(_, value)| *value)
}

fn set(model: &mut Pairs, wanted: &str, number: i64) {
    match model.iter_mut().find(|(key, _)| key == wanted) {
        Some((_, value)) => *value = number,
        None => model.push((wanted.to_owned(), number)),
    }
}

/// Of pairs that have the new name too, the last takes the place of the first.
fn rename(model: &mut Pairs, old: &str, new: &str) {
    if old == new || get(model, old).is_none() {
        return;
    }
    let named = |(key, _): &&mut (String, i64)| key == old || key == new;
    let last = model.iter_mut().filter(named).last().map(|(_, value)| *value);
    let first = model.iter_mut().position(|pair| named(&pair));
    let (Some(last), Some(first)) = (last, first) else {
        return;
    };
    model[first] = (new.to_owned(), last);
    let mut index = 0;
    model.retain(|(key, _)| {
        index += 1;
        index - 1 <= first || (key != old && key != new)
    });
}

fn int(value: Value<'_>) -> i64 {
    match value {
        Value::Int(value) => value,
        other => panic!("{other:?} is no number"),
    }
}

#[track_caller]
fn assert_same(map: &Map<'_>, model: &Pairs) {
    let pairs: Pairs = map
        .iter()
        .map(|(key, value)| (key.into_owned(), int(value)))
        .collect();
    assert_eq!(&pairs, model);
    assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
    for key in KEYS {
        assert_eq!(map.get(key).map(int), get(model, key), "{key}");
        assert_eq!(map.contains_key(key), get(model, key).is_some(), "{key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn attributes_are_changed_as_a_list_would_be(seed: u64) {
        let mut dice = Dice::new(seed);
        let mut model = random_pairs(&mut dice);
        let raw = record(&model, &mut dice);
        let mut message = Message::new(&raw);
        for _ in 0..dice.below(4) {
            change(message.map_mut(ATTRIBUTES), &mut model, &mut dice);
            assert_same(&message.map(ATTRIBUTES), &model);
        }
        let written = message.encode();
        let again = Message::new(&written);
        assert_same(&again.map(ATTRIBUTES), &model);
        let before = Message::new(&raw);
        for number in [BODY, FLAGS, 100] {
            let there = |message: &Message<'_>| message.repeated(number).map(<[u8]>::to_vec).collect::<Vec<_>>();
            prop_assert_eq!(there(&again), there(&before));
        }
    }

    #[test]
    fn lists_of_pairs_are_changed_as_a_list_would_be(seed: u64) {
        let mut dice = Dice::new(seed);
        let mut model = random_pairs(&mut dice);
        let raw = list(&model);
        let Value::Map(mut map) = Value::decode(&raw) else {
            panic!("a list of pairs is a map");
        };
        for _ in 0..dice.below(4) {
            change(&mut map, &mut model, &mut dice);
            assert_same(&map, &model);
        }
        let nesting = Value::Map(map.clone()).nesting();
        let written = Value::Map(map).encode();
        let Value::Map(again) = Value::decode(&written) else {
            panic!("a map is written as one");
        };
        assert_same(&again, &model);
        prop_assert_eq!(Value::Map(again).nesting(), nesting);
    }
}
