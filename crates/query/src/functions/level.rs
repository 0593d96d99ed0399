//! Severity levels and the other numbers of OTLP that have names.

mod level_rank;
mod names;
mod status_severity;

pub(crate) use level_rank::LevelRank;
pub(crate) use names::{EnumName, NamedNumber, level_floor};
pub(crate) use status_severity::{SEVERITY_ERROR, SEVERITY_INFO, STATUS_ERROR, StatusSeverity};
