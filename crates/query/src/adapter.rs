//! Logical expressions to expressions over one file or chunk.
//!
//! Files and chunks of a table differ in which attributes are columns. Queries know nothing of that: they name
//! logical columns and attributes, and this adapter, called once per file by the Parquet reader and once per chunk
//! schema by the memtable scan, puts the physical columns in. After it, a filter on a promoted attribute or on an id is
//! a plain comparison of a column, so statistics, page indexes and bloom filters work on it.
//!
//! Refuses: planning and IO.

mod columns;
mod comparisons;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use cupola_store::Segment;
use cupola_store::schema::{AttributeSet, TypeMask};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};

use crate::functions::attributes::{Attribute, AttributeKind};
use crate::functions::level::{LevelRank, NamedNumber};
use crate::tables::{ColumnSource, Part};

/// Key in the schema metadata of a file that names its segment; put there by `scan::reader`.
pub(crate) const SEGMENT_PATH_KEY: &str = "cupola.segment";

/// The segments of a scan by path.
pub(crate) type SegmentsByPath = Arc<HashMap<String, Arc<Segment>>>;

/// Makes adapters for the files and chunks of one part of a logical table.
#[derive(Debug, Clone)]
pub(crate) struct AdapterFactory {
    pub(crate) part: Arc<Part>,
    pub(crate) segments: SegmentsByPath,
    /// For chunks, and not for the files of `segments`.
    pub(crate) of_chunks: bool,
    pub(crate) config: Arc<ConfigOptions>,
}

impl PhysicalExprAdapterFactory for AdapterFactory {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let segment = physical
            .metadata()
            .get(SEGMENT_PATH_KEY)
            .and_then(|path| self.segments.get(path))
            .cloned();
        Ok(Arc::new(Adapter {
            part: Arc::clone(&self.part),
            logical,
            physical,
            segment,
            segments: (!self.of_chunks).then(|| Arc::clone(&self.segments)),
            config: Arc::clone(&self.config),
        }))
    }
}

/// The adapter of one file or chunk.
#[derive(Debug)]
pub(crate) struct Adapter {
    part: Arc<Part>,
    logical: SchemaRef,
    physical: SchemaRef,
    /// Unknown for chunks, and where the reader made the schema anew to add a row number.
    segment: Option<Arc<Segment>>,
    /// The segments it may be; none for chunks.
    segments: Option<SegmentsByPath>,
    config: Arc<ConfigOptions>,
}

type Expression = Arc<dyn PhysicalExpr>;

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expression: Expression) -> Result<Expression> {
        expression.transform_down(|node| self.rewrite_node(node)).data()
    }
}

/// The result of a rewrite names physical columns: it must not be rewritten again.
fn done(expression: Expression) -> Result<Transformed<Expression>> {
    Ok(Transformed::new(expression, true, TreeNodeRecursion::Jump))
}

impl Adapter {
    fn rewrite_node(&self, node: Expression) -> Result<Transformed<Expression>> {
        if let Some((set, key, kind)) = self.attribute_access(&node) {
            return done(self.attribute(set, &key, kind)?);
        }
        if let Some(source) = self.ranked_level(&node) {
            return done(self.level_rank(&source)?);
        }
        let compared = if let Some(binary) = node.downcast_ref::<BinaryExpr>() {
            self.comparison(binary)?
        } else if let Some(list) = node.downcast_ref::<InListExpr>() {
            self.membership(list)?
        } else if let Some(is_null) = node.downcast_ref::<IsNullExpr>() {
            self.presence(is_null.arg(), true)?
        } else if let Some(is_not_null) = node.downcast_ref::<IsNotNullExpr>() {
            self.presence(is_not_null.arg(), false)?
        } else if let Some(column) = node.downcast_ref::<Column>() {
            Some(self.column(column)?)
        } else {
            None
        };
        match compared {
            Some(expression) => done(expression),
            None => Ok(Transformed::no(node)),
        }
    }

    /// The source of a logical column expression.
    fn source(&self, expression: &Expression) -> Option<&ColumnSource> {
        self.part.columns.get(expression.downcast_ref::<Column>()?.name())
    }

    fn attribute_access(&self, node: &Expression) -> Option<(AttributeSet, String, AttributeKind)> {
        let call = attribute_call(node)?;
        match self.part.columns.get(call.column)? {
            ColumnSource::Attributes(set) => Some((*set, call.key.to_owned(), call.kind)),
            _ => None,
        }
    }

    fn ranked_level(&self, node: &Expression) -> Option<ColumnSource> {
        let call = ScalarFunctionExpr::try_downcast_func::<LevelRank>(node.as_ref())?;
        let source = self.source(call.args().first()?)?;
        let is_level = matches!(
            source,
            ColumnSource::Named(_, NamedNumber::Level | NamedNumber::StatusLevel)
        );
        is_level.then(|| source.clone())
    }

    /// The types `key` may have in the map of this file or chunk.
    fn rest_types(&self, set: AttributeSet, key: &str) -> TypeMask {
        if let Some(segment) = &self.segment {
            return segment.meta.rest_types(set, key);
        }
        match &self.segments {
            // As `scan::pushdown::is_exact` does: a filter that is exact in every file stays so here.
            Some(segments) => segments.values().fold(TypeMask::default(), |types, segment| {
                types.union(segment.meta.rest_types(set, key))
            }),
            // Any key may be in the map of a chunk.
            None => TypeMask(u16::MAX),
        }
    }
}

/// A call of `attribute()` on a column.
pub(crate) struct AttributeCall<'a> {
    pub(crate) column: &'a str,
    pub(crate) key: &'a str,
    pub(crate) kind: AttributeKind,
}

/// Reads an expression as a call of `attribute()` on a column.
pub(crate) fn attribute_call(node: &Expression) -> Option<AttributeCall<'_>> {
    let call = ScalarFunctionExpr::try_downcast_func::<Attribute>(node.as_ref())?;
    let [set, key, kind] = call.args() else {
        return None;
    };
    Some(AttributeCall {
        column: set.downcast_ref::<Column>()?.name(),
        key: comparisons::literal_str(key)?,
        kind: AttributeKind::parse(comparisons::literal_str(kind)?)?,
    })
}
