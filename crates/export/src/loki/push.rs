//! Push requests: entries by tenant and stream, in requests of bounded size, as protobuf in snappy or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use cupola_telemetry::wire::{VARINT, close, open, write_bytes, write_key, write_varint};
use cupola_telemetry::{Batch, json};

use super::entry::{Entry, Record};
use super::{LokiConfig, LokiEncoding};
use crate::prometheus::Labels;
use crate::refused::Refused;

/// What an entry and a label take beside their texts.
const ENTRY_OVERHEAD: usize = 48;
const LABEL_OVERHEAD: usize = 16;

/// The requests for a batch.
pub(super) struct Prepared {
    pub(super) requests: Vec<Request>,
    pub(super) refused: Refused,
}

/// One request, and the tenant that a hint named.
pub(super) struct Request {
    pub(super) tenant: Option<String>,
    pub(super) body: Bytes,
}

/// Entries of one tenant by stream, not more than a request takes.
#[derive(Default)]
struct Streams {
    entries: BTreeMap<Labels, Vec<Entry>>,
    bytes: usize,
}

pub(super) fn prepare(batch: &Batch, config: &LokiConfig, now: u64) -> Prepared {
    let bytes_max = config.max_batch_size_bytes.0 as usize;
    let mut tenants: BTreeMap<Option<String>, Streams> = BTreeMap::new();
    let mut prepared = Prepared {
        requests: Vec::new(),
        refused: Refused::default(),
    };
    let mut number = 0;
    for logs in batch.logs().resources() {
        let resource = logs.resource();
        for logs in logs.scopes() {
            let scope = logs.scope();
            for record in logs.records() {
                let entry = Record {
                    record,
                    resource,
                    scope,
                }
                .entry(config, now);
                number += 1;
                if entry.labels.is_empty() {
                    prepared.refused.add(
                        number - 1,
                        "log record",
                        "no label: Loki takes no stream without one",
                    );
                    continue;
                }
                let streams = tenants.entry(entry.tenant.clone()).or_default();
                let bytes = size(&entry) + labels_size(&entry.labels);
                if streams.bytes > 0 && streams.bytes + bytes > bytes_max {
                    let full = std::mem::take(streams);
                    prepared
                        .requests
                        .push(full.request(entry.tenant.clone(), config.encoding));
                }
                streams.bytes += bytes;
                streams
                    .entries
                    .entry(entry.labels.clone())
                    .or_default()
                    .push(entry);
            }
        }
    }
    for (tenant, streams) in tenants {
        if streams.bytes > 0 {
            prepared.requests.push(streams.request(tenant, config.encoding));
        }
    }
    prepared
}

/// As many bytes as an entry takes at most, escapes of JSON aside.
fn size(entry: &Entry) -> usize {
    entry.line.len() + labels_size(&entry.metadata) + ENTRY_OVERHEAD
}

fn labels_size(labels: &Labels) -> usize {
    labels
        .iter()
        .map(|(name, value)| name.len() + value.len() + LABEL_OVERHEAD)
        .sum()
}

impl Streams {
    fn request(mut self, tenant: Option<String>, encoding: LokiEncoding) -> Request {
        for entries in self.entries.values_mut() {
            // A stream takes entries in the order of time, if it is to take all of them.
            entries.sort_by_key(|entry| entry.time_unix_nano);
        }
        let body = match encoding {
            LokiEncoding::Json => Bytes::from(self.json()),
            LokiEncoding::Protobuf => {
                let compressed = snap::raw::Encoder::new().compress_vec(&self.protobuf());
                Bytes::from(compressed.expect("a request is smaller than snappy's 4 GiB, as its batch was"))
            }
        };
        Request { tenant, body }
    }

    /// `logproto.PushRequest`.
    fn protobuf(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes);
        for (labels, entries) in &self.entries {
            let stream = open(&mut out, 1);
            write_bytes(&mut out, 1, selector(labels).as_bytes());
            for entry in entries {
                let start = open(&mut out, 2);
                let time = open(&mut out, 1);
                write_int(&mut out, 1, entry.time_unix_nano / 1_000_000_000);
                write_int(&mut out, 2, entry.time_unix_nano % 1_000_000_000);
                close(&mut out, time);
                write_bytes(&mut out, 2, entry.line.as_bytes());
                for (name, value) in entry.metadata.iter() {
                    let pair = open(&mut out, 3);
                    write_bytes(&mut out, 1, name.as_bytes());
                    write_bytes(&mut out, 2, value.as_bytes());
                    close(&mut out, pair);
                }
                close(&mut out, start);
            }
            close(&mut out, stream);
        }
        out
    }

    fn json(&self) -> String {
        let mut out = String::from("{\"streams\":[");
        for (number, (labels, entries)) in self.entries.iter().enumerate() {
            out.push_str(if number > 0 {
                ",{\"stream\":"
            } else {
                "{\"stream\":"
            });
            write_object(&mut out, labels);
            out.push_str(",\"values\":[");
            for (number, entry) in entries.iter().enumerate() {
                let separator = if number > 0 { "," } else { "" };
                let _ = write!(out, "{separator}[\"{}\",", entry.time_unix_nano);
                json::write_string(&mut out, &entry.line);
                if !entry.metadata.is_empty() {
                    out.push(',');
                    write_object(&mut out, &entry.metadata);
                }
                out.push(']');
            }
            out.push_str("]}");
        }
        out.push_str("]}");
        out
    }
}

/// `{job="a", level="INFO"}`.
fn selector(labels: &Labels) -> String {
    let mut out = String::from("{");
    for (number, (name, value)) in labels.iter().enumerate() {
        let separator = if number > 0 { ", " } else { "" };
        let _ = write!(out, "{separator}{name}=");
        // The escapes of JSON are among those of Go, which is how labels are quoted.
        json::write_string(&mut out, value);
    }
    out.push('}');
    out
}

fn write_object(out: &mut String, labels: &Labels) {
    for (number, (name, value)) in labels.iter().enumerate() {
        out.push(if number > 0 { ',' } else { '{' });
        json::write_string(out, name);
        out.push(':');
        json::write_string(out, value);
    }
    if labels.is_empty() {
        out.push('{');
    }
    out.push('}');
}

fn write_int(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        write_key(out, number, VARINT);
        write_varint(out, value);
    }
}
