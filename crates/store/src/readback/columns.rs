//! Typed access to the columns of a batch.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray,
    PrimitiveArray, RecordBatch, StringViewArray,
};
use arrow::datatypes::TimestampNanosecondType;

use super::ReadbackError;

/// The columns of one batch, by name.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a>(pub(super) &'a RecordBatch);

impl<'a> Columns<'a> {
    pub(super) fn array(self, name: &str) -> Result<&'a ArrayRef, ReadbackError> {
        self.0.column_by_name(name).ok_or_else(|| wrong(name, None))
    }

    fn typed<T>(
        self,
        name: &str,
        downcast: impl FnOnce(&'a ArrayRef) -> Option<&'a T>,
    ) -> Result<&'a T, ReadbackError> {
        let array = self.array(name)?;
        downcast(array).ok_or_else(|| wrong(name, Some(array)))
    }

    pub(super) fn text(self, name: &str) -> Result<Text<'a>, ReadbackError> {
        self.typed(name, |array| array.as_string_view_opt()).map(Text)
    }

    pub(super) fn numbers<T: ArrowPrimitiveType>(
        self,
        name: &str,
    ) -> Result<&'a PrimitiveArray<T>, ReadbackError> {
        self.typed(name, |array| array.as_primitive_opt::<T>())
    }

    pub(super) fn times(self, name: &str) -> Result<Times<'a>, ReadbackError> {
        self.numbers::<TimestampNanosecondType>(name).map(Times)
    }

    pub(super) fn ids(self, name: &str) -> Result<Ids<'a>, ReadbackError> {
        self.typed(name, |array| array.as_fixed_size_binary_opt())
            .map(Ids)
    }

    pub(super) fn bools(self, name: &str) -> Result<&'a BooleanArray, ReadbackError> {
        self.typed(name, |array| array.as_boolean_opt())
    }

    pub(super) fn lists(self, name: &str) -> Result<&'a ListArray, ReadbackError> {
        self.typed(name, |array| array.as_list_opt::<i32>())
    }

    pub(super) fn binary(self, name: &str) -> Result<&'a BinaryArray, ReadbackError> {
        self.typed(name, |array| array.as_binary_opt::<i32>())
    }
}

pub(super) fn wrong(column: &str, found: Option<&ArrayRef>) -> ReadbackError {
    let found = found.map_or_else(|| "nothing".to_owned(), |array| array.data_type().to_string());
    ReadbackError::Column {
        column: column.to_owned(),
        found,
    }
}

/// Text whose null is the empty text.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(&'a StringViewArray);

impl<'a> Text<'a> {
    pub(super) fn get(self, row: usize) -> &'a str {
        if self.0.is_valid(row) {
            self.0.value(row)
        } else {
            ""
        }
    }
}

/// Ids whose null is no id.
#[derive(Clone, Copy)]
pub(super) struct Ids<'a>(pub(super) &'a FixedSizeBinaryArray);

impl<'a> Ids<'a> {
    pub(super) fn get(self, row: usize) -> &'a [u8] {
        if self.0.is_valid(row) {
            self.0.value(row)
        } else {
            &[]
        }
    }
}

/// Times whose null is zero.
#[derive(Clone, Copy)]
pub(super) struct Times<'a>(pub(super) &'a PrimitiveArray<TimestampNanosecondType>);

impl Times<'_> {
    pub(super) fn get(self, row: usize) -> u64 {
        if self.0.is_valid(row) {
            self.0.value(row) as u64
        } else {
            0
        }
    }
}

/// A nullable number.
pub(super) fn optional<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}
