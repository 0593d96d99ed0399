//! One side of a call, and the call that two sides make.

/// Who called, or who was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What is between two services, as it is written in `connection_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    Unknown,
    Messaging,
    Database,
    VirtualNode,
}

impl Connection {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Messaging => "messaging_system",
            Self::Database => "database",
            Self::VirtualNode => "virtual_node",
        }
    }
}

/// What the span of one side says.
#[derive(Clone, Debug)]
pub(super) struct Half {
    pub(super) side: Side,
    pub(super) service: String,
    pub(super) connection: Connection,
    pub(super) seconds: f64,
    pub(super) failed: bool,
    /// Labels with their side in front.
    pub(super) dimensions: Vec<(String, String)>,
    /// Of a client, the server that it names.
    pub(super) peer: Option<String>,
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
}

/// A call between two services.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) client: String,
    pub(super) server: String,
    pub(super) connection: Connection,
    /// As the client saw it, if there is a span of it.
    pub(super) client_seconds: Option<f64>,
    pub(super) server_seconds: Option<f64>,
    pub(super) failed: bool,
    pub(super) dimensions: Vec<(String, String)>,
    /// The side that no span came from.
    pub(super) virtual_side: Option<&'static str>,
    pub(super) trace_id: [u8; 16],
    /// Of the span whose duration is the server's.
    pub(super) span_id: [u8; 8],
}

impl Edge {
    /// A call of which both sides have come.
    pub(super) fn paired(first: Half, second: Half) -> Self {
        let (client, server) = match first.side {
            Side::Client => (first, second),
            Side::Server => (second, first),
        };
        let connection = match client.connection {
            Connection::Unknown => server.connection,
            known => known,
        };
        Self {
            client: client.service,
            server: server.service,
            connection,
            client_seconds: Some(client.seconds),
            server_seconds: Some(server.seconds),
            failed: client.failed || server.failed,
            dimensions: [client.dimensions, server.dimensions].concat(),
            virtual_side: None,
            trace_id: server.trace_id,
            span_id: server.span_id,
        }
    }

    /// A call of a client to a server that sends no spans: as long as the client saw it.
    pub(super) fn to_silent(client: Half, server: String, connection: Connection) -> Self {
        Self {
            client: client.service,
            server,
            connection,
            client_seconds: Some(client.seconds),
            server_seconds: Some(client.seconds),
            failed: client.failed,
            dimensions: client.dimensions,
            virtual_side: (connection == Connection::VirtualNode).then_some("server"),
            trace_id: client.trace_id,
            span_id: client.span_id,
        }
    }

    /// A call by somebody who sends no spans at all.
    pub(super) fn from_user(server: Half) -> Self {
        Self {
            client: "user".to_owned(),
            server: server.service,
            connection: Connection::VirtualNode,
            client_seconds: None,
            server_seconds: Some(server.seconds),
            failed: server.failed,
            dimensions: server.dimensions,
            virtual_side: Some("client"),
            trace_id: server.trace_id,
            span_id: server.span_id,
        }
    }
}
