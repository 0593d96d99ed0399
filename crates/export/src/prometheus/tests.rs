//! What the translation does with metrics that are odd.

use cupola_telemetry::encode::MetricsEncoder;
use cupola_telemetry::view::NumberValue;
use cupola_telemetry::{Batch, TenantId};

use super::*;

fn options() -> Options {
    Options {
        namespace: String::new(),
        suffixes: true,
        resource_labels: false,
        scope_labels: true,
        target_info: true,
        delta: false,
        external_labels: Labels::default(),
    }
}

/// Names with labels, and what was refused.
fn translated(batch: &Batch, options: &Options) -> (Vec<String>, Refused) {
    let mut found = Vec::new();
    let refused = translate(batch, options, &mut |point| {
        let labels: Vec<String> = point
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        found.push(format!("{}{{{}}}", point.family.name, labels.join(",")));
        Ok(())
    });
    (found, refused)
}

/// One gauge point under a resource of these attributes.
fn gauge(resource: &[(&str, &str)], attributes: &[(&str, &str)]) -> Batch {
    let mut metrics = MetricsEncoder::new();
    {
        let mut outer = metrics.resource_metrics();
        {
            let mut about = outer.resource();
            for (key, value) in resource {
                about.attribute(key, *value);
            }
        }
        let mut scope = outer.scope_metrics();
        let mut metric = scope.metric();
        metric.name("level");
        let mut gauge = metric.gauge();
        let mut point = gauge.point();
        point.time_unix_nano(5_000_000).value(NumberValue::Int(1));
        for (key, value) in attributes {
            point.attribute(key, *value);
        }
    }
    metrics.finish(TenantId::default_tenant())
}

#[test]
fn whose_series_it_is_says_the_resource() {
    let batch = gauge(
        &[("service.name", "cart"), ("host.name", "h1")],
        &[("job", "other"), ("a.b", "c")],
    );
    let (found, _) = translated(&batch, &options());
    assert_eq!(
        found,
        ["level{a_b=c,job=cart}", "target_info{host_name=h1,job=cart}"]
    );
    let resource_labels = Options {
        resource_labels: true,
        target_info: false,
        ..options()
    };
    let (found, _) = translated(&batch, &resource_labels);
    assert_eq!(found, ["level{a_b=c,host_name=h1,job=cart,service_name=cart}"]);
    // Nothing to tell apart by, or nothing to say: no target_info.
    for resource in [&[("host.name", "h1")][..], &[("service.name", "cart")]] {
        assert_eq!(translated(&gauge(resource, &[]), &options()).0.len(), 1);
    }
    let external = Options {
        external_labels: [("job", "x"), ("dc", "y")].map(pair).into_iter().collect(),
        ..options()
    };
    assert_eq!(
        translated(&gauge(&[("service.name", "cart")], &[]), &external).0,
        ["level{dc=y,job=cart}"]
    );
}

fn pair((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn refused_points_come_back_as_they_were_and_no_others() {
    let mut metrics = MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        let mut scope = resource.scope_metrics();
        {
            let mut metric = scope.metric();
            metric.name("h");
            let mut histogram = metric.histogram();
            histogram.aggregation_temporality(2);
            for (bounds, counts) in [
                (vec![1.0], vec![1, 2]),
                (vec![1.0, 2.0], vec![1, 2]),
                (vec![2.0, 1.0], vec![1, 1, 1]),
            ] {
                histogram
                    .point()
                    .time_unix_nano(1_000_000)
                    .count(3)
                    .explicit_bounds(bounds)
                    .bucket_counts(counts);
            }
        }
        for (scale, offset) in [(0, 0), (-5, 0), (20, i32::MAX), (0, i32::MAX)] {
            let mut metric = scope.metric();
            metric.name("e");
            let mut histogram = metric.exponential_histogram();
            histogram.aggregation_temporality(2);
            let mut point = histogram.point();
            point.time_unix_nano(1_000_000).scale(scale).count(1);
            point.positive().offset(offset).bucket_counts([1]);
        }
        let mut metric = scope.metric();
        metric.name("d");
        let mut sum = metric.sum();
        sum.aggregation_temporality(1)
            .point()
            .time_unix_nano(1_000_000)
            .value(1_i64);
    }
    let batch = metrics.finish(TenantId::default_tenant());
    let (found, refused) = translated(&batch, &options());
    assert_eq!((found.len(), refused.len()), (3, 5));
    let accepted = refused.into_accepted(&batch);
    assert_eq!((accepted.rejected, accepted.refused[0].items()), (5, 5));
    let scopes = accepted.refused[0]
        .metrics()
        .resources()
        .flat_map(|resource| resource.scopes());
    let names: Vec<_> = scopes
        .flat_map(|scope| scope.metrics())
        .map(|metric| metric.name)
        .collect();
    assert_eq!(names, ["h", "e", "e", "d"]);
    // Whoever adds up takes delta points too.
    assert_eq!(
        translated(
            &batch,
            &Options {
                delta: true,
                ..options()
            }
        )
        .1
        .len(),
        4
    );
}

#[test]
fn bytes_that_are_no_metrics_do_no_harm() {
    let mut generator = cupola_generator::Generator::new(cupola_generator::GeneratorConfig::default());
    let batch = generator.points(12);
    let payload = batch.payload();
    for place in 0..payload.len() {
        let mut bytes = payload.to_vec();
        bytes[place] ^= 1 << (place % 8);
        let broken = Batch::from_canonical(
            batch.signal(),
            batch.tenant().clone(),
            bytes.into(),
            batch.items(),
        );
        translate(&broken, &options(), &mut |point| {
            flatten(point, &mut |_| {});
            if let Value::Native(native) = &point.value {
                native.to_classic();
                native.positive.spans_and_deltas();
            }
            Ok(())
        });
    }
}
