//! Which segments a scan can leave out, from what the manifest says: times, services, constants of the part.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use cupola_store::Segment;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use crate::functions::support::literal_text;
use crate::tables::{ColumnSource, Part};

/// The segments that may hold a row for which `predicate`, over the logical schema, is true.
pub(super) fn prune(
    segments: &[Arc<Segment>],
    part: &Part,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    schema: &SchemaRef,
) -> Vec<Arc<Segment>> {
    let predicate = predicate.and_then(|predicate| {
        PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(schema))
            .build(Arc::clone(predicate))
    });
    let Some(predicate) = predicate else {
        return segments.to_vec();
    };
    match predicate.prune(&Containers { segments, part }) {
        Ok(keep) => segments
            .iter()
            .zip(keep)
            .filter(|(_, keep)| *keep)
            .map(|(segment, _)| Arc::clone(segment))
            .collect(),
        Err(_) => segments.to_vec(),
    }
}

struct Containers<'a> {
    segments: &'a [Arc<Segment>],
    part: &'a Part,
}

impl Containers<'_> {
    fn times(&self, time: impl Fn(&Segment) -> i64) -> Option<ArrayRef> {
        let times = self.segments.iter().map(|segment| time(segment));
        Some(Arc::new(
            TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"),
        ))
    }

    fn services(&self, pick: impl Fn(&[String]) -> Option<&String>) -> Option<ArrayRef> {
        let names = self.segments.iter().map(|segment| {
            // The empty name stands for no service, whose place in the order is not that of the empty text.
            let known =
                !segment.meta.services_overflow && !segment.meta.services.iter().any(String::is_empty);
            if known { pick(&segment.meta.services) } else { None }
        });
        let names: StringArray = names.collect();
        arrow::compute::cast(&names, &arrow::datatypes::DataType::Utf8View).ok()
    }

    fn constant(&self, column: &Column) -> Option<ArrayRef> {
        match self.part.columns.get(column.name.as_str())? {
            ColumnSource::Literal(value) if !value.is_null() => {
                value.to_array_of_size(self.segments.len()).ok()
            }
            _ => None,
        }
    }
}

impl PruningStatistics for Containers<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name.as_str() {
            "timestamp" => self.times(|segment| segment.min_timestamp),
            "service_name" => self.services(|services| services.first()),
            _ => self.constant(column),
        }
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name.as_str() {
            "timestamp" => self.times(|segment| segment.max_timestamp),
            "service_name" => self.services(|services| services.last()),
            _ => self.constant(column),
        }
    }

    fn num_containers(&self) -> usize {
        self.segments.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let is_null = match self.part.columns.get(column.name.as_str())? {
            ColumnSource::Literal(value) => value.is_null(),
            _ if column.name == "timestamp" => false,
            _ => return None,
        };
        let counts = self
            .segments
            .iter()
            .map(|segment| if is_null { segment.rows } else { 0 });
        Some(Arc::new(UInt64Array::from_iter_values(counts)))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(
            self.segments.iter().map(|segment| segment.rows),
        )))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if column.name != "service_name" {
            return None;
        }
        let wanted: Vec<&str> = values.iter().map(literal_text).collect::<Option<_>>()?;
        // `false`: none of the values is in the segment. More than that is not known.
        let contained = self.segments.iter().map(|segment| {
            let any = wanted
                .iter()
                .any(|service| segment.meta.may_have_service(service));
            if any { None } else { Some(false) }
        });
        Some(contained.collect())
    }
}
