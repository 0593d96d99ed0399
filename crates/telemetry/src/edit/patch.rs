//! `Patch`: writes a payload anew around what is removed and replaced in it, in one pass from front to back.
//!
//! Nothing is written before the first change. From then on, the bytes between two changes are copied in one piece,
//! headers of messages in which nothing changes included; messages in which something does get new lengths.

use super::message::Message;
use crate::wire::{LENGTH, Reader, close_wide, open_wide, varint_length, write_bytes};

/// Room beyond the size of the source, for what grows a little.
const SPARE_BYTES: usize = 1024;

/// Where a field stands in the payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) number: u32,
    pub(super) wire_type: u32,
    header: usize,
    start: usize,
    end: usize,
}

impl Spot {
    /// The payload as a whole, as if it were the contents of a field.
    pub(super) fn whole(payload: &[u8]) -> Self {
        Self {
            number: 0,
            wire_type: LENGTH,
            header: 0,
            start: 0,
            end: payload.len(),
        }
    }

    pub(super) fn is_message(self, number: u32) -> bool {
        self.number == number && self.wire_type == LENGTH
    }

    pub(super) fn contents(self, payload: &[u8]) -> &[u8] {
        payload.get(self.start..self.end).unwrap_or_default()
    }

    /// The fields of this message.
    pub(super) fn fields(self, payload: &[u8]) -> Spots<'_> {
        Spots {
            payload,
            at: self.start,
            end: self.end,
        }
    }
}

/// Iterates over the fields of a message with their places in the payload.
pub(super) struct Spots<'a> {
    payload: &'a [u8],
    at: usize,
    end: usize,
}

impl Iterator for Spots<'_> {
    type Item = Spot;

    #[inline]
    fn next(&mut self) -> Option<Spot> {
        let header = self.at;
        let mut reader = Reader::new(self.payload.get(header..self.end)?);
        let key = reader.key()?;
        let mut start = self.end - reader.rest().len();
        if key & 7 == LENGTH {
            let length = reader.bytes().len();
            start = self.end - reader.rest().len() - length;
        } else {
            reader.skip(key);
        }
        self.at = self.end - reader.rest().len();
        Some(Spot {
            number: key >> 3,
            wire_type: key & 7,
            header,
            start,
            end: self.at,
        })
    }
}

/// A message that the walk is in.
struct Entered {
    spot: Spot,
    /// Where its header and its contents start in the output, once something in it changed.
    written: Option<(usize, usize)>,
}

pub(super) struct Patch<'a> {
    source: &'a [u8],
    out: Vec<u8>,
    /// Up to where the source has been copied or passed over.
    copied: usize,
    entered: Vec<Entered>,
    changed: bool,
    scratch: Vec<u8>,
}

impl<'a> Patch<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        Self {
            source,
            out: Vec::new(),
            copied: 0,
            entered: Vec::new(),
            changed: false,
            scratch: Vec::new(),
        }
    }

    pub(super) fn source(&self) -> &'a [u8] {
        self.source
    }

    /// Steps into a message.
    #[inline]
    pub(super) fn enter(&mut self, spot: Spot) {
        self.entered.push(Entered { spot, written: None });
    }

    /// Steps out of the message that was entered last.
    #[inline]
    pub(super) fn leave(&mut self) {
        let Some(Entered { spot, written }) = self.entered.pop() else {
            return;
        };
        if let Some((_, start)) = written {
            self.copy_to(spot.end);
            close_wide(&mut self.out, start, length_width(spot));
        }
    }

    /// Steps out of the message that was entered last and removes it.
    pub(super) fn leave_removed(&mut self) {
        let Some(Entered { spot, written }) = self.entered.pop() else {
            return;
        };
        match written {
            None => self.remove(spot),
            Some((header, _)) => {
                self.out.truncate(header);
                self.copied = spot.end;
            }
        }
    }

    /// Applies the changes of `message` to what is written of the message that was entered last, whose fields have all
    /// been visited.
    pub(super) fn rewrite(&mut self, message: &Message<'a>) {
        self.write_headers();
        let Some(Entered { spot, written }) = self.entered.last() else {
            return;
        };
        let (end, start) = (spot.end, written.map_or(self.out.len(), |(_, start)| start));
        self.copy_to(end);
        self.scratch.clear();
        self.scratch
            .extend_from_slice(self.out.get(start..).unwrap_or_default());
        self.out.truncate(start);
        message.write_over(&self.scratch, &mut self.out);
    }

    /// Gives the message that was entered last another field number, below 16 as its own.
    pub(super) fn renumber(&mut self, number: u32) {
        self.write_headers();
        if let Some(Entered {
            written: Some((header, _)),
            ..
        }) = self.entered.last()
            && let Some(key) = self.out.get_mut(*header)
        {
            *key = (number << 3 | LENGTH) as u8;
        }
    }

    /// Removes a field of the message that was entered last.
    pub(super) fn remove(&mut self, spot: Spot) {
        self.write_headers();
        self.copy_to(spot.header);
        self.copied = spot.end;
    }

    /// Writes a field with a message behind all others of the message that was entered last.
    pub(super) fn append(&mut self, number: u32, message: &[u8]) {
        self.write_headers();
        if let Some(Entered { spot, .. }) = self.entered.last() {
            self.copy_to(spot.end);
        }
        write_bytes(&mut self.out, number, message);
    }

    /// Writes a field with a message behind what was removed last.
    pub(super) fn append_here(&mut self, number: u32, message: &[u8]) {
        self.write_headers();
        write_bytes(&mut self.out, number, message);
    }

    /// Writes `message` in the place of a field of the message that was entered last.
    pub(super) fn replace(&mut self, spot: Spot, message: &Message<'a>) {
        self.write_headers();
        self.copy_to(spot.header);
        let width = length_width(spot);
        let start = open_wide(&mut self.out, spot.number, width);
        message.write(&mut self.out);
        close_wide(&mut self.out, start, width);
        self.copied = spot.end;
    }

    /// Writes the headers of all messages entered, whose lengths are to change.
    #[inline]
    fn write_headers(&mut self) {
        if self.changed && self.entered.last().is_none_or(|last| last.written.is_some()) {
            return;
        }
        if !self.changed {
            self.changed = true;
            self.out.reserve(self.source.len() + SPARE_BYTES);
        }
        for index in 0..self.entered.len() {
            let Entered { spot, written: None } = self.entered[index] else {
                continue;
            };
            self.copy_to(spot.header);
            let header = self.out.len();
            let start = open_wide(&mut self.out, spot.number, length_width(spot));
            self.entered[index].written = Some((header, start));
            self.copied = spot.start;
        }
    }

    #[inline]
    fn copy_to(&mut self, end: usize) {
        self.out
            .extend_from_slice(self.source.get(self.copied..end).unwrap_or_default());
        self.copied = self.copied.max(end);
    }

    /// The new payload, or `None` if nothing was changed.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if !self.changed {
            return None;
        }
        self.copy_to(self.source.len());
        // A payload may be kept for long.
        if self.out.capacity() - self.out.len() > self.out.len() / 4 {
            self.out.shrink_to_fit();
        }
        Some(self.out)
    }
}

/// Bytes that the length will likely take: what it took before.
fn length_width(spot: Spot) -> usize {
    varint_length((spot.end - spot.start) as u64)
}
