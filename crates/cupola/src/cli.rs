//! The command line. Parsing validates and never acts.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cupola_config::Secret;
use cupola_telemetry::{Signal, TenantId};

use crate::config::{LogFlags, ServeFlags};
use cupola_config::units::{ByteSize, MemoryLimit, TimeSpan};

/// Where a running server is looked for.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:4300";

/// The command that the demo has its services run with.
pub(crate) const DEMO_SERVICE: &str = "demo-service";

/// Observability in one binary: takes OpenTelemetry in, keeps it, finds it again.
#[derive(Debug, Parser)]
#[command(name = "cupola", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// Configuration file (YAML); several are merged in their order, the later ones going before.
    #[arg(
        long,
        global = true,
        env = "CUPOLA_CONFIG",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub(crate) config: Vec<PathBuf>,
    /// When to colour what is printed.
    #[arg(
        long,
        global = true,
        env = "CUPOLA_COLOR",
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub(crate) color: Colour,
    #[command(flatten)]
    pub(crate) log: LogFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take telemetry in, keep it and answer questions about it.
    Serve(ServeFlags),
    /// Start Cupola with a small running application that sends it telemetry.
    Demo(DemoArguments),
    /// One of the services of the demo, which starts them.
    #[command(name = DEMO_SERVICE, hide = true)]
    DemoService {
        #[command(subcommand)]
        service: cupola_example_services::Service,
    },
    /// Make realistic telemetry: to an OTLP endpoint, to files, or into a data directory.
    Generate(GenerateArguments),
    /// Ask a question in SQL, of a running server or of a data directory.
    Query(QueryArguments),
    /// Show logs or spans as they arrive.
    Tail(TailArguments),
    /// Show one trace as a waterfall.
    Trace(TraceArguments),
    /// Check a data directory, and repair it if asked to.
    Doctor(DoctorArguments),
    /// List and show what destinations have refused for good, send it again, or drop it.
    Deadletter {
        #[command(subcommand)]
        command: DeadletterCommand,
    },
    /// Check or show the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadletterCommand {
    /// Print the letters: when, which exporter, how many items, and why.
    List(LettersArguments),
    /// Print letters whole: what was refused as OTLP/JSON, and why.
    Show {
        #[command(flatten)]
        letters: LettersArguments,
        /// Print each letter as one line of JSON, with what was refused as `batch`.
        #[arg(long)]
        json: bool,
    },
    /// Send letters to the destinations of their exporters again; those that are taken are removed.
    Retry(LettersArguments),
    /// Remove letters for good.
    Drop(LettersArguments),
}

/// Which letters.
#[derive(Args, Clone, Debug)]
pub(crate) struct LettersArguments {
    /// Letters by their ids, as `list` prints them.
    pub(crate) ids: Vec<String>,
    /// All letters, of all exporters or of those of --exporter.
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Only letters of this exporter, such as `otlp/2`.
    #[arg(long, value_name = "EXPORTER")]
    pub(crate) exporter: Option<String>,
    /// The data directory of the server [default: ./cupola-data].
    #[arg(long, env = "CUPOLA_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration is valid, and what is wrong where.
    Check {
        /// Configuration files, beside those of --config.
        files: Vec<PathBuf>,
        #[command(flatten)]
        flags: ServeFlags,
    },
    /// Print what holds after flags, environment, file and defaults; secrets are masked.
    Show {
        /// Configuration files, beside those of --config.
        files: Vec<PathBuf>,
        #[command(flatten)]
        flags: ServeFlags,
    },
    /// Print a JSON Schema of configuration files, for editors and tests.
    Schema,
}

/// Which server, or which data directory, and as which tenant.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// A running server.
    #[arg(long, env = "CUPOLA_URL", default_value = URL_DEFAULT, value_name = "URL")]
    pub(crate) url: String,
    /// A data directory that no server is using, instead of a running server.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the directory's segments are kept, if not in it.
    #[arg(long, env = "CUPOLA_OBJECT_STORE_URL", value_name = "URL")]
    pub(crate) object_store_url: Option<String>,
    /// Whose data.
    #[arg(long, env = "CUPOLA_TENANT", value_name = "TENANT", value_parser = tenant, default_value = "default")]
    pub(crate) tenant: TenantId,
}

#[derive(Args, Debug)]
pub(crate) struct QueryArguments {
    /// The statement; `-` reads it from standard input.
    pub(crate) sql: String,
    /// How the answer looks.
    #[arg(long, short, default_value = "table")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// What a statement may cost; less than what the server allows, never more.
#[derive(Args, Debug, Default)]
pub(crate) struct LimitArguments {
    /// Give up after this long.
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<TimeSpan>,
    /// Give up beyond this many rows of the answer.
    #[arg(long, value_name = "COUNT")]
    pub(crate) rows_max: Option<u64>,
    /// Memory for sorting, grouping and joining; beyond it the statement spills to disk or gives up.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_max: Option<ByteSize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns side by side; one below the other where they do not fit the terminal.
    Table,
    /// One column on a line.
    Vertical,
    Json,
    Ndjson,
    Csv,
}

#[derive(Args, Debug)]
pub(crate) struct TailArguments {
    /// `logs` or `spans`.
    #[arg(default_value = "logs")]
    pub(crate) signal: TailSignal,
    /// Only this service.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only logs of this level or a worse one: trace, debug, info, warn, error, fatal.
    #[arg(long)]
    pub(crate) level: Option<String>,
    /// Only with all of these words in the body, or in the name of the span.
    #[arg(long)]
    pub(crate) words: Option<String>,
    /// Only of this trace.
    #[arg(long, value_name = "ID")]
    pub(crate) trace_id: Option<String>,
    /// Only with this attribute; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) attribute: Vec<String>,
    /// Only failed spans, or logs of level error and worse.
    #[arg(long)]
    pub(crate) errors: bool,
    /// Stop after this many lines.
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(crate) lines: Option<u64>,
    /// Print each item as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// A running server.
    #[arg(long, env = "CUPOLA_URL", default_value = URL_DEFAULT, value_name = "URL")]
    pub(crate) url: String,
    /// Whose data.
    #[arg(long, env = "CUPOLA_TENANT", value_name = "TENANT", value_parser = tenant, default_value = "default")]
    pub(crate) tenant: TenantId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailSignal {
    Logs,
    #[value(alias = "traces")]
    Spans,
}

#[derive(Args, Debug)]
pub(crate) struct TraceArguments {
    /// Trace id: 32 hexadecimal digits.
    pub(crate) id: String,
    /// Show the attributes of each span.
    #[arg(long, short)]
    pub(crate) attributes: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    /// The data directory; no server may be using it [default: ./cupola-data].
    #[arg(long, env = "CUPOLA_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where segments are kept, if not in the data directory.
    #[arg(long, env = "CUPOLA_OBJECT_STORE_URL", value_name = "URL")]
    pub(crate) object_store_url: Option<String>,
    /// Repair what is found.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    /// Where the data is kept; a directory that is removed at the end without it.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Stop by itself after this long.
    #[arg(long = "for", alias = "exit-after", value_name = "DURATION")]
    pub(crate) run_for: Option<TimeSpan>,
    /// Simulated users of each tenant who act at the same time.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub(crate) users: usize,
    /// Take any free ports instead of the usual ones.
    #[arg(long)]
    pub(crate) free_ports: bool,
    /// Ceiling on memory.
    #[arg(long, env = "CUPOLA_MEMORY_LIMIT", value_name = "LIMIT")]
    pub(crate) memory_limit: Option<MemoryLimit>,
}

#[derive(Args, Debug)]
pub(crate) struct GenerateArguments {
    /// Send to this OTLP endpoint, such as http://127.0.0.1:4317.
    #[arg(long, value_name = "URL", conflicts_with_all = ["output", "data_dir"])]
    pub(crate) endpoint: Option<String>,
    /// Sent with every request, such as `Authorization=Bearer TOKEN`; may be given again. Those of
    /// OTEL_EXPORTER_OTLP_HEADERS are sent too.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = secret, requires = "endpoint")]
    pub(crate) headers: Vec<Secret>,
    /// A bearer token to send, in a file.
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub(crate) token_file: Option<PathBuf>,
    /// Authorities whose certificates are trusted, instead of those that browsers trust.
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The certificate to show to the server, for mutual TLS.
    #[arg(long, value_name = "FILE", requires_all = ["endpoint", "key_file"])]
    pub(crate) cert_file: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE", requires_all = ["endpoint", "cert_file"])]
    pub(crate) key_file: Option<PathBuf>,
    /// grpc, http/protobuf or http/json.
    #[arg(long, default_value = "grpc")]
    pub(crate) protocol: String,
    /// none, gzip or zstd.
    #[arg(long, default_value = "none")]
    pub(crate) compression: String,
    /// Write files here.
    #[arg(long, short, value_name = "DIR", conflicts_with = "data_dir")]
    pub(crate) output: Option<PathBuf>,
    /// How files look.
    #[arg(long, default_value = "otlp")]
    pub(crate) format: FileFormat,
    /// Write straight into this data directory; no server may be using it.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the directory's segments are kept, if not in it.
    #[arg(long, env = "CUPOLA_OBJECT_STORE_URL", value_name = "URL")]
    pub(crate) object_store_url: Option<String>,
    /// What to make; several are made in turns.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "logs,traces,metrics",
        value_name = "SIGNALS"
    )]
    pub(crate) signals: Vec<Signal>,
    /// Log records, spans and points, of each signal.
    #[arg(long, short = 'n', default_value_t = 100_000)]
    pub(crate) items: u64,
    /// Items in one batch.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) batch: usize,
    /// Items of each signal in a second; as fast as possible without it.
    #[arg(long, value_name = "COUNT", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Time that the items cover, ending now unless --start is given.
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub(crate) span: TimeSpan,
    /// Time of the first item, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<String>,
    /// Equal seeds give equal telemetry.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Services.
    #[arg(long, default_value_t = 24)]
    pub(crate) services: usize,
    /// Pods of the busiest service.
    #[arg(long, default_value_t = 12)]
    pub(crate) pods: usize,
    /// Distinct users.
    #[arg(long, default_value_t = 50_000)]
    pub(crate) users: usize,
    /// Tenants, the busiest first.
    #[arg(long, value_delimiter = ',', value_parser = tenant, default_value = "default", value_name = "TENANTS")]
    pub(crate) tenants: Vec<TenantId>,
    /// Memory that writing into a data directory may take.
    #[arg(long, default_value = "1GiB", value_name = "SIZE")]
    pub(crate) memory_limit: ByteSize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// Export requests in protobuf, one file a batch.
    Otlp,
    /// Export requests in OTLP/JSON, one on a line.
    Json,
    /// One item on a line, as a log shipper would write it.
    Ndjson,
}

/// Whatever is wrong with it is said later: here it would be said with the value.
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("a number above 0 is needed, such as 1000".to_owned()),
    }
}

fn tenant(text: &str) -> Result<TenantId, String> {
    TenantId::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_variable_is_described() {
        fn variables(command: &clap::Command, found: &mut Vec<String>) {
            let named = command.get_arguments().filter_map(clap::Arg::get_env);
            found.extend(named.map(|name| name.to_string_lossy().into_owned()));
            command
                .get_subcommands()
                .for_each(|inner| variables(inner, found));
        }
        let page = include_str!("../../../docs/configuration.md");
        let mut all = Vec::new();
        variables(&Cli::command(), &mut all);
        assert!(all.len() > 15, "{all:?}");
        for name in all {
            assert!(
                page.contains(&format!("`{name}`")),
                "{name} is not in docs/configuration.md"
            );
        }
    }

    #[test]
    fn a_rate_is_a_number_above_nothing() {
        assert_eq!((rate("2.5"), rate("1e-18")), (Ok(2.5), Ok(1e-18)));
        for wrong in ["0", "-1", "NaN", "inf", "many"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
