//! What a rate limit promises: the rate on average, the wait that is missing, tenants apart.

use std::sync::Arc;

use bytes::Bytes;
use cupola_telemetry::Signal;

use super::*;

#[derive(Clone, Default)]
struct Hand(Arc<Mutex<Duration>>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        *self.0.lock()
    }
}

impl Hand {
    fn forward(&self, milliseconds: u64) {
        *self.0.lock() += Duration::from_millis(milliseconds);
    }
}

fn batch(tenant: &str, items: usize, bytes: usize) -> Batch {
    let tenant = TenantId::parse(tenant).unwrap();
    Batch::from_canonical(Signal::Logs, tenant, Bytes::from(vec![0; bytes]), items)
}

fn limiter(text: &str) -> (RateLimiter, Hand) {
    let config: RateLimitConfig = serde_json::from_str(text).unwrap();
    config.validate().unwrap();
    let hand = Hand::default();
    (RateLimiter::new(config, Box::new(hand.clone())), hand)
}

#[test]
fn a_rate_holds_on_average_whatever_the_sizes() {
    let (limiter, hand) = limiter(r#"{"items_per_second": 100}"#);
    let mut passed = 0;
    for step in 0..10_000 {
        let items = [1, 7, 30, 450][step % 4];
        if limiter.take(&batch("a", items, 10), Scope::All).is_ok() {
            passed += items;
        }
        hand.forward(10);
    }
    // A hundred seconds; a burst and one batch on credit more.
    assert!((9_500..=10_000 + 100 + 450).contains(&passed), "{passed}");
}

#[test]
fn the_wait_is_what_is_missing() {
    let (limiter, hand) = limiter(r#"{"bytes_per_second": 1000, "burst": "2s"}"#);
    assert_eq!(limiter.take(&batch("a", 1, 2000), Scope::All), Ok(()));
    assert_eq!(
        limiter.take(&batch("a", 1, 500), Scope::All),
        Err(Duration::from_millis(500))
    );
    hand.forward(500);
    assert_eq!(limiter.take(&batch("a", 1, 500), Scope::All), Ok(()));
    // Larger than a bucket: passes when that is full.
    hand.forward(2000);
    assert_eq!(limiter.take(&batch("a", 1, 5000), Scope::All), Ok(()));
    assert_eq!(
        limiter.take(&batch("a", 1, 100), Scope::All),
        Err(Duration::from_millis(3100))
    );
}

#[test]
fn tenants_have_buckets_of_their_own() {
    let (limiter, _) = limiter(
        r#"{"per_tenant": {"items_per_second": 10}, "tenants": {"big": {"items_per_second": 100}}, "items_per_second": 115}"#,
    );
    assert!(limiter.take(&batch("a", 10, 1), Scope::All).is_ok());
    assert!(limiter.take(&batch("a", 1, 1), Scope::All).is_err());
    assert!(limiter.take(&batch("big", 100, 1), Scope::All).is_ok());
    // The whole is used up for everybody, and who was refused has paid nothing.
    assert!(limiter.take(&batch("b", 8, 1), Scope::All).is_err());
    assert!(limiter.take(&batch("b", 5, 1), Scope::All).is_ok());
}

#[test]
fn one_limit_can_be_asked_without_the_other() {
    let (limiter, _) = limiter(r#"{"per_tenant": {"items_per_second": 10}, "items_per_second": 15}"#);
    assert!(limiter.take(&batch("a", 10, 1), Scope::Tenants).is_ok());
    assert!(limiter.take(&batch("a", 1, 1), Scope::Tenants).is_err());
    assert!(limiter.take(&batch("a", 15, 1), Scope::Whole).is_ok());
    assert!(limiter.take(&batch("b", 1, 1), Scope::Whole).is_err());
    assert!(limiter.take(&batch("b", 10, 1), Scope::Tenants).is_ok());
}

#[test]
fn rates_of_nothing_are_refused() {
    for text in [
        r#"{"items_per_second": 0}"#,
        r#"{"per_tenant": {"bytes_per_second": 0}}"#,
        r#"{"tenants": {"a/b": {}}}"#,
        r#"{"burst": "0s"}"#,
    ] {
        let config: RateLimitConfig = serde_json::from_str(text).unwrap();
        assert!(config.validate().is_err(), "{text}");
    }
}
