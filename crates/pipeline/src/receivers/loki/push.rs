//! `logproto.PushRequest`: the protobuf form of a push.

use std::borrow::Cow;

use bytes::Bytes;
use cupola_telemetry::TenantId;
use cupola_telemetry::encode::LogsEncoder;

use super::convert::{Converter, Entry, StreamLabels};
use super::labels::LABELS_MAX;
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::posts::LeftOut;
use crate::receivers::http::refusal::Refusal;
use crate::receivers::protobuf::{Fields, ProtobufError};

pub(super) fn convert(
    body: Bytes,
    tenant: TenantId,
    room: &mut Room<'_>,
    converter: Converter,
) -> Converted<LeftOut> {
    let mut logs = LogsEncoder::new();
    let mut left_out = LeftOut::default();
    for field in Fields::new(&body) {
        let field = field.map_err(invalid)?;
        if field.number == 1 {
            let stream = field.bytes().map_err(invalid)?;
            let (labels, entries) = read_stream(stream).map_err(invalid)?;
            let entries = entries.map(|entry| entry.and_then(read_entry).map_err(invalid));
            let labels = StreamLabels::Text(labels);
            converter.stream(labels, entries, (&mut logs, room, &mut left_out))?;
        }
    }
    Ok((vec![logs.finish(tenant)], left_out))
}

fn invalid(error: ProtobufError) -> Refusal {
    Refusal::invalid("body", format!("not a push request: {error}"))
}

/// The labels of a stream and its entries, still encoded.
fn read_stream(
    stream: &[u8],
) -> Result<(&str, impl Iterator<Item = Result<&[u8], ProtobufError>>), ProtobufError> {
    let mut labels = "";
    for field in Fields::new(stream) {
        let field = field?;
        if field.number == 1 {
            labels = field.text()?;
        }
    }
    let entries = Fields::new(stream).filter_map(|field| match field {
        Ok(field) if field.number == 2 => Some(field.bytes()),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    Ok((labels, entries))
}

fn read_entry(entry: &[u8]) -> Result<Entry<'_>, ProtobufError> {
    let mut read = Entry {
        time_unix_nano: 0,
        line: Cow::Borrowed(""),
        metadata: Vec::new(),
    };
    for field in Fields::new(entry) {
        let field = field?;
        match field.number {
            1 => read.time_unix_nano = read_timestamp(field.bytes()?)?,
            2 => read.line = Cow::Borrowed(field.text()?),
            3 => {
                let (mut name, mut value) = ("", "");
                for pair in Fields::new(field.bytes()?) {
                    let pair = pair?;
                    match pair.number {
                        1 => name = pair.text()?,
                        2 => value = pair.text()?,
                        _ => {}
                    }
                }
                if read.metadata.len() == LABELS_MAX {
                    return Err(ProtobufError::TooMany(3));
                }
                // Later pairs of the same name win, as with Loki.
                read.metadata.retain(|(known, _)| known != name);
                read.metadata.push((Cow::Borrowed(name), Cow::Borrowed(value)));
            }
            _ => {}
        }
    }
    Ok(read)
}

/// Nanoseconds since the epoch; 0 for what lies before it.
fn read_timestamp(timestamp: &[u8]) -> Result<u64, ProtobufError> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(timestamp) {
        let field = field?;
        match field.number {
            1 => seconds = field.int()?,
            2 => nanos = field.int()?,
            _ => {}
        }
    }
    let time = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(u64::try_from(time).unwrap_or(0))
}
