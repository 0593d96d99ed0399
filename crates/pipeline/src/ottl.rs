//! The OpenTelemetry Transformation Language: small statements that change or choose telemetry.
//!
//! `set(attributes["env"], "prod") where resource.attributes["service.name"] == "cart"`. A statement is compiled once,
//! with the names it uses looked up and its patterns ready, and run over the bytes of a batch by
//! [`cupola_telemetry::edit`]. Refuses to do input or output: functions see their arguments, the item and an [`Env`].
//!
//! Language: <https://github.com/open-telemetry/opentelemetry-collector-contrib/blob/main/pkg/ottl/LANGUAGE.md>.
//! Functions: <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/pkg/ottl/ottlfuncs>.
//!
//! What telemetry can make of a statement is bounded. The bounds, and where it differs from the Collector, are listed in
//! `docs/ottl.md`.

mod ast;
mod compare;
mod compile;
mod context;
mod editors;
mod enums;
mod env;
mod error;
mod eval;
mod functions;
mod infer;
mod lexer;
mod parser;
mod path;
pub(crate) mod pattern;
#[cfg(test)]
mod reference;
mod run;
mod value;

pub use context::{Context, ErrorMode};
pub use env::{Env, SystemEnv};
pub use error::{Fault, OttlError, Problem, RunError, Span};
pub use infer::{infer_condition, infer_group, infer_statement};
pub use run::{Conditions, Marks, Outcome, SharedCaches, Split, Statements, drop_matching};
pub(crate) use value::json::write as write_json;
