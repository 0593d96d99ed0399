//! Configuration as text: from YAML files to types, as the OpenTelemetry Collector reads them, with the place of every
//! mistake; and the values that settings are written in.
//!
//! A file is parsed to a [`Node`], several are laid over each other by [`merge`](fn@merge), references such as
//! `${env:NAME}` are resolved by [`expand`](fn@expand), and sections are read into types by [`read`](fn@read), each
//! problem going to [`Problems`]. [`schema`](fn@schema) describes a type, and [`show`](fn@show) writes a tree with its
//! secrets masked.
//!
//! Pure: reads no file and no environment variable; the binary gives it their contents. Refuses to know what any
//! setting means: that is of the component that has it.
//!
//! ```
//! use cupola_config::units::TimeSpan;
//! use cupola_config::{Masking, Node, Place, Problems, Secret, Sources, expand, merge, read_at, secret_paths, show};
//!
//! #[derive(Debug, Default, serde::Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct Exporter {
//!     endpoint: String,
//!     timeout: Option<TimeSpan>,
//!     api_key: Secret,
//! }
//!
//! struct Environment;
//!
//! impl Sources for Environment {
//!     fn env(&self, name: &str) -> Option<String> {
//!         (name == "API_KEY").then(|| "hunter2".to_owned())
//!     }
//!
//!     fn file(&self, path: &str) -> std::io::Result<String> {
//!         Err(std::io::Error::new(std::io::ErrorKind::NotFound, path))
//!     }
//! }
//!
//! # fn main() -> Result<(), cupola_config::Problem> {
//! let base = Node::parse("base.yaml", "otlp/2:\n  endpoint: a:4317\n  api_key: ${env:API_KEY}\n")?;
//! let site = Node::parse("site.yaml", "otlp/2:\n  timeout: 10\n  endpont: b:4317\n")?;
//! let mut problems = Problems::new();
//! let merged = merge([base, site]).unwrap_or_else(|| Node::null(Place::whole("")));
//! let all = expand(&merged, &Environment, &mut problems);
//! let section = all.at(&["otlp/2"]).unwrap_or(&all);
//! let exporter: Option<Exporter> = read_at(section, "exporters.otlp/2", &mut problems);
//!
//! assert_eq!(exporter.map(|read| read.endpoint), Some("a:4317".to_owned()));
//! let shown: Vec<String> = problems.into_sorted().iter().map(|problem| problem.render(None)).collect();
//! assert_eq!(
//!     shown,
//!     [
//!         "site.yaml:2:12: exporters.otlp/2.timeout: `10` has no unit; write for example 10s, or 500ms, 1h30m or 90d",
//!         "site.yaml:3:3: exporters.otlp/2.endpont: unknown key\nhint: did you mean `endpoint`?",
//!     ]
//! );
//! let masking = Masking::new().below(&["otlp/2"], secret_paths::<Exporter>());
//! assert!(show(&all, &masking).contains("api_key: '[REDACTED]'"));
//! # Ok(())
//! # }
//! ```

mod component;
mod de;
mod endpoint;
mod excerpt;
pub mod expand;
mod field;
mod leaf;
pub mod mask;
pub mod merge;
pub mod nearest;
mod parse;
mod problem;
pub mod read;
mod scalar;
pub mod schema;
mod secret;
pub mod show;
pub mod tree;
pub mod units;
pub mod yaml;

pub use component::ComponentId;
pub use endpoint::Endpoint;
pub use excerpt::Excerpts;
pub use expand::{Sources, expand};
pub use field::{Passed, present};
pub use merge::merge;
pub use parse::{DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};
pub use problem::{PROBLEMS_MAX, Place, Problem, Problems, Severity};
pub use read::{read, read_at};
pub use schema::{schema, secret_paths};
pub use secret::{MASK, Secret};
pub use show::{Masking, SecretPath, masked, plain, show};
pub use tree::{Entry, Node, Origin, Value};
