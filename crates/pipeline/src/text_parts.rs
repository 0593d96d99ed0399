//! Text taken apart as the Collector does: rows and pairs. Shared by operators and OTTL. Refuses to know what becomes of the
//! parts.

pub(crate) mod csv;
pub(crate) mod key_value;
