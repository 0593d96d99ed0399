//! The JSON form of a push: `{"streams": [{"stream": {…}, "values": [["<ns>", "<line>", {…}]]}]}`.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use cupola_telemetry::TenantId;
use cupola_telemetry::encode::LogsEncoder;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::convert::{Converter, Entry, StreamLabels};
use super::labels::{LABELS_MAX, Labels};
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::posts::LeftOut;
use crate::receivers::http::refusal::Refusal;

/// What a parsed entry takes beside its text, over the few bytes that the shortest has in JSON.
const PARSED_GROWTH: usize = 6;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    streams: Vec<Stream<'a>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow, default)]
    stream: Pairs<'a>,
    #[serde(borrow, default)]
    values: Vec<Value<'a>>,
}

#[derive(Default)]
struct Pairs<'a>(Labels<'a>);

struct Value<'a>(Entry<'a>);

/// A text, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) fn convert(
    body: Bytes,
    tenant: TenantId,
    room: &mut Room<'_>,
    converter: Converter,
) -> Converted<LeftOut> {
    room.hold(body.len().saturating_mul(PARSED_GROWTH) / 2)?;
    let request: Request<'_> = serde_json::from_slice(&body)
        .map_err(|error| Refusal::invalid("body", format!("not a push request: {error}")))?;
    let mut logs = LogsEncoder::new();
    let mut left_out = LeftOut::default();
    for stream in request.streams {
        let labels = StreamLabels::Parsed(stream.stream.0);
        let entries = stream.values.into_iter().map(|value| Ok(value.0));
        converter.stream(labels, entries, (&mut logs, room, &mut left_out))?;
    }
    Ok((vec![logs.finish(tenant)], left_out))
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Labels::new();
                while let Some((Text(key), Text(value))) = map.next_entry()? {
                    if pairs.len() == LABELS_MAX {
                        return Err(A::Error::custom(format!("more than {LABELS_MAX} pairs")));
                    }
                    pairs.retain(|(known, _)| *known != key);
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of a time in nanoseconds, a line and perhaps an object of metadata")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let missing = || A::Error::invalid_length(0, &Read);
                let Text(time) = seq.next_element()?.ok_or_else(missing)?;
                let time: i64 = time
                    .parse()
                    .map_err(|_| A::Error::custom(format!("`{time}` is not a time in nanoseconds")))?;
                let Text(line) = seq.next_element()?.ok_or_else(missing)?;
                let metadata = seq.next_element::<Pairs<'de>>()?.unwrap_or_default().0;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value(Entry {
                    time_unix_nano: u64::try_from(time).unwrap_or(0),
                    line,
                    metadata,
                }))
            }
        }
        deserializer.deserialize_seq(Read)
    }
}
