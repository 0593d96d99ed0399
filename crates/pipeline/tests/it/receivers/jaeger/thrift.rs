//! A writer of Thrift's two protocols, after their specifications, and independent of what the receiver reads them with.

/// A value, and so a kind.
#[derive(Clone)]
pub(super) enum Value {
    Bool(bool),
    I16(i16),
    I32(i32),
    I64(i64),
    Double(f64),
    Text(&'static [u8]),
    /// Fields by number.
    Struct(Vec<(i16, Value)>),
    List(Vec<Value>),
    Set(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

use Value::*;

pub(super) fn text(text: &'static str) -> Value {
    Text(text.as_bytes())
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Protocol {
    Binary,
    OldBinary,
    Compact,
}

pub(super) const ONEWAY: u8 = 4;

/// A packet that calls `method` with one argument.
pub(super) fn call(protocol: Protocol, method: &str, kind: u8, argument: Value) -> Vec<u8> {
    let mut packet = Vec::new();
    let name = method.as_bytes();
    match protocol {
        Protocol::Compact => {
            packet.extend([0x82, kind << 5 | 1]);
            varint(&mut packet, 300);
            varint(&mut packet, name.len() as u64);
            packet.extend(name);
        }
        Protocol::Binary => {
            packet.extend([0x80, 1, 0, kind]);
            packet.extend((name.len() as u32).to_be_bytes());
            packet.extend(name);
            packet.extend(300_i32.to_be_bytes());
        }
        Protocol::OldBinary => {
            packet.extend((name.len() as u32).to_be_bytes());
            packet.extend(name);
            packet.push(kind);
            packet.extend(300_i32.to_be_bytes());
        }
    }
    let arguments = Struct(vec![(1, argument)]);
    match protocol {
        Protocol::Compact => compact(&mut packet, &arguments),
        Protocol::Binary | Protocol::OldBinary => binary(&mut packet, &arguments),
    }
    packet
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(out: &mut Vec<u8>, number: i64) {
    varint(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// The number of a kind: in the binary protocol, in the compact one.
fn kind(value: &Value) -> (u8, u8) {
    match value {
        Bool(true) => (2, 1),
        Bool(false) => (2, 2),
        I16(_) => (6, 4),
        I32(_) => (8, 5),
        I64(_) => (10, 6),
        Double(_) => (4, 7),
        Text(_) => (11, 8),
        Struct(_) => (12, 12),
        List(_) => (15, 9),
        Set(_) => (14, 10),
        Map(_) => (13, 11),
    }
}

fn binary(out: &mut Vec<u8>, value: &Value) {
    match value {
        Bool(flag) => out.push(u8::from(*flag)),
        I16(number) => out.extend(number.to_be_bytes()),
        I32(number) => out.extend(number.to_be_bytes()),
        I64(number) => out.extend(number.to_be_bytes()),
        Double(number) => out.extend(number.to_be_bytes()),
        Text(bytes) => {
            out.extend((bytes.len() as u32).to_be_bytes());
            out.extend(*bytes);
        }
        Struct(fields) => {
            for (id, value) in fields {
                out.push(kind(value).0);
                out.extend(id.to_be_bytes());
                binary(out, value);
            }
            out.push(0);
        }
        List(values) | Set(values) => {
            out.push(values.first().map_or(12, |first| kind(first).0));
            out.extend((values.len() as u32).to_be_bytes());
            values.iter().for_each(|value| binary(out, value));
        }
        Map(pairs) => {
            let kinds = pairs.first().map(|(key, value)| [kind(key).0, kind(value).0]);
            out.extend(kinds.unwrap_or([2, 2]));
            out.extend((pairs.len() as u32).to_be_bytes());
            for (key, value) in pairs {
                binary(out, key);
                binary(out, value);
            }
        }
    }
}

fn compact(out: &mut Vec<u8>, value: &Value) {
    match value {
        Bool(flag) => out.push(if *flag { 1 } else { 2 }),
        I16(number) => zigzag(out, i64::from(*number)),
        I32(number) => zigzag(out, i64::from(*number)),
        I64(number) => zigzag(out, *number),
        Double(number) => out.extend(number.to_le_bytes()),
        Text(bytes) => {
            varint(out, bytes.len() as u64);
            out.extend(*bytes);
        }
        Struct(fields) => {
            let mut last = 0;
            for (id, value) in fields {
                let further = id - last;
                if (1..=15).contains(&further) {
                    out.push((further as u8) << 4 | kind(value).1);
                } else {
                    out.push(kind(value).1);
                    zigzag(out, i64::from(*id));
                }
                if !matches!(value, Bool(_)) {
                    compact(out, value);
                }
                last = *id;
            }
            out.push(0);
        }
        List(values) | Set(values) => {
            let kind = values.first().map_or(12, |first| kind(first).1);
            match values.len() {
                few @ 0..15 => out.push((few as u8) << 4 | kind),
                many => {
                    out.push(0xf0 | kind);
                    varint(out, many as u64);
                }
            }
            values.iter().for_each(|value| compact(out, value));
        }
        Map(pairs) => {
            varint(out, pairs.len() as u64);
            if let Some((key, value)) = pairs.first() {
                out.push(kind(key).1 << 4 | kind(value).1);
            }
            for (key, value) in pairs {
                compact(out, key);
                compact(out, value);
            }
        }
    }
}

fn tag(key: &'static str, form: i32, field: i16, value: Value) -> Value {
    Struct(vec![(1, text(key)), (2, I32(form)), (field, value)])
}

/// A batch with each kind of field, and kinds that Jaeger does not have.
pub(super) fn batch() -> Value {
    let unknown = vec![
        (100, Map(vec![(text("k"), List(vec![Bool(true), Bool(false)]))])),
        (101, Map(Vec::new())),
        (102, Set(vec![I16(-5), I16(7)])),
        (103, Bool(true)),
        (104, Struct(vec![(3, Bool(false)), (1, Double(1.5))])),
        (-7, I64(i64::MIN)),
    ];
    let reference = Struct(vec![(1, I32(1)), (2, I64(9)), (3, I64(9)), (4, I64(8))]);
    let fields = vec![
        tag("event", 0, 3, text("retry")),
        tag("why", 0, 3, text("timeout")),
    ];
    let log = Struct(vec![(1, I64(1_700_000_000_000_006)), (2, List(fields))]);
    let tags = vec![
        tag("span.kind", 0, 3, text("client")),
        tag("plain", 0, 3, text("ü")),
        tag("ratio", 1, 4, Double(0.5)),
        tag("ok", 2, 5, Bool(true)),
        tag("no", 2, 5, Bool(false)),
        tag("items", 3, 6, I64(-3)),
        tag("raw", 4, 7, Text(&[1, 2])),
    ];
    let mut span = vec![
        (1, I64(0x090a_0b0c_0d0e_0f10)),
        (2, I64(0x0102_0304_0506_0708)),
        (3, I64(-2)),
        (4, I64(0x0707_0707_0707_0707)),
        (5, text("pay")),
        (6, List(vec![reference])),
        (7, I32(1)),
        (8, I64(1_700_000_000_000_000)),
        (9, I64(250)),
        (10, List(tags)),
        (11, List(vec![log])),
    ];
    span.extend(unknown.clone());
    let mut spans = vec![Struct(span)];
    spans.extend((1..=15).map(|id| Struct(vec![(1, I64(id)), (3, I64(id)), (5, text("other"))])));
    // One without an id.
    spans.push(Struct(vec![(5, text("nameless"))]));
    let tags = vec![
        tag("hostname", 0, 3, text("a")),
        tag("region", 0, 3, text("north")),
    ];
    let process = Struct(vec![(1, text("cart")), (2, List(tags))]);
    let mut batch = vec![(1, process), (2, List(spans)), (3, I64(17))];
    batch.extend(unknown);
    Struct(batch)
}
