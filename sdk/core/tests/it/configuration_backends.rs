//! Back-ends of Cupola's own file, one kind after the other.

use cupola_sdk_core::backend::Backend;
#[cfg(any(feature = "postgres", feature = "kafka"))]
use cupola_sdk_core::backend::Destination;
#[cfg(any(feature = "postgres", feature = "kafka"))]
use cupola_sdk_core::configuration::{Environment, load};

#[cfg(not(any(feature = "postgres", feature = "kafka")))]
use crate::configuration_file::refused;
use crate::configuration_file::{loaded, names, warnings};

#[test]
fn several_of_a_kind_have_names_of_their_own() {
    let read = loaded(
        "logger: {service_name: x, backends: [{backend_type: otlp}, {backend_type: otlp}, {backend_type: otlp, name: far}, {backend_type: console}]}\n",
        &[],
    );
    assert_eq!(names(&read), ["otlp", "otlp/2", "far", "console"]);
    let ambiguous = loaded(
        "logger: {service_name: x, backends: [{backend_type: otlp}, {backend_type: otlp, name: far}]}\n",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c")],
    );
    assert!(
        warnings(&ambiguous)[0].contains("there are several OTLP back-ends"),
        "{:?}",
        warnings(&ambiguous)
    );
}

#[test]
fn delivery_is_as_applications_want_it_but_for_what_the_file_says() {
    let read = loaded(
        "logger: {service_name: x, backends: [{backend_type: otlp, delivery: {sending_queue: {num_consumers: 7}, rate_limit: {items_per_second: 10}}}]}\n",
        &[],
    );
    let delivery = &read.settings.backends[0].delivery;
    let usual = Backend::default_delivery();
    assert_eq!(delivery.sending_queue.num_consumers, 7);
    assert_eq!(delivery.sending_queue.queue_size, usual.sending_queue.queue_size);
    assert_eq!(delivery.sending_queue.when_full, usual.sending_queue.when_full);
    assert_eq!(delivery.retry_on_failure, usual.retry_on_failure);
    assert!(delivery.rate_limit.is_some());
}

#[cfg(not(any(feature = "postgres", feature = "kafka")))]
#[test]
fn a_back_end_that_is_not_built_in_is_refused_with_the_feature_to_build_it_with() {
    let shown = refused(
        "logger:\n  backends:\n    - {backend_type: postgres, config: {host: localhost, database: logs, user: p, password: $P, table_name: otel_logs, pool_size: 3}}\n    - {backend_type: kafka, config: {bootstrap_servers: 'a:1,b:2', topic: otel-logs}}\n",
    );
    assert!(
        shown.contains("hint: cargo add cupola-sdk --features postgres"),
        "{shown}"
    );
    assert!(
        shown.contains("hint: cargo add cupola-sdk --features kafka"),
        "{shown}"
    );
    assert!(!shown.contains("unknown key"), "{shown}");
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_becomes_a_destination() {
    let read = loaded(
        "logger: {service_name: x, backends: [{backend_type: postgres, config: {database: logs, user: p, password: $ELASTIC_PASSWORD, table_name: my_logs, pool_size: 3}}]}\n",
        &[],
    );
    let Destination::Postgres(config) = &read.settings.backends[0].destination else {
        panic!()
    };
    assert_eq!(
        (config.host.as_str(), config.port, config.database.as_str()),
        ("localhost", 5432, "logs")
    );
    assert_eq!(
        (config.user.as_str(), config.password.expose()),
        ("p", "hunter2-hunter2")
    );
    assert_eq!((config.logs_table.as_str(), config.pool_size), ("my_logs", 3));
    let by_url = Environment::of([
        ("OTEL_LOGS_EXPORTER", "postgres"),
        ("CUPOLA_POSTGRES_URL", "postgres://a:b@c/d"),
    ]);
    let settings = load(&by_url).unwrap().settings;
    let found = settings
        .backends
        .iter()
        .find_map(|backend| match &backend.destination {
            Destination::Postgres(config) => Some(config.endpoint.expose().to_owned()),
            _ => None,
        });
    assert_eq!(found.as_deref(), Some("postgres://a:b@c/d"));
}

#[cfg(feature = "kafka")]
#[test]
fn kafka_becomes_a_destination() {
    let read = loaded(
        "logger: {service_name: x, backends: [{backend_type: kafka, config: {bootstrap_servers: 'a:1, b:2', topic: otel-logs}}]}\n",
        &[],
    );
    let Destination::Kafka(config) = &read.settings.backends[0].destination else {
        panic!()
    };
    assert_eq!(config.brokers, ["a:1", "b:2"]);
    assert_eq!(
        (config.logs.topic.as_str(), config.traces.topic.as_str()),
        ("otel-logs", "otlp_spans")
    );
    let by_name = Environment::of([("OTEL_LOGS_EXPORTER", "kafka"), ("CUPOLA_KAFKA_BROKERS", "c:3")]);
    let settings = load(&by_name).unwrap().settings;
    let found = settings
        .backends
        .iter()
        .find_map(|backend| match &backend.destination {
            Destination::Kafka(config) => Some(config.brokers.clone()),
            _ => None,
        });
    assert_eq!(found, Some(vec!["c:3".to_owned()]));
}
