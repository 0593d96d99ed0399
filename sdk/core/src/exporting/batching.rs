//! Records becoming batches of this process, as many as they need.

use cupola_telemetry::{Batch, TenantId};

use crate::recorder::{Batcher, Recorder, Scope};
use crate::resource::Resource;

/// Batches that are being made.
pub(super) struct Batching<'b> {
    batcher: Batcher,
    batches: Vec<Batch>,
    resource: &'b Resource,
    tenant: &'b TenantId,
}

impl<'b> Batching<'b> {
    /// Of the signal of a recorder, as large as it says.
    pub(super) fn new(recorder: &Recorder, resource: &'b Resource, tenant: &'b TenantId) -> Batching<'b> {
        Batching {
            batcher: Batcher::new(recorder.signal(), recorder.limits(), recorder.bytes()),
            batches: Vec::new(),
            resource,
            tenant,
        }
    }

    pub(super) fn add(&mut self, scope: Scope, record: &[u8]) {
        if self.batcher.add(scope, record) {
            self.batches
                .extend(self.batcher.finish(self.resource, self.tenant));
        }
    }

    pub(super) fn finish(mut self) -> Vec<Batch> {
        self.batches
            .extend(self.batcher.finish(self.resource, self.tenant));
        self.batches
    }
}
