//! The configuration file as it is written: the Collector's sections beside Cupola's own. Parsing validates shape and
//! types and never acts; an absent value stays absent, so that defaults are applied in one place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cupola_config::units::{ByteSize, MemoryLimit, TimeSpan};
use cupola_config::{ComponentId, Endpoint, Entry, Node, Passed, Place, Problem, Problems};
use serde::Deserialize;

use super::load::Document;
use super::options;
use super::telemetry::{self, OwnResource, Telemetry};
use crate::components;
use crate::failure::Failure;

/// Sections that the pipelines read for themselves.
const OF_PIPELINES: [&str; 4] = ["receivers", "processors", "exporters", "connectors"];

/// What a file says, apart from its pipelines, which stay a tree.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) document: Document,
    pub(crate) extensions: Extensions,
    pub(crate) store: StoreSection,
    pub(crate) api: ApiSection,
    pub(crate) memory: MemorySection,
    pub(crate) query: QuerySection,
    pub(crate) service: ServiceSection,
    /// `service.telemetry.resource`.
    pub(crate) own_resource: OwnResource,
}

/// All sections that there are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sections {
    receivers: Passed,
    processors: Passed,
    exporters: Passed,
    connectors: Passed,
    extensions: Passed,
    store: StoreSection,
    api: ApiSection,
    memory: MemorySection,
    query: QuerySection,
    service: ServiceSection,
}

impl File {
    /// Reads the sections of a document, which keeps what is wrong with them: what could not be read is as if it were
    /// not said.
    pub(crate) fn read(mut document: Document) -> File {
        let mut problems = Problems::new();
        let root = &document.root;
        let mut own = root.clone();
        for section in OF_PIPELINES.into_iter().chain(["extensions"]) {
            own = own.without(&[section]);
        }
        let sections: Sections = match own.is_null() {
            true => Sections::default(),
            false => {
                let own = options::telemetry(&own, &mut problems);
                cupola_config::read(&own, &mut problems).unwrap_or_default()
            }
        };
        let extensions = Extensions::read(root, &mut problems);
        let own_resource = telemetry::resource(root, &mut problems);
        telemetry::remark(root, &mut problems);
        document.add(problems);
        File {
            document,
            extensions,
            store: sections.store,
            api: sections.api,
            memory: sections.memory,
            query: sections.query,
            service: sections.service,
            own_resource,
        }
    }

    /// Itself, if nothing is wrong with it so far.
    pub(crate) fn settled(self) -> Result<File, Failure> {
        self.document.settled()?;
        Ok(self)
    }

    /// What one text says, for tests.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Result<File, Failure> {
        File::read(Document::parse(text)?).settled()
    }
}

/// Reads the files. What is wrong with them is told with the rest when settings are made of them; whoever makes none
/// asks whether they are [`settled`](File::settled).
pub(crate) fn load(paths: &[PathBuf]) -> Result<File, Failure> {
    super::load::load(paths).map(File::read)
}

/// Extensions, which may have names of their own: `file_storage/queues`.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) health_check: Option<HealthCheck>,
    pub(crate) file_storage: BTreeMap<ComponentId, FileStorage>,
    pub(crate) zpages: Option<Zpages>,
    pub(crate) pprof: Option<Pprof>,
    /// All that are in use, by their names.
    pub(crate) names: Vec<String>,
}

/// Their kinds.
pub(crate) const EXTENSIONS: [&str; 4] = ["health_check", "file_storage", "zpages", "pprof"];

impl Extensions {
    fn read(root: &Node, problems: &mut Problems) -> Extensions {
        let mut read = Extensions::default();
        check_listed(root, problems);
        let Some(section) = root.get("extensions").filter(|node| !node.is_null()) else {
            return read;
        };
        if !section.is_mapping() {
            let problem = Problem::error(
                section.place().clone(),
                "extensions",
                "expected extensions by their names",
            );
            problems.push(problem);
        }
        for entry in section.entries() {
            let at = format!("extensions.{}", entry.key);
            let id: ComponentId = match entry.key.parse() {
                Ok(id) => id,
                Err(error) => {
                    problems.push(Problem::error(entry.place.clone(), at, error));
                    continue;
                }
            };
            if !components::is_of_pipelines(id.kind()) && !EXTENSIONS.contains(&id.kind()) {
                problems.push(unknown_extension(id.kind(), &at, &entry.place));
                continue;
            }
            if !is_listed(root, &id, entry, problems) {
                continue;
            }
            read.names.push(entry.key.to_string());
            let value = &options::of(id.kind()).without_idle(&entry.value, &at, problems);
            match id.kind() {
                "health_check" => read.health_check = below(&at, value, problems),
                "file_storage" => {
                    if let Some(storage) = below(&at, value, problems) {
                        read.file_storage.insert(id, storage);
                    }
                }
                "zpages" => read.zpages = below(&at, value, problems),
                "pprof" => read.pprof = below(&at, value, problems),
                // Authenticators.
                _ => {}
            }
        }
        read
    }
}

/// Extensions that open the process to whoever looks into it, which nobody needs by accident.
const ONLY_IF_LISTED: [&str; 2] = ["zpages", "pprof"];

/// What `service.extensions` lists; nothing where a section is enough.
fn listed(root: &Node) -> Option<&Node> {
    root.at(&["service", "extensions"])
        .filter(|node| node.is_sequence())
}

/// Whether an extension is in use, which one that is not listed is told about.
fn is_listed(root: &Node, id: &ComponentId, entry: &Entry, problems: &mut Problems) -> bool {
    let Some(list) = listed(root) else { return true };
    let names = list.items().iter().filter_map(Node::text);
    if names
        .filter_map(|name| name.parse().ok())
        .any(|other: ComponentId| other == *id)
    {
        return true;
    }
    let started = !ONLY_IF_LISTED.contains(&id.kind());
    let message = match started {
        true => "it is not in `service.extensions`, and holds all the same",
        false => "it is not in `service.extensions`, and so is not started",
    };
    let problem = Problem::warning(entry.place.clone(), format!("extensions.{}", entry.key), message);
    problems.push(problem.hint(format!("add `{id}` to the list, or remove the section")));
    started
}

/// Whatever is listed must be there; the health checks are in any case.
fn check_listed(root: &Node, problems: &mut Problems) {
    for item in listed(root).map(Node::items).unwrap_or_default() {
        let Some(name) = item.text() else { continue };
        let is_there =
            name.split('/').next() == Some("health_check") || root.at(&["extensions", name]).is_some();
        if !is_there {
            let message = format!("there is no extension `{name}` in `extensions`");
            let problem = Problem::error(item.place().clone(), "service.extensions", message);
            problems.push(problem.hint(format!("add `{name}:` there, or remove it from the list")));
        }
    }
}

fn unknown_extension(kind: &str, at: &str, place: &Place) -> Problem {
    let mut known = EXTENSIONS.to_vec();
    known.extend(components::extension_names());
    let hint = match cupola_config::nearest::nearest(kind, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Problem::error(place.clone(), at, format!("Cupola has no extension `{kind}`")).hint(hint)
}

/// Reads a part of the tree; the keys of its problems begin at the root.
pub(super) fn below<T: serde::de::DeserializeOwned>(
    at: &str,
    node: &Node,
    problems: &mut Problems,
) -> Option<T> {
    let mut found = Problems::new();
    let read = cupola_config::read_at(node, at, &mut found);
    let kind = at.split(['.', '/']).nth(1).unwrap_or_default();
    let options = options::of(kind);
    let explained = found.into_sorted().into_iter();
    problems.extend(explained.map(|problem| options.explained(at, problem)));
    read
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HealthCheck {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) enabled: Option<bool>,
    /// Where it is said that the process lives, besides `/`.
    pub(crate) path: Option<String>,
    pub(crate) response_body: ResponseBody,
    /// Read so that files may have it: how each exporter is, is at `/health`.
    pub(crate) check_collector_pipeline: CheckPipeline,
}

/// What is said there.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResponseBody {
    pub(crate) healthy: Option<String>,
    /// Read so that files may have it: a process that answers lives.
    pub(crate) unhealthy: Option<String>,
}

/// The Collector counts failures of exporters with it, which its own documentation advises against.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CheckPipeline {
    pub(crate) enabled: Option<bool>,
    pub(crate) interval: Option<TimeSpan>,
    pub(crate) exporter_failure_threshold: Option<u32>,
}

/// Pages that show what the process does.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Zpages {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) expvar: Expvar,
}

/// The page `/debug/expvarz`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expvar {
    pub(crate) enabled: bool,
}

/// Profiles of the process.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pprof {
    pub(crate) endpoint: Option<Endpoint>,
    /// Where the processor profile of the whole run goes.
    pub(crate) save_to_file: Option<PathBuf>,
    /// Of the Go runtime: there is nothing of the kind here.
    pub(crate) block_profile_fraction: Option<i64>,
    pub(crate) mutex_profile_fraction: Option<i64>,
}

/// Where queues that survive are kept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileStorage {
    pub(crate) directory: Option<PathBuf>,
    /// Done in any case.
    pub(crate) create_directory: Option<bool>,
    /// Settings of the Collector's storage that this one does not need.
    pub(crate) timeout: Option<TimeSpan>,
    pub(crate) fsync: Option<bool>,
    pub(crate) compaction: Passed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreSection {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) object_store_url: Option<String>,
    pub(crate) object_store_options: BTreeMap<String, String>,
    pub(crate) flush_bytes_max: Option<ByteSize>,
    pub(crate) flush_interval: Option<TimeSpan>,
    pub(crate) wal_segment_bytes_max: Option<ByteSize>,
    pub(crate) compaction: Compaction,
    pub(crate) retention: Vec<Retention>,
    pub(crate) retention_interval: Option<TimeSpan>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Compaction {
    pub(crate) interval: Option<TimeSpan>,
    pub(crate) files_min: Option<usize>,
    pub(crate) segment_bytes_target: Option<ByteSize>,
    pub(crate) settle: Option<TimeSpan>,
}

/// The first rule that names a row decides how long it is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) keep: TimeSpan,
    #[serde(default)]
    pub(crate) signal: Option<SignalName>,
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    #[serde(default)]
    pub(crate) service: Option<String>,
    /// Logs at least and at most this severe: `trace`, `debug`, `info`, `warn`, `error`, `fatal`.
    #[serde(default)]
    pub(crate) severity_min: Option<Severity>,
    #[serde(default)]
    pub(crate) severity_max: Option<Severity>,
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) resource_attributes: BTreeMap<String, Scalar>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignalName {
    Logs,
    Metrics,
    Traces,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl SignalName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SignalName::Logs => "logs",
            SignalName::Metrics => "metrics",
            SignalName::Traces => "traces",
        }
    }
}

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Trace => "trace",
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }

    /// The least `SeverityNumber` of this name; three finer steps follow it.
    pub(crate) fn number(self) -> i64 {
        1 + 4 * self as i64
    }
}

/// A value that an attribute is compared with.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiSection {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) postgres: Option<Listener>,
    pub(crate) flight_sql: Option<Listener>,
    pub(crate) allowed_hosts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listener {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MemorySection {
    pub(crate) limit: Option<MemoryLimit>,
}

/// Limits of statements; a statement can only ask for stricter ones.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuerySection {
    pub(crate) timeout: Option<TimeSpan>,
    pub(crate) rows_max: Option<u64>,
    pub(crate) bytes_max: Option<ByteSize>,
    pub(crate) memory_bytes_max: Option<ByteSize>,
    pub(crate) running_max: Option<usize>,
    pub(crate) waiting_max: Option<usize>,
    pub(crate) slow_query: Option<TimeSpan>,
    pub(crate) spill_directory: Option<PathBuf>,
    pub(crate) spill_limit: Option<MemoryLimit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServiceSection {
    pub(crate) telemetry: Telemetry,
    /// Read with the extensions.
    pub(crate) extensions: Vec<String>,
    pub(crate) pipelines: Passed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_a_collector_are_read_beside_ours() {
        let file = File::parse(
            "receivers:\n  otlp:\nextensions:\n  health_check:\n  file_storage/q: {directory: /tmp/q}\n\
             service:\n  extensions: [health_check]\n  telemetry:\n    metrics: {level: detailed, address: ':8888'}\n\
             memory:\n  limit: 25%\n",
        )
        .unwrap();
        assert!(file.extensions.health_check.is_some());
        assert_eq!(file.extensions.file_storage.len(), 1);
        assert_eq!(file.memory.limit, Some(MemoryLimit::Percent(25.0)));
    }

    #[test]
    fn a_list_of_extensions_says_which_are_started() {
        let sections = "extensions: {health_check: , zpages: , pprof: {endpoint: ':1'}}\n";
        let all = File::parse(sections).unwrap();
        assert!(all.extensions.zpages.is_some() && all.extensions.pprof.is_some());
        assert!(all.document.warnings().is_empty());
        let some = File::parse(&format!("{sections}service: {{extensions: [pprof]}}\n")).unwrap();
        assert!(some.extensions.zpages.is_none() && some.extensions.pprof.is_some());
        assert!(some.extensions.health_check.is_some());
        assert_eq!(some.extensions.names, ["health_check", "pprof"]);
        let warnings = some.document.warnings();
        let warned: Vec<&str> = warnings.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(warned, ["extensions.health_check", "extensions.zpages"]);
        let missing = File::parse("service: {extensions: [health_check, zpages]}\n").unwrap_err();
        let told = missing.details().join("\n");
        assert!(
            told.contains("`zpages`") && !told.contains("`health_check`"),
            "{told}"
        );
    }

    #[test]
    fn retention_rules_are_read() {
        let file = File::parse(
            "store:\n  retention:\n    - keep: 3d\n      signal: logs\n      severity_max: debug\n\
             \x20   - keep: 90d\n      attributes: {http.response.status_code: 500, cache.hit: true}\n",
        )
        .unwrap();
        assert_eq!(file.store.retention.len(), 2);
        assert_eq!(file.store.retention[0].severity_max.unwrap().number(), 5);
        assert!(matches!(
            file.store.retention[1].attributes["http.response.status_code"],
            Scalar::Int(500)
        ));
        assert!(
            File::parse("store:\n  retention:\n    - signal: logs\n").is_err(),
            "`keep` is required"
        );
    }

    #[test]
    fn all_slips_are_named_with_their_lines_and_the_nearest_keys() {
        let failure =
            File::parse("stor: {}\nextensions:\n  health_chek:\nmemory:\n  limt: 25%\n").unwrap_err();
        let told = failure.details().join("\n");
        for expected in [
            "cupola.yaml:1:1",
            "`store`",
            "cupola.yaml:3:3",
            "`health_check`",
            "memory.limt",
            "`limit`",
        ] {
            assert!(told.contains(expected), "{expected} is not in\n{told}");
        }
    }
}
