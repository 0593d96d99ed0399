//! `Batch`: one canonical OTLP export request, its signal, tenant and number of items.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::client::Client;
use crate::decode::{self, DecodeError};
use crate::output::{DecodeLimits, Room};
use crate::tenant::TenantId;
use crate::{json, view};

/// The three kinds of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    Logs,
    Metrics,
    Traces,
}

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a signal; signals are logs, metrics and traces")]
pub struct UnknownSignal(pub String);

impl Signal {
    pub const ALL: [Self; 3] = [Self::Logs, Self::Metrics, Self::Traces];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

/// One validated, immutable, reference-counted OTLP export request in canonical protobuf bytes.
///
/// Canonical means: every singular field at most once in a message, at most one member of a oneof,
/// repeated numbers packed in one chunk, strings valid UTF-8, ids of length 0 or their own, nesting within
/// [`NESTING_MAX`](crate::NESTING_MAX), unknown fields kept. Readers therefore have no error path.
/// Concatenated canonical requests are one canonical request.
#[derive(Clone)]
pub struct Batch {
    signal: Signal,
    tenant: TenantId,
    payload: Bytes,
    items: usize,
    gzip: Option<Bytes>,
    client: Option<Arc<Client>>,
    is_admitted: bool,
}

impl Batch {
    /// Validates `payload`; keeps the same bytes when they are canonical already, else rewrites them.
    pub fn decode_protobuf(signal: Signal, tenant: TenantId, payload: Bytes) -> Result<Self, DecodeError> {
        Self::from_protobuf(signal, tenant, payload, &mut Room::unlimited())
    }

    /// Like [`decode_protobuf`](Self::decode_protobuf), with bounds on what rewriting may take:
    /// [`Problem::TooLarge`](crate::Problem::TooLarge) and [`Problem::OverMemory`](crate::Problem::OverMemory)
    /// beyond them.
    pub fn decode_protobuf_within(
        signal: Signal,
        tenant: TenantId,
        payload: Bytes,
        limits: DecodeLimits<'_>,
    ) -> Result<Self, DecodeError> {
        limits.apply(|room| Self::from_protobuf(signal, tenant, payload, room))
    }

    fn from_protobuf(
        signal: Signal,
        tenant: TenantId,
        payload: Bytes,
        room: &mut Room<'_>,
    ) -> Result<Self, DecodeError> {
        let decoded = decode::decode(signal, payload, room)?;
        Ok(Self {
            signal,
            tenant,
            payload: decoded.payload,
            items: decoded.items,
            gzip: None,
            client: None,
            is_admitted: false,
        })
    }

    /// Reads an export request in OTLP/JSON.
    pub fn decode_json(signal: Signal, tenant: TenantId, body: &[u8]) -> Result<Self, DecodeError> {
        Self::from_json(signal, tenant, body, &mut Room::unlimited())
    }

    /// Like [`decode_json`](Self::decode_json), with bounds on what it may take, as for
    /// [`decode_protobuf_within`](Self::decode_protobuf_within).
    pub fn decode_json_within(
        signal: Signal,
        tenant: TenantId,
        body: &[u8],
        limits: DecodeLimits<'_>,
    ) -> Result<Self, DecodeError> {
        limits.apply(|room| Self::from_json(signal, tenant, body, room))
    }

    fn from_json(
        signal: Signal,
        tenant: TenantId,
        body: &[u8],
        room: &mut Room<'_>,
    ) -> Result<Self, DecodeError> {
        let (payload, items) = json::decode_request(signal, body, room)?;
        Ok(Self {
            signal,
            tenant,
            payload,
            items,
            gzip: None,
            client: None,
            is_admitted: false,
        })
    }

    /// Takes trusted bytes without a look: they came from a batch and a checksum says that they still are.
    /// Bytes that are not canonical give wrong values later, but never undefined behaviour.
    pub fn from_canonical(signal: Signal, tenant: TenantId, payload: Bytes, items: usize) -> Self {
        Self {
            signal,
            tenant,
            payload,
            items,
            gzip: None,
            client: None,
            is_admitted: false,
        }
    }

    /// The same with its payload as the sender had compressed it, so that whoever sends it on need not do that again.
    /// `gzip` is one member, which unfolds to exactly the payload.
    #[must_use]
    pub fn with_gzip(self, gzip: Bytes) -> Self {
        Self {
            gzip: Some(gzip),
            ..self
        }
    }

    /// The same as bytes of the payload alone, for whoever keeps it for long.
    #[must_use]
    pub fn without_gzip(self) -> Self {
        Self { gzip: None, ..self }
    }

    /// The same with what is known of its sender.
    #[must_use]
    pub fn with_client(self, client: Option<Arc<Client>>) -> Self {
        Self { client, ..self }
    }

    /// Who sent it, if that is known; no part of what the batch says.
    pub fn client(&self) -> Option<&Arc<Client>> {
        self.client.as_ref()
    }

    /// The same, which its receiver was told that it may read and hand to the next component: or was not.
    #[must_use]
    pub fn with_admission(self, is_admitted: bool) -> Self {
        Self { is_admitted, ..self }
    }

    /// Whether the component that it is handed to has said beforehand that it would let it in.
    pub fn is_admitted(&self) -> bool {
        self.is_admitted
    }

    /// The payload as one member of gzip, if somebody has made that already. A batch that was changed on its way is
    /// another one and has none.
    pub fn gzip(&self) -> Option<&Bytes> {
        self.gzip.as_ref()
    }

    /// Bytes of memory: of the payload, in both forms, and of what is known of the sender.
    pub fn bytes_held(&self) -> usize {
        let gzip = self.gzip.as_ref().map_or(0, Bytes::len);
        let client = self.client.as_ref().map_or(0, |client| client.bytes());
        self.payload.len() + gzip + client
    }

    pub fn signal(&self) -> Signal {
        self.signal
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The canonical `Export*ServiceRequest`.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Number of log records, spans or data points.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The payload read as logs; meaningful only if [`signal`](Self::signal) says so.
    pub fn logs(&self) -> view::LogsData<'_> {
        view::LogsData::new(&self.payload)
    }

    /// The payload read as traces; meaningful only if [`signal`](Self::signal) says so.
    pub fn traces(&self) -> view::TracesData<'_> {
        view::TracesData::new(&self.payload)
    }

    /// The payload read as metrics; meaningful only if [`signal`](Self::signal) says so.
    pub fn metrics(&self) -> view::MetricsData<'_> {
        view::MetricsData::new(&self.payload)
    }

    /// One batch with the items of all, in order. `None` if there are none, or of several signals or tenants. Who sent
    /// them is known of it only if it was the same for all.
    pub fn concat(batches: &[Self]) -> Option<Self> {
        let first = batches.first()?;
        if batches.len() == 1 {
            return Some(first.clone());
        }
        if batches
            .iter()
            .any(|b| b.signal != first.signal || b.tenant != first.tenant)
        {
            return None;
        }
        let is_of_one = batches.iter().all(|b| b.client == first.client);
        let mut payload = Vec::with_capacity(batches.iter().map(|b| b.payload.len()).sum());
        for batch in batches {
            payload.extend_from_slice(&batch.payload);
        }
        let items = batches.iter().map(|b| b.items).sum();
        Some(Self {
            signal: first.signal,
            tenant: first.tenant.clone(),
            payload: payload.into(),
            items,
            gzip: None,
            client: first.client.clone().filter(|_| is_of_one),
            is_admitted: false,
        })
    }

    /// Other content for the same tenant and signal, of the same sender: what a batch becomes on its way. Trusted as by
    /// [`from_canonical`](Self::from_canonical).
    #[must_use]
    pub fn derived(&self, payload: Bytes, items: usize) -> Self {
        Self {
            signal: self.signal,
            tenant: self.tenant.clone(),
            payload,
            items,
            gzip: None,
            client: self.client.clone(),
            is_admitted: false,
        }
    }

    /// The request as OTLP/JSON. Unknown fields have no JSON form and are left out.
    pub fn to_json(&self) -> String {
        json::encode_request(self.signal, &self.payload)
    }
}

/// What they say is the same, however it came.
impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        (self.signal, self.items) == (other.signal, other.items)
            && self.tenant == other.tenant
            && self.payload == other.payload
    }
}

impl Eq for Batch {}

/// Without the payload, which is long and of no use to a reader.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("signal", &self.signal)
            .field("tenant", &self.tenant)
            .field("items", &self.items)
            .field("bytes", &self.payload.len())
            .finish()
    }
}
