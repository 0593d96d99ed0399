//! Splitting a request that is larger than its destination takes. Walks the envelope levels (resource,
//! scope, record; for metrics also the points of one metric), copies what is above a record into every piece
//! that has one, and makes a piece only when it is asked for. Refuses to touch a record: one that is too large
//! even alone is left out and counted. Leaves no empty envelopes behind.

use bytes::Bytes;
use cupola_telemetry::wire::{close, open, varint_length, write_bytes};
use cupola_telemetry::{Batch, Signal};

use super::wire::{self, Fields, Malformed, Value};

/// Field numbers that lead from a request to its records: resource, scope, record.
const ENVELOPE: [&[u32]; 3] = [&[1], &[2], &[2]];
/// From a metric to its points: the `data` oneof (gauge, sum, histogram, exponential histogram, summary),
/// then `data_points`.
const METRIC: [&[u32]; 5] = [ENVELOPE[0], ENVELOPE[1], ENVELOPE[2], &[5, 7, 9, 10, 11], &[1]];

/// JSON takes at most about this many times the bytes of protobuf (an empty attribute, control characters).
const JSON_GROWTH_MAX: usize = 16;

/// The batch in pieces of at most `items_max` items, in order. One that is small enough is the only piece, as it is.
pub fn split_items(batch: &Batch, items_max: usize) -> impl Iterator<Item = Batch> + '_ {
    let limits = Limits {
        bytes: usize::MAX,
        items: items_max.max(1),
    };
    let mut division = Division::new(batch, limits);
    std::iter::from_fn(move || division.next())
}

/// The requests that a batch is sent in.
#[derive(Debug)]
pub(crate) struct Pieces<'b> {
    division: Division<'b>,
    /// Of the form that is sent: protobuf or JSON.
    bytes_max: usize,
    json: bool,
    /// Parts of a piece whose JSON was too large, the next one last.
    parts: Vec<Batch>,
    oversized: u64,
    /// Items that are too large as JSON, each by itself.
    oversized_json: Vec<Batch>,
}

impl<'b> Pieces<'b> {
    pub(crate) fn new(batch: &'b Batch, bytes_max: usize, json: bool) -> Pieces<'b> {
        let limits = Limits {
            bytes: bytes_max,
            items: usize::MAX,
        };
        Pieces {
            division: Division::new(batch, limits),
            bytes_max,
            json,
            parts: Vec::new(),
            oversized: 0,
            oversized_json: Vec::new(),
        }
    }

    /// The next piece. A batch that fits is the only one, as it is, sharing its bytes.
    pub(crate) fn next(&mut self) -> Option<Batch> {
        loop {
            let piece = match self.parts.pop() {
                Some(part) => part,
                None => self.division.next()?,
            };
            if !self.json || self.fits_as_json(&piece) {
                return Some(piece);
            }
            if piece.items() <= 1 {
                self.oversized += piece.items() as u64;
                self.oversized_json.push(piece);
                continue;
            }
            let limits = Limits {
                bytes: usize::MAX,
                items: piece.items().div_ceil(2),
            };
            let mut halves = Division::new(&piece, limits);
            let before = self.parts.len();
            while let Some(half) = halves.next() {
                self.parts.push(half);
            }
            self.parts[before..].reverse();
            self.oversized += halves.oversized;
        }
    }

    /// Items too large for any request among what has been gone through.
    pub(crate) fn oversized(&self) -> u64 {
        self.oversized + self.division.oversized
    }

    /// What [`oversized`](Self::oversized) counts, as the answer of whoever sent the rest.
    pub(crate) fn into_refused(self, reason: &str) -> crate::Accepted {
        let Pieces {
            division,
            oversized_json,
            oversized,
            ..
        } = self;
        let mut accepted = crate::Accepted::all();
        if oversized > 0 {
            accepted.merge(crate::Accepted {
                rejected: oversized,
                message: reason.to_owned(),
                refused: oversized_json,
            });
        }
        let refused = crate::refused::Refused::new(division.oversized_items, reason);
        accepted.merge(refused.into_accepted(division.batch));
        accepted
    }

    fn fits_as_json(&self, piece: &Batch) -> bool {
        piece.payload().len() <= self.bytes_max / JSON_GROWTH_MAX || piece.to_json().len() <= self.bytes_max
    }
}

/// How much one piece may hold.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes: usize,
    items: usize,
}

/// A walk over the records of a batch, cut into pieces.
#[derive(Debug)]
struct Division<'b> {
    batch: &'b Batch,
    limits: Limits,
    /// Not divided: it fits.
    whole: bool,
    /// Field numbers from the request down to its records.
    numbers: &'static [&'static [u32]],
    /// From the request down to the message whose records are being gone through.
    path: Vec<Level<'b>>,
    /// A record that found no room in the piece before.
    left: Option<(u32, &'b [u8])>,
    /// Messages entered so far, which tells them apart.
    entered: u64,
    /// Items in pieces and oversized ones.
    items: usize,
    oversized: u64,
    /// Which items those are, by their number in the batch.
    oversized_items: Vec<usize>,
}

/// A message that is being divided.
#[derive(Debug)]
struct Level<'b> {
    id: u64,
    /// Of the field it stands in.
    number: u32,
    /// Everything in it but what it is divided along.
    header: Vec<u8>,
    children: Fields<'b>,
}

impl<'b> Division<'b> {
    fn new(batch: &'b Batch, limits: Limits) -> Division<'b> {
        let mut division = Division {
            batch,
            limits,
            whole: batch.payload().len() <= limits.bytes && batch.items() <= limits.items,
            numbers: match batch.signal() {
                Signal::Metrics => &METRIC,
                Signal::Logs | Signal::Traces => &ENVELOPE,
            },
            path: Vec::new(),
            left: None,
            entered: 0,
            items: 0,
            oversized: 0,
            oversized_items: Vec::new(),
        };
        if !division.whole && division.enter(0, batch.payload()).is_err() {
            division.give_up();
        }
        division
    }

    fn next(&mut self) -> Option<Batch> {
        if std::mem::take(&mut self.whole) {
            return Some(self.batch.clone());
        }
        let mut piece = Piece::new(self.limits.bytes.min(self.batch.payload().len()));
        loop {
            let record = match self.left.take() {
                Some(record) => record,
                None => match self.record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(Malformed) => {
                        self.give_up();
                        break;
                    }
                },
            };
            let (number, bytes) = record;
            let fits = piece.bytes_with(&self.path, number, bytes, self.limits.bytes) <= self.limits.bytes
                || piece.items == 0 && self.bytes_alone(number, bytes) <= self.limits.bytes;
            if fits && piece.items < self.limits.items {
                piece.push(&self.path, number, bytes);
            } else if piece.items > 0 {
                self.left = Some(record);
                break;
            } else {
                self.oversized += 1;
                self.oversized_items.push(self.items);
                self.items += 1;
            }
        }
        self.items += piece.items;
        piece.finish(self.batch)
    }

    /// The next record and the number of its field; `path` leads to it.
    fn record(&mut self) -> Result<Option<(u32, &'b [u8])>, Malformed> {
        while let Some(level) = self.path.last_mut() {
            let Some(field) = level.children.next() else {
                self.path.pop();
                continue;
            };
            let depth = self.path.len();
            let (number, Value::Bytes(child)) = field? else {
                continue;
            };
            if !self.numbers[depth - 1].contains(&number) {
                continue;
            }
            if depth == self.numbers.len() {
                return Ok(Some((number, child)));
            }
            self.enter(number, child)?;
        }
        Ok(None)
    }

    fn enter(&mut self, number: u32, message: &'b [u8]) -> Result<(), Malformed> {
        let header = own_fields(message, self.numbers[self.path.len()])?;
        self.entered += 1;
        self.path.push(Level {
            id: self.entered,
            number,
            header,
            children: wire::fields(message),
        });
        Ok(())
    }

    /// Bytes of a request with one record in it and nothing else.
    fn bytes_alone(&self, number: u32, record: &[u8]) -> usize {
        let contents = wire::field_length(number, record.len());
        let mut levels = self.path.iter().rev().peekable();
        let mut bytes = contents;
        while let Some(level) = levels.next() {
            bytes += level.header.len();
            // The request itself is in no field.
            if levels.peek().is_some() {
                bytes = wire::field_length(level.number, bytes);
            }
        }
        bytes
    }

    /// A batch is valid protobuf, so this does not happen; if it did, the items are counted.
    fn give_up(&mut self) {
        self.path.clear();
        self.oversized += self.batch.items().saturating_sub(self.items) as u64;
        self.oversized_items.extend(self.items..self.batch.items());
        self.items = self.batch.items();
    }
}

/// A request under construction.
struct Piece {
    bytes: Vec<u8>,
    /// The messages that are open, outermost first: which they are, and what closes them.
    open: Vec<(u64, usize)>,
    items: usize,
}

impl Piece {
    fn new(capacity: usize) -> Piece {
        Piece {
            bytes: Vec::with_capacity(capacity),
            open: Vec::new(),
            items: 0,
        }
    }

    /// How many of the messages that lead to a record are open already.
    fn shared(&self, path: &[Level<'_>]) -> usize {
        let pairs = self.open.iter().zip(path);
        pairs.take_while(|((id, _), level)| *id == level.id).count()
    }

    /// An upper bound of the bytes with one more record, if none are to be more than `bytes_max`.
    fn bytes_with(&self, path: &[Level<'_>], number: u32, record: &[u8], bytes_max: usize) -> usize {
        let new = path.get(self.shared(path)..).unwrap_or_default();
        // One byte is left for a length; the others come when the message is closed.
        let length_bytes = varint_length(bytes_max as u64) - 1;
        let mut bytes = self.bytes.len() + wire::field_length(number, record.len());
        for level in new {
            bytes += wire::field_length(level.number, 0) + level.header.len();
        }
        bytes + (self.open.len() + new.len()) * length_bytes
    }

    fn push(&mut self, path: &[Level<'_>], number: u32, record: &[u8]) {
        let shared = self.shared(path);
        self.close_to(shared);
        for level in path.get(shared..).unwrap_or_default() {
            let start = match level.id {
                REQUEST => 0,
                _ => open(&mut self.bytes, level.number),
            };
            self.open.push((level.id, start));
            self.bytes.extend_from_slice(&level.header);
        }
        write_bytes(&mut self.bytes, number, record);
        self.items += 1;
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth
            && let Some((id, start)) = self.open.pop()
        {
            if id != REQUEST {
                close(&mut self.bytes, start);
            }
        }
    }

    fn finish(mut self, batch: &Batch) -> Option<Batch> {
        self.close_to(0);
        if self.items == 0 {
            return None;
        }
        Some(batch.derived(Bytes::from(self.bytes), self.items))
    }
}

/// The first message entered, which is in no field.
const REQUEST: u64 = 1;

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

#[cfg(test)]
mod tests {
    use cupola_telemetry::TenantId;
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    /// Log records with these bodies, each `scope` of them under a scope of its own, below a long resource.
    fn batch(resource_bytes: usize, scope: usize, bodies: &[usize]) -> Batch {
        let mut logs = LogsEncoder::new();
        {
            let mut resource = logs.resource_logs();
            resource
                .resource()
                .attribute("long", "x".repeat(resource_bytes).as_str());
            for bodies in bodies.chunks(scope) {
                let mut scope = resource.scope_logs();
                scope.scope().name("scope");
                for bytes in bodies {
                    scope.record().body("y".repeat(*bytes).as_str());
                }
            }
        }
        logs.finish(TenantId::default_tenant())
    }

    fn bodies(pieces: &[Batch]) -> Vec<usize> {
        let mut lengths = Vec::new();
        for piece in pieces {
            for scope in piece.logs().resources().flat_map(|resource| resource.scopes()) {
                for record in scope.records() {
                    match record.body {
                        Some(cupola_telemetry::view::AnyValue::String(text)) => lengths.push(text.len()),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        lengths
    }

    #[test]
    fn what_is_left_beside_a_long_header_is_used_to_the_last_byte() {
        let sizes: Vec<usize> = (0..40).map(|index| index * 7 % 90).collect();
        let whole = batch(600, 3, &sizes);
        // One record of the largest alone, then one byte less.
        let alone = batch(600, 1, &[*sizes.iter().max().unwrap()]).payload().len();
        for (bytes_max, oversized) in [(alone, 0), (alone - 1, 1), (alone + 200, 0)] {
            let mut pieces = Pieces::new(&whole, bytes_max, false);
            let all: Vec<Batch> = std::iter::from_fn(|| pieces.next()).collect();
            assert_eq!(pieces.oversized(), oversized, "{bytes_max}");
            assert!(all.iter().all(|piece| piece.payload().len() <= bytes_max));
            let items: usize = all.iter().map(Batch::items).sum();
            assert_eq!(items + oversized as usize, sizes.len());
            if oversized == 0 {
                assert_eq!(bodies(&all), sizes, "{bytes_max}");
            }
            for piece in &all {
                let again =
                    Batch::decode_protobuf(Signal::Logs, TenantId::default_tenant(), piece.payload().clone());
                assert_eq!(again.as_ref(), Ok(piece));
            }
        }
    }

    #[test]
    fn a_piece_is_made_when_it_is_asked_for() {
        let whole = batch(1000, 10, &[100; 1000]);
        let mut pieces = Pieces::new(&whole, 2000, false);
        let first = pieces.next().unwrap();
        assert!(pieces.division.items == first.items() && first.items() < 10);
        assert!(pieces.parts.is_empty());
    }
}
