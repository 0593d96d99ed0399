//! Commands to a real server of Redis.

use cupola_peers::{peer_or_skip, redis as peer};
use cupola_sdk::redis::TracedConnection;
use cupola_sdk::testing::{Capture, CapturedSpan};
use cupola_sdk::{Context, InContext as _};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Client, RedisResult};

use crate::measured::histogram;

const SECRET: &str = "zq-hunter-2";

async fn connection(capture: &Capture, client: &Client) -> TracedConnection<MultiplexedConnection> {
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    TracedConnection::new(capture.sdk(), connection).server(client.get_connection_info())
}

fn only(capture: &Capture) -> CapturedSpan {
    let mut spans = capture.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    capture.clear();
    spans.remove(0)
}

fn attribute(span: &CapturedSpan, key: &str) -> String {
    let value = span.attributes.get(key).map(ToString::to_string);
    value.unwrap_or_default().trim_matches('"').to_owned()
}

#[tokio::test(flavor = "current_thread")]
async fn a_command_is_a_span_without_what_it_is_given() {
    let server = peer_or_skip!(peer::start());
    let capture = Capture::new();
    let client = Client::open(server.url()).unwrap();
    let mut connection = connection(&capture, &client).await;
    let context = Context::root().with_member("tenant.id", "acme").unwrap();
    let set = connection.set::<_, _, ()>(SECRET, SECRET);
    set.in_context(context).await.unwrap();
    let span = only(&capture);
    assert_eq!((span.name.as_str(), span.kind, span.status_code), ("SET", 3, 0));
    for (key, value) in [
        ("db.system.name", "redis"),
        ("db.namespace", "0"),
        ("db.operation.name", "SET"),
        ("db.query.text", "SET ? ?"),
        ("server.address", "127.0.0.1"),
        ("server.port", &server.port.to_string()),
        ("tenant.id", "acme"),
    ] {
        assert_eq!(attribute(&span, key), value, "{key}");
    }
    let kept: String = connection.get(SECRET).await.unwrap();
    assert_eq!(kept, SECRET);
    assert!(!capture.render().contains(SECRET));
    capture.clear();

    let mut connection = connection.with_keys();
    let visits: u64 = connection.incr("visits", 5).await.unwrap();
    assert_eq!(
        (visits, attribute(&only(&capture), "db.query.text").as_str()),
        (5, "INCRBY visits ?")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_pipeline_and_a_transaction_are_one_span_each() {
    let server = peer_or_skip!(peer::start());
    let capture = Capture::new();
    let client = Client::open(server.url()).unwrap();
    let mut connection = connection(&capture, &client).await;
    let (one, two): (i64, i64) = redis::pipe()
        .incr("a", 1)
        .incr("b", 2)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!((one, two), (1, 2));
    let span = only(&capture);
    assert_eq!(span.name, "PIPELINE INCRBY");
    assert_eq!(attribute(&span, "db.operation.batch.size"), "2");
    assert_eq!(attribute(&span, "db.query.text"), "INCRBY ? ?; INCRBY ? ?");

    let kept: (String,) = redis::pipe()
        .atomic()
        .set("c", SECRET)
        .ignore()
        .get("c")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(kept.0, SECRET);
    let span = only(&capture);
    assert_eq!(
        (span.name.as_str(), attribute(&span, "db.operation.name").as_str()),
        ("MULTI", "MULTI")
    );
    assert_eq!(attribute(&span, "db.operation.batch.size"), "2");
}

#[tokio::test(flavor = "current_thread")]
async fn failures_have_the_code_of_the_server_and_none_of_its_words() {
    let server = peer_or_skip!(peer::start());
    let capture = Capture::new();
    let client = Client::open(server.url()).unwrap();
    let mut connection = connection(&capture, &client).await;
    let _: () = connection.set("text", SECRET).await.unwrap();
    capture.clear();
    let wrong: RedisResult<i64> = connection.llen("text").await;
    assert_eq!(wrong.unwrap_err().code(), Some("WRONGTYPE"));
    let span = only(&capture);
    assert_eq!((span.name.as_str(), span.status_code), ("LLEN", 2));
    assert_eq!(attribute(&span, "db.response.status_code"), "WRONGTYPE");
    assert_eq!(attribute(&span, "error.type"), "WRONGTYPE");

    // One that is refused is a failure of all of them.
    let piped: RedisResult<(i64, i64)> = redis::pipe()
        .incr("n", 1)
        .llen("text")
        .query_async(&mut connection)
        .await;
    assert!(piped.is_err());
    let span = only(&capture);
    assert_eq!(
        (span.name.as_str(), attribute(&span, "error.type").as_str()),
        ("PIPELINE", "WRONGTYPE")
    );

    // Of a transaction, the others are done, and the answer is one.
    let atomic: RedisResult<(i64, i64)> = redis::pipe()
        .atomic()
        .incr("n", 1)
        .llen("text")
        .query_async(&mut connection)
        .await;
    assert!(atomic.is_err());
    let span = only(&capture);
    assert_eq!(
        (
            span.name.as_str(),
            span.status_code,
            attribute(&span, "error.type").as_str()
        ),
        ("MULTI", 2, "WRONGTYPE")
    );

    drop(server);
    let gone: RedisResult<String> = connection.get("text").await;
    assert!(gone.is_err());
    let span = only(&capture);
    assert_eq!(
        (
            span.status_code,
            attribute(&span, "db.response.status_code").as_str()
        ),
        (2, "")
    );
    assert!(
        ["io", "connect"].contains(&attribute(&span, "error.type").as_str()),
        "{span:?}"
    );

    let series = histogram(&capture, "db.client.operation.duration");
    assert!(
        series
            .iter()
            .any(|series| series.attributes["db.operation.name"] == "GET")
    );
    assert!(
        series
            .iter()
            .all(|series| series.attributes["db.system.name"] == "redis")
    );
}
