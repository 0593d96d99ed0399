//! Lazy iterators over repeated fields.

use std::fmt;
use std::marker::PhantomData;

use crate::wire::{LENGTH, Reader};

/// A view that is made from the bytes of one message.
pub trait Message<'a>: Copy {
    /// Reads the message in one pass.
    fn parse(raw: &'a [u8]) -> Self;
}

/// The occurrences of one repeated message field, parsed as they are reached.
///
/// Iterator and `Copy` at once: a copy starts where the original stands.
#[derive(Clone, Copy)]
pub struct Repeated<'a, M> {
    fields: &'a [u8],
    key: u32,
    message: PhantomData<fn() -> M>,
}

impl<M> Repeated<'_, M> {
    /// No messages.
    pub(crate) const NONE: Self = Self {
        fields: &[],
        key: LENGTH,
        message: PhantomData,
    };
}

impl<'a, M: Message<'a>> Repeated<'a, M> {
    /// The occurrences of field `number` in `fields`, the bytes of a message or of a part of one.
    pub(crate) fn new(fields: &'a [u8], number: u32) -> Self {
        Self {
            fields,
            key: number << 3 | LENGTH,
            message: PhantomData,
        }
    }

    pub fn iter(&self) -> Self {
        *self
    }

    pub fn is_empty(&self) -> bool {
        self.clone_raw().next().is_none()
    }

    /// Number of messages left; walks them.
    pub fn len(&self) -> usize {
        self.clone_raw().count()
    }

    /// The encoded fields, tags included, from the first message left to the last. Fields of other numbers
    /// may stand between them if the sender interleaved them.
    pub fn raw(&self) -> &'a [u8] {
        self.fields
    }

    /// Bytes of each message, unparsed.
    pub fn raw_messages(&self) -> RawMessages<'a> {
        self.clone_raw()
    }

    fn clone_raw(&self) -> RawMessages<'a> {
        RawMessages {
            reader: Reader::new(self.fields),
            key: self.key,
        }
    }
}

impl<'a, M: Message<'a>> Iterator for Repeated<'a, M> {
    type Item = M;

    #[inline]
    fn next(&mut self) -> Option<M> {
        let mut messages = self.clone_raw();
        let raw = messages.next();
        self.fields = messages.reader.rest();
        raw.map(M::parse)
    }
}

impl<'a, M: Message<'a> + fmt::Debug> fmt::Debug for Repeated<'a, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Bytes of each message of a repeated field.
#[derive(Clone, Copy)]
pub struct RawMessages<'a> {
    reader: Reader<'a>,
    key: u32,
}

impl<'a> Iterator for RawMessages<'a> {
    type Item = &'a [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let key = self.reader.key()?;
            if key == self.key {
                return Some(self.reader.bytes());
            }
            self.reader.skip(key);
        }
    }
}

/// A repeated string field.
#[derive(Clone, Copy)]
pub struct Strings<'a>(RawMessages<'a>);

impl<'a> Strings<'a> {
    pub(crate) fn new(fields: &'a [u8], number: u32) -> Self {
        Self(RawMessages {
            reader: Reader::new(fields),
            key: number << 3 | LENGTH,
        })
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.next().map(crate::wire::text)
    }
}

impl fmt::Debug for Strings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

macro_rules! packed {
    ($(#[$doc:meta])* $name:ident, $value:ty, $read:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a>(Reader<'a>);

        impl<'a> $name<'a> {
            pub(crate) fn new(packed: &'a [u8]) -> Self {
                Self(Reader::new(packed))
            }

            pub fn iter(&self) -> Self {
                *self
            }

            pub fn is_empty(&self) -> bool {
                self.0.rest().is_empty()
            }

            /// The packed bytes left.
            pub fn raw(&self) -> &'a [u8] {
                self.0.rest()
            }
        }

        impl Default for $name<'_> {
            fn default() -> Self {
                Self::new(&[])
            }
        }

        impl Iterator for $name<'_> {
            type Item = $value;

            #[inline]
            fn next(&mut self) -> Option<$value> {
                if self.0.rest().is_empty() { None } else { Some(self.0.$read()) }
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(*self).finish()
            }
        }
    };
}

packed!(
    /// Packed `fixed64` values.
    PackedFixed64,
    u64,
    fixed64
);
packed!(
    /// Packed `double` values.
    PackedDouble,
    f64,
    double
);
packed!(
    /// Packed `uint64` values.
    PackedVarint,
    u64,
    varint
);

impl PackedFixed64<'_> {
    /// Number of values left.
    pub fn len(&self) -> usize {
        self.raw().len() / 8
    }
}

impl PackedDouble<'_> {
    /// Number of values left.
    pub fn len(&self) -> usize {
        self.raw().len() / 8
    }
}

impl PackedVarint<'_> {
    /// Number of values left; walks them.
    pub fn len(&self) -> usize {
        self.raw().iter().filter(|byte| **byte < 0x80).count()
    }
}

/// Part of a message from the first to the last occurrence of a repeated field, found while parsing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extent<'a> {
    from_first: &'a [u8],
    after_last: usize,
}

impl<'a> Extent<'a> {
    /// Passes over one occurrence: `before` is the rest of the message before its key was read.
    #[inline(always)]
    pub(crate) fn include(&mut self, before: &'a [u8], reader: &mut Reader<'a>) {
        reader.bytes();
        if self.from_first.is_empty() {
            self.from_first = before;
        }
        self.after_last = reader.rest().len();
    }

    #[inline(always)]
    pub(crate) fn fields(self) -> &'a [u8] {
        let end = self.from_first.len().saturating_sub(self.after_last);
        self.from_first.get(..end).unwrap_or_default()
    }
}
