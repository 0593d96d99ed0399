//! The groupbyattrs processor: moves attributes of items to their resources, and puts together what has equal ones.
//!
//! An item that has some of the keys goes to the resource with those attributes added, and loses them itself; the others
//! stay with theirs. Without keys it only puts together: equal resources, in them equal scopes, in them equal metrics.
//! The order of attributes makes no difference between resources.
//!
//! Stateless: the sender has the answer of the next sink. A metric without points is not kept.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/groupbyattrsprocessor>

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::edit::{Fields, Message, Value};
use cupola_telemetry::wire::{close, open, write_bytes};
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use serde::Deserialize;

use super::ConfigError;
use super::regroup::{Envelope, walk};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupByAttrsConfig {
    pub keys: Vec<String>,
}

impl GroupByAttrsConfig {
    /// Refuses empty keys.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self.keys.iter().position(String::is_empty) {
            Some(index) => Err(ConfigError::setting(format!("keys[{index}]"), "it is empty")),
            None => Ok(()),
        }
    }
}

/// A message under construction, with those in it by what tells them apart.
#[derive(Default)]
struct Group {
    number: u32,
    header: Vec<u8>,
    places: HashMap<Vec<u8>, usize>,
    groups: Vec<Group>,
    /// Encoded fields of the items, if it has some.
    items: Vec<u8>,
}

impl Group {
    fn place(&mut self, number: u32, key: Vec<u8>, header: Vec<u8>) -> usize {
        let next = self.groups.len();
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            self.groups.push(Group {
                number,
                header,
                ..Group::default()
            });
        }
        place
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
        for group in &self.groups {
            let start = open(out, group.number);
            group.write(out);
            close(out, start);
        }
        out.extend_from_slice(&self.items);
    }
}

/// Encoded values of the keys that an item has.
type Moved = Vec<(usize, Vec<u8>)>;

struct Grouping<'k> {
    keys: &'k [String],
    signal: Signal,
    root: Group,
    /// Where the last item went: the innermost envelope it was in, what it moved, and the way there.
    last: Option<(usize, Moved, Vec<usize>)>,
    grouped: u64,
    not_grouped: u64,
}

impl Grouping<'_> {
    fn add(&mut self, path: &[Envelope<'_>], item: &[u8]) {
        let number = match self.signal {
            Signal::Logs => 6,
            Signal::Traces => 9,
            Signal::Metrics => match path.last().map_or(0, Envelope::number) {
                9 => 9,
                10 => 1,
                _ => 7,
            },
        };
        let mut moved = Moved::new();
        let mut message = Message::new(item);
        for (index, key) in self.keys.iter().enumerate() {
            if let Some(value) = message.attribute(number, key) {
                moved.push((index, value.encode()));
            }
        }
        let rewritten = (!moved.is_empty()).then(|| {
            let map = message.map_mut(number);
            map.retain(|name| !self.keys.iter().any(|key| key == name));
            message.encode()
        });
        match moved.is_empty() {
            true => self.not_grouped += 1,
            false => self.grouped += 1,
        }
        let innermost = path.last().map_or(0, Envelope::id);
        let way = match self.last.take() {
            Some((id, last, way)) if id == innermost && last == moved => way,
            _ => self.way(path, &moved),
        };
        let mut group = &mut self.root;
        for place in &way {
            group = &mut group.groups[*place];
        }
        let number = if path.len() > 2 { 1 } else { 2 };
        write_bytes(&mut group.items, number, rewritten.as_deref().unwrap_or(item));
        self.last = Some((innermost, moved, way));
    }

    /// The places that lead to the group of an item, which are made if they are not there.
    fn way(&mut self, path: &[Envelope<'_>], moved: &Moved) -> Vec<usize> {
        let mut way = Vec::with_capacity(path.len());
        let mut group = &mut self.root;
        for (depth, envelope) in path.iter().enumerate() {
            let (key, header) = match depth {
                0 => resource(envelope, moved, self.keys),
                _ => {
                    let mut header = Vec::new();
                    envelope.write_own(&mut header);
                    let mut key = header.clone();
                    key.push(envelope.number() as u8);
                    (key, header)
                }
            };
            let place = group.place(envelope.number(), key, header);
            way.push(place);
            group = &mut group.groups[place];
        }
        way
    }
}

/// What tells a resource with the moved attributes apart, and its own fields.
fn resource(envelope: &Envelope<'_>, moved: &Moved, keys: &[String]) -> (Vec<u8>, Vec<u8>) {
    let mut own = Vec::new();
    envelope.write_own(&mut own);
    let mut message = Message::new(&own);
    for (index, value) in moved {
        let map = message.message_mut(1).map_mut(1);
        map.set(keys[*index].as_str().into(), Value::decode(value));
    }
    let header = message.encode();
    let (mut key, mut attributes) = (Vec::new(), Vec::new());
    for field in Fields::new(&header) {
        if field.number != 1 {
            key.extend_from_slice(field.whole);
            continue;
        }
        for field in Fields::new(field.value) {
            match field.number {
                1 => attributes.push(field.whole),
                _ => key.extend_from_slice(field.whole),
            }
        }
    }
    attributes.sort_unstable();
    // Other fields stand first, with their length, so that none can pass for an attribute.
    let mut all = (key.len() as u64).to_le_bytes().to_vec();
    all.extend_from_slice(&key);
    attributes
        .into_iter()
        .for_each(|attribute| all.extend_from_slice(attribute));
    (all, header)
}

/// Grouping in front of a sink.
pub struct GroupByAttrs {
    config: GroupByAttrsConfig,
    next: Arc<dyn Sink>,
    /// By signal: grouped, not grouped.
    counts: Mutex<HashMap<Signal, (u64, u64)>>,
}

impl GroupByAttrs {
    pub fn new(config: &GroupByAttrsConfig, next: Arc<dyn Sink>) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            next,
            counts: Mutex::default(),
        })
    }

    /// The batch with its items grouped; it loses none.
    pub fn process(&self, batch: &Batch) -> Batch {
        let mut grouping = Grouping {
            keys: &self.config.keys,
            signal: batch.signal(),
            root: Group::default(),
            last: None,
            grouped: 0,
            not_grouped: 0,
        };
        let mut items = 0;
        walk(batch, |path, item| {
            items += 1;
            grouping.add(path, item);
        });
        let mut counts = self.counts.lock();
        let (grouped, not_grouped) = counts.entry(batch.signal()).or_default();
        *grouped += grouping.grouped;
        *not_grouped += grouping.not_grouped;
        let mut payload = Vec::with_capacity(batch.payload().len());
        grouping.root.write(&mut payload);
        batch.derived(payload.into(), items)
    }
}

#[async_trait]
impl Sink for GroupByAttrs {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.next.send(self.process(&batch)).await
    }
}

#[async_trait]
impl Component for GroupByAttrs {
    fn collect(&self, samples: &mut Vec<Sample>) {
        for (signal, (grouped, not_grouped)) in self.counts.lock().iter() {
            let (with, without) = match signal {
                Signal::Traces => (
                    "otelcol_processor_groupbyattrs_num_grouped_spans",
                    "otelcol_processor_groupbyattrs_num_non_grouped_spans",
                ),
                Signal::Logs => (
                    "otelcol_processor_groupbyattrs_num_grouped_logs",
                    "otelcol_processor_groupbyattrs_num_non_grouped_logs",
                ),
                Signal::Metrics => (
                    "otelcol_processor_groupbyattrs_num_grouped_metrics",
                    "otelcol_processor_groupbyattrs_num_non_grouped_metrics",
                ),
            };
            samples.push(Sample::count(
                with,
                "Items that had attributes to group by.",
                *grouped,
            ));
            samples.push(Sample::count(without, "Items that had none.", *not_grouped));
        }
    }
}
