//! `recombine`: consecutive entries of a source that are one, joined. What is held is bounded by entries, bytes, sources and
//! time; its origins are told, so that nobody takes it for delivered.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use cupola_config::units::{ByteSize, TimeSpan};
use serde::Deserialize;

use crate::operators::build::{Built, Making, wrong};
use crate::operators::entry::{Entry, Origin};
use crate::operators::expression::Expression;
use crate::operators::field::Field;
use crate::operators::value::Value;
use crate::operators::{Failed, Made, Work};

const SOURCES_MAX: usize = 1000;
const ENTRIES_MAX: usize = 1000;
const UNMATCHED_MAX: usize = 100;
/// Of text held, over all sources: beyond it, all of it is handed on as it is.
const HELD_BYTES_MAX: usize = 16 << 20;
const HELD_FOR: std::time::Duration = std::time::Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Overwrite {
    #[default]
    Oldest,
    Newest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    is_first_entry: String,
    is_last_entry: String,
    combine_field: Option<Field>,
    combine_with: String,
    /// What tells sources apart.
    source_identifier: Field,
    /// Which entry keeps its other fields.
    overwrite_with: Overwrite,
    max_batch_size: usize,
    max_unmatched_batch_size: usize,
    max_log_size: ByteSize,
    max_sources: usize,
    force_flush_period: TimeSpan,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            is_first_entry: String::new(),
            is_last_entry: String::new(),
            combine_field: None,
            combine_with: "\n".to_owned(),
            source_identifier: Field::attribute("log.file.path"),
            overwrite_with: Overwrite::Oldest,
            max_batch_size: ENTRIES_MAX,
            max_unmatched_batch_size: UNMATCHED_MAX,
            max_log_size: ByteSize(0),
            max_sources: SOURCES_MAX,
            force_flush_period: TimeSpan(HELD_FOR),
        }
    }
}

/// Holds entries until their group is complete. Zero of a bound means none.
pub(in crate::operators) struct Recombine {
    field: Field,
    between: String,
    source: Field,
    newest: bool,
    entries_max: usize,
    unmatched_max: usize,
    bytes_max: usize,
    sources_max: usize,
    held_for: TimeDelta,
    groups: BTreeMap<String, Group>,
    /// Bytes of text in all groups.
    held_bytes: usize,
}

/// Entries of one source that are held as one.
struct Group {
    entry: Entry,
    text: String,
    entries: usize,
    since: DateTime<Utc>,
    /// The condition has held for one of them.
    matched: bool,
    /// Of the first entry of each source that came in.
    origins: Vec<Origin>,
}

/// The operator: what says where a group begins or ends.
struct Recombining {
    condition: Expression,
    first: bool,
    groups: Recombine,
}

pub(super) fn make(making: &mut Making<'_>) -> Built {
    let config: Config = making.read()?;
    let (first, key, text) = match (config.is_first_entry.as_str(), config.is_last_entry.as_str()) {
        ("", "") => return Err(wrong("is_first_entry", "is missing, and so is `is_last_entry`")),
        (first, "") => (true, "is_first_entry", first),
        ("", last) => (false, "is_last_entry", last),
        _ => {
            return Err(wrong(
                "is_last_entry",
                "cannot be set together with `is_first_entry`",
            ));
        }
    };
    let condition = making.expression(key, text)?;
    let field = config
        .combine_field
        .ok_or_else(|| wrong("combine_field", "is missing: the text to be joined"))?;
    if config.max_batch_size == 0 && config.max_log_size.0 == 0 {
        return Err(wrong(
            "max_batch_size",
            "cannot be 0 together with `max_log_size`: nothing would bound a group",
        ));
    }
    if config.max_sources == 0 {
        return Err(wrong("max_sources", "must be greater than zero"));
    }
    let groups = Recombine {
        field,
        between: config.combine_with,
        source: config.source_identifier,
        newest: config.overwrite_with == Overwrite::Newest,
        entries_max: config.max_batch_size,
        unmatched_max: config.max_unmatched_batch_size,
        bytes_max: config.max_log_size.0 as usize,
        sources_max: config.max_sources,
        held_for: TimeDelta::from_std(config.force_flush_period.0).unwrap_or(TimeDelta::MAX),
        groups: BTreeMap::new(),
        held_bytes: 0,
    };
    Ok(Box::new(Recombining {
        condition,
        first,
        groups,
    }))
}

impl Work for Recombining {
    fn run(&mut self, entry: Entry, now: DateTime<Utc>, made: &mut Made) -> Result<(), Failed> {
        let matches = match self.condition.holds(&entry) {
            Ok(matches) => matches,
            Err(problem) => {
                return Err(Failed {
                    entry: entry.into(),
                    problem,
                });
            }
        };
        if self.first {
            if matches {
                let source = self.groups.source_of(&entry);
                self.groups.end(&source, made);
            }
            self.groups.push(entry, matches, now, made);
            return Ok(());
        }
        self.groups.add(entry, matches, now, made);
        Ok(())
    }

    fn flush(&mut self, now: DateTime<Utc>, all: bool, made: &mut Made) {
        self.groups.flush(now, all, made);
    }

    fn held(&self, origins: &mut Vec<Origin>) {
        self.groups.held(origins);
    }
}

impl Recombine {
    /// For parts of lines that a container's runtime has cut.
    pub(in crate::operators) fn of_parts(bytes_max: usize) -> Recombine {
        Recombine {
            field: Field::body(),
            between: String::new(),
            source: Field::attribute("log.file.path"),
            newest: false,
            entries_max: if bytes_max == 0 { ENTRIES_MAX } else { 0 },
            unmatched_max: 0,
            bytes_max,
            sources_max: SOURCES_MAX,
            held_for: TimeDelta::from_std(HELD_FOR).unwrap_or(TimeDelta::MAX),
            groups: BTreeMap::new(),
            held_bytes: 0,
        }
    }

    /// Adds an entry to the group of its source, and ends it with the `last` one.
    pub(in crate::operators) fn add(
        &mut self,
        entry: Entry,
        last: bool,
        now: DateTime<Utc>,
        made: &mut Made,
    ) {
        let source = self.source_of(&entry);
        self.push(entry, last, now, made);
        if last {
            self.end(&source, made);
        }
    }

    fn push(&mut self, entry: Entry, matches: bool, now: DateTime<Utc>, made: &mut Made) {
        let Some(Value::Text(text)) = self.field.get(&entry) else {
            // There is nothing to join: it goes its own way, after what came before it.
            let source = self.source_of(&entry);
            self.end(&source, made);
            made.push((None, entry));
            return;
        };
        let text = text.clone();
        let source = self.source_of(&entry);
        if !self.groups.contains_key(&source) && self.groups.len() >= self.sources_max {
            self.flush(now, true, made);
        }
        let before = self.groups.get(&source).map_or(0, |group| group.text.len());
        let group = match self.groups.get_mut(&source) {
            Some(group) => {
                group.add(entry, &self.between, &text, self.newest);
                group
            }
            None => self.groups.entry(source.clone()).or_insert(Group {
                origins: vec![entry.origin],
                entry,
                text,
                entries: 1,
                since: now,
                matched: false,
            }),
        };
        group.matched |= matches;
        self.held_bytes += group.text.len() - before;
        let over = |count: usize, most: usize| most > 0 && count >= most;
        if over(group.entries, self.entries_max)
            || (self.bytes_max > 0 && group.text.len() > self.bytes_max)
            || (!group.matched && over(group.entries, self.unmatched_max))
        {
            self.end(&source, made);
        }
        if self.held_bytes > HELD_BYTES_MAX {
            self.flush(now, true, made);
        }
    }

    /// Entries without the field are one source.
    fn source_of(&self, entry: &Entry) -> String {
        match self.source.get(entry) {
            Some(Value::Text(source)) => source.clone(),
            _ => String::new(),
        }
    }

    fn end(&mut self, source: &str, made: &mut Made) {
        if let Some(group) = self.groups.remove(source) {
            self.held_bytes -= group.text.len();
            made.push((None, group.finish(&self.field)));
        }
    }

    pub(in crate::operators) fn flush(&mut self, now: DateTime<Utc>, all: bool, made: &mut Made) {
        let ended = |group: &Group| all || now - group.since >= self.held_for;
        let sources: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, group)| ended(group))
            .map(|(source, _)| source.clone())
            .collect();
        for source in sources {
            self.end(&source, made);
        }
    }

    pub(in crate::operators) fn held(&self, origins: &mut Vec<Origin>) {
        origins.extend(self.groups.values().flat_map(|group| &group.origins));
    }
}

impl Group {
    fn add(&mut self, entry: Entry, between: &str, text: &str, newest: bool) {
        self.entries += 1;
        if !self.text.is_empty() {
            self.text.push_str(between);
        }
        self.text.push_str(text);
        let known = self
            .origins
            .iter()
            .any(|origin| origin.source == entry.origin.source);
        if !known {
            self.origins.push(entry.origin);
        }
        if newest {
            self.entry = entry;
        }
    }

    fn finish(self, field: &Field) -> Entry {
        let mut entry = self.entry;
        // The field is there and holds text: setting it in its place cannot fail.
        let _ = field.set(&mut entry, Value::Text(self.text));
        entry
    }
}
