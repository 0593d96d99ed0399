//! `level_rank(level)`: the least severity number of a level, so that levels compare by severity.
//!
//! `level >= 'warn'` is planned as `level_rank(level) >= 13`; in a scan that is a comparison of `severity_number`.

use std::sync::Arc;

use arrow::array::Int32Array;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ExpressionPlacement, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};

use super::names::level_floor;
use crate::functions::support::{ANY_ARGUMENTS, check_arity, text_argument};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LevelRank;

impl ScalarUDFImpl for LevelRank {
    fn name(&self) -> &str {
        "level_rank"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        check_arity(self.name(), arguments.len(), 1)?;
        Ok(DataType::Int32)
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        match args {
            [ExpressionPlacement::Column] => ExpressionPlacement::MoveTowardsLeafNodes,
            _ => ExpressionPlacement::KeepInPlace,
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let levels = text_argument(&args, 0)?;
        let ranks: Int32Array = levels.iter().map(|level| level.and_then(level_floor)).collect();
        Ok(ColumnarValue::Array(Arc::new(ranks)))
    }
}
