//! A list of operators as it is configured: each read into its own settings, checked, and joined with those that its
//! output goes to. Every mistake is found, with its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_config::nearest::nearest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::entry::Entry;
use super::expression::{Expression, ExpressionError, Template, Variables};
use super::parse::syslog::SyslogConfig;
use super::{Failed, Made, OnError, OperatorStats, Operators, Place, Step, Work, parse, transform};

/// Operators of one receiver.
const OPERATORS_MAX: usize = 256;

/// One operator; its `type` says what else there is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct OperatorConfig(pub Map<String, Json>);

/// What is wrong with settings: a key below the list, and the problem.
pub type Problem = (String, String);

/// What every operator has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    r#type: String,
    id: Option<String>,
    output: Option<Outputs>,
    #[serde(default)]
    on_error: OnError,
    r#if: Option<String>,
}

/// One, or a list of one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Outputs {
    One(String),
    Many(Vec<String>),
}

impl Outputs {
    pub(super) fn names(&self) -> &[String] {
        match self {
            Outputs::One(name) => std::slice::from_ref(name),
            Outputs::Many(names) => names,
        }
    }
}

/// Settings of one operator that are not read yet, and what it is made with.
pub(super) struct Making<'m> {
    pub(super) settings: Map<String, Json>,
    pub(super) variables: &'m Variables,
    pub(super) names: &'m BTreeMap<String, Place>,
    pub(super) place: Place,
    pub(super) stats: &'m Arc<OperatorStats>,
}

/// A key below the operator, and what is wrong with its value.
pub(super) struct Wrong(pub(super) String, pub(super) String);

pub(super) type Built = Result<Box<dyn Work>, Wrong>;

pub(super) fn wrong(key: impl Into<String>, problem: impl Into<String>) -> Wrong {
    Wrong(key.into(), problem.into())
}

impl Making<'_> {
    /// What is left of the settings, as an operator of its kind has it.
    pub(super) fn read<T: DeserializeOwned>(&mut self) -> Result<T, Wrong> {
        let settings = std::mem::take(&mut self.settings);
        serde_json::from_value(Json::Object(settings)).map_err(|error| wrong("", error.to_string()))
    }

    /// Of the settings only these keys, which several kinds have in common.
    pub(super) fn read_keys<T: DeserializeOwned>(&mut self, keys: &[&str]) -> Result<T, Wrong> {
        let mut own = Map::new();
        for key in keys {
            if let Some(value) = self.settings.remove(*key) {
                own.insert((*key).to_owned(), value);
            }
        }
        serde_json::from_value(Json::Object(own)).map_err(|error| wrong("", error.to_string()))
    }

    pub(super) fn expression(&self, key: &str, text: &str) -> Result<Expression, Wrong> {
        Expression::compile(text, self.variables).map_err(|error| expression_wrong(key, &error))
    }

    pub(super) fn template(&self, key: &str, text: &str) -> Result<Template, Wrong> {
        Template::compile(text, self.variables).map_err(|error| expression_wrong(key, &error))
    }

    /// The places of operators that an output names: later ones alone, so that no entry goes round.
    pub(super) fn places(&self, key: &str, outputs: &Outputs) -> Result<Vec<Place>, Wrong> {
        let place = |name: &String| match self.names.get(name) {
            Some(place) if *place > self.place => Ok(*place),
            Some(_) => Err(wrong(
                key,
                format!("`{name}` is not behind this operator: an output goes to a later one"),
            )),
            None => Err(wrong(
                key,
                unknown(
                    name,
                    "operator of this list",
                    self.names.keys().map(String::as_str),
                ),
            )),
        };
        outputs.names().iter().map(place).collect()
    }
}

fn expression_wrong(key: &str, error: &ExpressionError) -> Wrong {
    wrong(key, error.render())
}

fn unknown<'k>(name: &str, kind: &str, known: impl Iterator<Item = &'k str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("`{name}` is no {kind}; is it `{near}`?"),
        None => format!("`{name}` is no {kind}"),
    }
}

/// Makes operators of what a list says, or says everything that is wrong with it; keys begin with `key`.
pub(crate) fn compile(
    key: &str,
    configs: &[OperatorConfig],
    variables: &Variables,
    stats: &Arc<OperatorStats>,
) -> Result<Operators, Vec<Problem>> {
    compile_behind(key, Vec::new(), configs, variables, stats)
}

/// The same behind a parser of syslog, which entries that do not follow the protocol leave as `on_error` says.
pub(crate) fn compile_syslog(
    syslog: &SyslogConfig,
    on_error: OnError,
    (key, configs): (&str, &[OperatorConfig]),
    variables: &Variables,
    stats: &Arc<OperatorStats>,
) -> Result<Operators, Vec<Problem>> {
    let first = parse::syslog_step(syslog, on_error).map_err(|Wrong(key, problem)| vec![(key, problem)])?;
    compile_behind(key, vec![first], configs, variables, stats)
}

/// The same behind operators that a receiver has by itself.
fn compile_behind(
    key: &str,
    mut steps: Vec<Step>,
    configs: &[OperatorConfig],
    variables: &Variables,
    stats: &Arc<OperatorStats>,
) -> Result<Operators, Vec<Problem>> {
    if configs.len() > OPERATORS_MAX {
        return Err(vec![(
            key.to_owned(),
            format!("has more than {OPERATORS_MAX} operators"),
        )]);
    }
    let first = steps.len();
    let mut problems = Vec::new();
    let names = names(key, configs, first, &mut problems);
    for (index, config) in configs.iter().enumerate() {
        let making = Making {
            settings: config.0.clone(),
            variables,
            names: &names,
            place: first + index,
            stats,
        };
        match step(making) {
            Ok(step) => steps.push(step),
            Err(Wrong(below, problem)) => {
                let dot = if below.is_empty() { "" } else { "." };
                problems.push((format!("{key}[{index}]{dot}{below}"), problem));
            }
        }
    }
    match problems.is_empty() {
        true => Ok(Operators::new(steps, stats.clone())),
        false => Err(problems),
    }
}

/// The place of each operator by its `id`, or by its type where it has none.
fn names(
    key: &str,
    configs: &[OperatorConfig],
    first: Place,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Place> {
    let mut names = BTreeMap::new();
    for (index, config) in configs.iter().enumerate() {
        let text = |key: &str| config.0.get(key).and_then(Json::as_str);
        let given = text("id");
        let Some(name) = given.or(text("type")) else {
            continue;
        };
        let taken = names.contains_key(name);
        if taken && given.is_some() {
            problems.push((
                format!("{key}[{index}].id"),
                format!("`{name}` is the id of another operator"),
            ));
        }
        if !taken {
            names.insert(name.to_owned(), first + index);
        }
    }
    names
}

fn step(mut making: Making<'_>) -> Result<Step, Wrong> {
    let common: Common = making.read_keys(&["type", "id", "output", "on_error", "if"])?;
    let condition = common
        .r#if
        .as_deref()
        .map(|text| making.expression("if", text))
        .transpose()?;
    let next = match &common.output {
        None => making.place + 1,
        Some(outputs) => match making.places("output", outputs)?[..] {
            [next] => next,
            _ => {
                return Err(wrong(
                    "output",
                    "an operator has one output; `router` sends to several",
                ));
            }
        },
    };
    let known = parse::KINDS.iter().chain(transform::KINDS);
    let kind = known.clone().find(|(name, _)| *name == common.r#type);
    let work = match kind {
        Some((_, make)) => make(&mut making)?,
        None => {
            let absent = ABSENT.iter().find(|(name, _)| *name == common.r#type);
            return Err(wrong(
                "type",
                match absent {
                    Some((name, instead)) => format!("`{name}` is not there: {instead}"),
                    None => unknown(&common.r#type, "operator", known.map(|(name, _)| *name)),
                },
            ));
        }
    };
    let id = common.id.unwrap_or(common.r#type);
    Ok(Step {
        id,
        condition,
        on_error: common.on_error,
        next,
        work,
        errors: 0,
    })
}

/// Operators of the Collector that are not here, and what comes nearest to each.
const ABSENT: &[(&str, &str)] = &[
    ("otlp_json", "the receiver `otlp` reads OTLP"),
    ("file_input", "the receiver `filelog` is this"),
    ("tcp_input", "the receiver `syslog` listens on TCP"),
    ("udp_input", "the receiver `syslog` listens on UDP"),
    ("syslog_input", "the receiver `syslog` is this"),
    ("stdin", "the receiver `filelog` reads files"),
    ("generate_input", "nothing makes up log records"),
    ("k8s_event_input", "nothing reads events of Kubernetes"),
    ("journald_input", "the receiver `journald` would be this"),
    ("windows_eventlog_input", "this runs on Linux"),
    (
        "k8s_metadata_decorator",
        "the operator `container` takes what the path of a file tells",
    ),
    ("file_output", "the exporter `file` writes files"),
    ("stdout", "the exporter `debug` prints what it is given"),
    ("drop_output", "`filter` with `expr: 'true'` lets everything end"),
    (
        "restructure",
        "`add`, `move`, `remove`, `retain` and `flatten` took its place",
    ),
    ("metadata", "`add` sets attributes and the resource"),
    (
        "host_metadata",
        "the processor `resourcedetection` finds what is known of the host",
    ),
    ("rate_limit", "exporters have `rate_limit`"),
];

/// An operator that changes an entry in its place or fails.
pub(super) struct Edit<F>(pub(super) F);

impl<F> Work for Edit<F>
where
    F: FnMut(&mut Entry, chrono::DateTime<chrono::Utc>) -> Result<(), String> + Send,
{
    fn run(
        &mut self,
        mut entry: Entry,
        now: chrono::DateTime<chrono::Utc>,
        made: &mut Made,
    ) -> Result<(), Failed> {
        match (self.0)(&mut entry, now) {
            Ok(()) => {
                made.push((None, entry));
                Ok(())
            }
            Err(problem) => Err(Failed {
                entry: entry.into(),
                problem,
            }),
        }
    }
}

pub(super) fn edit<F>(change: F) -> Built
where
    F: FnMut(&mut Entry, chrono::DateTime<chrono::Utc>) -> Result<(), String> + Send + 'static,
{
    Ok(Box::new(Edit(change)))
}
