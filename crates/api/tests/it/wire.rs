//! The PostgreSQL protocol message by message, for what no client does by itself.

use std::time::Duration;

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::LogsEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{START, Server};

struct Client(TcpStream);

/// The type of a message of the server, and what is in it.
type Message = (char, Vec<u8>);

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    out.push(0);
    out
}

impl Client {
    async fn connect(server: &Server) -> Client {
        let mut socket = TcpStream::connect(server.api.postgres_addr.unwrap())
            .await
            .unwrap();
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        body.extend(b"user\0anyone\0database\0default\0\0");
        socket.write_all(&message(0, &body)[1..]).await.unwrap();
        let mut client = Client(socket);
        client.until_ready().await;
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// None when the server has closed the connection.
    async fn receive(&mut self) -> Option<Message> {
        let read = async {
            let kind = self.0.read_u8().await.ok()?;
            let length = self.0.read_u32().await.ok()? as usize;
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).await.ok()?;
            Some((char::from(kind), body))
        };
        tokio::time::timeout(Duration::from_secs(60), read)
            .await
            .expect("a message in time")
    }

    async fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive().await {
            let is_ready = message.0 == 'Z';
            messages.push(message);
            if is_ready {
                break;
            }
        }
        messages
    }

    async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&message(b'Q', &text(sql))).await;
        self.until_ready().await
    }

    /// Prepares, binds and executes a statement without parameters.
    async fn execute(&mut self, sql: &str, rows_max: i32) -> Vec<Message> {
        let parse = [text(""), text(sql), vec![0, 0]].concat();
        let bind = [text(""), text(""), vec![0; 6]].concat();
        let execute = [text(""), rows_max.to_be_bytes().to_vec()].concat();
        for (kind, body) in [(b'P', parse), (b'B', bind), (b'E', execute), (b'S', vec![])] {
            self.send(&message(kind, &body)).await;
        }
        self.until_ready().await
    }
}

fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(kind, _)| *kind).collect()
}

/// What is said in the error of an answer.
fn error(messages: &[Message]) -> String {
    let error = messages.iter().find(|(kind, _)| *kind == 'E');
    let (_, body) = error.unwrap_or_else(|| panic!("no error in {}", kinds(messages)));
    String::from_utf8_lossy(body).replace('\0', "|")
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_statements_do_no_harm() {
    let server = Server::filled().await;
    let mut client = Client::connect(&server).await;
    let sum = format!("SELECT 1{}", "+1".repeat(7_900));
    let long = format!("SELECT 1{}", " + 1".repeat(50_000));
    let set = format!("SET application_name = 1{}", "+1".repeat(7_900));
    for sql in [&sum, &long, &set] {
        for messages in [client.query(sql).await, client.execute(sql, 0).await] {
            assert!(matches!(messages.last(), Some(('Z', _))), "{}", kinds(&messages));
        }
    }
    assert!(error(&client.query(&long).await).contains("54001"));
    assert!(error(&client.query(&set).await).contains("54001"));
    assert!(error(&client.query("SET application_name = 1 + 1").await).contains("25006"));
    assert_eq!(kinds(&client.query("SELECT 1").await), "TDCZ");
    assert_eq!(server.sql("SELECT 1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_a_statement_ends_the_connection() {
    let server = Server::filled().await;
    let mut client = Client::connect(&server).await;
    client.send(&[b'Q', 0x3f, 0xff, 0xff, 0x00]).await;
    let messages = client.until_ready().await;
    assert!(error(&messages).contains("FATAL"), "{}", error(&messages));
    // Closed after it.
    while client.receive().await.is_some() {}
    assert_eq!(
        kinds(&Client::connect(&server).await.query("SELECT 1").await),
        "TDCZ"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_many_at_a_time_as_asked_for() {
    let server = Server::filled().await;
    let mut client = Client::connect(&server).await;
    let sql = "SELECT value FROM generate_series(1, 5)";
    assert_eq!(kinds(&client.execute(sql, 0).await), "12DDDDDCZ");
    assert_eq!(kinds(&client.execute(sql, 2).await), "12DDsZ");
    // More than could be held, and no number of rows at all.
    assert_eq!(kinds(&client.execute(sql, i32::MAX).await), "12DDDDDCZ");
    assert_eq!(kinds(&client.execute(sql, -1).await), "12DDDDDCZ");
    assert_eq!(kinds(&client.execute("", 0).await), "12IZ");
    assert_eq!(kinds(&client.execute("SHOW TIME ZONE", 0).await), "12DCZ");
    assert_eq!(kinds(&client.execute("BEGIN", 0).await), "12CZ");
    assert_eq!(kinds(&client.execute("COMMIT", 0).await), "12CZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_the_limits_would_not_reach_are_refused() {
    let server = Server::filled().await;
    let mut client = Client::connect(&server).await;
    let declare = "DECLARE c CURSOR FOR SELECT * FROM logs";
    assert!(error(&client.query(declare).await).contains("0A000"));
    assert!(error(&client.execute(declare, 0).await).contains("0A000"));
    assert!(error(&client.query("SELECT 1; FETCH ALL FROM c").await).contains("0A000"));
    let settings = "SELECT * FROM information_schema.df_settings";
    assert!(error(&client.query(settings).await).contains("42P01"));
    // A format for each column or one for all.
    let parse = [text(""), text("SELECT 1, 2, 3"), vec![0, 0]].concat();
    let bind = [text(""), text(""), vec![0, 0, 0, 0, 0, 2, 0, 0, 0, 0]].concat();
    let execute = [text(""), vec![0; 4]].concat();
    for (kind, body) in [(b'P', parse), (b'B', bind), (b'E', execute), (b'S', vec![])] {
        client.send(&message(kind, &body)).await;
    }
    assert!(error(&client.until_ready().await).contains("08P01"));
    assert_eq!(kinds(&client.query("SELECT 1; SELECT 2").await), "TDCTDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_statement_holds_no_rows() {
    let server = Server::empty().await;
    let before = server.store.status().memory_used;
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        let mut scope = resource.scope_logs();
        for number in 0..1_000 {
            scope
                .record()
                .time_unix_nano(START + number)
                .body("a body of some length");
        }
    }
    let logs = logs.finish(TenantId::default_tenant());
    server.store.append(logs).await.unwrap();
    let mut client = Client::connect(&server).await;
    assert_eq!(kinds(&client.query("SELECT count(body) FROM logs").await), "TDCZ");
    assert_eq!(
        kinds(&client.execute("SELECT max(body) FROM logs", 0).await),
        "12DCZ"
    );
    let described = client
        .query("SELECT relname FROM pg_catalog.pg_class WHERE relname = 'logs'")
        .await;
    assert_eq!(kinds(&described), "TDCZ");
    let with_rows = server.store.status().memory_used;
    assert!(with_rows > before + 1_000, "{before} {with_rows}");
    server.store.flush().await.unwrap();
    // The engine lets go of the last statement on its own threads.
    tokio::time::timeout(Duration::from_secs(60), async {
        while server.store.status().memory_used > before + 1_000 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} bytes are still held", server.store.status().memory_used));
    assert_eq!(kinds(&client.query("SELECT 1").await), "TDCZ");
}
