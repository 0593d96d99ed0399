//! Backends as several sources of configuration make them: what those of one signal have in common with those of another becomes
//! one, and each gets a name. Owns which of them need a feature of this crate.

use std::path::PathBuf;

use cupola_config::Secret;
use cupola_config::units::TimeSpan;
use cupola_export::elasticsearch::ElasticsearchConfig;
use cupola_export::json_lines::JsonLinesConfig;
use cupola_telemetry::Signal;

use crate::backend::{Backend, Destination, Signals};

/// The kind of a destination, as variables and files call it.
pub(super) fn kind(destination: &Destination) -> &'static str {
    match destination {
        Destination::Otlp(_) => "otlp",
        Destination::JsonLines(_) => "jsonl",
        Destination::File(_) => "otlp_file",
        Destination::Elasticsearch(_) => "elasticsearch",
        #[cfg(feature = "postgres")]
        Destination::Postgres(_) => "postgres",
        #[cfg(feature = "kafka")]
        Destination::Kafka(_) => "kafka",
        Destination::Console(_) => "console",
        Destination::Custom(_) => "custom",
    }
}

/// A file of JSON lines.
pub(super) fn json_lines(path: &str) -> Destination {
    Destination::JsonLines(JsonLinesConfig {
        log_file: PathBuf::from(path),
        ..JsonLinesConfig::default()
    })
}

/// The cluster at a URL, which may have credentials in it.
pub(super) fn elasticsearch(url: &str) -> Destination {
    let (endpoint, user, password) = without_credentials(url);
    Destination::Elasticsearch(Box::new(ElasticsearchConfig {
        endpoints: vec![endpoint],
        user,
        password,
        ..ElasticsearchConfig::default()
    }))
}

/// A URL without its user information, which is decoded.
pub(super) fn without_credentials(url: &str) -> (String, String, Secret) {
    let plain = || (url.to_owned(), String::new(), Secret::default());
    let Some((scheme, rest)) = url.split_once("://") else {
        return plain();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((user, host)) = rest[..end].rsplit_once('@') else {
        return plain();
    };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    (
        format!("{scheme}://{host}{}", &rest[end..]),
        crate::baggage::decode(user),
        Secret::new(crate::baggage::decode(password)),
    )
}

/// The database at a URL.
#[cfg(feature = "postgres")]
pub(super) fn postgres(url: &str) -> Result<Destination, String> {
    Ok(Destination::Postgres(Box::new(
        cupola_export::postgres::PostgresConfig {
            endpoint: Secret::new(url),
            ..Default::default()
        },
    )))
}

#[cfg(not(feature = "postgres"))]
pub(super) fn postgres(_: &str) -> Result<Destination, String> {
    Err(missing("postgres"))
}

/// The brokers at these addresses.
#[cfg(feature = "kafka")]
pub(super) fn kafka(brokers: Vec<String>) -> Result<Destination, String> {
    Ok(Destination::Kafka(Box::new(cupola_export::kafka::KafkaConfig {
        brokers,
        ..Default::default()
    })))
}

#[cfg(not(feature = "kafka"))]
pub(super) fn kafka(_: Vec<String>) -> Result<Destination, String> {
    Err(missing("kafka"))
}

/// Why a backend of this kind cannot be.
#[cfg(not(all(feature = "postgres", feature = "kafka")))]
pub(super) fn missing(feature: &str) -> String {
    format!(
        "`{feature}` is not part of this program: build it with the feature `{feature}` of cupola-sdk (cargo add cupola-sdk \
         --features {feature})"
    )
}

/// Those of one signal each, with what is the same for several made one. The order is that of their first appearance.
pub(super) fn joined(apart: Vec<Backend>) -> Vec<Backend> {
    let mut joined: Vec<Backend> = Vec::new();
    for backend in apart {
        let same = joined.iter_mut().find(|known| is_same(known, &backend));
        match same {
            Some(known) => known.signals = both(known.signals, backend.signals),
            None => joined.push(backend),
        }
    }
    name_apart(&mut joined);
    joined
}

fn both(one: Signals, other: Signals) -> Signals {
    Signals {
        logs: one.logs || other.logs,
        metrics: one.metrics || other.metrics,
        traces: one.traces || other.traces,
    }
}

/// Whether they differ in their signals alone.
fn is_same(one: &Backend, other: &Backend) -> bool {
    let fallbacks = || {
        one.fallbacks.len() == other.fallbacks.len()
            && one
                .fallbacks
                .iter()
                .zip(&other.fallbacks)
                .all(|(one, other)| is_same_place(one, other))
    };
    one.name == other.name
        && one.level == other.level
        && one.delivery == other.delivery
        && is_same_place(&one.destination, &other.destination)
        && fallbacks()
}

fn is_same_place(one: &Destination, other: &Destination) -> bool {
    match (one, other) {
        (Destination::Otlp(one), Destination::Otlp(other)) => one == other,
        (Destination::JsonLines(one), Destination::JsonLines(other)) => one == other,
        (Destination::File(one), Destination::File(other)) => one == other,
        (Destination::Elasticsearch(one), Destination::Elasticsearch(other)) => one == other,
        #[cfg(feature = "postgres")]
        (Destination::Postgres(one), Destination::Postgres(other)) => one == other,
        #[cfg(feature = "kafka")]
        (Destination::Kafka(one), Destination::Kafka(other)) => one == other,
        (Destination::Console(one), Destination::Console(other)) => one == other,
        (Destination::Custom(one), Destination::Custom(other)) => std::sync::Arc::ptr_eq(&one.0, &other.0),
        _ => false,
    }
}

/// Gives each a name of its own: by its signal where it has one, otherwise by its number.
pub(super) fn name_apart(backends: &mut [Backend]) {
    let names: Vec<String> = backends.iter().map(|backend| backend.name.clone()).collect();
    let mut given: Vec<String> = Vec::new();
    for backend in backends.iter_mut() {
        let is_alone = names.iter().filter(|name| **name == backend.name).count() == 1;
        let own = backend.name.clone();
        let mut number = 2;
        if !is_alone && let Some(signal) = only(backend.signals) {
            backend.name = format!("{own}/{signal}");
        }
        while given.contains(&backend.name) {
            backend.name = format!("{own}/{number}");
            number += 1;
        }
        given.push(backend.name.clone());
    }
}

/// The signal that there is, if it is one alone.
pub(super) fn only(signals: Signals) -> Option<Signal> {
    let mut all = Signal::ALL.into_iter().filter(|signal| signals.has(*signal));
    let first = all.next();
    first.filter(|_| all.next().is_none())
}

/// Gives up batches that have been tried for so long; zero is without end.
pub(super) fn give_up_after(backend: &mut Backend, limit: std::time::Duration) {
    let retry = &mut backend.delivery.retry_on_failure;
    retry.max_elapsed_time = limit;
    if !limit.is_zero() {
        // Waits that are longer than the whole are none.
        retry.initial_interval = retry.initial_interval.min(limit);
        retry.max_interval = retry.max_interval.min(limit);
    }
}

/// What a transport that knows no "without end" is told.
const NEVER: std::time::Duration = std::time::Duration::from_secs(365 * 86_400);

/// Time for one attempt, of a destination and of the queue in front of it; zero is without end.
pub(super) fn set_timeout(backend: &mut Backend, timeout: std::time::Duration) {
    backend.delivery.timeout = timeout;
    match &mut backend.destination {
        Destination::Otlp(otlp) => otlp.timeout = if timeout.is_zero() { NEVER } else { timeout },
        Destination::Elasticsearch(elasticsearch) if !timeout.is_zero() => {
            elasticsearch.timeout = TimeSpan(timeout);
        }
        #[cfg(feature = "postgres")]
        Destination::Postgres(postgres) if !timeout.is_zero() => postgres.timeout = TimeSpan(timeout),
        #[cfg(feature = "kafka")]
        Destination::Kafka(kafka) if !timeout.is_zero() => kafka.timeout = TimeSpan(timeout),
        _ => {}
    }
}
