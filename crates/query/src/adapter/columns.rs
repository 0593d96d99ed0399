//! Logical columns and attributes as expressions over physical columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use cupola_store::schema::{AttributeSet, PromotedColumn, ValueType, promoted_columns};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ScalarUDF, ScalarUDFImpl};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};

use super::{Adapter, Expression};
use crate::functions::attributes::{AssembleAttributes, AttributeKind, AttributeLookup, ColumnText, Prefer};
use crate::functions::ids::HexText;
use crate::functions::level::{EnumName, NamedNumber, SeverityRank, StatusSeverity};
use crate::functions::nested::{ReadableList, readable_type};
use crate::functions::text::BodyText;
use crate::tables::ColumnSource;

impl Adapter {
    /// A logical column.
    pub(super) fn column(&self, column: &Column) -> Result<Expression> {
        let Some(source) = self.part.columns.get(column.name()) else {
            // Made by the reader itself, as a row number is.
            return match self.physical.index_of(column.name()) {
                Ok(index) => Ok(Arc::new(Column::new(column.name(), index))),
                Err(_) => exec_err!("column {} is neither in the table nor in the file", column.name()),
            };
        };
        let logical = self.logical.field_with_name(column.name())?.data_type().clone();
        match source {
            ColumnSource::Column(name) => self.physical_as(name, &logical),
            ColumnSource::Id(name, _) => self.on_column(name, &logical, |id| {
                self.call(HexText, vec![id], DataType::Utf8View)
            }),
            ColumnSource::Named(name, names) => self.on_column(name, &logical, |number| {
                self.call(EnumName { names: *names }, vec![number], DataType::Utf8View)
            }),
            ColumnSource::Attributes(set) => self.whole_set(*set),
            ColumnSource::Body => self.body(),
            ColumnSource::List(name) => self.on_column(name, &logical, |list| {
                let data_type = self
                    .physical
                    .field_with_name(name)
                    .map(|field| readable_type(field.data_type()));
                self.call(
                    ReadableList,
                    vec![list],
                    data_type.unwrap_or_else(|_| logical.clone()),
                )
            }),
            ColumnSource::Number => self.number(),
            ColumnSource::StatusSeverity => self.status_severity(),
            ColumnSource::Literal(value) => Ok(literal(value.clone())),
        }
    }

    /// A physical column by name, if the file has it.
    pub(super) fn physical_column(&self, name: &str) -> Option<(Expression, &DataType)> {
        let index = self.physical.index_of(name).ok()?;
        let column: Expression = Arc::new(Column::new(name, index));
        Some((column, self.physical.field(index).data_type()))
    }

    fn physical_as(&self, name: &str, wanted: &DataType) -> Result<Expression> {
        match self.physical_column(name) {
            Some((column, found)) if found == wanted => Ok(column),
            Some((column, _)) => Ok(Arc::new(CastExpr::new(column, wanted.clone(), None))),
            None => null(wanted),
        }
    }

    fn on_column(
        &self,
        name: &str,
        logical: &DataType,
        then: impl FnOnce(Expression) -> Expression,
    ) -> Result<Expression> {
        match self.physical_column(name) {
            Some((column, _)) => Ok(then(column)),
            None => null(logical),
        }
    }

    pub(super) fn call(
        &self,
        function: impl ScalarUDFImpl + 'static,
        args: Vec<Expression>,
        data_type: DataType,
    ) -> Expression {
        let name = function.name().to_owned();
        let field = Arc::new(Field::new(&name, data_type, true));
        let function = Arc::new(ScalarUDF::from(function));
        Arc::new(ScalarFunctionExpr::new(
            &name,
            function,
            args,
            field,
            Arc::clone(&self.config),
        ))
    }

    fn body(&self) -> Result<Expression> {
        match (self.physical_column("body"), self.physical_column("body_type")) {
            (Some((body, DataType::Utf8View)), Some((tag, DataType::Int8))) => {
                Ok(self.call(BodyText, vec![body, tag], DataType::Utf8View))
            }
            _ => self.physical_as("body", &DataType::Utf8View),
        }
    }

    fn number(&self) -> Result<Expression> {
        let double = self.physical_as("value", &DataType::Float64)?;
        let int = self.physical_as("value_int", &DataType::Float64)?;
        Ok(self.call(Prefer, vec![double, int], DataType::Float64))
    }

    pub(super) fn status_severity(&self) -> Result<Expression> {
        self.on_column("status_code", &DataType::Int32, |code| {
            self.call(StatusSeverity, vec![code], DataType::Int32)
        })
    }

    /// What `level_rank` of a level column is.
    pub(super) fn level_rank(&self, source: &ColumnSource) -> Result<Expression> {
        match source {
            ColumnSource::Named(name, NamedNumber::Level) => {
                let severity = self.physical_as(name, &DataType::Int32)?;
                Ok(self.call(SeverityRank, vec![severity], DataType::Int32))
            }
            _ => self.status_severity(),
        }
    }

    /// One attribute, from wherever this file keeps it.
    pub(super) fn attribute(&self, set: AttributeSet, key: &str, kind: AttributeKind) -> Result<Expression> {
        let promoted = self.promoted_value(set, key, kind);
        let in_map = self
            .rest_types(set, key)
            .types()
            .any(|value_type| kind.reads(value_type));
        let looked_up = self
            .physical_column(set.column())
            .filter(|_| in_map)
            .map(|(map, _)| {
                self.call(
                    AttributeLookup {
                        key: key.to_owned(),
                        kind,
                    },
                    vec![map],
                    kind.data_type(),
                )
            });
        match (promoted, looked_up) {
            (Some(column), Some(lookup)) => Ok(self.call(Prefer, vec![column, lookup], kind.data_type())),
            (Some(only), None) | (None, Some(only)) => Ok(only),
            (None, None) => null(&kind.data_type()),
        }
    }

    fn promoted_value(&self, set: AttributeSet, key: &str, kind: AttributeKind) -> Option<Expression> {
        let (column, data_type) = self.physical_column(&set.promoted_column(key))?;
        let value_type = ValueType::of_column(data_type).filter(|value_type| kind.reads(*value_type))?;
        match (kind, value_type) {
            (AttributeKind::Text | AttributeKind::String, ValueType::String)
                if *data_type == DataType::Utf8View =>
            {
                Some(column)
            }
            (AttributeKind::Text | AttributeKind::String, ValueType::String) => {
                Some(Arc::new(CastExpr::new(column, DataType::Utf8View, None)))
            }
            (AttributeKind::Text | AttributeKind::String, _) => {
                Some(self.call(ColumnText, vec![column], DataType::Utf8View))
            }
            (AttributeKind::Double, ValueType::Int) => {
                Some(Arc::new(CastExpr::new(column, DataType::Float64, None)))
            }
            _ => Some(column),
        }
    }

    fn whole_set(&self, set: AttributeSet) -> Result<Expression> {
        let Some((map, DataType::Map(_, _))) = self.physical_column(set.column()) else {
            return Ok(literal(ScalarValue::Utf8View(Some("{}".to_owned()))));
        };
        let mut args = vec![map];
        let mut keys = Vec::new();
        for promoted in promoted_columns(&self.physical) {
            if promoted.set != set {
                continue;
            }
            if let Some((column, _)) = self.physical_column(&PromotedColumn::name(&promoted)) {
                args.push(column);
                keys.push(promoted.key);
            }
        }
        Ok(self.call(AssembleAttributes { keys }, args, DataType::Utf8View))
    }
}

pub(super) fn literal(value: ScalarValue) -> Expression {
    Arc::new(Literal::new(value))
}

fn null(data_type: &DataType) -> Result<Expression> {
    Ok(literal(ScalarValue::try_new_null(data_type)?))
}
