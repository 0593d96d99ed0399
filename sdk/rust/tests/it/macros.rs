//! Functions with attributes, as their calls arrive.

use std::fmt;

use cupola_sdk::testing::{Capture, CapturedSpan};
use cupola_sdk::{otel_log, otel_span, otel_trace};

#[derive(Debug)]
struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.0)
    }
}

impl std::error::Error for Refused {}

#[otel_trace(args, result, attributes(order.id = id, shop = "north"))]
fn price(id: u64, names: &[&str], password: &str) -> usize {
    let _ = password;
    inner(names);
    id as usize + names.len()
}

#[otel_trace("work inside", level = "debug", kind = "client", args, max_length = 5)]
fn inner(names: &[&str]) {
    tracing::info!(count = names.len(), "working");
}

#[otel_trace(skip(self), correlation_id = id)]
async fn pay(id: &str, amount: i64) -> Result<i64, Refused> {
    tokio::task::yield_now().await;
    let paid = charge(amount).await?;
    tracing::info!("paid");
    Ok(paid)
}

#[otel_trace(args)]
async fn charge(amount: i64) -> Result<i64, Refused> {
    if amount < 0 {
        return Err(Refused("negative"));
    }
    Ok(amount)
}

struct Shop {
    name: String,
}

impl Shop {
    #[otel_trace(args, errors = false)]
    fn longest<'a>(&'a mut self, other: &'a str) -> Result<&'a str, Refused> {
        if other.len() > self.name.len() {
            return Ok(other);
        }
        self.name.push('!');
        Ok(&self.name)
    }

    #[otel_log(level = "warn", message = "closing", attributes(shop = %self.name))]
    async fn close(&self) -> usize {
        self.name.len()
    }
}

#[otel_log]
fn opened() {}

fn named<'s>(spans: &'s [CapturedSpan], name: &str) -> &'s CapturedSpan {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name} among {spans:?}"))
}

#[test]
fn a_call_is_a_span_with_its_arguments_but_for_secrets_and_its_result() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    assert_eq!(price(5, &["one", "two"], "hunter2"), 7);
    let spans = capture.spans();
    let (price, inner) = (named(&spans, "price"), named(&spans, "work inside"));
    assert_eq!(inner.parent_span_id, price.span_id);
    assert_eq!(inner.trace_id, price.trace_id);
    assert_eq!(price.attributes["args.id"], "5");
    assert_eq!(price.attributes["args.names"], r#"["one", "two"]"#);
    assert_eq!(price.attributes["args.password"], "[REDACTED]");
    assert_eq!(price.attributes["result"], "7");
    assert_eq!(price.attributes["order.id"], 5i64);
    assert_eq!(price.attributes["shop"], "north");
    let function = concat!(module_path!(), "::price");
    assert_eq!(price.attributes["code.function.name"], function);
    assert_eq!(inner.attributes["args.names"], "[\"one…");
    assert_eq!(inner.kind, 3);
    let logs = capture.logs();
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].span_id, inner.span_id);
}

#[tokio::test(flavor = "current_thread")]
async fn an_error_that_a_function_returns_is_that_of_its_span() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    assert_eq!(pay("c-1", 5).await.unwrap(), 5);
    assert_eq!(pay("c-2", -1).await.unwrap_err().0, "negative");
    let spans = capture.spans();
    let of = |name: &str, status: i32| {
        spans
            .iter()
            .filter(|span| span.name == name && span.status_code == status)
            .count()
    };
    assert_eq!((of("pay", 2), of("charge", 2)), (1, 1), "{spans:?}");
    let failed = spans
        .iter()
        .find(|span| span.name == "charge" && span.status_code == 2)
        .unwrap();
    assert_eq!(failed.status_message, "refused: negative");
    assert_eq!(failed.events.len(), 1);
    assert_eq!(failed.events[0].name, "exception");
    let logs = capture.logs();
    let paid = logs.iter().find(|log| log.body == "paid").unwrap();
    assert_eq!(paid.attributes["correlation_id"], "c-1");
    let refused = logs.iter().filter(|log| log.severity_text == "ERROR");
    for log in refused {
        assert_eq!(log.attributes["correlation_id"], "c-2");
        assert_eq!(
            log.attributes["exception.type"],
            concat!(module_path!(), "::Refused")
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn methods_borrow_as_they_did_and_calls_are_logged() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let mut shop = Shop {
        name: "ab".to_owned(),
    };
    assert_eq!(shop.longest("abc").unwrap(), "abc");
    assert_eq!(shop.longest("a").unwrap(), "ab!");
    assert_eq!(shop.close().await, 3);
    opened();
    {
        let _entered = otel_span!("by hand", n = 1).entered();
        tracing::info!("inside");
    }
    let logs = capture.logs();
    let wanted = [("closing", "WARN"), ("opened", "INFO"), ("inside", "INFO")];
    assert_eq!(logs.len(), wanted.len());
    for (log, (body, level)) in logs.iter().zip(wanted) {
        assert_eq!(log.body, body);
        assert_eq!(log.severity_text, level);
    }
    assert_eq!(logs[0].attributes["shop"], "ab!");
    assert_eq!(logs[2].attributes["n"], 1i64);
    assert_eq!(capture.spans().len(), 3);
}
