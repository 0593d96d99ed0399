//! Editors of maps: attributes, structured bodies, the cache.

use std::borrow::Cow;
use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cupola_telemetry::edit::{Map, Value as Telemetry};
use regex::Regex;

use super::flatten::Flatten;
use super::{Definition, Editor, TARGET, editor, pairs};
use crate::ottl::compile::Bound;
use crate::ottl::error::Fault;
use crate::ottl::eval::{Evaluator, Run};
use crate::ottl::functions::{Kind, optional, required};
use crate::ottl::lexer::Failure;
use crate::ottl::path::Path;
use crate::ottl::pattern::{self, Source};
use crate::ottl::value::Value;

#[derive(Debug)]
pub(in crate::ottl) enum MapEditor {
    DeleteKey(Evaluator),
    DeleteKeys(Evaluator),
    KeepKeys(Evaluator),
    MatchingKeys {
        pattern: (Source<Regex>, Evaluator),
        keep: bool,
    },
    Limit {
        limit: usize,
        priority_keys: Vec<String>,
    },
    TruncateAll {
        limit: usize,
        marker: String,
    },
    Merge {
        source: Evaluator,
        insert: bool,
        update: bool,
    },
    Flatten(Flatten),
    StringifyAll,
}

pub(super) const TABLE: &[Definition] = &[
    editor("delete_key", &[TARGET, required("key", Kind::Value)], |bound| {
        of(bound, MapEditor::DeleteKey(bound.value(1)?))
    }),
    editor(
        "delete_keys",
        &[TARGET, required("keys", Kind::Values)],
        |bound| of(bound, MapEditor::DeleteKeys(bound.value(1)?)),
    ),
    editor("keep_keys", &[TARGET, required("keys", Kind::Values)], |bound| {
        of(bound, MapEditor::KeepKeys(bound.value(1)?))
    }),
    editor(
        "delete_matching_keys",
        &[TARGET, required("pattern", Kind::Pattern)],
        |bound| matching_keys(bound, false),
    ),
    editor(
        "keep_matching_keys",
        &[TARGET, required("pattern", Kind::Pattern)],
        |bound| matching_keys(bound, true),
    ),
    editor(
        "limit",
        &[
            TARGET,
            required("limit", Kind::Int),
            required("priority_keys", Kind::Texts),
        ],
        |bound| {
            let (limit, priority_keys) = (bound.size(1)?, bound.texts(2));
            if priority_keys.len() > limit {
                return Err(bound.refuse(2, format!("there are more of them than the limit of {limit}")));
            }
            of(bound, MapEditor::Limit { limit, priority_keys })
        },
    ),
    editor(
        "truncate_all",
        &[
            TARGET,
            required("limit", Kind::Int),
            // Text in OTLP is UTF-8, and is cut between letters either way.
            optional("utf8_safe", Kind::Bool),
            optional("truncation_marker", Kind::Text),
        ],
        |bound| {
            let (limit, marker) = (bound.size(1)?, bound.text(3).unwrap_or_default().to_owned());
            if marker.len() > limit {
                return Err(bound.refuse(3, format!("it is longer than the limit of {limit}")));
            }
            of(bound, MapEditor::TruncateAll { limit, marker })
        },
    ),
    editor(
        "merge_maps",
        &[
            TARGET,
            required("source", Kind::Value),
            required("strategy", Kind::Text),
        ],
        |bound| {
            let (insert, update) = match bound.text(2).unwrap_or_default() {
                "insert" => (true, false),
                "update" => (false, true),
                "upsert" => (true, true),
                other => {
                    let problem = format!("{other:?} is no strategy; there are insert, update and upsert");
                    return Err(bound.refuse(2, problem));
                }
            };
            let source = bound.value(1)?;
            of(
                bound,
                MapEditor::Merge {
                    source,
                    insert,
                    update,
                },
            )
        },
    ),
    editor(
        "flatten",
        &[
            TARGET,
            optional("prefix", Kind::Text),
            optional("depth", Kind::Int),
            optional("resolve_conflicts", Kind::Bool),
        ],
        |bound| {
            if bound.is_given(2) && bound.size(2)? == 0 {
                return Err(bound.refuse(2, "at least one level is flattened".to_owned()));
            }
            let flatten = Flatten {
                prefix: bound.text(1).unwrap_or_default().to_owned(),
                depth: if bound.is_given(2) {
                    bound.size(2)?
                } else {
                    usize::MAX
                },
                resolve_conflicts: bound.bool(3).unwrap_or(false),
            };
            of(bound, MapEditor::Flatten(flatten))
        },
    ),
    editor("stringify_all", &[TARGET], |bound| {
        of(bound, MapEditor::StringifyAll)
    }),
];

fn of(bound: &Bound<'_>, editor: MapEditor) -> Result<Editor, Failure> {
    Ok(Editor::Map {
        target: bound.target(0)?,
        editor,
    })
}

fn matching_keys(bound: &Bound<'_>, keep: bool) -> Result<Editor, Failure> {
    let pattern = bound.pattern(1, pattern::compile)?;
    of(bound, MapEditor::MatchingKeys { pattern, keep })
}

impl MapEditor {
    pub(super) fn run<'a>(&'a self, target: &'a Path, run: &mut Run<'_, 'a>) -> Result<(), Fault> {
        match self {
            Self::DeleteKey(key) => {
                let key = key.value(run)?.into_text()?;
                target.change_map(run, |map| {
                    map.remove(&key);
                    Ok(())
                })
            }
            Self::Merge {
                source,
                insert,
                update,
            } => {
                let source = source.value(run)?.into_map()?;
                let source = pairs(&source);
                crate::ottl::path::check_nesting_of(&source)?;
                target.change_map(run, |map| {
                    map.merge(source, *insert, *update);
                    Ok(())
                })
            }
            Self::DeleteKeys(keys) | Self::KeepKeys(keys) => {
                let keep = matches!(self, Self::KeepKeys(_));
                let keys = keys.value(run)?.into_list()?;
                let mut keys = keys
                    .iter()
                    .map(|key| Value::from(key).into_text())
                    .collect::<Result<Vec<_>, _>>()?;
                // Both the list and the map may be the telemetry's, and long.
                keys.sort_unstable();
                let is_listed = |key: &str| keys.binary_search_by(|known| (**known).cmp(key)).is_ok();
                target.change_map(run, |map| {
                    map.retain(|key| is_listed(key) == keep);
                    Ok(())
                })
            }
            Self::MatchingKeys { pattern, keep } => {
                let (source, value) = pattern;
                let value = value.value(run)?;
                source.with(&value, |pattern| {
                    target.change_map(run, |map| {
                        map.retain(|key| pattern.is_match(key) == *keep);
                        Ok(())
                    })
                })?
            }
            _ => target.change_map(run, |map| self.change(map)),
        }
    }

    fn change<'a>(&'a self, map: &mut Map<'a>) -> Result<(), Fault> {
        match self {
            Self::Limit { limit, priority_keys } => limit_map(map, *limit, priority_keys),
            Self::TruncateAll { limit, marker } => edit(map, |value| truncate(value, *limit, marker)),
            Self::Flatten(flatten) => flatten.run(map)?,
            Self::StringifyAll => edit(map, stringify),
            // These need more than the map.
            _ => {}
        }
        Ok(())
    }
}

fn edit<'a>(map: &mut Map<'a>, mut edit: impl FnMut(Telemetry<'a>) -> Option<Telemetry<'a>>) {
    let Ok(()) = map.edit_values(|_, value| Ok::<_, Infallible>(edit(value)));
}

/// Keeps the keys that have priority, and of the others the first ones.
fn limit_map(map: &mut Map<'_>, limit: usize, priority_keys: &[String]) {
    if map.len() <= limit {
        return;
    }
    let has_priority = |key: &str| priority_keys.iter().any(|known| known == key);
    let kept = priority_keys.iter().filter(|key| map.contains_key(key)).count();
    let mut room = limit - kept.min(limit);
    map.retain(|key| {
        if has_priority(key) {
            return true;
        }
        let keep = room > 0;
        room -= usize::from(keep);
        keep
    });
}

fn truncate<'a>(value: Telemetry<'a>, limit: usize, marker: &str) -> Option<Telemetry<'a>> {
    let Telemetry::String(text) = value else {
        return None;
    };
    if text.len() <= limit {
        return None;
    }
    let end = text.floor_char_boundary(limit - marker.len());
    Some(Telemetry::String(match text {
        Cow::Borrowed(text) if marker.is_empty() => Cow::Borrowed(&text[..end]),
        text => Cow::Owned(format!("{}{marker}", &text[..end])),
    }))
}

fn stringify(value: Telemetry<'_>) -> Option<Telemetry<'_>> {
    let text = match value {
        Telemetry::String(_) | Telemetry::Other(_) => return None,
        Telemetry::Empty => Cow::Borrowed(""),
        Telemetry::Bytes(bytes) => Cow::Owned(STANDARD.encode(bytes)),
        value => Value::from(value).to_text().unwrap_or_default(),
    };
    Some(Telemetry::String(text))
}
