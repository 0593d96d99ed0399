//! Taking secrets out of records before they leave the process: on the thread that exports, over the encoded records. Owns what
//! is taken for a secret.
//!
//! Two things give a secret away. The name that it has: of a [key of a secret](Scrubber::is_secret_key) the whole value is
//! replaced, whatever its type; a `bool` and what is empty tell nothing and stay. And what it looks like: in every other text
//! the credentials of `Authorization`, tokens in the formats of their issuers, private keys, passwords in URLs, `name=value`
//! and `name: value` with a name of a secret, and numbers of payment cards are replaced where they stand.
//!
//! It is a net with meshes: what is written under a harmless name in a form that nobody knows goes through it. And it is cheap:
//! attributes that were found clean are remembered by a hash of their bytes, and a record in which nothing is found is not
//! copied. No lock is taken, as the child of a `fork()` scrubs too.

mod cards;
mod keys;
mod pairs;
mod record;
mod remembered;
mod text;
mod tokens;
mod words;

use std::borrow::Cow;

use cupola_telemetry::Signal;

use crate::fork::ProcessCount;
use keys::Keys;
use remembered::Remembered;
use text::Texts;

/// What stands where a secret was.
pub const REDACTED: &str = "[REDACTED]";

/// Attributes that are remembered to be clean: 32 kB.
const CLEAN_MAX: usize = 4096;

/// What is taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// Without it records go out as they are.
    pub is_enabled: bool,
    /// The names that are known to be those of secrets: `password`, `token`, `api_key`, `authorization`, `cookie` and so on.
    pub default_keys: bool,
    /// The forms that secrets are known to have.
    pub default_values: bool,
    /// Further names: regular expressions for any part of a name, of which the case does not count.
    pub keys: Vec<String>,
    /// Names that are not those of secrets after all; `*` stands for any characters, and the case does not count.
    pub exempt_keys: Vec<String>,
    /// Further forms: regular expressions for any part of a text. What their first group has found is replaced, or all that
    /// they have found if they have none.
    pub values: Vec<String>,
    /// Also looks at names of spans and events, and at descriptions of a status.
    pub names: bool,
    /// Longest text of a value, bodies of log records included, in characters; longer ones are cut.
    pub value_length: Option<usize>,
}

impl Default for ScrubSettings {
    fn default() -> ScrubSettings {
        ScrubSettings {
            is_enabled: true,
            default_keys: true,
            default_values: true,
            keys: Vec::new(),
            exempt_keys: Vec::new(),
            values: Vec::new(),
            names: true,
            value_length: None,
        }
    }
}

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("`scrub.{setting}` has `{pattern}`, which is no regular expression")]
pub struct ScrubError {
    /// `keys` or `values`.
    pub setting: &'static str,
    pub pattern: String,
    pub source: Box<regex::Error>,
}

/// Takes secrets out. To be shared between threads.
#[derive(Debug)]
pub struct Scrubber {
    is_enabled: bool,
    names: bool,
    value_length: Option<usize>,
    keys: Keys,
    texts: Texts,
    clean: Remembered,
    records: ProcessCount,
}

impl Scrubber {
    /// The one of the default settings.
    pub fn usual() -> Scrubber {
        Scrubber::new(&ScrubSettings::default())
            .expect("the patterns that come with it are regular expressions")
    }

    pub fn new(settings: &ScrubSettings) -> Result<Scrubber, ScrubError> {
        Ok(Scrubber {
            is_enabled: settings.is_enabled,
            names: settings.names,
            value_length: settings.value_length,
            keys: Keys::new(settings)?,
            texts: Texts::new(settings)?,
            clean: Remembered::new(CLEAN_MAX),
            records: ProcessCount::new(),
        })
    }

    /// One encoded `Span`, `LogRecord` or `Metric` without its secrets: the record itself, or what was written into `buffer`.
    pub fn scrub<'r>(&self, signal: Signal, record: &'r [u8], buffer: &'r mut Vec<u8>) -> &'r [u8] {
        if !self.is_enabled || self.is_clean(signal, record) {
            return record;
        }
        buffer.clear();
        self.write_clean(signal, record, buffer);
        self.records.add(1);
        buffer
    }

    /// A text without its secrets.
    pub fn scrub_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.is_enabled {
            true => self.cut(self.texts.scrub(&self.keys, text)),
            false => Cow::Borrowed(text),
        }
    }

    /// A value that is said to be of this name, such as an argument of a function, without its secrets.
    pub fn scrub_pair<'t>(&self, key: &str, text: &'t str) -> Cow<'t, str> {
        match self.is_secret_key(key) && !text.is_empty() {
            true => Cow::Borrowed(REDACTED),
            false => self.scrub_text(text),
        }
    }

    /// The arguments of a process without their secrets: `--password=secret` and `--password secret`.
    pub fn scrub_arguments(&self, arguments: &[String]) -> Vec<String> {
        let mut announced = false;
        let scrubbed = arguments.iter().map(|argument| {
            let is_option = argument.starts_with('-');
            let text = match announced && !is_option {
                true => Cow::Borrowed(REDACTED),
                false => self.scrub_text(argument),
            };
            announced = is_option && self.is_secret_key(argument);
            text.into_owned()
        });
        scrubbed.collect()
    }

    /// Whether a value of this name is a secret whatever it is. The words of a name count, `apiKey`, `api_key` and `X-API-Key`
    /// being the same, and not its letters: `tokens_used` and `cache.key` are no names of secrets, nor is `token.type`.
    #[inline]
    pub fn is_secret_key(&self, key: &str) -> bool {
        self.is_enabled && self.keys.is_secret(key)
    }

    /// Records of this process of which something was replaced or cut.
    pub fn scrubbed(&self) -> u64 {
        self.records.get()
    }

    fn cut<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        match (self.cut_at(&text), text) {
            (None, text) => text,
            (Some(end), Cow::Borrowed(text)) => Cow::Borrowed(&text[..end]),
            (Some(end), Cow::Owned(mut text)) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        }
    }

    /// Where a text that is too long is to end, in bytes.
    fn cut_at(&self, text: &str) -> Option<usize> {
        let most = self.value_length.filter(|most| *most < text.len())?;
        text.char_indices().nth(most).map(|(end, _)| end)
    }
}
