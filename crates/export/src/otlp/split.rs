//! Splitting a request that is larger than its destination takes. Walks the envelope levels (resource,
//! scope, record; for metrics also the points of one metric), copies what is above a piece into every piece
//! and shares out what is below. Refuses to touch a record: one that alone is too large is left out and
//! counted. Leaves no empty envelopes behind.

use bytes::Bytes;
use cupola_telemetry::{Batch, Signal};

use super::wire::{self, Malformed, Value};

/// The pieces of a batch, each within the limit.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) batches: Vec<Batch>,
    /// Items too large for any request.
    pub(crate) oversized: u64,
}

/// Field numbers that lead from a request to its records: resource, scope, record.
const ENVELOPE: [&[u32]; 3] = [&[1], &[2], &[2]];
/// From a metric to its points: the `data` oneof (gauge, sum, histogram, exponential histogram, summary),
/// then `data_points`.
const METRIC: [&[u32]; 5] = [ENVELOPE[0], ENVELOPE[1], ENVELOPE[2], &[5, 7, 9, 10, 11], &[1]];

/// How much one piece may hold.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes: usize,
    items: usize,
}

/// Splits `batch` so that no piece has more than `bytes_max` bytes. A batch that fits is passed on as it is,
/// sharing its bytes.
pub(crate) fn split(batch: &Batch, bytes_max: usize) -> Split {
    if batch.payload().len() <= bytes_max {
        return Split {
            batches: vec![batch.clone()],
            oversized: 0,
        };
    }
    divide(
        batch,
        Limits {
            bytes: bytes_max,
            items: usize::MAX,
        },
    )
}

/// JSON takes at most about this many times the bytes of protobuf (an empty attribute, control characters).
const JSON_GROWTH_MAX: usize = 16;

/// Like [`split`], with the limit on the JSON form: halves what is too large.
pub(crate) fn split_json(batch: &Batch, bytes_max: usize) -> Split {
    let mut result = Split::default();
    let mut todo = vec![batch.clone()];
    while let Some(batch) = todo.pop() {
        if batch.payload().len() <= bytes_max / JSON_GROWTH_MAX || batch.to_json().len() <= bytes_max {
            result.batches.push(batch);
        } else if batch.items() <= 1 {
            result.oversized += batch.items() as u64;
        } else {
            let halves = divide(
                &batch,
                Limits {
                    bytes: usize::MAX,
                    items: batch.items().div_ceil(2),
                },
            );
            result.oversized += halves.oversized;
            todo.extend(halves.batches.into_iter().rev());
        }
    }
    result
}

fn divide(batch: &Batch, limits: Limits) -> Split {
    let levels: &[&[u32]] = if batch.signal() == Signal::Metrics {
        &METRIC
    } else {
        &ENVELOPE
    };
    let mut pieces = Pieces {
        done: Vec::new(),
        oversized: 0,
    };
    if split_message(batch.payload(), levels, limits, &mut pieces).is_err() {
        // A batch is valid protobuf, so this does not happen; if it did, the items would be counted.
        return Split {
            batches: Vec::new(),
            oversized: batch.items() as u64,
        };
    }
    let batches = pieces
        .done
        .into_iter()
        .map(|piece| {
            let bytes = Bytes::from(piece.bytes);
            Batch::from_canonical(batch.signal(), batch.tenant().clone(), bytes, piece.items)
        })
        .collect();
    Split {
        batches,
        oversized: pieces.oversized,
    }
}

/// The bytes of one message and how many items are in it.
struct Piece {
    bytes: Vec<u8>,
    items: usize,
}

struct Pieces {
    done: Vec<Piece>,
    oversized: u64,
}

/// Divides one message into messages within `limits`, all with its own fields and each with a share of its
/// children.
fn split_message(
    message: &[u8],
    levels: &[&[u32]],
    limits: Limits,
    out: &mut Pieces,
) -> Result<(), Malformed> {
    let Some((children, below)) = levels.split_first() else {
        return Ok(());
    };
    let header = own_fields(message, children)?;
    let mut current = Piece {
        bytes: header.clone(),
        items: 0,
    };
    for field in wire::fields(message) {
        let (number, Value::Bytes(child)) = field? else {
            continue;
        };
        if !children.contains(&number) {
            continue;
        }
        let items = count_items(child, below)?;
        if items == 0 {
            continue;
        }
        let length = wire::field_length(number, child.len());
        if header.len() + length <= limits.bytes && items <= limits.items {
            if !current.has_room(length, items, limits) {
                out.finish(&mut current, &header);
            }
            current.push(number, child, items);
            continue;
        }
        // Too large even alone: divide it, or leave it out if it is a record.
        let overhead = header.len() + wire::field_length(number, limits.bytes / 2) - limits.bytes / 2 + 1;
        let room = Limits {
            bytes: limits.bytes.saturating_sub(overhead),
            ..limits
        };
        if below.is_empty() || room.bytes == 0 {
            out.oversized += items as u64;
            continue;
        }
        let mut parts = Pieces {
            done: Vec::new(),
            oversized: 0,
        };
        split_message(child, below, room, &mut parts)?;
        out.oversized += parts.oversized;
        for part in parts.done {
            if !current.has_room(wire::field_length(number, part.bytes.len()), part.items, limits) {
                out.finish(&mut current, &header);
            }
            current.push(number, &part.bytes, part.items);
        }
    }
    out.finish(&mut current, &header);
    Ok(())
}

impl Piece {
    fn has_room(&self, length: usize, items: usize, limits: Limits) -> bool {
        self.bytes.len().saturating_add(length) <= limits.bytes && self.items + items <= limits.items
    }

    fn push(&mut self, number: u32, child: &[u8], items: usize) {
        wire::put_message_field(&mut self.bytes, number, child);
        self.items += items;
    }
}

impl Pieces {
    /// Closes `current` unless it has nothing in it, and begins another.
    fn finish(&mut self, current: &mut Piece, header: &[u8]) {
        if current.items > 0 {
            let next = Piece {
                bytes: header.to_vec(),
                items: 0,
            };
            self.done.push(std::mem::replace(current, next));
        }
    }
}

/// Everything of a message but the children it is divided along, as it stands.
fn own_fields(message: &[u8], children: &[u32]) -> Result<Vec<u8>, Malformed> {
    let mut header = Vec::new();
    let mut fields = wire::fields(message);
    let mut before = fields.rest();
    while let Some(field) = fields.next() {
        let (number, value) = field?;
        let length = before.len() - fields.rest().len();
        if !(matches!(value, Value::Bytes(_)) && children.contains(&number)) {
            header.extend_from_slice(&before[..length]);
        }
        before = fields.rest();
    }
    Ok(header)
}

/// Records (log records, spans, data points) below a message.
fn count_items(message: &[u8], levels: &[&[u32]]) -> Result<usize, Malformed> {
    let Some((children, below)) = levels.split_first() else {
        return Ok(1);
    };
    let mut items = 0;
    for field in wire::fields(message) {
        if let (number, Value::Bytes(child)) = field?
            && children.contains(&number)
        {
            items += count_items(child, below)?;
        }
    }
    Ok(items)
}
