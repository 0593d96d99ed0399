//! Labels as Prometheus writes them: `{app="cart", level="info"}`. Refuses names and strings that its grammar does.

use std::borrow::Cow;

/// Keys and values in the order in which they came.
pub(super) type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Most labels of a stream, and most pairs of an entry's metadata; Loki's own limits are far below.
pub(super) const LABELS_MAX: usize = 256;

/// Why a text is not a set of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub(super) struct LabelsError {
    problem: &'static str,
    offset: usize,
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Labels<'_>, LabelsError> {
    let mut parser = Parser { text, at: 0 };
    let mut labels = Labels::new();
    parser.expect('{', "`{` is expected")?;
    loop {
        if parser.accept('}') {
            break;
        }
        if labels.len() == LABELS_MAX {
            return Err(parser.error("there are too many labels"));
        }
        let name = parser.name()?;
        if labels.iter().any(|(known, _)| known == name) {
            return Err(parser.error("a label is given twice"));
        }
        parser.expect('=', "`=` is expected")?;
        labels.push((Cow::Borrowed(name), parser.string()?));
        if !parser.accept(',') {
            parser.expect('}', "`,` or `}` is expected")?;
            break;
        }
    }
    parser.blank();
    match parser.rest().is_empty() {
        true => Ok(labels),
        false => Err(parser.error("the text goes on after the labels")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, problem: &'static str) -> LabelsError {
        LabelsError {
            problem,
            offset: self.at,
        }
    }

    fn blank(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn accept(&mut self, character: char) -> bool {
        self.blank();
        let found = self.rest().starts_with(character);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, character: char, problem: &'static str) -> Result<(), LabelsError> {
        match self.accept(character) {
            true => Ok(()),
            false => Err(self.error(problem)),
        }
    }

    fn name(&mut self) -> Result<&'a str, LabelsError> {
        self.blank();
        let rest = self.rest();
        let length = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count();
        if length == 0 || rest.as_bytes()[0].is_ascii_digit() {
            return Err(self.error("the name of a label is expected"));
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// A string as Go quotes it.
    fn string(&mut self) -> Result<Cow<'a, str>, LabelsError> {
        self.blank();
        let rest = self.rest();
        let quote = match rest.as_bytes().first() {
            Some(quote @ (b'"' | b'\'' | b'`')) => char::from(*quote),
            _ => return Err(self.error("a quoted value is expected")),
        };
        let body = &rest[1..];
        if quote == '`' {
            let Some(end) = body.find('`') else {
                return Err(self.error("the value does not end"));
            };
            self.at += end + 2;
            return Ok(Cow::Borrowed(&body[..end]));
        }
        let Some(first) = body.find(['\\', quote]) else {
            return Err(self.error("the value does not end"));
        };
        if body[first..].starts_with(quote) {
            self.at += first + 2;
            return Ok(Cow::Borrowed(&body[..first]));
        }
        let mut bytes = body.as_bytes()[..first].to_vec();
        let mut left = &body[first..];
        loop {
            let Some(character) = left.chars().next() else {
                return Err(self.error("the value does not end"));
            };
            left = &left[character.len_utf8()..];
            if character == quote {
                break;
            }
            if character != '\\' {
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            left = escape(left, &mut bytes)
                .ok_or_else(|| self.error("an escape in the value does not exist"))?;
        }
        let value = String::from_utf8(bytes).map_err(|_| self.error("the value is not valid UTF-8"))?;
        self.at = self.text.len() - left.len();
        Ok(Cow::Owned(value))
    }
}

/// Adds what stands behind a backslash, and gives what follows.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let letter = text.chars().next()?;
    let rest = &text[letter.len_utf8()..];
    let simple = match letter {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '"' | '\'' => letter as u8,
        'x' => {
            bytes.push(u8::from_str_radix(digits(rest, 2)?, 16).ok()?);
            return Some(&rest[2..]);
        }
        '0'..='7' => {
            bytes.push(u8::from_str_radix(digits(text, 3)?, 8).ok()?);
            return Some(&text[3..]);
        }
        'u' | 'U' => {
            let length = if letter == 'u' { 4 } else { 8 };
            let code = u32::from_str_radix(digits(rest, length)?, 16).ok()?;
            bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(&rest[length..]);
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(rest)
}

fn digits(text: &str, length: usize) -> Option<&str> {
    text.get(..length)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let labels = parse(text).unwrap();
        labels
            .into_iter()
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect()
    }

    #[test]
    fn labels_are_read_as_prometheus_writes_them() {
        assert_eq!(pairs("{}"), []);
        assert_eq!(pairs(r#" { a = "b" , } "#), [("a".to_owned(), "b".to_owned())]);
        let text = r#"{a="q\"\\\n\x41\101\u00e9\U0001F600",b=`raw\n`, c='it'}"#;
        let expected = [("a", "q\"\\\nAAé😀"), ("b", "raw\\n"), ("c", "it")];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn what_is_no_set_of_labels_is_refused_at_its_place() {
        for text in [
            "",
            "{",
            "{a}",
            "{a=b}",
            "{a=\"b}",
            "{a=\"b\"",
            "{1a=\"b\"}",
            "{a=\"b\"} x",
            "{a=\"\\q\"}",
            "{a=\"\\xff\"}",
            "{a=\"1\",a=\"2\"}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let error = parse("{a=\"b\";}").unwrap_err();
        assert_eq!(error.to_string(), "`,` or `}` is expected at byte 6");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", inner in "[a-z=\"\\\\x0u,{}` ]*") {
            let _ = parse(&text);
            let _ = parse(&format!("{{{inner}"));
        }

        #[test]
        fn what_is_quoted_comes_back(value in "\\PC*") {
            let text = format!("{{key={}}}", serde_json::to_string(&value).unwrap());
            prop_assert_eq!(pairs(&text), vec![("key".to_owned(), value)]);
        }
    }
}
