//! `severity_rank(severity_number)`: what `level_rank` of the level of a log record is: the least number of its level,
//! null without one. Made by the adapter only.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use super::names::{LEVEL_WIDTH, SEVERITY_MAX};
use crate::functions::support::{ANY_ARGUMENTS, array_argument};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SeverityRank;

impl ScalarUDFImpl for SeverityRank {
    fn name(&self) -> &str {
        "severity_rank"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = array_argument(&args, 0)?;
        let Some(severities) = array.as_primitive_opt::<Int32Type>() else {
            return exec_err!("severity_rank does not read {}", array.data_type());
        };
        let ranks: Int32Array = severities
            .iter()
            .map(|severity| severity.and_then(rank))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(ranks)))
    }
}

fn rank(severity: i32) -> Option<i32> {
    (1..=SEVERITY_MAX)
        .contains(&severity)
        .then(|| severity - (severity - 1) % LEVEL_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn a_rank_is_the_least_number_of_its_level() {
        let ranks: Vec<Option<i32>> = [-1, 0, 1, 4, 5, 13, 16, 17, 24, 25].map(rank).into();
        let expected = [
            None,
            None,
            Some(1),
            Some(1),
            Some(5),
            Some(13),
            Some(13),
            Some(17),
            Some(21),
            None,
        ];
        assert_eq!(ranks, expected);
    }
}
