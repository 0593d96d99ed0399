//! `enum_name`: numbers of OTLP as their names. Made by the adapter only.
//!
//! Names are the lower-case ends of the names in the protocol: `server`, `error`, `cumulative`. A number without a name
//! reads as its digits, so that values of later versions of the protocol are seen too.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Int8Type, Int32Type, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::functions::support::{ANY_ARGUMENTS, array_argument};

/// What a number names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NamedNumber {
    /// `severity_number` to its level; 0 has none.
    Level,
    SpanKind,
    StatusCode,
    /// `status_code` of a span to the level of its record: `error` or `info`.
    StatusLevel,
    MetricType,
    Temporality,
    BodyType,
}

/// The level names, each beginning at `4 * index + 1` of `severity_number`.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
/// How many severity numbers a level has.
pub(crate) const LEVEL_WIDTH: i32 = 4;
/// The largest severity number; larger ones and 0 have no level.
pub(crate) const SEVERITY_MAX: i32 = LEVEL_WIDTH * LEVELS.len() as i32;

/// The level of a severity number (OpenTelemetry logs data model, "Severity fields").
pub fn level_of(severity_number: i64) -> Option<&'static str> {
    let index = usize::try_from(severity_number.checked_sub(1)?).ok()? / LEVEL_WIDTH as usize;
    LEVELS.get(index).copied()
}

/// The least severity number of a level; `warning`, `err`, `critical` and the like are understood, in any case.
pub fn level_floor(name: &str) -> Option<i32> {
    let name = name.trim().to_ascii_lowercase();
    let name = match name.as_str() {
        "warning" => "warn",
        "err" => "error",
        "critical" | "crit" | "panic" | "emergency" | "alert" => "fatal",
        "information" | "notice" => "info",
        other => other,
    };
    LEVELS
        .iter()
        .position(|level| *level == name)
        .and_then(|index| Some(LEVEL_WIDTH * i32::try_from(index).ok()? + 1))
}

impl NamedNumber {
    fn names(self) -> &'static [&'static str] {
        match self {
            NamedNumber::Level | NamedNumber::StatusLevel => &[],
            NamedNumber::SpanKind => &[
                "unspecified",
                "internal",
                "server",
                "client",
                "producer",
                "consumer",
            ],
            NamedNumber::StatusCode => &["unset", "ok", "error"],
            NamedNumber::MetricType => &[
                "unknown",
                "gauge",
                "sum",
                "histogram",
                "exponential_histogram",
                "summary",
            ],
            NamedNumber::Temporality => &["unspecified", "delta", "cumulative"],
            NamedNumber::BodyType => &[
                "empty",
                "string",
                "bool",
                "int",
                "double",
                "bytes",
                "array",
                "kvlist",
                "string_index",
            ],
        }
    }

    fn name(self, number: i64) -> Option<&'static str> {
        match self {
            NamedNumber::Level => level_of(number),
            NamedNumber::StatusLevel => Some(if number == 2 { "error" } else { "info" }),
            _ => usize::try_from(number)
                .ok()
                .and_then(|index| self.names().get(index).copied()),
        }
    }

    /// The one number with this name, if exactly one has it: comparisons with it need no names.
    pub(crate) fn number(self, name: &str) -> Option<i64> {
        if let Some(index) = self.names().iter().position(|known| *known == name) {
            return i64::try_from(index).ok();
        }
        let has_digits = !matches!(self, NamedNumber::Level | NamedNumber::StatusLevel);
        let number = name.parse::<i64>().ok().filter(|_| has_digits)?;
        (self.name(number).is_none() && number.to_string() == name).then_some(number)
    }
}

/// `Span.SpanKind` of OTLP.
pub fn span_kind(number: i64) -> Option<&'static str> {
    NamedNumber::SpanKind.name(number)
}

/// `Status.StatusCode` of OTLP.
pub fn status_code(number: i64) -> Option<&'static str> {
    NamedNumber::StatusCode.name(number)
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct EnumName {
    pub(crate) names: NamedNumber,
}

impl ScalarUDFImpl for EnumName {
    fn name(&self) -> &str {
        "enum_name"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = array_argument(&args, 0)?;
        let numbers: Box<dyn Iterator<Item = Option<i64>>> = match array.data_type() {
            DataType::Int8 => Box::new(array.as_primitive::<Int8Type>().iter().map(|n| n.map(i64::from))),
            DataType::Int32 => Box::new(array.as_primitive::<Int32Type>().iter().map(|n| n.map(i64::from))),
            DataType::Int64 => Box::new(array.as_primitive::<Int64Type>().iter()),
            other => return exec_err!("enum_name does not read {other}"),
        };
        let mut out = StringViewBuilder::with_capacity(array.len());
        for number in numbers {
            match number {
                None => out.append_null(),
                Some(number) => match self.names.name(number) {
                    Some(name) => out.append_value(name),
                    None if self.names == NamedNumber::Level => out.append_null(),
                    None => out.append_value(number.to_string()),
                },
            }
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish()) as ArrayRef))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ranges_of_four() {
        assert_eq!(level_of(0), None);
        assert_eq!(level_of(1), Some("trace"));
        assert_eq!(level_of(13), Some("warn"));
        assert_eq!(level_of(16), Some("warn"));
        assert_eq!(level_of(24), Some("fatal"));
        assert_eq!(level_of(25), None);
        assert_eq!(level_floor("WARNING"), Some(13));
        assert_eq!(level_floor("loud"), None);
    }

    #[test]
    fn numbers_without_a_name_are_their_digits() {
        assert_eq!(NamedNumber::SpanKind.number("server"), Some(2));
        assert_eq!(NamedNumber::SpanKind.number("17"), Some(17));
        assert_eq!(NamedNumber::SpanKind.number("2"), None);
        assert_eq!(NamedNumber::Level.number("warn"), None);
    }
}
