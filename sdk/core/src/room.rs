//! Writing protobuf into room that is made once for a whole record: many short writes, each of which would ask a vector whether
//! it must grow. Knows how numbers and fields are written; what is written is others' business.

use std::mem::MaybeUninit;
use std::ptr;

use cupola_telemetry::wire::{FIXED32, FIXED64, LENGTH, VARINT, varint_length};

/// Room behind what a vector has. What is written counts once the room is [`close`](Self::close)d.
pub(crate) struct Room<'o> {
    out: &'o mut Vec<u8>,
    /// Where the next byte goes: in the allocation of `out`, behind bytes that have all been written.
    at: *mut u8,
    /// Bytes from there to the end of the allocation.
    left: usize,
}

impl<'o> Room<'o> {
    /// For so many bytes. More are possible, and slower.
    #[inline(always)]
    pub(crate) fn open(out: &'o mut Vec<u8>, bytes: usize) -> Room<'o> {
        out.reserve(bytes);
        let (at, left) = spare(out);
        Room { out, at, left }
    }

    #[inline(always)]
    pub(crate) fn close(self) {
        // SAFETY: `at` is in the allocation, and all before it has been written.
        unsafe {
            let length = self.at.offset_from_unsigned(self.out.as_ptr());
            self.out.set_len(length);
        }
    }

    #[inline(always)]
    fn need(&mut self, bytes: usize) {
        if bytes > self.left {
            // The cursor is given by value: one that others had the address of would not stay in registers.
            (self.at, self.left) = grow(self.out, self.at, bytes);
        }
    }

    #[inline(always)]
    fn moved(&mut self, bytes: usize) {
        // SAFETY: callers have asked for so much room and written it.
        self.at = unsafe { self.at.add(bytes) };
        self.left -= bytes;
    }

    #[inline(always)]
    pub(crate) fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.need(N);
        // SAFETY: there is room for `N` bytes.
        unsafe { self.at.cast::<[u8; N]>().write_unaligned(bytes) };
        self.moved(N);
    }

    #[inline(always)]
    pub(crate) fn slice(&mut self, bytes: &[u8]) {
        self.need(bytes.len());
        // SAFETY: there is room for them, and what is borrowed is not in it.
        unsafe { copy(bytes, self.at) };
        self.moved(bytes.len());
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.array([value as u8 | 0x80]);
            value >>= 7;
        }
        self.array([value as u8]);
    }

    #[inline(always)]
    fn key(&mut self, number: u32, wire_type: u32) {
        self.varint(u64::from(number << 3 | wire_type));
    }

    /// A field of bytes, a text or an encoded message, also when it is empty.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.key(number, LENGTH);
        self.varint(value.len() as u64);
        self.slice(value);
    }

    /// What stands in front of a message of that length.
    #[inline(always)]
    pub(crate) fn message(&mut self, number: u32, length: usize) {
        self.key(number, LENGTH);
        self.varint(length as u64);
    }

    /// A text, if it is not empty.
    #[inline(always)]
    pub(crate) fn text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(number, text.as_bytes());
        }
    }

    /// A number, if it is not zero.
    #[inline(always)]
    pub(crate) fn number(&mut self, number: u32, value: u32) {
        if value != 0 {
            self.key(number, VARINT);
            self.varint(u64::from(value));
        }
    }

    /// A number, also when it is zero.
    #[inline(always)]
    pub(crate) fn number64(&mut self, number: u32, value: u64) {
        self.key(number, VARINT);
        self.varint(value);
    }

    /// Eight bytes, also when they are zero.
    #[inline(always)]
    pub(crate) fn eight(&mut self, number: u32, value: [u8; 8]) {
        self.key(number, FIXED64);
        self.array(value);
    }

    /// A number of eight bytes, if it is not zero.
    #[inline(always)]
    pub(crate) fn fixed64(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.eight(number, value.to_le_bytes());
        }
    }

    /// A number of four bytes, if it is not zero.
    #[inline(always)]
    pub(crate) fn fixed32(&mut self, number: u32, value: u32) {
        if value != 0 {
            self.key(number, FIXED32);
            self.array(value.to_le_bytes());
        }
    }
}

/// Bytes of a field of bytes whose number is below 16.
#[inline(always)]
pub(crate) fn field_length(bytes: usize) -> usize {
    1 + length_length(bytes) + bytes
}

/// Bytes of a length.
#[inline(always)]
pub(crate) fn length_length(bytes: usize) -> usize {
    match bytes {
        0..0x80 => 1,
        _ => varint_length(bytes as u64),
    }
}

#[inline(always)]
fn spare(out: &mut Vec<u8>) -> (*mut u8, usize) {
    let spare: &mut [MaybeUninit<u8>] = out.spare_capacity_mut();
    (spare.as_mut_ptr().cast(), spare.len())
}

#[cold]
#[inline(never)]
fn grow(out: &mut Vec<u8>, at: *mut u8, bytes: usize) -> (*mut u8, usize) {
    // SAFETY: `at` is in the allocation, and all before it has been written.
    unsafe {
        let length = at.offset_from_unsigned(out.as_ptr());
        out.set_len(length);
    }
    out.reserve(bytes);
    spare(out)
}

/// Copies bytes, which for the few that names and values have is done in the time that a call takes.
///
/// # Safety
/// There is room for them at `to`, and they are not in it.
#[inline(always)]
unsafe fn copy(bytes: &[u8], to: *mut u8) {
    let length = bytes.len();
    // SAFETY: each writes within the first `length` bytes at `to`: the last part may overlap the first.
    unsafe {
        if length > 32 {
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, length);
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
            to.cast::<[u8; 16]>().write_unaligned(*first);
            to.add(length - 16).cast::<[u8; 16]>().write_unaligned(*last);
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            to.cast::<[u8; 8]>().write_unaligned(*first);
            to.add(length - 8).cast::<[u8; 8]>().write_unaligned(*last);
        } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            to.cast::<[u8; 4]>().write_unaligned(*first);
            to.add(length - 4).cast::<[u8; 4]>().write_unaligned(*last);
        } else if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
            // One to three.
            to.write(*first);
            to.add(length / 2).write(bytes[length / 2]);
            to.add(length - 1).write(*last);
        }
    }
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::wire;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_the_plain_writer_writes(
            before in prop::collection::vec(any::<u8>(), 0..5),
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
            numbers in prop::collection::vec(any::<u64>().prop_flat_map(|number| (0u32..64).prop_map(move |shift| number >> shift)), 0..5),
            room in 0usize..300,
        ) {
            let (mut out, mut wanted) = (before.clone(), before);
            let mut into = Room::open(&mut out, room);
            for text in &texts {
                into.bytes(3, text);
                wire::write_bytes(&mut wanted, 3, text);
            }
            for number in &numbers {
                into.number64(700, *number);
                wire::write_key(&mut wanted, 700, VARINT);
                wire::write_varint(&mut wanted, *number);
                into.fixed32(2, *number as u32);
                if *number as u32 != 0 {
                    wire::write_key(&mut wanted, 2, FIXED32);
                    wanted.extend_from_slice(&(*number as u32).to_le_bytes());
                }
            }
            into.close();
            prop_assert_eq!(out, wanted);
        }
    }
}
