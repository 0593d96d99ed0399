//! Log records beyond what is allowed are dropped and counted, and others are not touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::clock::Clock;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::rate_limit::{Limited, Limiter, RateLimitRule, RateLimitSettings, TenantRule};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::{Sdk, Settings, Surroundings};

use crate::forked::in_child;

const SECOND: u64 = 1_000_000_000;
/// The beginning of a day.
const BEGIN: u64 = 20_000 * 86_400 * SECOND;

fn rule(change: impl FnOnce(&mut RateLimitRule)) -> RateLimitRule {
    let mut rule = RateLimitRule::new("rule");
    change(&mut rule);
    rule
}

fn limits(rules: Vec<RateLimitRule>) -> RateLimitSettings {
    RateLimitSettings {
        rules,
        ..RateLimitSettings::default()
    }
}

fn sdk(rules: Vec<RateLimitRule>) -> (Sdk, Arc<AtomicU64>) {
    let (clock, time) = Clock::at(BEGIN);
    let mut settings = Settings::default();
    settings.logs.rate_limits = limits(rules);
    let surroundings = Surroundings {
        clock,
        ..Surroundings::default()
    };
    (Sdk::new(settings, surroundings), time)
}

/// How many of so many records were recorded.
fn emitted(sdk: &Sdk, tries: u32, severity: Severity, logger: &str, tenant: &str) -> usize {
    let logger = sdk.logger(Scope::of(logger, "1", "", &[]));
    let baggage = match tenant {
        "" => Baggage::none(),
        tenant => Baggage::none().with("tenant.id", tenant).unwrap(),
    };
    let emit = |_: &u32| logger.emit(&logger.record(severity, "something happened", &baggage));
    (0..tries).filter(emit).count()
}

fn limited(records: u64) -> Vec<Limited> {
    vec![Limited {
        rule: "rule".to_owned(),
        records,
        bytes: 0,
    }]
}

#[test]
fn without_rules_everything_is_recorded() {
    let (sdk, _) = sdk(Vec::new());
    assert_eq!(emitted(&sdk, 1000, Severity::DEBUG, "shop", "a"), 1000);
    assert!(sdk.rate_limited().is_empty());
    assert!(Limiter::new(&RateLimitSettings::default()).is_none());
}

#[test]
fn a_level_has_its_rate_and_others_have_none() {
    let (sdk, time) = sdk(vec![rule(|rule| {
        rule.level = Some(Severity::DEBUG);
        rule.per_second = Some(10.0);
        rule.burst = Some(20);
    })]);
    let debug = |tries| emitted(&sdk, tries, Severity::new(7).unwrap(), "shop", "");
    assert_eq!(debug(50), 20);
    assert_eq!(emitted(&sdk, 50, Severity::INFO, "shop", ""), 50);
    assert_eq!(emitted(&sdk, 50, Severity::TRACE, "shop", ""), 50);
    time.fetch_add(SECOND, Ordering::Relaxed);
    assert_eq!(debug(50), 10);
    assert_eq!(sdk.rate_limited(), limited(30 + 40));
}

#[test]
fn loggers_are_limited_by_their_names() {
    let (sdk, _) = sdk(vec![rule(|rule| {
        rule.logger = Some("shop.*".to_owned());
        rule.per_second = Some(3.0);
    })]);
    assert_eq!(emitted(&sdk, 10, Severity::INFO, "shop.cart", ""), 3);
    assert_eq!(
        emitted(&sdk, 10, Severity::INFO, "shop.price", ""),
        0,
        "they share it"
    );
    assert_eq!(emitted(&sdk, 10, Severity::INFO, "shop", ""), 10);
    assert_eq!(emitted(&sdk, 10, Severity::INFO, "", ""), 10);
}

#[test]
fn each_tenant_has_its_own_and_a_loud_one_takes_nothing_from_others() {
    let (sdk, _) = sdk(vec![
        rule(|rule| {
            rule.tenant = TenantRule::Each;
            rule.per_second = Some(5.0);
        }),
        rule(|rule| {
            rule.tenant = TenantRule::Only("loud".to_owned());
            rule.per_second = Some(2.0);
        }),
    ]);
    let info = |tenant| emitted(&sdk, 100, Severity::INFO, "shop", tenant);
    assert_eq!((info("loud"), info("quiet"), info("other")), (2, 5, 5));
    assert_eq!(info(""), 100, "of no tenant");
}

#[test]
fn a_quota_is_of_bytes_and_days() {
    let (sdk, time) = sdk(vec![rule(|rule| rule.bytes_per_day = Some(10_000))]);
    let first = emitted(&sdk, 1000, Severity::INFO, "shop", "");
    let written: usize = sdk
        .logs()
        .take(&resource(), &cupola_telemetry::TenantId::default_tenant())
        .iter()
        .map(|batch| batch.payload().len())
        .sum();
    assert!((5_000..=10_100).contains(&written), "{written} bytes");
    time.fetch_add(86_399 * SECOND, Ordering::Relaxed);
    assert_eq!(emitted(&sdk, 1000, Severity::INFO, "shop", ""), 0);
    time.fetch_add(SECOND, Ordering::Relaxed);
    assert_eq!(emitted(&sdk, 1000, Severity::INFO, "shop", ""), first);
    let dropped = &sdk.rate_limited()[0];
    assert_eq!(dropped.records, 3000 - 2 * first as u64);
    assert!(dropped.bytes > dropped.records * 50);
}

fn resource() -> cupola_sdk_core::resource::Resource {
    cupola_sdk_core::resource::Resource {
        message: Vec::new(),
        schema_url: String::new(),
    }
}

#[test]
fn more_tenants_than_there_is_room_for_share_a_limit_until_others_are_quiet() {
    let settings = RateLimitSettings {
        rules: vec![rule(|rule| {
            rule.tenant = TenantRule::Each;
            rule.per_second = Some(1.0);
            rule.burst = Some(2);
        })],
        tenants_max: 8,
    };
    let limiter = Limiter::new(&settings).unwrap();
    let admitted = |tenants: std::ops::Range<u32>, now: u64| {
        let admits = |n: &u32| limiter.admits(Severity::INFO, "", Some(&format!("tenant {n}")), 0, now);
        tenants.filter(admits).count()
    };
    assert_eq!(admitted(0..8, BEGIN), 8);
    assert_eq!(admitted(0..8, BEGIN), 8);
    assert_eq!(admitted(0..8, BEGIN), 0);
    assert_eq!(admitted(8..100, BEGIN), 2, "of all others together");
    assert_eq!(limiter.tenants_overflowed(), 92);
    assert_eq!(admitted(200..208, BEGIN + 10 * SECOND), 8);
    assert_eq!(limiter.tenants_overflowed(), 92);
    assert_eq!(admitted(200..208, BEGIN + 10 * SECOND), 8);
    assert_eq!(admitted(200..208, BEGIN + 10 * SECOND), 0);
}

#[test]
fn threads_together_get_no_more_than_is_allowed() {
    let settings = limits(vec![rule(|rule| {
        rule.per_second = Some(1.0);
        rule.burst = Some(1000);
    })]);
    let limiter = Arc::new(Limiter::new(&settings).unwrap());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let limiter = limiter.clone();
            std::thread::spawn(move || {
                let admits = |_: &u32| limiter.admits(Severity::INFO, "", None, 10, BEGIN);
                (0..1000).filter(admits).count()
            })
        })
        .collect();
    let admitted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(admitted, 1000);
    assert_eq!(limiter.limited()[0].records, 3000);
}

#[test]
fn the_same_rules_go_on_with_their_counts_and_other_rules_begin_anew() {
    let settings = limits(vec![rule(|rule| rule.per_second = Some(1.0))]);
    let first = Limiter::renewed(None, &settings).unwrap();
    assert!(first.admits(Severity::INFO, "", None, 0, BEGIN));
    let same = Limiter::renewed(Some(&first), &settings).unwrap();
    assert!(!same.admits(Severity::INFO, "", None, 0, BEGIN));
    let other = limits(vec![rule(|rule| rule.per_second = Some(2.0))]);
    let other = Limiter::renewed(Some(&first), &other).unwrap();
    assert!(other.admits(Severity::INFO, "", None, 0, BEGIN));
    assert!(Limiter::renewed(Some(&first), &RateLimitSettings::default()).is_none());
}

#[test]
fn a_child_goes_on_and_counts_what_it_drops_for_itself() {
    let (sdk, _) = sdk(vec![rule(|rule| rule.per_second = Some(5.0))]);
    assert_eq!(emitted(&sdk, 8, Severity::INFO, "shop", ""), 5);
    assert_eq!(sdk.rate_limited(), limited(3));
    let said = in_child(|| {
        let admitted = emitted(&sdk, 2, Severity::INFO, "shop", "");
        format!("{admitted} {}", sdk.rate_limited()[0].records)
    });
    assert_eq!(said, "0 2");
    assert_eq!(sdk.rate_limited(), limited(3));
}
