//! Parsers: what finds values in a field and sets them in another. What all have in common is here: `parse_from`,
//! `parse_to`, `body`, and the followers `timestamp`, `severity`, `trace` and `scope_name`.

mod container;
mod container_path;
mod csv;
mod json_array;
mod key_value;
mod severity;
pub(super) mod syslog;
mod syslog_message;
mod trace;
mod uri;

use chrono::{DateTime, Utc};
use cupola_telemetry::edit::VALUE_NESTING_MAX;
use regex::Regex;
use serde::Deserialize;
use serde::de::DeserializeSeed as _;

use super::build::{Built, Making, Wrong, edit, wrong};
use super::entry::Entry;
use super::field::{Field, RootField};
use super::time::{TimeConfig, TimeParser};
use super::value::{Fields, JsonSeed, Value};
use super::{OnError, Step};
use crate::ottl::pattern;
use severity::{SeverityConfig, SeverityParser};
use trace::{TraceConfig, TraceParser};

type Make = fn(&mut Making<'_>) -> Built;

pub(super) const KINDS: &[(&str, Make)] = &[
    ("json_parser", json),
    ("json_array_parser", json_array::make),
    ("regex_parser", regex),
    ("key_value_parser", key_value::make),
    ("csv_parser", csv::make),
    ("uri_parser", uri::make),
    ("syslog_parser", syslog::make),
    ("container", container::make),
    ("time_parser", time),
    ("severity_parser", severity),
    ("trace_parser", trace),
    ("scope_name_parser", scope_name),
];

/// What every parser can be told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ParserConfig {
    parse_from: Field,
    parse_to: RootField,
    /// The field that becomes the body.
    body: Option<Field>,
    timestamp: Option<TimeConfig>,
    severity: Option<SeverityConfig>,
    trace: Option<TraceConfig>,
    scope_name: Option<ScopeNameConfig>,
}

impl Default for ParserConfig {
    fn default() -> ParserConfig {
        ParserConfig {
            parse_from: Field::body(),
            parse_to: RootField(Field::attributes()),
            body: None,
            timestamp: None,
            severity: None,
            trace: None,
            scope_name: None,
        }
    }
}

const PARSER_KEYS: [&str; 7] = [
    "parse_from",
    "parse_to",
    "body",
    "timestamp",
    "severity",
    "trace",
    "scope_name",
];

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeNameConfig {
    parse_from: Field,
}

/// Everything around what a parser does with the text.
#[derive(Debug)]
struct Frame {
    from: Field,
    to: Field,
    body: Option<Field>,
    time: Option<TimeParser>,
    severity: Option<SeverityParser>,
    trace: Option<TraceParser>,
    scope_name: Option<Field>,
}

impl Frame {
    fn read(making: &mut Making<'_>) -> Result<Frame, Wrong> {
        let config: ParserConfig = making.read_keys(&PARSER_KEYS)?;
        Frame::new(config)
    }

    fn new(config: ParserConfig) -> Result<Frame, Wrong> {
        let RootField(to) = config.parse_to;
        if config.body.is_some() && to == Field::body() {
            return Err(wrong("parse_to", "cannot be `body` where `body` is given"));
        }
        let time = config.timestamp.as_ref().map(TimeParser::new).transpose();
        let severity = config.severity.as_ref().map(SeverityParser::new).transpose();
        Ok(Frame {
            from: config.parse_from,
            to,
            body: config.body,
            time: time.map_err(|(key, problem)| wrong(format!("timestamp.{key}"), problem))?,
            severity: severity.map_err(|(key, problem)| wrong(format!("severity.{key}"), problem))?,
            trace: config.trace.map(TraceParser::new),
            scope_name: config.scope_name.map(|scope| scope.parse_from),
        })
    }

    /// What was found is set even if a follower fails; all of them are tried.
    fn apply(
        &self,
        entry: &mut Entry,
        now: DateTime<Utc>,
        parse: impl FnOnce(&Value) -> Result<Value, String>,
    ) -> Result<(), String> {
        self.apply_timed(entry, now, |value| Ok((parse(value)?, true)))
    }

    /// The same for a parser that knows whether there is a time to be found at all.
    fn apply_timed(
        &self,
        entry: &mut Entry,
        now: DateTime<Utc>,
        parse: impl FnOnce(&Value) -> Result<(Value, bool), String>,
    ) -> Result<(), String> {
        let from = self
            .from
            .get(entry)
            .ok_or_else(|| format!("the entry has no field `{}`", self.from))?;
        let (found, timed) = parse(from)?;
        self.to.set(entry, found)?;
        if let Some(body) = self.body.as_ref().and_then(|body| body.copy(entry)) {
            entry.body = body;
        }
        let time = self
            .time
            .as_ref()
            .filter(|_| timed)
            .map_or(Ok(()), |time| time.parse(entry, now));
        let severity = self
            .severity
            .as_ref()
            .map_or(Ok(()), |severity| severity.parse(entry));
        let trace = self.trace.as_ref().map_or(Ok(()), |trace| trace.parse(entry));
        let scope_name = self
            .scope_name
            .as_ref()
            .map_or(Ok(()), |field| set_scope_name(field, entry));
        let named = |what: &'static str| move |problem: String| format!("{what}: {problem}");
        time.map_err(named("timestamp"))?;
        severity.map_err(named("severity"))?;
        trace.map_err(named("trace"))?;
        scope_name.map_err(named("scope_name"))
    }
}

fn set_scope_name(field: &Field, entry: &mut Entry) -> Result<(), String> {
    let value = field
        .get(entry)
        .ok_or_else(|| format!("the entry has no field `{field}`"))?;
    entry.scope = value.as_text()?.to_owned();
    Ok(())
}

/// A parser whose work needs the text and nothing else.
fn parser(
    making: &mut Making<'_>,
    parse: impl Fn(&Value) -> Result<Value, String> + Send + 'static,
) -> Built {
    let frame = Frame::read(making)?;
    making.read::<Nothing>()?;
    edit(move |entry, now| frame.apply(entry, now, &parse))
}

/// No settings of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn json(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        /// Keeps whole numbers as such.
        #[serde(default)]
        parse_ints: bool,
    }
    let frame = Frame::read(making)?;
    let config: Config = making.read()?;
    edit(move |entry, now| frame.apply(entry, now, |value| json_object(value, config.parse_ints)))
}

fn json_object(value: &Value, whole_numbers: bool) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(value.as_text()?);
    let read = JsonSeed { whole_numbers }.deserialize(&mut reader);
    let read = read.and_then(|value| reader.end().map(|()| value));
    match read.map_err(|error| format!("no JSON: {error}"))? {
        map @ Value::Map(_) if map.nesting() > VALUE_NESTING_MAX => {
            Err("the JSON is nested too deeply".to_owned())
        }
        map @ Value::Map(_) => Ok(map),
        other => Err(format!("the JSON is {}, not an object", other.kind())),
    }
}

fn regex(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        regex: String,
        /// Without effect: an expression is fast enough.
        #[serde(default, rename = "cache")]
        _cache: Option<serde_json::Value>,
    }
    let frame = Frame::read(making)?;
    let config: Config = making.read()?;
    let regex = compiled("regex", &config.regex)?;
    if regex.capture_names().flatten().next().is_none() {
        return Err(wrong(
            "regex",
            "has no named group, as in `(?P<name>…)`: nothing would be found",
        ));
    }
    edit(move |entry, now| {
        frame.apply(entry, now, |value| {
            let found = regex
                .captures(value.as_text()?)
                .ok_or("the text does not match the expression")?;
            let named = regex.capture_names().flatten().map(|name| {
                let text = found.name(name).map_or("", |found| found.as_str());
                (name.to_owned(), Value::from(text))
            });
            Ok(Value::Map(named.collect()))
        })
    })
}

pub(super) fn compiled(key: &str, expression: &str) -> Result<Regex, Wrong> {
    pattern::compile(expression).map_err(|problem| wrong(key, format!("cannot be used: {problem}")))
}

fn time(making: &mut Making<'_>) -> Built {
    let config: TimeConfig = making.read()?;
    let parser = TimeParser::new(&config).map_err(|(key, problem)| wrong(key, problem))?;
    edit(move |entry, now| parser.parse(entry, now))
}

fn severity(making: &mut Making<'_>) -> Built {
    let config: SeverityConfig = making.read()?;
    let parser = SeverityParser::new(&config).map_err(|(key, problem)| wrong(key, problem))?;
    edit(move |entry, _| parser.parse(entry))
}

fn trace(making: &mut Making<'_>) -> Built {
    let parser = TraceParser::new(making.read()?);
    edit(move |entry, _| parser.parse(entry))
}

fn scope_name(making: &mut Making<'_>) -> Built {
    let config: ScopeNameConfig = making.read()?;
    edit(move |entry, _| set_scope_name(&config.parse_from, entry))
}

/// The parser that a syslog receiver has in front of its operators.
pub(super) fn syslog_step(config: &syslog::SyslogConfig, on_error: OnError) -> Result<Step, Wrong> {
    let work = syslog::parser(config, ParserConfig::default())?;
    Ok(Step {
        id: "syslog_parser".to_owned(),
        condition: None,
        on_error,
        next: 1,
        work,
        errors: 0,
    })
}

/// The fields of a map that was made by a parser.
fn map(pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Map(pairs.into_iter().collect::<Fields>())
}
