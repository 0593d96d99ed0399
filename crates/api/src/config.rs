//! What the servers of this crate can be told, with defaults. Reads no environment and no files: the binary does.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Settings of [`ApiServer`](crate::ApiServer). All addresses are loopback unless set otherwise; port 0 picks a free one.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Web page, HTTP API and `/metrics`.
    pub listen: SocketAddr,
    /// PostgreSQL wire protocol; `None` switches it off.
    pub postgres_listen: Option<SocketAddr>,
    /// Arrow Flight SQL (gRPC); `None` switches it off.
    pub flight_listen: Option<SocketAddr>,
    /// Host names answered besides this machine's own while `listen` is a loopback address.
    pub allowed_hosts: Vec<String>,
    /// Largest request body, in bytes; a larger one is refused with 413.
    pub body_bytes_max: usize,
    /// Connections to the web page and the HTTP API at one time; one more is closed.
    pub connections_max: usize,
    /// How long a connection may take to say what it wants: until its first bytes, and until the head of each request of
    /// HTTP/1, which is how long one may be idle.
    pub header_timeout: Duration,
    /// Live tails at one time; one more is refused with 429.
    pub tails_max: usize,
    /// Connections of the PostgreSQL protocol at one time; one more is closed.
    pub postgres_connections_max: usize,
    /// Connections of Flight SQL at one time; one more is closed.
    pub flight_connections_max: usize,
    /// Prepared statements kept for all Flight SQL clients together; the oldest goes first.
    pub flight_statements_max: usize,
    /// How often a quiet tail sends a comment, so that proxies keep the connection.
    pub tail_keep_alive: Duration,
}

/// Port of the web page and the HTTP API.
pub const API_PORT: u16 = 4300;
/// Port of the PostgreSQL wire protocol.
pub const POSTGRES_PORT: u16 = 4301;
/// Port of Arrow Flight SQL.
pub const FLIGHT_PORT: u16 = 4302;
/// Port of the health server.
pub const HEALTH_PORT: u16 = 13133;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: loopback(API_PORT),
            postgres_listen: Some(loopback(POSTGRES_PORT)),
            flight_listen: Some(loopback(FLIGHT_PORT)),
            allowed_hosts: Vec::new(),
            body_bytes_max: 1024 * 1024,
            connections_max: 1024,
            header_timeout: Duration::from_secs(60),
            tails_max: 64,
            postgres_connections_max: 100,
            flight_connections_max: 256,
            flight_statements_max: 256,
            tail_keep_alive: Duration::from_secs(15),
        }
    }
}

impl ApiConfig {
    /// Every server on loopback at a free port: for tests and embedding.
    pub fn ephemeral() -> Self {
        Self {
            listen: loopback(0),
            postgres_listen: Some(loopback(0)),
            flight_listen: Some(loopback(0)),
            ..Self::default()
        }
    }
}
