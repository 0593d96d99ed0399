//! Functions whose result can be larger than their arguments by any factor, with a bound on it.
//!
//! What an expression makes is in no operator's account of memory: without a bound `repeat('x', 3000000000)` would be
//! stopped by no limit of the query. The size is worked out from the arguments before anything is made.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::support::text_array;
use crate::error::QueryError;
use crate::memory::array_bytes;

/// Most bytes that one call makes for the rows of one batch.
const RESULT_BYTES_MAX: u64 = 64 << 20;

/// How the size of a result follows from arguments, whose rows are given one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Size {
    /// A text so many times.
    Repeat,
    /// So many letters.
    Pad,
    /// From a number or time to another in steps.
    Series,
    /// An element so many times.
    RepeatElement,
    /// A list of so many elements.
    Resize,
    /// All texts together.
    Concat,
    /// Text with each occurrence of another replaced by a third.
    Replace,
}

const BOUNDED: [(&str, Size); 10] = [
    ("repeat", Size::Repeat),
    ("lpad", Size::Pad),
    ("rpad", Size::Pad),
    ("range", Size::Series),
    ("generate_series", Size::Series),
    ("array_repeat", Size::RepeatElement),
    ("array_resize", Size::Resize),
    ("concat", Size::Concat),
    ("concat_ws", Size::Concat),
    ("replace", Size::Replace),
];

/// Those of `functions` that need a bound, with it.
pub(crate) fn bounded(functions: &HashMap<String, Arc<ScalarUDF>>) -> Vec<Arc<ScalarUDF>> {
    let bound = |(name, size): (&str, Size)| {
        let inner = Arc::clone(functions.get(name)?);
        Some(Arc::new(ScalarUDF::from(Bounded { inner, size })))
    };
    BOUNDED.into_iter().filter_map(bound).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    size: Size,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.size.of(&args)?;
        if bytes > RESULT_BYTES_MAX {
            let what = format!(
                "{}() would make more than {RESULT_BYTES_MAX} bytes at once",
                self.name()
            );
            return Err(QueryError::TooComplex { what }.into());
        }
        self.inner.invoke_with_args(args)
    }
}

impl Size {
    fn of(self, args: &ScalarFunctionArgs) -> Result<u64> {
        let values = &args.args;
        let is_constant = values
            .iter()
            .all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let columns = match self {
            Size::Repeat => vec![lengths(&values[0])?, numbers(&values[1])?],
            Size::Pad => vec![numbers(&values[1])?],
            Size::Series => values.iter().map(instants).collect::<Result<_>>()?,
            Size::RepeatElement => vec![sizes(&values[0]), numbers(&values[1])?],
            Size::Resize => {
                let element = values.get(2).map_or(Numbers::Same(Some(8)), sizes);
                vec![numbers(&values[1])?, element]
            }
            Size::Concat | Size::Replace => values.iter().map(lengths).collect::<Result<_>>()?,
        };
        let mut total = 0_u64;
        let mut row_values = vec![0; columns.len()];
        for row in 0..rows {
            let mut has_null = false;
            for (value, column) in row_values.iter_mut().zip(&columns) {
                let found = column.get(row);
                has_null |= found.is_none();
                *value = found.unwrap_or(0);
            }
            // Only texts are put together without those that are null.
            if has_null && self != Size::Concat {
                continue;
            }
            total = total.saturating_add(self.of_row(&row_values));
            if total > RESULT_BYTES_MAX {
                break;
            }
        }
        Ok(total)
    }

    /// Bytes for one row; negative counts are 0.
    fn of_row(self, values: &[i64]) -> u64 {
        let positive = |value: i64| u64::try_from(value).unwrap_or(0);
        match (self, values) {
            (Size::Repeat | Size::RepeatElement | Size::Resize, [one, other]) => {
                positive(*one).saturating_mul(positive(*other))
            }
            (Size::Pad, [letters]) => positive(*letters),
            (Size::Series, [stop]) => positive(*stop).saturating_mul(8),
            (Size::Series, [start, stop]) => stop.abs_diff(*start).saturating_mul(8),
            (Size::Series, [start, stop, step]) => {
                (stop.abs_diff(*start) / step.unsigned_abs().max(1)).saturating_mul(8)
            }
            (Size::Replace, [text, from, to]) => {
                let occurrences = positive(*text) / positive(*from).max(1);
                positive(*text).saturating_add(occurrences.saturating_mul(positive(*to)))
            }
            (_, texts) => texts
                .iter()
                .fold(0, |sum: u64, text| sum.saturating_add(positive(*text))),
        }
    }
}

/// One number for each row.
enum Numbers {
    Same(Option<i64>),
    Each(Int64Array),
}

impl Numbers {
    fn get(&self, row: usize) -> Option<i64> {
        match self {
            Numbers::Same(value) => *value,
            Numbers::Each(values) => (row < values.len() && values.is_valid(row)).then(|| values.value(row)),
        }
    }

    /// What `read` makes of the rows of an argument, or of its one value.
    fn of(value: &ColumnarValue, read: impl Fn(&ArrayRef) -> Result<Int64Array>) -> Result<Numbers> {
        Ok(match value {
            ColumnarValue::Array(array) => Numbers::Each(read(array)?),
            ColumnarValue::Scalar(scalar) => {
                let one = read(&scalar.to_array()?)?;
                Numbers::Same(one.iter().next().flatten())
            }
        })
    }
}

fn lengths(value: &ColumnarValue) -> Result<Numbers> {
    Numbers::of(value, |array| {
        // Lists have their concatenation under the same name.
        if !matches!(
            array.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        ) {
            let sizes = (0..array.len()).map(|row| array_bytes(&array.slice(row, 1)) as i64);
            return Ok(Int64Array::from_iter_values(sizes));
        }
        let texts = text_array(array)?;
        let lengths = texts.iter().map(|text| text.map(|text| text.len() as i64));
        Ok(lengths.collect())
    })
}

fn numbers(value: &ColumnarValue) -> Result<Numbers> {
    Numbers::of(value, |array| {
        let numbers = cast(array, &DataType::Int64)?;
        Ok(numbers.as_primitive::<Int64Type>().clone())
    })
}

/// Bytes of the elements.
fn sizes(value: &ColumnarValue) -> Numbers {
    let array = match value {
        ColumnarValue::Scalar(scalar) => return Numbers::Same(i64::try_from(scalar.size()).ok()),
        ColumnarValue::Array(array) => array,
    };
    let sizes = (0..array.len()).map(|row| array_bytes(&array.slice(row, 1)) as i64);
    Numbers::Each(Int64Array::from_iter_values(sizes))
}

/// Bounds and steps of a series: numbers as they are; times and intervals in nanoseconds, months as short as they can be.
fn instants(value: &ColumnarValue) -> Result<Numbers> {
    const DAY: i64 = 86_400_000_000_000;
    const MONTH: i64 = 28 * DAY;
    Numbers::of(value, |array| {
        Ok(match array.data_type() {
            DataType::Date32 => scaled(&cast(array, &DataType::Int32)?, DAY)?,
            DataType::Date64 => scaled(array, 1_000_000)?,
            DataType::Timestamp(TimeUnit::Second, _) => scaled(array, 1_000_000_000)?,
            DataType::Timestamp(TimeUnit::Millisecond, _) => scaled(array, 1_000_000)?,
            DataType::Timestamp(TimeUnit::Microsecond, _) => scaled(array, 1_000)?,
            DataType::Interval(_) => {
                let wanted = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
                let intervals = cast(array, &wanted)?;
                let nanoseconds =
                    intervals
                        .as_primitive::<IntervalMonthDayNanoType>()
                        .iter()
                        .map(|interval| {
                            interval.map(|interval| {
                                i64::from(interval.months)
                                    .saturating_mul(MONTH)
                                    .saturating_add(i64::from(interval.days).saturating_mul(DAY))
                                    .saturating_add(interval.nanoseconds)
                            })
                        });
                nanoseconds.collect()
            }
            _ => scaled(array, 1)?,
        })
    })
}

fn scaled(array: &ArrayRef, scale: i64) -> Result<Int64Array> {
    let values = cast(array, &DataType::Int64)?;
    Ok(values
        .as_primitive::<Int64Type>()
        .unary(|value| value.saturating_mul(scale)))
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;

    use super::*;

    #[test]
    fn sizes_follow_from_the_arguments() {
        for (size, values, expected) in [
            (Size::Repeat, vec![3, 5], 15),
            (Size::Repeat, vec![3, -1], 0),
            (Size::Repeat, vec![1 << 40, 1 << 40], u64::MAX),
            (Size::Pad, vec![7], 7),
            (Size::Series, vec![1, 11], 80),
            (Size::Series, vec![11, 1, -2], 40),
            (Size::Series, vec![i64::MIN, i64::MAX, 1], u64::MAX),
            (Size::Concat, vec![1, 2, 3], 6),
            (Size::Replace, vec![10, 2, 100], 510),
            (Size::Replace, vec![10, 0, 100], 1010),
        ] {
            assert_eq!(size.of_row(&values), expected, "{size:?} {values:?}");
        }
    }

    #[test]
    fn an_element_is_measured_with_what_it_refers_to() {
        let text = ScalarValue::Utf8(Some("x".repeat(1000)));
        assert!(sizes(&ColumnarValue::Scalar(text)).get(0) >= Some(1000));
    }
}
