//! `ordering_criteria`: files sorted by what their paths or times say, and the first few of each group.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::Utc;
use regex::Regex;

use super::config::{OrderingConfig, SortConfig, SortType};
use super::finder::Found;
use crate::operators::{LayoutType, TimeConfig, TimeParser};

#[derive(Debug, Default)]
pub(super) struct Order {
    regex: Option<Regex>,
    group_by: Option<Regex>,
    sorts: Vec<Sort>,
    /// Zero: all.
    most: usize,
}

#[derive(Debug)]
struct Sort {
    by: By,
    ascending: bool,
}

#[derive(Debug)]
enum By {
    Number(String),
    Text(String),
    Time(String, Box<TimeParser>),
    Modified,
}

/// What is sorted by; files of which it cannot be told come last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(String),
}

impl Order {
    pub(super) fn new(config: &OrderingConfig) -> Result<Order, (String, String)> {
        let compile = |key: &str, text: &str| match text {
            "" => Ok(None),
            text => Regex::new(text)
                .map(Some)
                .map_err(|error| (key.to_owned(), format!("cannot be used: {error}"))),
        };
        if config.sort_by.is_empty() {
            return Ok(Order::default());
        }
        let regex = compile("regex", &config.regex)?;
        let mut sorts = Vec::new();
        for (index, sort) in config.sort_by.iter().enumerate() {
            let by = by(sort).map_err(|(key, problem)| (format!("sort_by[{index}].{key}"), problem))?;
            if regex.is_none() && !matches!(by, By::Modified) {
                return Err((
                    "regex".to_owned(),
                    "is missing: what finds in a path what is sorted by".to_owned(),
                ));
            }
            sorts.push(Sort {
                by,
                ascending: sort.ascending,
            });
        }
        let group_by = compile("group_by", &config.group_by)?;
        Ok(Order {
            regex,
            group_by,
            sorts,
            most: config.top_n.unwrap_or(1),
        })
    }

    pub(super) fn sort(&self, files: Vec<Found>) -> Vec<Found> {
        if self.sorts.is_empty() {
            return files;
        }
        let mut groups: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for file in files {
            groups.entry(self.group(&file)).or_default().push(file);
        }
        let mut sorted = Vec::new();
        for mut group in groups.into_values() {
            // The first criterion counts most: a stable sort by it comes last.
            for sort in self.sorts.iter().rev() {
                let key = |file: &Found| self.key(&sort.by, file);
                match sort.ascending {
                    true => group.sort_by_cached_key(|file| (key(file).is_none(), key(file))),
                    false => group.sort_by_cached_key(|file| (key(file).is_none(), Reverse(key(file)))),
                }
            }
            if self.most > 0 {
                group.truncate(self.most);
            }
            sorted.extend(group);
        }
        sorted
    }

    /// What the groups of the expression find, or all of what it finds.
    fn group(&self, file: &Found) -> String {
        let path = file.path.to_string_lossy();
        let Some(found) = self.group_by.as_ref().and_then(|regex| regex.captures(&path)) else {
            return String::new();
        };
        let parts: Vec<&str> = found.iter().skip(1).flatten().map(|part| part.as_str()).collect();
        match parts.is_empty() {
            true => found[0].to_owned(),
            false => parts.join("\u{1f}"),
        }
    }

    fn key(&self, by: &By, file: &Found) -> Option<Key> {
        let path = file.path.to_string_lossy();
        let named = |name: &str| {
            let found = self.regex.as_ref()?.captures(&path)?;
            Some(found.name(name)?.as_str().to_owned())
        };
        match by {
            By::Number(name) => named(name)?.parse().ok().map(Key::Number),
            By::Text(name) => named(name).map(Key::Text),
            By::Time(name, parser) => parser.of_text(&named(name)?, Utc::now()).ok().map(Key::Number),
            By::Modified => {
                let modified = file.metadata.modified().ok()?;
                let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
                i64::try_from(since.as_nanos()).ok().map(Key::Number)
            }
        }
    }
}

fn by(sort: &SortConfig) -> Result<By, (&'static str, String)> {
    let name = || match sort.regex_key.as_str() {
        "" => Err((
            "regex_key",
            "is missing: the name of a group of `regex`".to_owned(),
        )),
        name => Ok(name.to_owned()),
    };
    Ok(match sort.sort_type {
        SortType::Mtime => By::Modified,
        SortType::Numeric => By::Number(name()?),
        SortType::Alphabetical => By::Text(name()?),
        SortType::Timestamp => {
            let config = TimeConfig {
                layout: sort.layout.clone(),
                layout_type: LayoutType::Strptime,
                location: if sort.location.is_empty() {
                    "UTC".to_owned()
                } else {
                    sort.location.clone()
                },
                ..TimeConfig::default()
            };
            By::Time(name()?, Box::new(TimeParser::of_layout(&config)?))
        }
    })
}
