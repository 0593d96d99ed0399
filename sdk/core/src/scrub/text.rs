//! Secrets in a text, whatever gives them away, and the text without them.

use std::borrow::Cow;
use std::ops::Range;

use regex::Regex;

use super::keys::{Keys, compile};
use super::tokens::Tokens;
use super::{REDACTED, ScrubError, ScrubSettings, cards, pairs};

#[derive(Debug)]
pub(super) struct Texts {
    default: bool,
    tokens: Tokens,
    patterns: Vec<Regex>,
}

impl Texts {
    pub(super) fn new(settings: &ScrubSettings) -> Result<Texts, ScrubError> {
        Ok(Texts {
            default: settings.default_values,
            tokens: Tokens::new(),
            patterns: compile("values", &settings.values, false)?,
        })
    }

    pub(super) fn is_clean(&self, keys: &Keys, text: &str) -> bool {
        self.find(keys, text).is_empty()
    }

    pub(super) fn scrub<'t>(&self, keys: &Keys, text: &'t str) -> Cow<'t, str> {
        let mut found = self.find(keys, text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_unstable_by_key(|range| range.start);
        let mut scrubbed = String::with_capacity(text.len());
        let mut ranges = found.into_iter().peekable();
        let mut kept_from = 0;
        while let Some(mut range) = ranges.next() {
            // What several have found, in whole or in part, is one secret.
            while let Some(next) = ranges.next_if(|next| next.start < range.end) {
                range.end = range.end.max(next.end);
            }
            scrubbed.push_str(&text[kept_from..range.start]);
            scrubbed.push_str(REDACTED);
            kept_from = range.end;
        }
        scrubbed.push_str(&text[kept_from..]);
        Cow::Owned(scrubbed)
    }

    /// Where secrets are, in no order. Each begins and ends between characters.
    fn find(&self, keys: &Keys, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        pairs::find(keys, text, &mut found);
        if self.default {
            self.tokens.find(text, &mut found);
            cards::find(text, &mut found);
        }
        for pattern in &self.patterns {
            let groups = pattern.captures_len();
            let mut add = |range: Range<usize>| {
                if !range.is_empty() && text[range.clone()] != *REDACTED {
                    found.push(range);
                }
            };
            if groups == 1 {
                pattern.find_iter(text).for_each(|all| add(all.range()));
            } else {
                let first = pattern.captures_iter(text).filter_map(|groups| groups.get(1));
                first.for_each(|group| add(group.range()));
            }
        }
        found
    }
}
