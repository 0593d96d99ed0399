//! `trace('4bf92f3577b34da6a3ce929d0e0e4736')`: the records of one trace, as a table.

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};

use crate::functions::ids::id_bytes;
use crate::functions::support::literal_text;

/// Bytes of a trace id.
const TRACE_ID_BYTES: usize = 16;

#[derive(Debug)]
pub(crate) struct TraceFunction {
    pub(crate) records: Arc<dyn TableProvider>,
}

impl TableFunctionImpl for TraceFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let id = match args.exprs() {
            [Expr::Literal(id, _)] => literal_text(id),
            _ => None,
        };
        let Some(id) = id.filter(|id| id_bytes(id, TRACE_ID_BYTES).is_some()) else {
            return plan_err!("trace() takes a trace id: 32 hexadecimal digits in quotes");
        };
        let plan = LogicalPlanBuilder::scan("records", provider_as_source(Arc::clone(&self.records)), None)?
            .filter(col("trace_id").eq(lit(id.to_ascii_lowercase())))?
            .build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}
