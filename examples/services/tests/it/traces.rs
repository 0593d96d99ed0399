//! One request is one trace through all services, and belongs to one tenant.

use std::collections::{BTreeMap, BTreeSet};

use cupola_example_services::tokens::{User, token};
use serde_json::{Value, json};

use crate::processes::start;
use crate::receiver::{Log, Receiver, Span};

const GATEWAY: &str = "POST /orders";
const LAST: &str = "POST /tenants/{tenant}/orders/{id}";

fn user(id: &str, tenant: &str) -> User {
    User {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
    }
}

async fn order(gateway: &str, user: &User, product: &str) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http
        .post(format!("{gateway}/orders"))
        .bearer_auth(token(user))
        // What a stranger says of traces and tenants is not believed.
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("baggage", "tenant.id=evil,user.id=nobody")
        .json(&json!({ "product": product, "quantity": 2 }))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// Spans by trace, of those that the gateway let in for a user.
fn traces_of<'s>(spans: &'s [Span], user: &User) -> Vec<Vec<&'s Span>> {
    let mut traces = BTreeMap::<&[u8], Vec<&Span>>::new();
    for span in spans {
        traces.entry(&span.trace).or_default().push(span);
    }
    let is_of = |span: &&Span| span.name == GATEWAY && span.attributes.get("user.id") == Some(&user.id);
    traces
        .into_values()
        .filter(|trace| trace.iter().any(is_of))
        .collect()
}

fn has(trace: &[&Span], service: &str, name: &str, kind: i32) -> bool {
    trace
        .iter()
        .any(|span| span.service == service && span.name == name && span.kind == kind)
}

/// Ends in one root, of which the gateway knows; and all of it, logs too, is of the user and the tenant.
fn assert_is_whole_and_of(trace: &[&Span], logs: &[Log], user: &User) {
    let ids: BTreeSet<&[u8]> = trace.iter().map(|span| &span.id[..]).collect();
    let roots: Vec<_> = trace.iter().filter(|span| span.parent.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert_eq!(
        (roots[0].service.as_str(), roots[0].name.as_str()),
        ("gateway", GATEWAY)
    );
    for span in trace {
        let has_parent = span.parent.is_empty() || ids.contains(&span.parent[..]);
        assert!(has_parent, "the parent is missing of {span:#?}");
        let said = |key: &str| span.attributes.get(key).map(String::as_str);
        let known = (said("tenant.id"), said("user.id"));
        assert_eq!(
            known,
            (Some(user.tenant.as_str()), Some(user.id.as_str())),
            "{span:#?}"
        );
        let path = said("url.path").filter(|path| path.starts_with("/tenants/"));
        let of_tenant = format!("/tenants/{}/", user.tenant);
        assert!(path.is_none_or(|path| path.starts_with(&of_tenant)), "{span:#?}");
    }
    let logs: Vec<_> = logs.iter().filter(|log| log.trace == trace[0].trace).collect();
    assert!(!logs.is_empty());
    for log in logs {
        assert_eq!(log.attributes.get("tenant.id"), Some(&user.tenant), "{log:#?}");
        assert_eq!(log.attributes.get("user.id"), Some(&user.id), "{log:#?}");
    }
}

/// The whole way of an order that is delivered.
fn is_delivered(trace: &[&Span]) -> bool {
    [
        ("gateway", GATEWAY, 2),
        ("gateway", "POST", 3),
        ("cloud", "POST /tenants/{tenant}/orders", 2),
        ("cloud", "GET", 3),
        ("cloud", "POST", 3),
        ("cloud", "charge", 1),
        ("api", "GET /tenants/{tenant}/products/{id}", 2),
        ("api", "POST /tenants/{tenant}/orders", 2),
        ("api", "SELECT products", 3),
        ("api", "UPDATE products", 3),
        ("api", "INSERT orders", 3),
        ("api", "send deliveries", 4),
        ("worker", "process deliveries", 5),
        ("worker", "INSERT deliveries", 3),
        ("worker", "POST", 3),
        ("api", LAST, 2),
        ("api", "UPDATE orders", 3),
    ]
    .iter()
    .all(|(service, name, kind)| has(trace, service, name, *kind))
}

#[tokio::test]
async fn each_request_is_one_trace_of_one_tenant_however_many_there_are() {
    let (receiver, data) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let shop = start(&receiver, data.path()).await;
    let (alice, carol) = (user("alice", "acme"), user("carol", "globex"));
    let several = |user: User, product: &'static str| {
        let gateway = shop.gateway.clone();
        async move {
            for _ in 0..5 {
                let (status, answer) = order(&gateway, &user, product).await;
                assert_eq!(status, 200, "{answer}");
            }
        }
    };
    tokio::join!(several(alice.clone(), "anvil"), several(carol.clone(), "rope"));
    receiver
        .wait("all traces of both", |spans, _| {
            let is_there = |user| {
                let traces = traces_of(spans, user);
                traces.len() == 5 && traces.iter().all(|trace| is_delivered(trace))
            };
            is_there(&alice) && is_there(&carol)
        })
        .await;
    // What they have recorded by their end has been sent then.
    shop.stop().await;
    let (spans, logs) = (receiver.spans(), receiver.logs());
    for user in [&alice, &carol] {
        for trace in traces_of(&spans, user) {
            assert_is_whole_and_of(&trace, &logs, user);
            assert!(trace.iter().all(|span| !span.is_failed), "{trace:#?}");
        }
    }
    let evil = |attributes: &BTreeMap<String, String>| attributes.values().any(|value| value == "evil");
    assert!(
        !spans.iter().any(|span| evil(&span.attributes)) && !logs.iter().any(|log| evil(&log.attributes))
    );
}

#[tokio::test]
async fn what_fails_is_seen_in_the_trace_and_is_of_the_tenant_too() {
    let (receiver, data) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let shop = start(&receiver, data.path()).await;
    let erin = user("erin", "initech");
    for (product, wanted) in [("hole", 500), ("tnt", 503), ("dodo", 409), ("rocket", 200)] {
        let (status, answer) = order(&shop.gateway, &erin, product).await;
        assert_eq!(status, wanted, "{product}: {answer}");
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let unknown = http
        .get(format!("{}/products", shop.gateway))
        .bearer_auth("a.b.c")
        .send()
        .await;
    assert_eq!(unknown.unwrap().status().as_u16(), 401);
    receiver
        .wait("all traces", |spans, _| {
            let traces = traces_of(spans, &erin);
            traces.len() == 4 && traces.iter().any(|trace| is_delivered(trace))
        })
        .await;
    shop.stop().await;
    let (spans, logs) = (receiver.spans(), receiver.logs());
    let traces = traces_of(&spans, &erin);
    for trace in &traces {
        assert_is_whole_and_of(trace, &logs, &erin);
    }
    let panicked = logs.iter().find(|log| log.body.starts_with("panicked")).unwrap();
    let trace = traces
        .iter()
        .find(|trace| trace[0].trace == panicked.trace)
        .unwrap();
    let failed: BTreeSet<_> = trace
        .iter()
        .filter(|span| span.is_failed)
        .map(|span| span.service.as_str())
        .collect();
    assert_eq!(failed, BTreeSet::from(["api", "cloud", "gateway"]));
    let rocket = traces.iter().find(|trace| is_delivered(trace)).unwrap();
    let attempts: Vec<_> = rocket
        .iter()
        .filter(|span| span.name == "process deliveries")
        .collect();
    let failed = attempts.iter().filter(|span| span.is_failed).count();
    assert_eq!((attempts.len(), failed), (2, 1), "{attempts:#?}");
    let refused = spans.iter().find(|span| span.name == "GET /products").unwrap();
    assert_eq!(refused.attributes["http.response.status_code"], "401");
    assert!(!refused.attributes.contains_key("tenant.id"));
}
