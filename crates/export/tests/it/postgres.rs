//! The PostgreSQL exporter against a server of its own: what is stored is what was sent, once, whatever happens between.

use std::path::Path;
use std::time::Duration;

use cupola_config::Secret;
use cupola_config::units::TimeSpan;
use cupola_export::postgres::{Partition, PostgresConfig, PostgresSink, SslMode};
use cupola_export::tls::TlsSettings;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_peers::expected::rows::{TABLES, expected, rows, stored};
use cupola_peers::{peer_or_skip, postgres};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::telemetry::{TIME, generated, nasty};

fn config(server: &postgres::Running) -> PostgresConfig {
    PostgresConfig {
        endpoint: Secret::new(server.url()),
        ..PostgresConfig::default()
    }
}

fn sink(server: &postgres::Running) -> PostgresSink {
    PostgresSink::new(config(server)).unwrap()
}

/// Plain log records with these times.
fn logs(bodies: &[&str], times: impl Fn(usize) -> u64) -> Batch {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        let mut scope = resource.scope_logs();
        for (index, body) in bodies.iter().enumerate() {
            scope
                .record()
                .time_unix_nano(times(index))
                .body(*body)
                .severity_text(body);
        }
    }
    logs.finish(TenantId::default_tenant())
}

#[tokio::test]
async fn certificates_that_cannot_be_taken_into_use_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("ca.pem");
    std::fs::write(&authorities, include_bytes!("../fixtures/tls/ca.pem")).unwrap();
    let config = PostgresConfig {
        endpoint: Secret::new("postgres://user@127.0.0.1:9/db?sslmode=verify-full"),
        tls: TlsSettings {
            ca_file: Some(authorities.clone()),
            reload_interval: Some(TimeSpan(Duration::from_millis(1))),
            ..TlsSettings::default()
        },
        ..PostgresConfig::default()
    };
    let sink = PostgresSink::new(config).unwrap();
    std::fs::write(&authorities, "no certificate").unwrap();
    let failures = || {
        let mut samples = Vec::new();
        sink.collect(&mut samples);
        let is_failure = |sample: &&Sample| sample.name == "cupola_credential_reload_failures_total";
        let counted = samples.iter().find(is_failure);
        counted.expect("failures are counted").value
    };
    while failures() < 1.0 {
        tokio::task::yield_now().await;
    }
}

fn count(server: &postgres::Running, table: &str) -> usize {
    server
        .sql(&format!("SELECT count(*) FROM {table}"))
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_item_is_stored_as_it_was_sent() {
    let server = peer_or_skip!(postgres::start());
    let sink = sink(&server);
    for (signal, table, times) in TABLES {
        let batches = [generated(signal, 500), nasty(signal)];
        for batch in &batches {
            assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()), "{signal}");
        }
        let (stored, expected) = (stored(&server, table, times), expected(&batches));
        assert_eq!(stored.len(), expected.len());
        for (stored, expected) in stored.iter().zip(&expected) {
            assert_eq!(stored, expected, "{signal}");
        }
        let distinct = server
            .sql(&format!("SELECT count(DISTINCT id) FROM {table}"))
            .unwrap();
        assert_eq!(distinct, stored.len().to_string());
    }
    let columns = server
        .sql("SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'otel_logs'::regclass AND attnum BETWEEN 1 AND 9")
        .unwrap();
    assert_eq!(
        columns,
        "id,timestamp,severity_text,severity_number,body,trace_id,span_id,resource,attributes"
    );
    let indexes = server
        .sql("SELECT string_agg(indexdef, ';' ORDER BY indexname) FROM pg_indexes WHERE tablename = 'otel_logs'")
        .unwrap();
    for column in ["(severity_text)", "(\"timestamp\")", "(trace_id)"] {
        assert!(indexes.contains(column), "{indexes}");
    }
    assert_eq!(indexes.split(';').count(), 3, "{indexes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sent_again_is_stored_once_and_answered_alike() {
    let server = peer_or_skip!(postgres::start());
    let first = sink(&server);
    let batch = generated(Signal::Logs, 50);
    assert_eq!(first.send(batch.clone()).await, Ok(Accepted::all()));
    // After a crash too: nothing is remembered here.
    let second = sink(&server);
    assert_eq!(second.send(batch.clone()).await, Ok(Accepted::all()));
    assert_eq!(count(&server, "otel_logs"), 50);

    server
        .sql("ALTER TABLE otel_logs ADD CHECK (body <> 'bad')")
        .unwrap();
    let partial = logs(&["good", "bad", "good"], |index| TIME + index as u64);
    let once = second.send(partial.clone()).await.unwrap();
    assert_eq!((once.rejected, once.refused.len()), (1, 1));
    let again = first.send(partial).await.unwrap();
    assert_eq!(once, again);
    assert_eq!(count(&server, "otel_logs"), 52);

    // Equal items without any time may well be two.
    let timeless = logs(&["tick"], |_| 0);
    for _ in 0..2 {
        assert_eq!(first.send(timeless.clone()).await, Ok(Accepted::all()));
    }
    assert_eq!(count(&server, "otel_logs WHERE body = 'tick'"), 2);
    // Nor is anything remembered if that is not wanted.
    let forgetful = PostgresSink::new(PostgresConfig {
        deduplicate: false,
        ..config(&server)
    });
    assert_eq!(forgetful.unwrap().send(batch).await, Ok(Accepted::all()));
    assert_eq!(count(&server, "otel_logs"), 104);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_stored_come_back_and_the_rest_is_stored() {
    let server = peer_or_skip!(postgres::start());
    let sink = sink(&server);
    // An index entry has 2704 bytes at most; what does not compress does not get below.
    let noise: String = (0..4_000_u32)
        .map(|n| char::from_u32(0x4e00 + n.wrapping_mul(2_654_435_761) % 20_000).unwrap())
        .collect();
    let mut bodies = vec!["fine"; 100];
    (bodies[17], bodies[18], bodies[99]) = (&noise, &noise, &noise);
    let batch = logs(&bodies, |index| TIME + index as u64);
    let accepted = sink.send(batch).await.unwrap();
    assert_eq!(accepted.rejected, 3);
    assert!(accepted.message.contains("index row"), "{}", accepted.message);
    let expected = logs(&[&noise, &noise, &noise], |index| TIME + [17, 18, 99][index]);
    assert_eq!(
        accepted.refused.iter().map(rows).collect::<Vec<_>>(),
        [rows(&expected)]
    );
    assert_eq!(count(&server, "otel_logs"), 97);

    let hopeless = sink.send(logs(&[&noise], |_| TIME)).await.unwrap_err();
    assert!(!hopeless.is_retryable(), "{hopeless}");
    assert_eq!(count(&server, "otel_logs"), 97);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_refuses_nearly_everything_is_not_tried_row_by_row() {
    let server = peer_or_skip!(postgres::start());
    let sink = sink(&server);
    assert_eq!(sink.send(logs(&["good"], |_| TIME)).await, Ok(Accepted::all()));
    server
        .sql("ALTER TABLE otel_logs ADD CHECK (body <> 'bad')")
        .unwrap();
    let mut bodies = vec!["bad"; 2_000];
    bodies[1_000] = "good";
    let error = sink
        .send(logs(&bodies, |index| TIME + 1 + index as u64))
        .await
        .unwrap_err();
    assert!(
        !error.is_retryable() && error.reason().contains("check constraint"),
        "{error}"
    );
    // All or nothing: whoever keeps the batch in the dead letters has all of it.
    assert_eq!(count(&server, "otel_logs"), 1);
    assert_eq!(count(&server, "otel_batches"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_there_is_filled_as_far_as_it_goes() {
    let server = peer_or_skip!(postgres::start());
    server
        .sql("CREATE TABLE otel_logs (id BIGSERIAL PRIMARY KEY, timestamp TIMESTAMPTZ NOT NULL, severity_text VARCHAR(20), \
              severity_number SMALLINT, body TEXT, trace_id TEXT, span_id TEXT, resource JSON, attributes JSONB)")
        .unwrap();
    let sink = sink(&server);
    let accepted = sink.send(nasty(Signal::Logs)).await.unwrap();
    assert_eq!(accepted, Accepted::all());
    let row = server
        .sql("SELECT min(id), max(id), max(tenant), max(timestamp_nanos) FROM otel_logs")
        .unwrap();
    assert_eq!(row, format!("1|9|tenant-1|{}", TIME + 2));

    // Dropped behind our back: the next batch is refused for now, the one after it finds a new table.
    server.sql("DROP TABLE otel_logs").unwrap();
    let batch = generated(Signal::Logs, 10);
    let error = sink.send(batch.clone()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let sent = sink.send(batch).await;
    assert_eq!(sent, Ok(Accepted::all()), "after {error}: {}", server.output());
    assert_eq!(count(&server, "otel_logs"), 10);

    server
        .sql("DROP TABLE otel_spans; CREATE TABLE otel_spans (name INTEGER NOT NULL)")
        .unwrap_err();
    server
        .sql("CREATE TABLE otel_spans (name INTEGER NOT NULL)")
        .unwrap();
    let error = sink.send(generated(Signal::Traces, 10)).await.unwrap_err();
    assert!(
        error.is_retryable() && error.reason().contains("`name`"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_back_gets_everything_once() {
    let mut server = peer_or_skip!(postgres::start());
    let sink = sink(&server);
    let batches: Vec<Batch> = (0..3)
        .map(|n| logs(&["a", "b"], |index| TIME + n * 10 + index as u64))
        .collect();
    assert_eq!(sink.send(batches[0].clone()).await, Ok(Accepted::all()));
    server.kill();
    let error = sink.send(batches[1].clone()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    server.resume().unwrap();
    for batch in &batches {
        while let Err(error) = sink.send(batch.clone()).await {
            assert!(error.is_retryable(), "{error}");
        }
    }
    assert_eq!(count(&server, "otel_logs"), 6);

    sink.shutdown().await;
    assert!(sink.send(batches[0].clone()).await.unwrap_err().is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_holds_a_lock_is_given_up_in_time_and_nothing_is_left_open() {
    let server = peer_or_skip!(postgres::start());
    let sink = PostgresSink::new(PostgresConfig {
        timeout: cupola_config::units::TimeSpan(Duration::from_millis(1_500)),
        pool_size: 1,
        ..config(&server)
    })
    .unwrap();
    let [first, second] = [1, 2].map(|n| logs(&["x"], move |_| TIME + n));
    assert_eq!(sink.send(first).await, Ok(Accepted::all()));
    let lock = std::thread::scope(|threads| {
        let holder = threads.spawn(|| server.sql("BEGIN; LOCK TABLE otel_logs; SELECT pg_sleep(4); COMMIT"));
        let locked = cupola_peers::wait_until(Duration::from_secs(20), || {
            let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'otel_logs'::regclass";
            server.sql(held).is_ok_and(|held| held == "1")
        });
        assert!(locked);
        let sent = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(sink.send(second.clone()))
        });
        (sent, holder.join().unwrap())
    });
    assert!(
        lock.0.as_ref().is_err_and(SendError::is_retryable),
        "{:?}",
        lock.0
    );
    lock.1.unwrap();
    assert_eq!(sink.send(second).await, Ok(Accepted::all()));
    assert_eq!(count(&server, "otel_logs"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_never_shown() {
    let server = peer_or_skip!(postgres::start());
    let config = PostgresConfig {
        endpoint: Secret::new(format!(
            "postgres://postgres:hunter2@localhost:{}/postgres",
            server.port
        )),
        ..PostgresConfig::default()
    };
    assert!(!format!("{config:?}").contains("hunter2"));
    let sink = PostgresSink::new(config).unwrap();
    assert!(!format!("{sink:?}").contains("hunter2"));
    let error = sink.send(generated(Signal::Logs, 1)).await.unwrap_err();
    assert!(
        error.is_retryable() && error.reason().contains("password"),
        "{error}"
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_to_partitions_of_their_time_and_old_ones_are_dropped() {
    let server = peer_or_skip!(postgres::start());
    let day = 86_400_000_000_000;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let sink = PostgresSink::new(PostgresConfig {
        partition: Partition::Day,
        retention: Some(cupola_config::units::TimeSpan(Duration::from_secs(5 * 86_400))),
        ..config(&server)
    })
    .unwrap();
    let times = [now, now - day, now - 3 * day, now - 100 * day, now + 100 * day];
    let batch = logs(&["now", "yesterday", "old", "ancient", "future"], |index| {
        times[index]
    });
    assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
    assert_eq!(count(&server, "otel_logs"), 5);
    assert_eq!(count(&server, "otel_logs_default"), 2);
    let partitions = || {
        server
            .sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'otel_logs'::regclass")
            .unwrap()
    };
    // The default, three of rows, two ahead.
    assert_eq!(partitions(), "6");
    // The same batch again, from a sink that knows nothing: not even partitions are made twice.
    let other = PostgresSink::new(PostgresConfig {
        partition: Partition::Day,
        ..config(&server)
    });
    assert_eq!(other.unwrap().send(batch).await, Ok(Accepted::all()));
    assert_eq!((count(&server, "otel_logs"), partitions().as_str()), (5, "6"));

    sink.keep_up(now).await.unwrap();
    assert_eq!(
        server
            .sql("SELECT body FROM otel_logs ORDER BY timestamp")
            .unwrap(),
        "old\nyesterday\nnow\nfuture"
    );
    sink.keep_up(now + 5 * day).await.unwrap();
    assert_eq!(
        server
            .sql("SELECT body FROM otel_logs ORDER BY timestamp")
            .unwrap(),
        "now\nfuture"
    );
    assert_eq!(count(&server, "otel_batches"), 1);
    // A row of a dropped time is kept all the same, until the next round.
    assert_eq!(
        sink.send(logs(&["late"], |_| now - 3 * day)).await,
        Ok(Accepted::all())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_as_far_as_its_certificate_goes() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    let options = postgres::Options {
        tls: Some((fixtures.join("server.pem"), fixtures.join("server.key.pem"))),
        ..postgres::Options::default()
    };
    let server = peer_or_skip!(postgres::start_with(&options));
    let send = async |mode: &str, host: &str, ca: bool| {
        let url = server.url().replace("localhost", host);
        let mut config = PostgresConfig {
            endpoint: Secret::new(format!("{url}?sslmode={mode}")),
            ..PostgresConfig::default()
        };
        config.tls.ca_file = ca.then(|| fixtures.join("ca.pem"));
        PostgresSink::new(config)
            .unwrap()
            .send(generated(Signal::Logs, 1))
            .await
    };
    for (mode, host, ca, accepted) in [
        ("disable", "localhost", false, true),
        ("prefer", "localhost", false, true),
        ("require", "127.0.0.1", false, true),
        ("verify-full", "localhost", true, true),
        ("verify-full", "localhost", false, false),
        ("verify-full", "127.0.0.1", true, false),
        ("verify-ca", "127.0.0.1", true, true),
        ("verify-ca", "localhost", false, false),
    ] {
        let sent = send(mode, host, ca).await;
        assert_eq!(sent.is_ok(), accepted, "{mode} {host} {ca}: {sent:?}");
    }
    let encrypted = SslMode::Require;
    let plain = peer_or_skip!(postgres::start());
    let config = PostgresConfig {
        sslmode: encrypted,
        ..config(&plain)
    };
    let refused = PostgresSink::new(config)
        .unwrap()
        .send(generated(Signal::Logs, 1))
        .await;
    assert!(refused.is_err_and(|error| error.is_retryable()));
}
