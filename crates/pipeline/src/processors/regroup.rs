//! Takes batches apart and puts their items together anew, by whatever key a processor has for an item.
//!
//! Items are copied as they stand, and so is all that their envelopes say, unknown fields included. Refuses to look into
//! an item.

use std::collections::HashMap;
use std::hash::Hash;

use bytes::Bytes;
use cupola_telemetry::edit::Fields;
use cupola_telemetry::wire::{LENGTH, close, open, write_bytes};
use cupola_telemetry::{Batch, Signal};

/// Field numbers that lead from a request to its log records, spans or metrics.
const ITEMS: &[&[u32]] = &[&[1], &[2], &[2]];
/// On from a metric to its points: what data it has, then the points.
const POINTS: &[&[u32]] = &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]];

/// A message around an item: of a resource, a scope, a metric, its data.
#[derive(Clone, Copy)]
pub(super) struct Envelope<'b> {
    /// Of the field that it stands in.
    number: u32,
    /// Tells it from the others of the walk.
    id: usize,
    pub(super) message: &'b [u8],
    children: &'static [u32],
}

impl Envelope<'_> {
    /// Tells it from the others of its batch.
    pub(super) fn id(&self) -> usize {
        self.id
    }

    /// Of its field in the message around it, which for a metric's data says of what kind it is.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Appends the fields that are not what the walk goes down to.
    pub(super) fn write_own(&self, out: &mut Vec<u8>) {
        for field in Fields::new(self.message) {
            if field.wire_type != LENGTH || !self.children.contains(&field.number) {
                out.extend_from_slice(field.whole);
            }
        }
    }
}

/// Shows each log record, span or data point of a batch with the envelopes around it, the outermost first.
pub(super) fn walk<'b>(batch: &'b Batch, mut visit: impl FnMut(&[Envelope<'b>], &'b [u8])) {
    let numbers = match batch.signal() {
        Signal::Metrics => POINTS,
        Signal::Logs | Signal::Traces => ITEMS,
    };
    let mut ids = 0;
    descend(batch.payload(), numbers, &mut Vec::new(), &mut ids, &mut visit);
}

fn descend<'b>(
    message: &'b [u8],
    numbers: &'static [&'static [u32]],
    path: &mut Vec<Envelope<'b>>,
    ids: &mut usize,
    visit: &mut impl FnMut(&[Envelope<'b>], &'b [u8]),
) {
    let [here, below @ ..] = numbers else { return };
    for field in Fields::new(message) {
        if field.wire_type != LENGTH || !here.contains(&field.number) {
            continue;
        }
        let [children, ..] = below else {
            visit(path, field.value);
            continue;
        };
        *ids += 1;
        path.push(Envelope {
            number: field.number,
            id: *ids,
            message: field.value,
            children,
        });
        descend(field.value, below, path, ids, visit);
        path.pop();
    }
}

/// A request under construction.
#[derive(Default)]
pub(super) struct Piece {
    bytes: Vec<u8>,
    /// The envelopes that are open, outermost first: which they are, and what closes them.
    open: Vec<(usize, usize)>,
    items: usize,
}

impl Piece {
    /// Appends an item, and what of its envelopes is not open yet.
    pub(super) fn push(&mut self, path: &[Envelope<'_>], item: &[u8]) {
        let same = |((id, _), envelope): &(&(usize, usize), &Envelope<'_>)| *id == envelope.id;
        let shared = self.open.iter().zip(path).take_while(same).count();
        self.close(shared);
        for envelope in path.get(shared..).unwrap_or_default() {
            let start = open(&mut self.bytes, envelope.number);
            envelope.write_own(&mut self.bytes);
            self.open.push((envelope.id, start));
        }
        // Records and spans are field 2 of their scope, points field 1 of their data.
        let number = if path.len() > 2 { 1 } else { 2 };
        write_bytes(&mut self.bytes, number, item);
        self.items += 1;
    }

    fn close(&mut self, left: usize) {
        while self.open.len() > left {
            if let Some((_, start)) = self.open.pop() {
                close(&mut self.bytes, start);
            }
        }
    }

    /// The request, and how many items it has.
    pub(super) fn finish(mut self) -> (Bytes, usize) {
        self.close(0);
        self.bytes.shrink_to_fit();
        (self.bytes.into(), self.items)
    }
}

/// Requests under construction, by key, in the order in which the keys came.
pub(super) struct Pieces<K> {
    places: HashMap<K, usize>,
    pieces: Vec<(K, Piece)>,
    /// Where the last item went: neighbours mostly go together.
    last: usize,
}

impl<K: Hash + Eq + Clone> Pieces<K> {
    pub(super) fn new() -> Self {
        Self {
            places: HashMap::new(),
            pieces: Vec::new(),
            last: 0,
        }
    }

    pub(super) fn push(&mut self, key: &K, path: &[Envelope<'_>], item: &[u8]) {
        if self.pieces.get(self.last).is_none_or(|(last, _)| last != key) {
            self.last = *self.places.entry(key.clone()).or_insert(self.pieces.len());
            if self.last == self.pieces.len() {
                self.pieces.push((key.clone(), Piece::default()));
            }
        }
        if let Some((_, piece)) = self.pieces.get_mut(self.last) {
            piece.push(path, item);
        }
    }

    pub(super) fn finish(self) -> impl Iterator<Item = (K, Bytes, usize)> {
        self.pieces.into_iter().map(|(key, piece)| {
            let (bytes, items) = piece.finish();
            (key, bytes, items)
        })
    }
}
