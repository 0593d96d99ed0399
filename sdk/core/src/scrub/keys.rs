//! Which names are those of secrets: those that are known, those that users add, and those that they exempt.

use regex::{Regex, RegexBuilder};

use super::remembered::Remembered;
use super::{ScrubError, ScrubSettings, words};
use crate::wildcard;

/// Names of which the answer is remembered: 16 kB.
const KEYS_MAX: usize = 2048;

/// Names of the semantic conventions that are made of the words of a secret and are none: they tell sessions apart and open
/// none.
const EXEMPT: [&str; 3] = ["session.id", "session.previous_id", "mcp.session.id"];

#[derive(Debug)]
pub(super) struct Keys {
    default: bool,
    patterns: Vec<Regex>,
    /// In small letters.
    exempt: Vec<String>,
    remembered: Remembered,
}

impl Keys {
    pub(super) fn new(settings: &ScrubSettings) -> Result<Keys, ScrubError> {
        let exempt = settings.exempt_keys.iter().map(String::as_str).chain(EXEMPT);
        Ok(Keys {
            default: settings.default_keys,
            patterns: compile("keys", &settings.keys, true)?,
            exempt: exempt.map(str::to_ascii_lowercase).collect(),
            remembered: Remembered::new(KEYS_MAX),
        })
    }

    #[inline]
    pub(super) fn is_secret(&self, key: impl AsRef<[u8]>) -> bool {
        let key = key.as_ref();
        let asked = self.remembered.ask(0, key);
        if let Some(answer) = self.remembered.answer(asked) {
            return answer;
        }
        // A key that is no text is not one that anybody chose for a secret, nor one that anybody can read.
        let answer = std::str::from_utf8(key).is_ok_and(|key| self.decide(key));
        self.remembered.remember(asked, answer);
        answer
    }

    #[cold]
    fn decide(&self, key: &str) -> bool {
        let small = key.to_ascii_lowercase();
        if self.exempt.iter().any(|exempt| wildcard::matches(exempt, &small)) {
            return false;
        }
        (self.default && words::are_of_secret(key))
            || self.patterns.iter().any(|pattern| pattern.is_match(key))
    }
}

/// The patterns of a setting.
pub(super) fn compile(
    setting: &'static str,
    patterns: &[String],
    any_case: bool,
) -> Result<Vec<Regex>, ScrubError> {
    let one = |pattern: &String| {
        let compiled = RegexBuilder::new(pattern).case_insensitive(any_case).build();
        compiled.map_err(|source| ScrubError {
            setting,
            pattern: pattern.clone(),
            source: Box::new(source),
        })
    };
    patterns.iter().map(one).collect()
}
