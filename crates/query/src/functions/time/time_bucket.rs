//! `time_bucket('5 minutes', timestamp)`: the start of the bucket a time is in, buckets counted from 1970-01-01 UTC.
//!
//! Becomes `date_bin` at planning.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, lit,
};

use crate::functions::support::{ANY_ARGUMENTS, literal_text};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TimeBucket;

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [_, time @ DataType::Timestamp(_, _)] => Ok(time.clone()),
            _ => plan_err!("time_bucket takes a width, as in '5 minutes', and a timestamp"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let data_type = self.return_type(&types)?;
        Ok(arrow::datatypes::Field::new(self.name(), data_type, true).into())
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [Expr::Literal(width, _), time] = args.as_slice() else {
            return plan_err!("time_bucket takes a constant width, as in '5 minutes', and a timestamp");
        };
        let width = match literal_text(width) {
            Some(text) => {
                let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
                ScalarValue::try_from_string(text.to_owned(), &interval)
                    .map_err(|error| error.context(format!("time_bucket: {text:?} is no interval")))?
            }
            None => width.clone(),
        };
        let bin = ScalarFunction::new_udf(date_bin(), vec![lit(width), time.clone()]);
        Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(bin)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!("time_bucket takes a constant width, as in '5 minutes', and a timestamp")
    }
}
