//! Severity levels and the other numbers of OTLP that have names.

mod level_rank;
mod names;
mod severity_rank;
mod status_severity;

pub(crate) use level_rank::LevelRank;
pub(crate) use names::{EnumName, LEVEL_WIDTH, NamedNumber, SEVERITY_MAX};
pub use names::{level_floor, level_of, span_kind, status_code};
pub(crate) use severity_rank::SeverityRank;
pub(crate) use status_severity::{SEVERITY_ERROR, SEVERITY_INFO, STATUS_ERROR, StatusSeverity};
