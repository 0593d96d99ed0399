//! Records becoming batches: by scope, below the resource of the process.

use bytes::Bytes;
use cupola_telemetry::wire::{self, LENGTH};
use cupola_telemetry::{Batch, Signal, TenantId};

use super::{RecorderLimits, Scope};
use crate::resource::Resource;
use crate::room::field_length;

/// A batch that is being put together: records by scope, in the order in which the scopes came first.
///
/// Most have one scope. Its records are written where the batch will have them, behind room for what comes before them.
#[derive(Debug)]
pub(crate) struct Batcher {
    signal: Signal,
    limits: RecorderLimits,
    scopes: Vec<(Scope, Vec<u8>)>,
    /// Of records that are yet to come, about.
    expected_bytes: usize,
    bytes: usize,
    items: usize,
}

/// Room before the first record, for a resource and a scope of usual length.
const HEAD_BYTES: usize = 2048;
/// Field numbers, and lengths of five bytes.
const KEYS_BYTES: usize = 32;

impl Batcher {
    /// For records of about so many bytes.
    pub(crate) fn new(signal: Signal, limits: RecorderLimits, expected_bytes: usize) -> Batcher {
        Batcher {
            signal,
            limits,
            scopes: Vec::new(),
            expected_bytes,
            bytes: 0,
            items: 0,
        }
    }

    /// Adds a record. Whether the batch is full.
    pub(crate) fn add(&mut self, scope: Scope, record: &[u8]) -> bool {
        let at = self.scopes.iter().position(|(known, _)| *known == scope);
        let at = at.unwrap_or_else(|| self.begin(scope));
        wire::write_bytes(&mut self.scopes[at].1, 2, record);
        self.bytes += record.len();
        self.items += 1;
        self.bytes >= self.limits.batch_bytes || self.items >= self.limits.batch_items_max
    }

    fn begin(&mut self, scope: Scope) -> usize {
        let mut records = Vec::new();
        if self.scopes.is_empty() {
            let bytes = self.expected_bytes.min(self.limits.batch_bytes);
            records.reserve(HEAD_BYTES + bytes + bytes / 8);
            records.resize(HEAD_BYTES, 0);
        }
        self.scopes.push((scope, records));
        self.scopes.len() - 1
    }

    /// What was added since the last batch; `None` if nothing was.
    pub(crate) fn finish(&mut self, resource: &Resource, tenant: &TenantId) -> Option<Batch> {
        if self.items == 0 {
            return None;
        }
        let payload = match self.scopes.as_mut_slice() {
            [(scope, records)] => {
                let records = std::mem::take(records);
                of_one(resource, *scope, records)
            }
            scopes => of_several(resource, scopes),
        };
        self.scopes.clear();
        self.expected_bytes = self.expected_bytes.saturating_sub(self.bytes);
        self.bytes = 0;
        let items = std::mem::take(&mut self.items);
        Some(Batch::from_canonical(self.signal, tenant.clone(), payload, items))
    }
}

/// Records of one scope as a batch, where they stand.
fn of_one(resource: &Resource, scope: Scope, mut records: Vec<u8>) -> Bytes {
    let of_records = records.len() - HEAD_BYTES;
    let mut head = Vec::with_capacity(resource.message.len() + scope.message().len() + KEYS_BYTES);
    write_head(&mut head, resource, of_scope(scope, of_records));
    write_scope(&mut head, scope, of_records);
    let start = match HEAD_BYTES.checked_sub(head.len()) {
        Some(start) => {
            records[start..HEAD_BYTES].copy_from_slice(&head);
            start
        }
        None => {
            records.splice(..HEAD_BYTES, head);
            0
        }
    };
    write_url(&mut records, scope.schema_url());
    write_url(&mut records, &resource.schema_url);
    if records.len() < records.capacity() / 2 {
        records.shrink_to_fit();
    }
    Bytes::from(records).slice(start..)
}

fn of_several(resource: &Resource, scopes: &[(Scope, Vec<u8>)]) -> Bytes {
    let with_records = || {
        scopes.iter().enumerate().map(|(at, (scope, records))| {
            let start = if at == 0 { HEAD_BYTES } else { 0 };
            (*scope, &records[start..])
        })
    };
    let lengths = with_records().map(|(scope, records)| of_scope(scope, records.len()));
    let of_scopes: usize = lengths.sum();
    let of_resource = resource.message.len() + resource.schema_url.len();
    let mut payload = Vec::with_capacity(of_resource + of_scopes + KEYS_BYTES);
    write_head(&mut payload, resource, of_scopes);
    for (scope, records) in with_records() {
        write_scope(&mut payload, scope, records.len());
        payload.extend_from_slice(records);
        write_url(&mut payload, scope.schema_url());
    }
    write_url(&mut payload, &resource.schema_url);
    Bytes::from(payload)
}

/// What stands before the scopes, which take so many bytes.
fn write_head(out: &mut Vec<u8>, resource: &Resource, of_scopes: usize) {
    let length = field_length(resource.message.len()) + of_scopes + of_url(&resource.schema_url);
    write_length(out, 1, length);
    wire::write_bytes(out, 1, &resource.message);
}

/// What stands before the records of a scope, which take so many bytes.
fn write_scope(out: &mut Vec<u8>, scope: Scope, of_records: usize) {
    write_length(out, 2, within_scope(scope, of_records));
    wire::write_bytes(out, 1, scope.message());
}

/// Bytes of a scope with its records.
fn of_scope(scope: Scope, of_records: usize) -> usize {
    field_length(within_scope(scope, of_records))
}

fn within_scope(scope: Scope, of_records: usize) -> usize {
    field_length(scope.message().len()) + of_records + of_url(scope.schema_url())
}

fn of_url(schema_url: &str) -> usize {
    match schema_url.len() {
        0 => 0,
        length => field_length(length),
    }
}

fn write_length(out: &mut Vec<u8>, number: u32, length: usize) {
    wire::write_key(out, number, LENGTH);
    wire::write_varint(out, length as u64);
}

fn write_url(out: &mut Vec<u8>, schema_url: &str) {
    if !schema_url.is_empty() {
        wire::write_bytes(out, 3, schema_url.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by the plain writers.
    fn plain(resource: &Resource, records: &[(Scope, Vec<u8>)]) -> Vec<u8> {
        let mut scopes: Vec<Scope> = Vec::new();
        for (scope, _) in records {
            if !scopes.contains(scope) {
                scopes.push(*scope);
            }
        }
        let mut out = Vec::new();
        let of_resource = wire::open(&mut out, 1);
        wire::write_bytes(&mut out, 1, &resource.message);
        for scope in scopes {
            let of_scope = wire::open(&mut out, 2);
            wire::write_bytes(&mut out, 1, scope.message());
            for (_, record) in records.iter().filter(|(known, _)| *known == scope) {
                wire::write_bytes(&mut out, 2, record);
            }
            write_url(&mut out, scope.schema_url());
            wire::close(&mut out, of_scope);
        }
        write_url(&mut out, &resource.schema_url);
        wire::close(&mut out, of_resource);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever scopes, records and resources there are, and however much was expected.
        #[test]
        fn a_batch_is_what_the_plain_writers_write(
            records in prop::collection::vec((0u8..3, prop::collection::vec(any::<u8>(), 0..300)), 1..20),
            resource_bytes in prop_oneof![0usize..300, 1900usize..2300],
            schema_url in prop_oneof![Just(String::new()), Just("https://schema".to_owned())],
            expected_bytes in 0usize..10_000,
        ) {
            let resource = Resource { message: vec![7; resource_bytes], schema_url };
            let records: Vec<(Scope, Vec<u8>)> = records
                .into_iter()
                .map(|(number, record)| match number {
                    0 => (Scope::nameless(), record),
                    n => (Scope::of(&format!("batcher {n}"), "1", if n == 1 { "https://s" } else { "" }, &[]), record),
                })
                .collect();
            let mut batcher = Batcher::new(Signal::Traces, RecorderLimits::default(), expected_bytes);
            for round in 0..2 {
                for (scope, record) in &records {
                    prop_assert!(!batcher.add(*scope, record), "{round}");
                }
                let batch = batcher.finish(&resource, &TenantId::default_tenant()).unwrap();
                prop_assert_eq!(batch.items(), records.len());
                prop_assert_eq!(&batch.payload()[..], &plain(&resource, &records)[..]);
                prop_assert!(batcher.finish(&resource, &TenantId::default_tenant()).is_none());
            }
        }
    }
}
