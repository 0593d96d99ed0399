//! Attribute access: planned as one function, evaluated as columns wherever the file has them.

mod assemble;
mod attribute;
mod kind;
mod lookup;
mod prefer;

pub(crate) use assemble::{AssembleAttributes, map_json};
pub(crate) use attribute::Attribute;
pub(crate) use kind::AttributeKind;
pub(crate) use lookup::{AttributeLookup, MapParts};
pub(crate) use prefer::{ColumnText, Prefer};
