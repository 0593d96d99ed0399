//! Connections are bounded on every port, and one that says nothing is let go.

use std::net::SocketAddr;
use std::time::Duration;

use cupola_api::{ApiConfig, HealthConfig, HealthServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Server;

const REQUEST: &[u8] = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Everything the server sends until it closes.
async fn rest(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    // Closed with something unread is a reset.
    let _ = socket.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Opens a connection and waits until it has been answered once, which keeps it open.
async fn answered(addr: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(REQUEST).await.unwrap();
    let mut head = [0; 15];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_most_connections_the_next_is_closed_and_counted() {
    let config = ApiConfig {
        connections_max: 3,
        ..ApiConfig::ephemeral()
    };
    let server = Server::with(config, |_| {}).await;
    // The connection of the client that reads metrics, which keeps it.
    server
        .await_metric("cupola_api_connections{listener=\"http\"}", "1")
        .await;
    let first = answered(server.api.addr).await;
    let second = answered(server.api.addr).await;
    let third = TcpStream::connect(server.api.addr).await.unwrap();
    assert_eq!(rest(third).await, "", "closed without an answer");
    drop(first);
    server
        .await_metric("cupola_api_connections{listener=\"http\"}", "2")
        .await;
    let metrics = server.get("/metrics").await.text;
    let refused = metrics
        .lines()
        .find_map(|line| line.strip_prefix("cupola_api_refused_connections_total{listener=\"http\"} "));
    assert_eq!(refused, Some("1"), "{metrics}");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_flight_sql_are_bounded_too() {
    let config = ApiConfig {
        flight_connections_max: 1,
        ..ApiConfig::ephemeral()
    };
    let server = Server::with(config, |_| {}).await;
    let addr = server.api.flight_addr.unwrap();
    let first = TcpStream::connect(addr).await.unwrap();
    let second = TcpStream::connect(addr).await.unwrap();
    assert_eq!(rest(second).await, "");
    server
        .await_metric(
            "cupola_api_refused_connections_total{listener=\"flight_sql\"}",
            "1",
        )
        .await;
    server
        .await_metric("cupola_api_connections{listener=\"flight_sql\"}", "1")
        .await;
    drop(first);
    server
        .await_metric("cupola_api_connections{listener=\"flight_sql\"}", "0")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_or_half_of_it_is_let_go() {
    let config = ApiConfig {
        header_timeout: Duration::from_millis(100),
        ..ApiConfig::ephemeral()
    };
    let server = Server::with(config, |_| {}).await;
    let ports = [server.api.addr, server.api.flight_addr.unwrap()];
    for (addr, sent) in [
        (ports[0], &b""[..]),
        (ports[0], b"PRI * HTTP/2.0\r\n"),
        (
            ports[0],
            b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        ),
        (ports[1], b""),
        (ports[1], b"PRI * HTTP/2.0\r\n"),
    ] {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        socket.write_all(sent).await.unwrap();
        // Ends only when the server closes.
        let said = tokio::time::timeout(Duration::from_secs(60), rest(socket)).await;
        assert!(said.is_ok(), "{}", String::from_utf8_lossy(sent));
    }
    // A request that is answered in more time than a head may take is not cut off.
    let slow = server
        .sql("SELECT count(*) FROM generate_series(1, 20000000) AS a WHERE a.value % 7 = 3")
        .await;
    assert_eq!(slow.ok()["rows"][0][0], 2_857_143);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_health_checks_are_counted() {
    let health = HealthServer::start(HealthConfig::new("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let mut socket = TcpStream::connect(health.addr).await.unwrap();
    socket
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 15];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!((health.connections.open(), health.connections.refused()), (1, 0));
    health.shutdown().await;
}
