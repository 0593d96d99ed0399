//! Messages that are one item each, as a line of JSON.

use bytes::Bytes;
use cupola_telemetry::{Batch, Signal};

use super::partition::Part;
use super::{Message, too_large};
use crate::Accepted;
use crate::json_lines::line;
use crate::otlp::split::split_items;

/// Adds those of a part, log records in the order of their times; what is larger than `room` has none and is refused.
pub(super) fn messages(part: &Part, room: usize, messages: &mut Vec<Message>) -> Accepted {
    let mut items: Vec<Batch> = split_items(&part.batch, 1).collect();
    items.sort_by_key(moment);
    let mut accepted = Accepted::all();
    for item in items {
        let lines = line::lines(&item);
        let value = lines.all().trim_end();
        if value.len() > room {
            accepted.merge(Accepted {
                rejected: 1,
                message: too_large(room),
                refused: vec![item],
            });
            continue;
        }
        messages.push(Message {
            topic: part.topic.clone(),
            key: part.key.clone(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            batch: item,
        });
    }
    accepted
}

/// When a log record was made, in nanoseconds since 1970; others stay as they are.
fn moment(item: &Batch) -> u64 {
    if item.signal() != Signal::Logs {
        return 0;
    }
    let mut scopes = item.logs().resources().flat_map(|resource| resource.scopes());
    let record = scopes.find_map(|scope| scope.records().next());
    record.map_or(0, |record| match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    })
}
