//! `match(text, 'words')`: whether the text has all the words, whatever their case and order.
//!
//! A word is a run of letters, digits and `_`; words match whole. `match(body, 'time out')` finds "Timeout: out of
//! time" but not "timeout". No words match everything. Null matches nothing (null).
//!
//! The scan looks for the rarest byte of each word and verifies around it: no row is copied or lower-cased.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::functions::support::{ANY_ARGUMENTS, check_arity, constant_text, text_argument};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct MatchWords;

impl ScalarUDFImpl for MatchWords {
    fn name(&self) -> &str {
        "match"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        check_arity(self.name(), arguments.len(), 2)?;
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let words = Words::new(constant_text(&args, 1, "the words of match()")?);
        let texts = text_argument(&args, 0)?;
        let bits = BooleanBuffer::collect_bool(texts.len(), |row| {
            texts.is_valid(row) && words.are_in(texts.value(row))
        });
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(
            bits,
            texts.nulls().cloned(),
        ))))
    }
}

/// The words to look for.
#[derive(Debug)]
pub(crate) struct Words {
    ascii: Vec<AsciiWord>,
    /// Lower-case words with letters beyond ASCII, compared letter by letter.
    other: Vec<String>,
}

#[derive(Debug)]
struct AsciiWord {
    lower: Vec<u8>,
    /// Position in the word of the byte to search for.
    rare_at: usize,
    rare: (u8, u8),
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether the letter that ends before `at`, a boundary of letters, is of a word.
fn is_word_before(text: &str, at: usize) -> bool {
    match at.checked_sub(1).map(|before| text.as_bytes()[before]) {
        None => false,
        Some(byte) if byte.is_ascii() => is_word(char::from(byte)),
        Some(_) => text[..at].chars().next_back().is_some_and(is_word),
    }
}

/// Whether the letter that begins at `at`, a boundary of letters, is of a word.
fn is_word_at(text: &str, at: usize) -> bool {
    match text.as_bytes().get(at) {
        None => false,
        Some(byte) if byte.is_ascii() => is_word(char::from(*byte)),
        Some(_) => text[at..].chars().next().is_some_and(is_word),
    }
}

/// How common a byte is in text, roughly: letters by their frequency in English, digits in between.
fn commonness(byte: u8) -> usize {
    const ORDER: &[u8] = b"zqxjkvb_ywgpfmu0123456789cdlhrsnioate";
    ORDER.iter().position(|known| *known == byte).unwrap_or(0)
}

impl Words {
    pub(crate) fn new(words: &str) -> Words {
        let mut found = Words {
            ascii: Vec::new(),
            other: Vec::new(),
        };
        for word in words
            .split(|character| !is_word(character))
            .filter(|word| !word.is_empty())
        {
            if !word.is_ascii() {
                found.other.push(word.to_lowercase());
                continue;
            }
            let lower = word.to_ascii_lowercase().into_bytes();
            let rare_at = (0..lower.len())
                .min_by_key(|at| commonness(lower[*at]))
                .unwrap_or(0);
            let rare = (lower[rare_at], lower[rare_at].to_ascii_uppercase());
            found.ascii.push(AsciiWord { lower, rare_at, rare });
        }
        // The longest is the most selective.
        found
            .ascii
            .sort_by_key(|word| std::cmp::Reverse(word.lower.len()));
        found
    }

    pub(crate) fn are_in(&self, text: &str) -> bool {
        self.ascii.iter().all(|word| word.is_in(text))
            && self.other.iter().all(|word| {
                text.split(|character| !is_word(character))
                    .any(|token| token.to_lowercase() == *word)
            })
    }
}

impl AsciiWord {
    fn is_in(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let length = self.lower.len();
        let mut from = self.rare_at;
        while from < bytes.len() {
            let Some(at) = memchr::memchr2(self.rare.0, self.rare.1, &bytes[from..]) else {
                return false;
            };
            let start = from + at - self.rare_at;
            let end = start + length;
            if end > bytes.len() {
                return false;
            }
            // What equals an ASCII word begins and ends between letters.
            if bytes[start..end].eq_ignore_ascii_case(&self.lower)
                && !is_word_before(text, start)
                && !is_word_at(text, end)
            {
                return true;
            }
            from += at + 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::Words;

    #[test]
    fn all_words_whole_in_any_order_and_case() {
        for (words, text, expected) in [
            ("time out", "Timeout: OUT of time", true),
            ("time out", "timeout", false),
            ("timeout", "db timeout!", true),
            ("timeout", "db_timeout", false),
            ("error 500", "HTTP 500 internal Error", true),
            ("error 50", "HTTP 500 internal Error", false),
            ("", "anything", true),
            ("straße", "Lange STRASSE und Straße 5", true),
            ("über", "UEBER", false),
            ("über", "ÜBER allem", true),
            ("a", "ä a", true),
            ("a", "äa", false),
            ("a", "aä", false),
            ("timeout", "“timeout”", true),
            ("timeout", "a\u{a0}timeout\u{a0}b", true),
            ("timeout", "…timeout — again", true),
            ("timeout", "時timeout", false),
            ("connection_reset", "peer: connection_reset", true),
            ("a-b", "b then a", true),
        ] {
            assert_eq!(Words::new(words).are_in(text), expected, "{words:?} in {text:?}");
        }
    }
}
