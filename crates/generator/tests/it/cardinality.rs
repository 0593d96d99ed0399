//! Services, routes, users and tenants are as many as asked for, and skewed.

use std::collections::HashMap;

use cupola_generator::{ABSENT_WORD, COMMON_WORD, Generator, GeneratorConfig, RARE_WORD};
use cupola_telemetry::{Signal, TenantId};
use opentelemetry_proto::tonic::common::v1::any_value;

use crate::{generator, metrics, records, spans, text};

#[test]
fn services_are_as_many_as_asked_for_and_skewed() {
    let mut generator = Generator::new(GeneratorConfig {
        services: 40,
        ..GeneratorConfig::default()
    });
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (service, _) in records(&generator.logs(40_000)) {
        *counts.entry(service).or_default() += 1;
    }
    assert_eq!(counts.len(), 40);
    assert_eq!(generator.services().len(), 40);
    let (most, least) = (counts.values().max().unwrap(), counts.values().min().unwrap());
    assert!(*most > 20 * *least, "busiest {most}, quietest {least}");
}

#[test]
fn routes_and_users_stay_within_their_bounds() {
    let mut generator = Generator::new(GeneratorConfig {
        services: 3,
        routes: 5,
        users: 200,
        ..GeneratorConfig::default()
    });
    let mut routes: HashMap<String, usize> = HashMap::new();
    let mut users: HashMap<String, usize> = HashMap::new();
    for (_, span) in spans(&generator.traces(30_000)) {
        if let Some(route) = text(&span.attributes, "http.route") {
            *routes.entry(route).or_default() += 1;
        }
        if let Some(user) = text(&span.attributes, "user.id") {
            *users.entry(user).or_default() += 1;
        }
    }
    assert!((10..=15).contains(&routes.len()), "{routes:?}");
    assert!((150..=200).contains(&users.len()), "{}", users.len());
    assert!(users.values().max().unwrap() > &(10 * users.values().min().unwrap()));
}

#[test]
fn tenants_send_in_proportion_to_their_rank() {
    let tenants: Vec<TenantId> = ["one", "two", "three"]
        .map(|name| TenantId::parse(name).unwrap())
        .into();
    let mut generator = Generator::new(GeneratorConfig {
        tenants: tenants.clone(),
        ..GeneratorConfig::default()
    });
    let mut counts = [0; 3];
    for _ in 0..1_100 {
        let batch = generator.logs(1);
        counts[tenants
            .iter()
            .position(|tenant| tenant == batch.tenant())
            .unwrap()] += 1;
    }
    // Weights 1, 1/2, 1/3 of 1,100 are 600, 300, 200.
    assert!(
        (540..660).contains(&counts[0]) && (250..350).contains(&counts[1]),
        "{counts:?}"
    );
}

#[test]
fn words_are_common_rare_and_absent() {
    let mut generator = generator(3);
    let (mut common, mut rare, mut absent, mut bytes, mut bodies) = (0, 0, 0, 0, 0);
    for _ in 0..8 {
        for (_, record) in records(&generator.logs(5_000)) {
            let Some(any_value::Value::StringValue(body)) = record.body.and_then(|body| body.value) else {
                continue;
            };
            let has = |word: &str| usize::from(body.split(' ').any(|of_body| of_body == word));
            common += has(COMMON_WORD);
            rare += has(RARE_WORD);
            absent += has(ABSENT_WORD);
            bytes += body.len();
            bodies += 1;
        }
    }
    assert!(
        (110..130).contains(&(bytes / bodies)),
        "mean body of {} bytes",
        bytes / bodies
    );
    assert!(
        (30..37).contains(&(common * 100 / bodies)),
        "{common} of {bodies}"
    );
    assert!((1..30).contains(&rare), "{rare} of {bodies}");
    assert_eq!(absent, 0);
}

#[test]
fn a_sweep_has_one_point_of_each_series() {
    let mut generator = Generator::new(GeneratorConfig {
        services: 4,
        pods: 2,
        ..GeneratorConfig::default()
    });
    let series = generator.series();
    let first = metrics(&generator.points(series));
    let second = metrics(&generator.points(series));
    let resources = |sweep: &[opentelemetry_proto::tonic::metrics::v1::ResourceMetrics]| sweep.len();
    assert_eq!(
        resources(&first.resource_metrics),
        resources(&second.resource_metrics)
    );
    assert!(series > 100, "{series}");
    let start = GeneratorConfig::default().start_unix_nano;
    assert!(generator.now(Signal::Metrics) >= start + 2 * 15_000_000_000);
}
