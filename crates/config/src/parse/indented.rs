//! Lines within brackets and quotes that are indented too little. YAML 1.2 refuses them; the Collector's parser takes
//! them, and people close a list below the key that it belongs to. Such lines are moved to the right one at a time, and
//! places are given as if they had not been. Refuses to touch indentation that means something.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use saphyr_parser::{Marker, ScanError};

use crate::problem::Place;

/// Lines of one file that are moved.
const LINES_MAX: usize = 1_000;
/// Bytes that are read again because of moved lines, in all.
const BYTES_MAX: usize = 64 << 20;

/// A text with some of its lines moved to the right.
pub(super) struct Indented<'t> {
    text: Cow<'t, str>,
    /// Lines moved, from 1.
    moved: BTreeSet<usize>,
    /// Columns they are moved by.
    columns: usize,
    bytes: usize,
    characters: usize,
}

impl<'t> Indented<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            moved: BTreeSet::new(),
            columns: 0,
            bytes: 0,
            characters: text.chars().count(),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Where a mark is in the text as it was.
    pub(super) fn place(&self, file: &Arc<str>, mark: Marker) -> Place {
        let moved = if self.moved.contains(&mark.line()) {
            self.columns
        } else {
            0
        };
        Place::new(file.clone(), mark.line(), mark.col().saturating_sub(moved) + 1)
    }

    /// Whether the text ends at this mark, in the middle of a line.
    pub(super) fn ends_within(&self, end: Marker) -> bool {
        !self.text.ends_with(['\n', '\r']) && end.index() >= self.characters
    }

    /// Moves the line that `error` is about, if its indentation is all that is wrong and means nothing.
    pub(super) fn repair(&mut self, error: &ScanError) -> bool {
        let line = error.marker().line();
        let line = match error.info() {
            // Outside of brackets lines that are indented less end what is open, and are never refused so.
            "invalid indentation" | "invalid indentation in flow construct" => line,
            // The error is at the quote; which of the following lines it is about is found by moving them in turn.
            "invalid indentation in quoted scalar" => (line + 1..)
                .find(|line| !self.moved.contains(line))
                .unwrap_or(line),
            _ => return false,
        };
        self.bytes = self.bytes.saturating_add(self.text.len());
        if self.bytes > BYTES_MAX || self.moved.len() >= LINES_MAX || self.moved.contains(&line) {
            return false;
        }
        if self.columns == 0 {
            self.columns = 1 + self.text.lines().map(leading_blanks).max().unwrap_or(0);
        }
        let Some(at) = self.start_of(line) else {
            return false;
        };
        self.text.to_mut().insert_str(at, &" ".repeat(self.columns));
        self.characters += self.columns;
        self.moved.insert(line);
        true
    }

    /// The byte at which a line begins.
    fn start_of(&self, line: usize) -> Option<usize> {
        let breaks = self.text.match_indices('\n').map(|(at, _)| at + 1);
        let start = std::iter::once(0).chain(breaks).nth(line.checked_sub(1)?)?;
        (start < self.text.len()).then_some(start)
    }
}

fn leading_blanks(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}
