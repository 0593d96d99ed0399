//! Files of cases with their answers.
//!
//! `[processor what]` begins a section of cases that are alike, `> ` a case. Below it stands the answer: `+ ` and `- ` lines
//! that the output has more or less than the input, `=` if there are none, `gone` if nothing was left, `! stage message` for
//! an error. `~ reason` is a difference that is meant; below it the answer that is given here, each line behind `~| `. Lines
//! with `#` and empty lines stay where they are.
//!
//! | section | a case is |
//! |---|---|
//! | `[value]` | an expression, which becomes an attribute of a log |
//! | `[condition]` | a condition, which a log meets or not |
//! | `[transform CONTEXT]` | statements with `;;` between them, in a group of that context |
//! | `[transform SIGNAL]` | statements without a context |
//! | `[transform config SIGNAL]` | the settings of the processor, in JSON |
//! | `[filter SIGNAL.CONTEXT]`, `[filter SIGNAL_conditions]` | a condition |
//! | `[filter config SIGNAL]`, `[redaction SIGNAL]` | the settings of the processor, in JSON |

use std::fmt;
use std::path::PathBuf;

use cupola_telemetry::Signal;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processor {
    Transform,
    Filter,
    Redaction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Lines more and less than the input has.
    Changed(Vec<String>),
    /// Nothing was left.
    Gone,
    Failed {
        stage: String,
        message: String,
    },
}

impl Answer {
    /// Errors are alike if they come at the same stage; their words are everyone's own.
    pub(super) fn is_like(&self, other: &Answer) -> bool {
        match (self, other) {
            (Self::Failed { stage, .. }, Self::Failed { stage: other, .. }) => stage == other,
            _ => self == other,
        }
    }

    /// Takes a line of a file. Says whether it is one of an answer.
    fn add(&mut self, line: &str) -> bool {
        if let Some(failed) = line.strip_prefix("! ") {
            let (stage, message) = failed.split_once(' ').unwrap_or((failed, ""));
            let (stage, message) = (stage.to_owned(), message.to_owned());
            *self = Self::Failed { stage, message };
            return true;
        }
        match (&mut *self, line) {
            (Self::Changed(lines), _) if line.starts_with(['+', '-']) => lines.push(line.to_owned()),
            (_, "gone") => *self = Self::Gone,
            (_, "=") => {}
            _ => return false,
        }
        true
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(lines) if lines.is_empty() => writeln!(f, "="),
            Self::Changed(lines) => lines.iter().try_for_each(|line| writeln!(f, "{line}")),
            Self::Gone => writeln!(f, "gone"),
            Self::Failed { stage, message } => writeln!(f, "! {stage} {message}"),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) processor: Processor,
    pub(super) signal: Signal,
    pub(super) config: Value,
    text: String,
    pub(super) answer: Answer,
    /// Why the answer is another one here, and which one.
    pub(super) difference: Option<Difference>,
}

#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) reason: String,
    pub(super) here: Answer,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "> {}", self.text)?;
        if let Some(Difference { reason, here }) = &self.difference {
            writeln!(f, "~ {reason}")?;
            for line in here.to_string().lines() {
                writeln!(f, "~| {line}")?;
            }
        }
        write!(f, "{}", self.answer)
    }
}

enum Piece {
    /// A line that is no case.
    Line(String),
    Case(Box<Case>),
}

pub(super) struct File {
    path: PathBuf,
    pieces: Vec<Piece>,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Line(line) => writeln!(f, "{line}"),
            Piece::Case(case) => write!(f, "{case}"),
        })
    }
}

impl File {
    pub(super) fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut pieces = Vec::new();
        let mut section = String::new();
        for line in text.lines() {
            if let Some(text) = line.strip_prefix("> ") {
                pieces.push(Piece::Case(Box::new(Case::new(&section, text))));
                continue;
            }
            if line.is_empty() || line.starts_with('#') {
                pieces.push(Piece::Line(line.to_owned()));
                continue;
            }
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']).to_owned();
                pieces.push(Piece::Line(line.to_owned()));
                continue;
            }
            match pieces.last_mut() {
                Some(Piece::Case(case)) => case.add(line),
                _ => panic!("{}: no case has the line {line:?}", path.display()),
            }
        }
        Self { path, pieces }
    }

    pub(super) fn write(&self) {
        std::fs::write(&self.path, self.to_string()).unwrap();
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap().to_string_lossy().into_owned()
    }

    pub(super) fn cases(&self) -> impl Iterator<Item = &Case> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Case(case) => Some(&**case),
            Piece::Line(_) => None,
        })
    }

    pub(super) fn cases_mut(&mut self) -> impl Iterator<Item = &mut Case> {
        self.pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Case(case) => Some(&mut **case),
            Piece::Line(_) => None,
        })
    }
}

impl Case {
    /// A case of a section, with no answer yet.
    pub(super) fn new(section: &str, text: &str) -> Self {
        let (processor, signal, config) = settings(section, text);
        Self {
            processor,
            signal,
            config,
            text: text.to_owned(),
            answer: Answer::Changed(Vec::new()),
            difference: None,
        }
    }

    fn add(&mut self, line: &str) {
        if let Some(reason) = line.strip_prefix("~ ") {
            self.difference = Some(Difference {
                reason: reason.to_owned(),
                here: Answer::Changed(Vec::new()),
            });
            return;
        }
        let known = match (line.strip_prefix("~| "), &mut self.difference) {
            (None, _) => self.answer.add(line),
            (Some(line), Some(difference)) => difference.here.add(line),
            (Some(_), None) => false,
        };
        assert!(known, "{self} has the line {line:?}");
    }
}

fn settings(section: &str, text: &str) -> (Processor, Signal, Value) {
    let statements = |text: &str| {
        text.split(";;")
            .map(|text| text.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let config = || serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let words: Vec<&str> = section.split(' ').collect();
    match words[..] {
        ["value"] => transform(
            Signal::Logs,
            json!([format!("set(log.attributes[\"out\"], {text})")]),
        ),
        ["condition"] => {
            let statement = format!("set(log.attributes[\"out\"], true) where {text}");
            transform(Signal::Logs, json!([statement]))
        }
        ["transform", "config", name] => (Processor::Transform, signal(name), config()),
        ["transform", context, "of", name] => {
            let group = json!([{ "context": context, "statements": statements(text) }]);
            transform(signal(name), group)
        }
        ["transform", name @ ("logs" | "traces" | "metrics")] => {
            transform(signal(name), json!(statements(text)))
        }
        ["transform", context] => {
            let signal = match context {
                "log" => Signal::Logs,
                "span" | "spanevent" => Signal::Traces,
                "metric" | "datapoint" | "exemplar" => Signal::Metrics,
                _ => panic!("[{section}] is no section"),
            };
            let group = json!([{ "context": context, "statements": statements(text) }]);
            transform(signal, group)
        }
        ["filter", "config", name] => (Processor::Filter, signal(name), config()),
        ["filter", place] => filter(place, text),
        ["redaction", name] => (Processor::Redaction, signal(name), config()),
        _ => panic!("[{section}] is no section"),
    }
}

fn signal(name: &str) -> Signal {
    match name {
        "logs" => Signal::Logs,
        "traces" => Signal::Traces,
        "metrics" => Signal::Metrics,
        _ => panic!("{name} is no signal"),
    }
}

fn transform(signal: Signal, statements: Value) -> (Processor, Signal, Value) {
    let key = match signal {
        Signal::Logs => "log_statements",
        Signal::Traces => "trace_statements",
        Signal::Metrics => "metric_statements",
    };
    let config = json!({ "error_mode": "propagate", key: statements });
    (Processor::Transform, signal, config)
}

fn filter(place: &str, condition: &str) -> (Processor, Signal, Value) {
    let (of, config) = match place.split_once('.') {
        Some((signal, context)) => (
            signal,
            json!({ "error_mode": "propagate", signal: { context: [condition] } }),
        ),
        None => (place, json!({ "error_mode": "propagate", place: [condition] })),
    };
    let signal = match of {
        "logs" | "log_conditions" => Signal::Logs,
        "traces" | "trace_conditions" => Signal::Traces,
        _ => Signal::Metrics,
    };
    (Processor::Filter, signal, config)
}
