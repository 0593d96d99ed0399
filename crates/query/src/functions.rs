//! SQL functions: one file each, under the folder of its topic.
//!
//! Those of [`scalar_functions`] and [`aggregate_functions`] can be written in SQL; the others are what the scan adapter
//! makes of columns.

pub(crate) mod attributes;
mod bounded;
pub(crate) mod ids;
pub(crate) mod json;
pub(crate) mod level;
pub(crate) mod nested;
pub(crate) mod support;
pub(crate) mod text;
pub(crate) mod time;

use std::sync::Arc;

use datafusion::functions_aggregate::approx_percentile_cont::approx_percentile_cont_udaf;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub(crate) use bounded::bounded;

/// The scalar functions SQL can name.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(attributes::Attribute)),
        Arc::new(ScalarUDF::from(json::JsonGet::new(false))),
        Arc::new(ScalarUDF::from(json::JsonGet::new(true))),
        Arc::new(ScalarUDF::from(level::LevelRank)),
        Arc::new(ScalarUDF::from(text::MatchWords)),
        Arc::new(ScalarUDF::from(time::TimeBucket)),
    ]
}

/// The aggregate functions SQL can name beside those of DataFusion.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let percentile = approx_percentile_cont_udaf()
        .as_ref()
        .clone()
        .with_aliases(["percentile", "quantile"]);
    vec![Arc::new(percentile)]
}
