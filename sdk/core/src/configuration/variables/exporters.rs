//! Backends by variables: which exporters each signal has, and how OTLP is reached. Each signal is looked at by itself; what is the
//! same for several of them is one backend.

use std::path::PathBuf;

use cupola_export::debug::{DebugConfig, Verbosity};
use cupola_export::otlp::{Compression, OtlpConfig, Protocol};
use cupola_telemetry::Signal;

use super::super::{backends, otlp, pairs};
use super::reader::Variables;
use super::table::{self, PROTOCOLS};
use crate::backend::{Backend, Destination, Signals};

/// Signals as names of variables have them.
const SIGNALS: [(Signal, &str); 3] = [
    (Signal::Traces, "TRACES"),
    (Signal::Metrics, "METRICS"),
    (Signal::Logs, "LOGS"),
];

/// What the variables make of the backends that a file names; without a file, of none.
pub(super) fn apply(variables: &mut Variables<'_>, all: &mut Vec<Backend>, from_file: bool) {
    let mut apart = Vec::new();
    for (signal, name) in SIGNALS {
        let mut own = selected(variables, all, from_file, signal, name);
        let count = own
            .iter()
            .filter(|backend| matches!(backend.destination, Destination::Otlp(_)))
            .count();
        let of_otlp = Otlp::of(variables, name);
        match (count, of_otlp.set.first()) {
            (2.., Some(set)) => variables.warn(
                set,
                "has no effect: there are several OTLP back-ends",
                Some("refer to the variable in the file, where it is meant"),
            ),
            _ => own
                .iter_mut()
                .for_each(|backend| of_otlp.apply(variables, backend, signal)),
        }
        let export_timeout = match signal {
            Signal::Traces => variables.milliseconds("OTEL_BSP_EXPORT_TIMEOUT"),
            Signal::Logs => variables.milliseconds("OTEL_BLRP_EXPORT_TIMEOUT"),
            Signal::Metrics => None,
        };
        if let Some(limit) = export_timeout {
            own.iter_mut()
                .filter(|backend| is_remote(backend))
                .for_each(|backend| backends::give_up_after(backend, limit));
        }
        apart.extend(own);
    }
    let of_files = order(all);
    let mut joined = backends::joined(apart);
    // Those of a file stay in its order, in front.
    joined.sort_by_key(|backend| {
        of_files
            .iter()
            .position(|name| *name == backend.name)
            .unwrap_or(usize::MAX)
    });
    warn_of_unused(variables, &joined);
    *all = joined;
}

fn order(all: &[Backend]) -> Vec<String> {
    all.iter().map(|backend| backend.name.clone()).collect()
}

fn is_remote(backend: &Backend) -> bool {
    !matches!(
        backend.destination,
        Destination::JsonLines(_) | Destination::File(_) | Destination::Console(_)
    )
}

/// The backends of one signal.
fn selected(
    variables: &mut Variables<'_>,
    all: &[Backend],
    from_file: bool,
    signal: Signal,
    name: &str,
) -> Vec<Backend> {
    let variable = format!("OTEL_{name}_EXPORTER");
    let words = variables.words(&variable);
    let of_file = || all.iter().filter(|backend| backend.signals.has(signal));
    let only = |backend: &Backend| Backend {
        signals: Signals::only(signal),
        ..backend.clone()
    };
    let words = match words {
        None if from_file => return of_file().map(only).collect(),
        None => vec!["otlp"],
        Some(words) => words,
    };
    if words.contains(&"none") {
        if words.len() > 1 {
            variables.warn(&variable, "has others beside `none`; there are none then", None);
        }
        return Vec::new();
    }
    let mut own = Vec::new();
    for word in words {
        let before = own.len();
        own.extend(
            all.iter()
                .filter(|backend| backends::kind(&backend.destination) == word)
                .map(only),
        );
        if own.len() == before
            && let Some(destination) = destination(variables, &variable, word)
        {
            let named = Backend::new(backends::kind(&destination), destination);
            own.push(only(&named));
        }
    }
    own
}

/// A destination that no file describes; `None`, and told, if there cannot be one.
fn destination(variables: &mut Variables<'_>, variable: &str, word: &str) -> Option<Destination> {
    let told = match word {
        "otlp" => return Some(Destination::Otlp(otlp::config(Protocol::HttpProtobuf))),
        "console" => return Some(console()),
        "logging" => {
            variables.warn(
                variable,
                "`logging` is the former name of `console`",
                Some("write console"),
            );
            return Some(console());
        }
        "jsonl" => {
            let path = variables.text("CUPOLA_LOG_FILE");
            return Some(backends::json_lines(path.as_deref().unwrap_or("logs/app.jsonl")));
        }
        "elasticsearch" => {
            let url = variables.text("CUPOLA_ELASTICSEARCH_URL");
            return Some(backends::elasticsearch(
                url.as_deref().unwrap_or("http://localhost:9200"),
            ));
        }
        "postgres" => {
            let url = variables.text("CUPOLA_POSTGRES_URL");
            let url = url
                .as_deref()
                .unwrap_or("postgres://postgres@localhost:5432/postgres");
            match backends::postgres(url) {
                Ok(destination) => return Some(destination),
                Err(problem) => (format!("{problem}; it is left out"), "use otlp, or build it in"),
            }
        }
        "kafka" => {
            let brokers = variables.list("CUPOLA_KAFKA_BROKERS");
            match backends::kafka(brokers.unwrap_or_else(|| vec!["localhost:9092".to_owned()])) {
                Ok(destination) => return Some(destination),
                Err(problem) => (format!("{problem}; it is left out"), "use otlp, or build it in"),
            }
        }
        "otlp/stdout" => (
            "`otlp/stdout` is not available and left out".to_owned(),
            "use console, or a file of JSON lines: jsonl",
        ),
        "prometheus" => (
            "`prometheus` is left out: metrics are sent and not fetched".to_owned(),
            "use otlp, to a Cupola server or a Collector that Prometheus can ask",
        ),
        _ => (
            format!("`{word}` is not available and left out"),
            "use otlp, to a Collector that sends them on",
        ),
    };
    variables.warn(variable, told.0, Some(told.1));
    None
}

/// Every item on standard output.
pub(in super::super) fn console() -> Destination {
    Destination::Console(DebugConfig {
        verbosity: Verbosity::Normal,
        ..DebugConfig::default()
    })
}

/// What the variables say of OTLP for one signal.
struct Otlp {
    signal: &'static str,
    /// Names of those that are set.
    set: Vec<&'static str>,
}

impl Otlp {
    fn of(variables: &mut Variables<'_>, name: &'static str) -> Otlp {
        const ENDS: [&str; 9] = [
            "PROTOCOL",
            "ENDPOINT",
            "INSECURE",
            "CERTIFICATE",
            "CLIENT_CERTIFICATE",
            "CLIENT_KEY",
            "HEADERS",
            "COMPRESSION",
            "TIMEOUT",
        ];
        let mut set = Vec::new();
        for end in ENDS {
            for variable in [own(name, end), general(end)] {
                if variables.raw(&variable).is_some()
                    && let Some(known) = table::find(&variable)
                {
                    set.push(known.name);
                }
            }
        }
        Otlp { signal: name, set }
    }

    /// Changes a destination of OTLP by them.
    fn apply(&self, variables: &mut Variables<'_>, backend: &mut Backend, signal: Signal) {
        let Destination::Otlp(config) = &mut backend.destination else {
            return;
        };
        if self.set.is_empty() {
            backend.delivery.timeout = config.timeout;
            return;
        }
        if let Some((_, word)) = self.first(variables, "PROTOCOL", |variables, name| variables.word(name)) {
            let protocol = protocol(word);
            if config.endpoint == otlp::default_endpoint(config.protocol) {
                config.endpoint = otlp::default_endpoint(protocol).to_owned();
            }
            config.protocol = protocol;
        }
        self.endpoint(variables, config, signal);
        let text = |variables: &mut Variables<'_>, name: &str| variables.text(name);
        let mut path = |end| {
            self.first(variables, end, text)
                .map(|(_, path)| PathBuf::from(path))
        };
        let (authority, certificate, key) = (
            path("CERTIFICATE"),
            path("CLIENT_CERTIFICATE"),
            path("CLIENT_KEY"),
        );
        config.tls.ca_file = authority.or(config.tls.ca_file.take());
        config.tls.cert_file = certificate.or(config.tls.cert_file.take());
        config.tls.key_file = key.or(config.tls.key_file.take());
        if let Some((name, text)) = self.first(variables, "HEADERS", text) {
            let (headers, problems) = pairs::headers(&text);
            for problem in problems {
                variables.warn(
                    &name,
                    format!("{problem}; it is left out"),
                    Some("write name=value,name=value"),
                );
            }
            config.headers = headers;
        }
        if let Some((_, word)) = self.first(variables, "COMPRESSION", |variables, name| variables.word(name))
        {
            config.compression = compression(word);
        }
        let timeout = self.first(variables, "TIMEOUT", |variables, name| {
            variables.milliseconds(name)
        });
        let timeout = timeout.map_or(config.timeout, |(_, timeout)| timeout);
        backends::set_timeout(backend, timeout);
    }

    /// What the variable of the signal says, or else that of all.
    fn first<T>(
        &self,
        variables: &mut Variables<'_>,
        end: &str,
        mut read: impl FnMut(&mut Variables<'_>, &str) -> Option<T>,
    ) -> Option<(String, T)> {
        [own(self.signal, end), general(end)]
            .into_iter()
            .find_map(|name| read(variables, &name).map(|value| (name, value)))
    }

    fn endpoint(&self, variables: &mut Variables<'_>, config: &mut OtlpConfig, signal: Signal) {
        let insecure = self.first(variables, "INSECURE", |variables, name| variables.boolean(name));
        let is_insecure = insecure.is_some_and(|(_, insecure)| insecure);
        for (name, of) in [
            (own(self.signal, "ENDPOINT"), Some(signal)),
            (general("ENDPOINT"), None),
        ] {
            let set = variables.parsed(&name, |text| otlp::set_endpoint(config, text, of, is_insecure));
            if set.is_none() {
                continue;
            }
            if otlp::lacks_path(config, signal) {
                let hint = format!(
                    "add {} to it, or set OTEL_EXPORTER_OTLP_ENDPOINT, to which that is added",
                    otlp::path(signal)
                );
                variables.warn(&name, "has no path, and is used as it stands", Some(&hint));
            }
            return;
        }
    }
}

fn own(signal: &str, end: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{signal}_{end}")
}

fn general(end: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{end}")
}

pub(in super::super) fn protocol(word: &str) -> Protocol {
    debug_assert!(PROTOCOLS.contains(&word), "{word}");
    word.parse().unwrap_or(Protocol::HttpProtobuf)
}

pub(in super::super) fn compression(word: &str) -> Compression {
    word.parse().unwrap_or(Compression::None)
}

/// Variables of OTLP that nothing of what there is goes by.
fn warn_of_unused(variables: &mut Variables<'_>, all: &[Backend]) {
    let has_otlp = all
        .iter()
        .any(|backend| matches!(backend.destination, Destination::Otlp(_)));
    if has_otlp || all.is_empty() {
        return;
    }
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    if variables.raw(ENDPOINT).is_some() {
        variables.warn(
            ENDPOINT,
            "has no effect: no back-end is of the kind `otlp`",
            Some("add one to the file, or set OTEL_TRACES_EXPORTER=otlp and the like"),
        );
    }
}
