//! `header`: lines at the beginning of a file that say something of all its records. Each is passed through operators of its
//! own, and the attributes that come out are given to every record of the file; the line itself is none.
//!
//! What a header said is kept with the place in the file, since whoever goes on in the middle does not see it again. It ends
//! with the first line that does not match, and a line that is not complete yet is waited for: half of one may not match.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cupola_telemetry::edit::VALUE_NESTING_MAX;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::config::{FilelogConfig, HeaderConfig, StartAt};
use crate::operators::{self, Entry, Fields, OperatorStats, Operators, Problem, Value, Variables};
use crate::ottl::pattern;
use crate::receivers::text::encoding::Encoding;
use crate::receivers::text::split::{After, MultilineConfig, Split};

/// All that a header says, as it is kept. It is written with each checkpoint, and each record has a copy of it.
const ATTRIBUTES_BYTES_MAX: usize = 16 << 10;

/// How headers are read.
#[derive(Debug)]
pub(super) struct Header {
    pattern: Regex,
    lines: Split,
    encoding: Encoding,
    operators: Operators,
}

/// What is known of the header of one file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    /// Where what is no header begins, once it has been seen.
    pub(super) ends_at: Option<u64>,
    pub(super) attributes: Fields,
    /// Of the attributes, as they are kept.
    pub(super) bytes: usize,
}

/// What comes next in a file whose header has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line of the header, of so many bytes.
    Line(usize),
    End,
    /// It takes more bytes to know.
    Unknown,
}

impl Header {
    pub(super) fn new(
        config: &FilelogConfig,
        variables: &Variables,
        stats: &Arc<OperatorStats>,
    ) -> Result<Option<Header>, Vec<Problem>> {
        let Some(HeaderConfig {
            pattern: text,
            metadata_operators,
        }) = &config.header
        else {
            return Ok(None);
        };
        let mut problems = Vec::new();
        let mut add = |key: &str, problem: String| problems.push((key.to_owned(), problem));
        if config.start_at == StartAt::End {
            add(
                "header",
                "needs `start_at: beginning`: from the end of a file on, its header is not seen".to_owned(),
            );
        }
        let compiled = match text.as_str() {
            "" => Err("is missing: what every line of a header matches".to_owned()),
            text => pattern::compile(text).map_err(|problem| format!("cannot be used: {problem}")),
        };
        const OPERATORS: &str = "header.metadata_operators";
        if metadata_operators.is_empty() {
            add(
                OPERATORS,
                "is missing: what finds attributes in a line".to_owned(),
            );
        }
        for (index, operator) in metadata_operators.iter().enumerate() {
            if operator.0.get("type").and_then(|kind| kind.as_str()) == Some("filter") {
                add(
                    &format!("{OPERATORS}[{index}].type"),
                    "`filter` cannot be used on a header".to_owned(),
                );
            }
        }
        let made = operators::compile(OPERATORS, metadata_operators, variables, stats);
        // Lines end as lines do, whatever records do.
        let encoding = match config.encoding {
            Encoding::Nop => Encoding::Utf8,
            encoding => encoding,
        };
        let bytes_max = config.max_log_size.0 as usize;
        let lines = Split::new(&MultilineConfig::default(), encoding, bytes_max);
        match (compiled, made, lines, problems.is_empty()) {
            (Ok(pattern), Ok(operators), Ok(lines), true) => Ok(Some(Header {
                pattern,
                lines,
                encoding,
                operators,
            })),
            (compiled, made, lines, _) => {
                problems.extend(
                    compiled
                        .err()
                        .map(|problem| ("header.pattern".to_owned(), problem)),
                );
                problems.extend(made.err().into_iter().flatten());
                problems.extend(lines.err().map(|(key, problem)| (key.to_owned(), problem)));
                Err(problems)
            }
        }
    }

    /// Looks at the next line, and adds to `said` what it says.
    pub(super) fn take(&mut self, rest: &[u8], at_end: bool, said: &mut Said, now: DateTime<Utc>) -> Next {
        let after = if at_end { After::Pause } else { After::More };
        let Some(token) = self.lines.next(rest, after) else {
            return Next::Unknown;
        };
        let text = self.encoding.text(&rest[token.start..token.end]);
        let line = text.trim_matches(['\r', '\n']);
        if token.cut || !self.pattern.is_match(line) {
            return Next::End;
        }
        let entry = Entry {
            observed: now.timestamp_nanos_opt().unwrap_or_default(),
            body: line.into(),
            ..Entry::default()
        };
        let mut out = Vec::new();
        self.operators.process(entry, now, &mut out);
        // No line waits for another one.
        self.operators.flush(now, true, &mut out);
        said.add(out.into_iter().flat_map(|entry| entry.attributes));
        Next::Line(token.advance)
    }
}

impl Said {
    /// Later lines say more than earlier ones.
    fn add(&mut self, found: impl Iterator<Item = (String, Value)>) {
        let mut attributes = self.attributes.clone();
        attributes.extend(found);
        let bytes = serde_json::to_vec(&attributes).map_or(usize::MAX, |kept| kept.len());
        // What is nested too deeply could be written, and not be read back.
        let deepest = attributes.iter().map(|(_, value)| value.nesting()).max();
        if bytes > ATTRIBUTES_BYTES_MAX || deepest > Some(VALUE_NESTING_MAX) {
            tracing::warn!(bytes, "a line of a header says too much: it is passed over");
            return;
        }
        (self.attributes, self.bytes) = (attributes, bytes);
    }

    /// As the next process has to know it, which goes on at `done_to`: lines before the end may come again, and say the same.
    pub(super) fn until(&self, done_to: u64) -> Said {
        Said {
            ends_at: self.ends_at.filter(|end| *end <= done_to),
            ..self.clone()
        }
    }
}
