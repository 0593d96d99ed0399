//! Arrow record batches as bytes on the wire: JSON cells, CSV, NDJSON, Arrow IPC.
//! Pure: knows nothing of HTTP, tenants or queries.

pub(crate) mod json;
pub(crate) mod stream;
pub(crate) mod types;
