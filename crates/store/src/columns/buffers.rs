//! Column buffers that are filled without intermediate objects: text points into the payload, nulls are counted in and
//! only become bits when there are any.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray,
    NullBufferBuilder, PrimitiveArray, StringViewArray, TimestampNanosecondArray, make_view,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use bytes::Bytes;

/// Strings up to this many bytes are inside their view.
const INLINE_BYTES_MAX: usize = 12;

/// What text columns of one chunk point into: the payload, and text that is not on the wire as such.
pub(crate) struct Arena<'a> {
    payload: &'a [u8],
    side: Vec<u8>,
}

impl<'a> Arena<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Arena<'a> {
        Arena {
            payload,
            side: Vec::new(),
        }
    }

    /// The view of `text`: into the payload where it lies there, else to a copy.
    #[inline]
    pub(crate) fn view(&mut self, text: &str) -> u128 {
        if text.len() <= INLINE_BYTES_MAX {
            return make_view(text.as_bytes(), 0, 0);
        }
        let offset = (text.as_ptr() as usize).wrapping_sub(self.payload.as_ptr() as usize);
        match offset.checked_add(text.len()) {
            Some(end) if end <= self.payload.len() => make_view(text.as_bytes(), 0, offset as u32),
            _ => self.copy(text),
        }
    }

    fn copy(&mut self, text: &str) -> u128 {
        let offset = self.side.len() as u32;
        self.side.extend_from_slice(text.as_bytes());
        make_view(text.as_bytes(), 1, offset)
    }

    /// The buffers the views refer to, by number. `payload` is what the arena was made over.
    pub(crate) fn finish(self, payload: Bytes) -> Arc<[Buffer]> {
        debug_assert_eq!(payload.as_ptr(), self.payload.as_ptr());
        Arc::from([Buffer::from(payload), Buffer::from_vec(self.side)])
    }
}

/// A nullable text column.
pub(crate) struct TextColumn {
    views: Vec<u128>,
    nulls: NullBufferBuilder,
}

impl Default for TextColumn {
    fn default() -> TextColumn {
        TextColumn {
            views: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl TextColumn {
    pub(crate) fn len(&self) -> usize {
        self.views.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, view: u128) {
        self.views.push(view);
        self.nulls.append_non_null();
    }

    pub(crate) fn push_run(&mut self, view: u128, rows: usize) {
        self.views.resize(self.views.len() + rows, view);
        self.nulls.append_n_non_nulls(rows);
    }

    pub(crate) fn push_nulls(&mut self, rows: usize) {
        self.views.resize(self.views.len() + rows, 0);
        self.nulls.append_n_nulls(rows);
    }

    /// Empty text is null.
    #[inline]
    pub(crate) fn push_or_null(&mut self, arena: &mut Arena<'_>, text: &str) {
        if text.is_empty() {
            self.push_nulls(1);
        } else {
            self.push(arena.view(text));
        }
    }

    /// The same text in `rows` rows; empty text is null.
    pub(crate) fn run_or_null(&mut self, arena: &mut Arena<'_>, text: &str, rows: usize) {
        if text.is_empty() {
            self.push_nulls(rows);
        } else {
            self.push_run(arena.view(text), rows);
        }
    }

    pub(crate) fn finish(mut self, buffers: &Arc<[Buffer]>) -> ArrayRef {
        let views = ScalarBuffer::from(self.views);
        let nulls = self.nulls.finish();
        if cfg!(debug_assertions) {
            return Arc::new(StringViewArray::new(views, buffers.clone(), nulls));
        }
        // SAFETY: each view was made by `Arena` from a `&str`, so it is valid UTF-8 and lies in buffer 0 (the payload,
        // at the offset where the `&str` was) or in buffer 1 (the copies), or is inline; null views are empty.
        Arc::new(unsafe { StringViewArray::new_unchecked(views, buffers.clone(), nulls) })
    }
}

/// A nullable column of numbers.
pub(crate) struct NumberColumn<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> Default for NumberColumn<T> {
    fn default() -> NumberColumn<T> {
        NumberColumn {
            values: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl<T: ArrowPrimitiveType> NumberColumn<T> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, value: T::Native) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    #[inline]
    pub(crate) fn push_option(&mut self, value: Option<T::Native>) {
        match value {
            Some(value) => self.push(value),
            None => self.push_nulls(1),
        }
    }

    pub(crate) fn push_run(&mut self, value: T::Native, rows: usize) {
        self.values.resize(self.values.len() + rows, value);
        self.nulls.append_n_non_nulls(rows);
    }

    pub(crate) fn push_nulls(&mut self, rows: usize) {
        self.values.resize(self.values.len() + rows, T::Native::default());
        self.nulls.append_n_nulls(rows);
    }

    fn array(mut self) -> PrimitiveArray<T> {
        PrimitiveArray::new(ScalarBuffer::from(self.values), self.nulls.finish())
    }

    pub(crate) fn finish(self) -> ArrayRef {
        Arc::new(self.array())
    }
}

/// A nullable time column: zero is null.
#[derive(Default)]
pub(crate) struct TimeColumn(NumberColumn<arrow::datatypes::TimestampNanosecondType>);

impl TimeColumn {
    #[inline]
    pub(crate) fn push_or_null(&mut self, unix_nano: u64) {
        // The same 64 bits: see the conventions of `schema::tables`.
        self.0.push_option((unix_nano != 0).then_some(unix_nano as i64));
    }

    pub(crate) fn array(self) -> TimestampNanosecondArray {
        self.0.array().with_timezone("UTC")
    }

    pub(crate) fn finish(self) -> ArrayRef {
        Arc::new(self.array())
    }
}

/// A time column without nulls.
pub(crate) fn times(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::new(ScalarBuffer::from(values), None).with_timezone("UTC"))
}

/// A number column without nulls.
pub(crate) fn numbers<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), None))
}

/// A nullable column of booleans.
pub(crate) struct BoolColumn {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Default for BoolColumn {
    fn default() -> BoolColumn {
        BoolColumn {
            values: BooleanBufferBuilder::new(0),
            nulls: NullBufferBuilder::new(0),
        }
    }
}

impl BoolColumn {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn push_run(&mut self, value: bool, rows: usize) {
        self.values.append_n(rows, value);
        self.nulls.append_n_non_nulls(rows);
    }

    pub(crate) fn push_nulls(&mut self, rows: usize) {
        self.values.append_n(rows, false);
        self.nulls.append_n_nulls(rows);
    }

    pub(crate) fn finish(mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish()))
    }
}

/// A nullable column of ids of one length: an id of another length is null.
pub(crate) struct IdColumn {
    size: usize,
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl IdColumn {
    pub(crate) fn new(size: usize) -> IdColumn {
        IdColumn {
            size,
            bytes: Vec::new(),
            nulls: NullBufferBuilder::new(0),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, id: &[u8]) {
        if id.len() == self.size {
            self.bytes.extend_from_slice(id);
            self.nulls.append_non_null();
        } else {
            self.bytes.resize(self.bytes.len() + self.size, 0);
            self.nulls.append_null();
        }
    }

    pub(crate) fn finish(mut self) -> ArrayRef {
        let bytes = Buffer::from_vec(self.bytes);
        Arc::new(FixedSizeBinaryArray::new(
            self.size as i32,
            bytes,
            self.nulls.finish(),
        ))
    }
}
