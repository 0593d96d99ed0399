//! Callbacks and collections: what is called when, what becomes of callbacks that fail, and who is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cupola_sdk_core::clock::Clock;
use cupola_sdk_core::metrics::{Description, Meters, MetricSettings};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::resource::Resource;
use cupola_sdk_core::{Sdk, Settings, Surroundings};
use cupola_telemetry::TenantId;

use super::{Bench, a, requests};

#[test]
fn one_callback_observes_several_instruments_until_it_is_unregistered() {
    let bench = Bench::new(MetricSettings::default());
    let (used, free) = (Description::new("used"), Description::new("free"));
    let used = bench.meter.observable_gauge::<i64>(&used);
    let free = bench.meter.observable_gauge::<f64>(&free);
    let both = bench.meter.register(move |observer| {
        observer.observe(&used, 1, &[]);
        observer.observe(&free, 2.0, &[]);
    });
    let other = bench.meter.observable_gauge::<i64>(&Description::new("other"));
    bench
        .meter
        .register(move |observer| observer.observe(&other, 3, &[]));
    assert_eq!(bench.collect().len(), 3);
    both.unregister();
    both.unregister();
    assert_eq!(bench.collect(), ["other{} gauge 0..10 = 3"]);
}

#[test]
fn callbacks_may_make_instruments_measure_unregister_themselves_and_even_collect() {
    let bench = Arc::new(Bench::new(MetricSettings::default()));
    let weak = Arc::downgrade(&bench);
    let registration = Arc::new(std::sync::OnceLock::new());
    let own = registration.clone();
    let made = bench.meter.register(move |observer| {
        let bench = weak.upgrade().unwrap();
        bench.meter.counter::<u64>(&Description::new("c")).record(1, &[]);
        let gauge = bench.meter.observable_gauge::<u64>(&Description::new("g"));
        observer.observe(&gauge, bench.batches().len() as u64, &[]);
        let registration: &cupola_sdk_core::metrics::Registration = own.get().unwrap();
        registration.unregister();
    });
    registration.set(made).unwrap();
    assert_eq!(
        bench.collect(),
        ["c{} sum+ cumulative 10..10 = 1", "g{} gauge 0..10 = 0"]
    );
    assert_eq!(bench.collect(), ["c{} sum+ cumulative 10..10 = 1"]);
}

#[test]
fn a_callback_that_panics_harms_no_other() {
    let bench = Bench::new(MetricSettings::default());
    let [one, two] = ["one", "two"].map(|name| bench.meter.observable_gauge::<u64>(&Description::new(name)));
    bench.meter.register(move |observer| {
        observer.observe(&one, 1, &[]);
        panic!("on purpose");
    });
    bench
        .meter
        .register(move |observer| observer.observe(&two, 2, &[]));
    for _ in 0..2 {
        assert_eq!(
            bench.collect(),
            ["one{} gauge 0..10 = 1", "two{} gauge 0..10 = 2"]
        );
    }
    assert_eq!(bench.problems().len(), 1);
}

#[test]
fn callbacks_whose_turn_does_not_come_in_time_are_left_out() {
    let bench = Bench::new(MetricSettings {
        timeout: Duration::from_nanos(100),
        ..MetricSettings::default()
    });
    let bench = Arc::new(bench);
    let [one, two] = ["one", "two"].map(|name| bench.meter.observable_gauge::<u64>(&Description::new(name)));
    let slow = Arc::downgrade(&bench);
    bench.meter.register(move |observer| {
        observer.observe(&one, 1, &[]);
        slow.upgrade().unwrap().set_time(500);
    });
    bench
        .meter
        .register(move |observer| observer.observe(&two, 2, &[]));
    assert_eq!(bench.collect(), ["one{} gauge 0..500 = 1"]);
    assert_eq!(
        bench.collect_at(500),
        ["one{} gauge 0..500 = 1", "two{} gauge 0..500 = 2"]
    );
    assert_eq!(bench.problems().len(), 1);
}

#[test]
fn an_observable_of_another_sdk_is_not_observed() {
    let (bench, other) = (
        Bench::new(MetricSettings::default()),
        Bench::new(MetricSettings::default()),
    );
    let gauge = other.meter.observable_gauge::<u64>(&Description::new("g"));
    bench
        .meter
        .register(move |observer| observer.observe(&gauge, 1, &[]));
    assert_eq!((bench.collect().len(), other.collect().len()), (0, 0));
    assert!(bench.problems()[0].contains("another SDK"));
}

#[test]
fn metrics_are_below_their_scopes_and_the_resource() {
    let sdk = Sdk::new(Settings::default(), Surroundings::default());
    let scopes = [
        Scope::of("one", "1", "https://one", &[a("k", "v")]),
        Scope::of("two", "", "", &[]),
    ];
    for name in ["x", "y"] {
        for scope in scopes {
            sdk.meter(scope)
                .counter::<u64>(&Description::new(name))
                .record(1, &[]);
        }
    }
    let mut attributes = cupola_sdk_core::attributes::Attributes::new(
        1,
        cupola_sdk_core::attributes::AttributeLimits::default(),
    );
    attributes.set("service.name", "cart");
    let resource = Resource {
        message: attributes.as_bytes().to_vec(),
        schema_url: String::new(),
    };
    let tenant = TenantId::default_tenant();
    let requests = requests(&sdk.meters().collect(&resource, &tenant));
    let [request] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    let of_resource = &request.resource_metrics[0];
    assert_eq!(
        super::text(&of_resource.resource.as_ref().unwrap().attributes),
        "service.name=cart"
    );
    let seen: Vec<_> = of_resource
        .scope_metrics
        .iter()
        .map(|of_scope| {
            let scope = of_scope.scope.as_ref().unwrap();
            let metrics: Vec<&str> = of_scope
                .metrics
                .iter()
                .map(|metric| metric.name.as_str())
                .collect();
            (
                scope.name.as_str(),
                super::text(&scope.attributes),
                of_scope.schema_url.as_str(),
                metrics,
            )
        })
        .collect();
    let wanted = [
        ("one", "k=v".to_owned(), "https://one", vec!["x", "y"]),
        ("two", String::new(), "", vec!["x", "y"]),
    ];
    assert_eq!(seen, wanted);
    assert!(sdk.shutdown(Duration::from_secs(5)));
}

#[test]
fn who_collects_is_woken_by_the_first_measurement_of_each_thread_since() {
    let woken = Arc::new(AtomicU64::new(0));
    let count = woken.clone();
    let wake = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let meters = Meters::new(&Settings::default(), Clock::default(), Box::new(wake));
    let meter = meters.meter(Scope::nameless());
    let counter = meter.counter::<u64>(&Description::new("c"));
    let seen = || woken.swap(0, Ordering::Relaxed);
    assert_eq!(seen(), 0);
    counter.record(1, &[]);
    counter.record(1, &[a("n", 1)]);
    assert_eq!(seen(), 1);
    std::thread::scope(|scope| {
        scope.spawn(|| counter.record(1, &[]));
    });
    assert_eq!(seen(), 1);
    let resource = Resource {
        message: Vec::new(),
        schema_url: String::new(),
    };
    assert_eq!(meters.collect(&resource, &TenantId::default_tenant()).len(), 1);
    counter.bind(&[]).record(1);
    assert_eq!(seen(), 1);
    meter.register(|_| {});
    assert_eq!(seen(), 1);
}
