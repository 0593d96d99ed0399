//! What the catalog keeps about a segment, so that planning a query needs no file to be opened.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use serde::{Deserialize, Serialize};

use super::words::WordIndex;
use crate::schema::{AttributeSet, KeyCounts, KeyStatistics, PromotedColumn, TypeMask, ValueType, column};

/// Most keys of one set listed as being in the map; beyond, `rest_overflow`.
pub(crate) const REST_KEYS_MAX: usize = 512;
/// Most service names listed; beyond, `services_overflow`.
pub(crate) const SERVICES_MAX: usize = 256;
/// Longest service name listed.
const SERVICE_BYTES_MAX: usize = 256;

/// Facts about one segment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SegmentMeta {
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Nanoseconds since 1970, of `timestamp`.
    pub min_timestamp: i64,
    pub max_timestamp: i64,
    /// One entry per attribute set of the table.
    pub attributes: Vec<AttributeKeys>,
    /// Values of `service_name`, sorted; null is the empty text.
    pub services: Vec<String>,
    /// There are more services than listed.
    #[serde(default)]
    pub services_overflow: bool,
    /// Largest `series_id` of a `series` segment.
    #[serde(default)]
    pub max_series_id: Option<u64>,
    /// Of `body`; merged segments of logs have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<WordIndex>,
}

/// Where the keys of one attribute set are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeKeys {
    pub set: AttributeSet,
    /// Keys with a column of their own.
    pub promoted: Vec<PromotedKey>,
    /// Keys in the map; a key can be in both (other types, second values of a row).
    pub rest: Vec<RestKey>,
    /// The map has keys that are not listed in `rest`.
    #[serde(default)]
    pub rest_overflow: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromotedKey {
    pub key: String,
    pub value_type: ValueType,
    /// Rows with a value.
    pub rows: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestKey {
    pub key: String,
    pub types: TypeMask,
    /// Entries in the map.
    pub rows: u64,
}

impl SegmentMeta {
    /// The promoted columns, `service_name` included when any row has one.
    pub fn promoted(&self) -> impl Iterator<Item = PromotedColumn> {
        self.attributes.iter().flat_map(|keys| {
            keys.promoted.iter().map(|promoted| PromotedColumn {
                set: keys.set,
                key: promoted.key.clone(),
                value_type: promoted.value_type,
            })
        })
    }

    pub fn set(&self, set: AttributeSet) -> Option<&AttributeKeys> {
        self.attributes.iter().find(|keys| keys.set == set)
    }

    /// The type of the column `key` is promoted to.
    pub fn promoted_type(&self, set: AttributeSet, key: &str) -> Option<ValueType> {
        self.set(set)?
            .promoted
            .iter()
            .find(|promoted| promoted.key == key)
            .map(|promoted| promoted.value_type)
    }

    /// The types of values `key` may have in the map; empty when the map has no such key.
    pub fn rest_types(&self, set: AttributeSet, key: &str) -> TypeMask {
        let Some(keys) = self.set(set) else {
            return TypeMask::default();
        };
        match keys.rest.binary_search_by(|rest| rest.key.as_str().cmp(key)) {
            Ok(index) => keys.rest[index].types,
            Err(_) if keys.rest_overflow => TypeMask(u16::MAX),
            Err(_) => TypeMask::default(),
        }
    }

    /// Whether rows of this service may be in the segment.
    pub fn may_have_service(&self, service: &str) -> bool {
        self.services_overflow
            || self
                .services
                .binary_search_by(|name| name.as_str().cmp(service))
                .is_ok()
    }

    /// Key counts as far as the metadata has them, for deciding the columns of a merged segment.
    pub(crate) fn key_statistics(&self) -> KeyStatistics {
        let mut statistics = KeyStatistics::with_rows(self.rows);
        for keys in &self.attributes {
            for promoted in &keys.promoted {
                let mut counts = KeyCounts {
                    promoted_rows: promoted.rows,
                    ..KeyCounts::default()
                };
                counts.by_type[promoted.value_type as usize] = promoted.rows;
                counts.promoted.insert(promoted.value_type);
                statistics.add(keys.set, &promoted.key, &counts);
            }
            for rest in &keys.rest {
                let mut counts = KeyCounts {
                    rest: rest.types,
                    rest_rows: rest.rows,
                    ..KeyCounts::default()
                };
                let mut types = rest.types.types();
                if let (Some(only), None) = (types.next(), types.next()) {
                    counts.by_type[only as usize] = rest.rows;
                }
                statistics.add(keys.set, &rest.key, &counts);
            }
            if keys.rest_overflow {
                statistics.set_overflow(keys.set);
            }
        }
        statistics
    }
}

/// Collects the facts while rows are written.
#[derive(Debug, Default)]
pub(crate) struct MetaBuilder {
    statistics: KeyStatistics,
    range: Option<(i64, i64)>,
    services: BTreeSet<String>,
    services_overflow: bool,
    max_series_id: Option<u64>,
}

impl MetaBuilder {
    pub(crate) fn observe(&mut self, batch: &RecordBatch) {
        self.statistics.observe(batch);
        if let Some(timestamps) = batch.column_by_name(column::TIMESTAMP) {
            let values = timestamps.as_primitive::<TimestampNanosecondType>().values();
            let range = values.iter().fold(self.range, |range, value| match range {
                Some((min, max)) => Some((min.min(*value), max.max(*value))),
                None => Some((*value, *value)),
            });
            self.range = range;
        }
        if let Some(services) = batch.column_by_name(column::SERVICE_NAME) {
            self.observe_services(services.as_ref());
        }
        if let Some(ids) = batch.column_by_name(column::SERIES_ID) {
            let ids = ids.as_primitive::<arrow::datatypes::UInt64Type>();
            self.max_series_id = self.max_series_id.max(ids.values().iter().copied().max());
        }
    }

    fn observe_services(&mut self, services: &dyn Array) {
        let Some(services) = services.as_string_view_opt() else {
            return;
        };
        let mut last: Option<Option<&str>> = None;
        for service in services {
            if last == Some(service) {
                continue;
            }
            last = Some(service);
            let name = service.unwrap_or_default();
            if self.services.contains(name) {
                continue;
            }
            if self.services.len() >= SERVICES_MAX || name.len() > SERVICE_BYTES_MAX {
                self.services_overflow = true;
                continue;
            }
            self.services.insert(name.to_owned());
        }
    }

    pub(crate) fn finish(self, sets: &[AttributeSet], bytes: u64) -> SegmentMeta {
        let (min_timestamp, max_timestamp) = self.range.unwrap_or_default();
        let attributes = sets
            .iter()
            .map(|set| attribute_keys(*set, &self.statistics))
            .collect();
        SegmentMeta {
            rows: self.statistics.rows,
            bytes,
            min_timestamp,
            max_timestamp,
            attributes,
            services: self.services.into_iter().collect(),
            services_overflow: self.services_overflow,
            max_series_id: self.max_series_id,
            words: None,
        }
    }
}

fn attribute_keys(set: AttributeSet, statistics: &KeyStatistics) -> AttributeKeys {
    let statistics = statistics.set(set);
    let mut keys = AttributeKeys {
        set,
        promoted: Vec::new(),
        rest: Vec::new(),
        rest_overflow: statistics.overflow,
    };
    for (key, counts) in statistics.sorted() {
        if let Some(value_type) = counts.promoted.types().next() {
            keys.promoted.push(PromotedKey {
                key: key.to_owned(),
                value_type,
                rows: counts.promoted_rows,
            });
        }
        if counts.rest.is_empty() {
            continue;
        }
        if keys.rest.len() >= REST_KEYS_MAX {
            keys.rest_overflow = true;
            continue;
        }
        keys.rest.push(RestKey {
            key: key.to_owned(),
            types: counts.rest,
            rows: counts.rest_rows,
        });
    }
    keys
}
