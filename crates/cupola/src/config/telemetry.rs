//! `service.telemetry`: what a file says of Cupola's own logs, spans and metrics. Owns which of the Collector's settings
//! there have an effect, and says of those that a reader would miss that they have none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cupola_config::{Endpoint, Node, Passed, Problem, Problems};
use serde::Deserialize;

use super::file::{Scalar, below};

/// Where the Collector serves its metrics if a reader does not say.
const METRICS_PORT: u16 = 8888;
const SECTION: [&str; 2] = ["service", "telemetry"];
const RESOURCE: &str = "service.telemetry.resource";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    pub(crate) logs: TelemetryLogs,
    /// Tenant that keeps Cupola's own telemetry.
    pub(crate) tenant: Option<String>,
    /// Whether Cupola's own telemetry is kept at all.
    pub(crate) enabled: Option<bool>,
    pub(crate) metrics: TelemetryMetrics,
    /// Of the Collector's own traces: Cupola keeps its own in its store.
    pub(crate) traces: Passed,
    /// Read by [`resource`].
    pub(crate) resource: Passed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetryMetrics {
    /// `none` serves nothing; Cupola has one level otherwise.
    pub(crate) level: Option<String>,
    /// The older way to say where metrics are served.
    pub(crate) address: Option<Endpoint>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) views: Passed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Reader {
    pub(crate) pull: Option<Pull>,
    /// Has no effect, which is told.
    pub(crate) periodic: Passed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pull {
    pub(crate) exporter: PullExporter,
    pub(crate) producers: Passed,
    pub(crate) cardinality_limits: Passed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PullExporter {
    #[serde(deserialize_with = "cupola_config::present")]
    pub(crate) prometheus: Option<PrometheusPage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PrometheusPage {
    host: Option<Host>,
    port: Option<u16>,
    /// How names are made of those of instruments: Cupola's are what they are.
    without_scope_info: Passed,
    without_type_suffix: Passed,
    without_units: Passed,
    with_resource_constant_labels: Passed,
    translation_strategy: Passed,
}

/// An address without its port.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Host(IpAddr);

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Host, String> {
        match text.trim() {
            "localhost" => Ok(Host(Ipv4Addr::LOCALHOST.into())),
            address => address.trim_matches(['[', ']']).parse().map(Host).map_err(|_| {
                format!("`{text}` is not an address; write for example 127.0.0.1, [::1] or localhost")
            }),
        }
    }
}

impl TelemetryMetrics {
    /// Where `/metrics` is to be served besides the API; nowhere unless it is said.
    pub(super) fn listens(&self) -> Vec<SocketAddr> {
        if self
            .level
            .as_deref()
            .is_some_and(|level| level.eq_ignore_ascii_case("none"))
        {
            return Vec::new();
        }
        let pages = self
            .readers
            .iter()
            .filter_map(|reader| reader.pull.as_ref()?.exporter.prometheus.as_ref());
        let of_readers = pages.map(|page| {
            let host = page.host.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |host| host.0);
            SocketAddr::new(host, page.port.unwrap_or(METRICS_PORT))
        });
        let mut listens: Vec<SocketAddr> = Vec::new();
        for address in self
            .address
            .map(|address| address.0)
            .into_iter()
            .chain(of_readers)
        {
            if !listens.contains(&address) {
                listens.push(address);
            }
        }
        listens
    }
}

/// Attributes that own telemetry has beside or in place of its own; without a value, not at all.
pub(crate) type OwnResource = Vec<(String, Option<Scalar>)>;

/// `service.telemetry.resource`, in either form that the Collector knows: names with their values, or a list of `attributes`.
pub(super) fn resource(root: &Node, problems: &mut Problems) -> OwnResource {
    let mut read = OwnResource::new();
    let Some(section) = root
        .at(&[SECTION[0], SECTION[1], "resource"])
        .filter(|node| !node.is_null())
    else {
        return read;
    };
    if !section.is_mapping() {
        problems.push(Problem::error(
            section.place().clone(),
            RESOURCE,
            "expected attributes by their names",
        ));
    }
    let mut add = |at: &str, name: &str, value: Option<&Node>, problems: &mut Problems| {
        let value = value.filter(|value| !value.is_null());
        let scalar = value.and_then(|value| below::<Scalar>(at, value, problems));
        // One that cannot be read is an error already.
        if value.is_none() || scalar.is_some() {
            read.push((name.to_owned(), scalar));
        }
    };
    for entry in section.entries() {
        let at = format!("{RESOURCE}.{}", entry.key);
        match &*entry.key {
            "attributes" if entry.value.is_sequence() => {
                for item in entry.value.items() {
                    match item.get("name").and_then(Node::text) {
                        Some(name) => add(&at, name, item.get("value"), problems),
                        None => problems.push(Problem::error(
                            item.place().clone(),
                            at.as_str(),
                            "expected `name` and `value`",
                        )),
                    }
                }
            }
            "schema_url" if entry.value.text().is_some() => {}
            "detectors" | "detection/development" | "attributes_list" => {
                let message = "it has no effect: name the attributes that own telemetry is to have";
                problems.push(Problem::warning(entry.place.clone(), at, message));
            }
            name => add(&at, name, Some(&entry.value), problems),
        }
    }
    read
}

/// Tells of settings that would send own telemetry somewhere, which they do not here.
pub(super) fn remark(root: &Node, problems: &mut Problems) {
    let Some(section) = root.at(&SECTION) else { return };
    let readers = section
        .at(&["metrics", "readers"])
        .map(Node::items)
        .unwrap_or_default();
    for (index, reader) in readers.iter().enumerate() {
        if let Some(entry) = reader.entry("periodic") {
            let at = format!("service.telemetry.metrics.readers[{index}].periodic");
            let message = "it has no effect: Cupola does not push its own metrics";
            let hint = "scrape its /metrics with a receiver `prometheus`, and send that on in a pipeline";
            problems.push(Problem::warning(entry.place.clone(), at, message).hint(hint));
        }
    }
    for (signal, what, hint) in [
        (
            "traces",
            "own spans",
            "they are kept in the store, where there is one, under the tenant of `service.telemetry.tenant`",
        ),
        (
            "logs",
            "own logs",
            "they go to standard error, and into the store, where there is one, under the tenant of `service.telemetry.tenant`",
        ),
    ] {
        let processors = section.get(signal).and_then(|node| node.entry("processors"));
        if let Some(entry) =
            processors.filter(|entry| !entry.value.is_null() && !entry.value.items().is_empty())
        {
            let at = format!("service.telemetry.{signal}.processors");
            let message = format!("it has no effect: Cupola does not send its {what} anywhere");
            problems.push(Problem::warning(entry.place.clone(), at, message).hint(hint));
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetryLogs {
    pub(crate) level: Option<String>,
    pub(crate) encoding: Option<LogEncoding>,
    /// Of the Collector's logger, which Cupola's is not: it writes to standard error.
    pub(crate) development: Option<bool>,
    pub(crate) sampling: Passed,
    pub(crate) output_paths: Vec<String>,
    pub(crate) error_output_paths: Vec<String>,
    pub(crate) disable_caller: Option<bool>,
    pub(crate) disable_stacktrace: Option<bool>,
    pub(crate) initial_fields: Passed,
    pub(crate) processors: Passed,
}

/// How log lines look on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogEncoding {
    #[value(name = "text", alias = "console")]
    #[serde(alias = "text")]
    Console,
    Json,
}

#[cfg(test)]
mod tests {
    use super::super::file::File;

    fn listens(metrics: &str) -> Vec<String> {
        let file = File::parse(&format!("service: {{telemetry: {{metrics: {metrics}}}}}")).unwrap();
        let listens = file.service.telemetry.metrics.listens();
        listens.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn metrics_are_served_where_a_reader_or_an_address_says_and_nowhere_else() {
        let reader = |page: &str| format!("{{readers: [{{pull: {{exporter: {{prometheus: {page}}}}}}}]}}");
        for (metrics, expected) in [
            ("{level: detailed}".to_owned(), &[][..]),
            ("{readers: [{periodic: {interval: 1000}}]}".to_owned(), &[]),
            (
                reader("{host: 10.0.0.7, port: 9999, without_units: true}"),
                &["10.0.0.7:9999"],
            ),
            (reader("{port: 8888}"), &["127.0.0.1:8888"]),
            (reader(""), &["127.0.0.1:8888"]),
            (reader("{host: 'fd00::7', port: 1}"), &["[fd00::7]:1"]),
            ("{address: '0.0.0.0:8888'}".to_owned(), &["0.0.0.0:8888"]),
            (
                "{address: '127.0.0.1:8888', readers: [{pull: {exporter: {prometheus: {host: localhost}}}}]}"
                    .to_owned(),
                &["127.0.0.1:8888"],
            ),
            ("{level: none, address: '0.0.0.0:8888'}".to_owned(), &[]),
        ] {
            assert_eq!(listens(&metrics), expected, "{metrics}");
        }
        let failure = File::parse(&format!(
            "service: {{telemetry: {{metrics: {}}}}}",
            reader("{host: pod}")
        ))
        .unwrap_err();
        let details = failure.details().join(" ");
        assert!(
            details.contains("prometheus.host") && details.contains("not an address"),
            "{details}"
        );
    }

    #[test]
    fn a_resource_is_read_in_both_forms() {
        for text in [
            "{service.name: gateway, service.instance.id: null, a: 1}",
            "{attributes: [{name: service.name, value: gateway}, {name: service.instance.id, value: null}, {name: a, value: 1}]}",
        ] {
            let file = File::parse(&format!("service: {{telemetry: {{resource: {text}}}}}")).unwrap();
            let shown: Vec<String> = file.own_resource.iter().map(|one| format!("{one:?}")).collect();
            let expected = [
                r#"("service.name", Some(Text("gateway")))"#,
                r#"("service.instance.id", None)"#,
                r#"("a", Some(Int(1)))"#,
            ];
            assert_eq!(shown, expected);
        }
        assert!(File::parse("service: {telemetry: {resource: {a: [1]}}}").is_err());
        assert!(File::parse("service: {telemetry: {resource: [a]}}").is_err());
    }

    #[test]
    fn what_has_no_effect_is_told_with_what_to_do_instead() {
        let exporter = "exporter: {otlp: {endpoint: x}}";
        let text = format!(
            "service:\n  telemetry:\n    metrics: {{readers: [{{periodic: {{{exporter}}}}}]}}\n    \
             traces: {{processors: [{{batch: {{{exporter}}}}}]}}\n    logs: {{processors: [{{batch: {{{exporter}}}}}]}}\n"
        );
        let file = File::parse(&text).unwrap();
        let warnings = file.document.warnings();
        let told: Vec<&str> = warnings.iter().map(|problem| problem.key.as_str()).collect();
        let expected = [
            "metrics.readers[0].periodic",
            "traces.processors",
            "logs.processors",
        ];
        assert_eq!(told, expected.map(|key| format!("service.telemetry.{key}")));
        let quiet =
            File::parse("service: {telemetry: {traces: {processors: []}, logs: {level: INFO}}}").unwrap();
        assert!(quiet.document.warnings().is_empty());
    }
}
