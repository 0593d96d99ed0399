//! Records becoming batches: by scope, below the resource of the process.

use bytes::Bytes;
use cupola_telemetry::wire;
use cupola_telemetry::{Batch, Signal, TenantId};

use super::{RecorderLimits, Scope};
use crate::resource::Resource;

/// A batch that is being put together: records by scope, in the order in which the scopes came first.
#[derive(Debug)]
pub(crate) struct Batcher {
    signal: Signal,
    limits: RecorderLimits,
    scopes: Vec<(Scope, Vec<u8>)>,
    bytes: usize,
    items: usize,
}

impl Batcher {
    pub(crate) fn new(signal: Signal, limits: RecorderLimits) -> Batcher {
        Batcher {
            signal,
            limits,
            scopes: Vec::new(),
            bytes: 0,
            items: 0,
        }
    }

    /// Adds a record. Whether the batch is full.
    pub(crate) fn add(&mut self, scope: Scope, record: &[u8]) -> bool {
        let at = self.scopes.iter().position(|(known, _)| *known == scope);
        let at = at.unwrap_or_else(|| {
            self.scopes.push((scope, Vec::new()));
            self.scopes.len() - 1
        });
        wire::write_bytes(&mut self.scopes[at].1, 2, record);
        self.bytes += record.len();
        self.items += 1;
        self.bytes >= self.limits.batch_bytes || self.items >= self.limits.batch_items_max
    }

    /// What was added since the last batch; `None` if nothing was.
    pub(crate) fn finish(&mut self, resource: &Resource, tenant: &TenantId) -> Option<Batch> {
        if self.items == 0 {
            return None;
        }
        let mut payload = Vec::with_capacity(self.bytes + resource.message.len() + 256);
        let of_resource = wire::open(&mut payload, 1);
        wire::write_bytes(&mut payload, 1, &resource.message);
        for (scope, records) in self.scopes.drain(..) {
            let of_scope = wire::open(&mut payload, 2);
            wire::write_bytes(&mut payload, 1, scope.message());
            payload.extend_from_slice(&records);
            write_url(&mut payload, scope.schema_url());
            wire::close(&mut payload, of_scope);
        }
        write_url(&mut payload, &resource.schema_url);
        wire::close(&mut payload, of_resource);
        let items = std::mem::take(&mut self.items);
        self.bytes = 0;
        let payload = Bytes::from(payload);
        Some(Batch::from_canonical(self.signal, tenant.clone(), payload, items))
    }
}

fn write_url(out: &mut Vec<u8>, schema_url: &str) {
    if !schema_url.is_empty() {
        wire::write_bytes(out, 3, schema_url.as_bytes());
    }
}
