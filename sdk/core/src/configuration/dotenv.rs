//! Files of variables, a `NAME=value` a line, as shells and many tools write them. Refuses commands, and changes nothing about the
//! process: what is read is looked at by the configuration alone.

use cupola_config::{Place, Problem};

/// A variable and the line that sets it, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// The variables of a file in order; what is none is left out with a warning that shows nothing of it.
pub(super) fn parse(file: &str, text: &str) -> (Vec<Pair>, Vec<Problem>) {
    let (mut pairs, mut problems) = (Vec::new(), Vec::new());
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (taken, read) = statement(rest);
        match read {
            Ok(Some((name, value))) => pairs.push(Pair { name, value, line }),
            Ok(None) => {}
            Err(message) => {
                let problem = Problem::warning(
                    Place::new(file, line, 0),
                    "",
                    format!("{message}; the line is left out"),
                );
                problems.push(problem.hint("write NAME=value, or NAME=\"value\""));
            }
        }
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    (pairs, problems)
}

type Read = Result<Option<(String, String)>, &'static str>;

/// Bytes up to the end of a statement, with its line break, and what it sets.
fn statement(text: &str) -> (usize, Read) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = text[..end].trim();
    if line.is_empty() || line.starts_with('#') {
        return (end, Ok(None));
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let Some((name, value)) = line.split_once('=') else {
        return (end, Err("has no `=`"));
    };
    let name = name.trim();
    if !is_name(name) {
        return (end, Err("is no name of a variable in front of its `=`"));
    }
    let value = value.trim_start();
    let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        let plain = value.split(" #").next().unwrap_or_default().trim_end();
        return (end, Ok(Some((name.to_owned(), plain.to_owned()))));
    };
    // The value in quotes may go over several lines.
    let start = value.as_ptr() as usize - text.as_ptr() as usize + 1;
    match quoted(&text[start..], quote) {
        Some((value, length)) => {
            let closed = start + length;
            let end = text[closed..].find('\n').map_or(text.len(), |at| closed + at + 1);
            (end, Ok(Some((name.to_owned(), value))))
        }
        None => (end, Err("has a quote that is never closed")),
    }
}

/// What stands before the closing quote, and the bytes up to behind it.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            found if found == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut bytes = name.bytes();
    bytes.next().is_some_and(is_letter)
        && bytes.all(|byte| is_letter(byte) || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_shells_and_tools_write_them() {
        let text = "\u{feff}# a comment\nA=1\nexport B = two words  # said\n\nC='$raw # text'\nD=\"a\\n\\\"b\\\" \\$C\"\n\
                    E=\"over\ntwo lines\"\nF=\nG=a#b\r\nA=2";
        let (pairs, problems) = parse(".env", text);
        let read: Vec<(&str, &str, usize)> = pairs
            .iter()
            .map(|pair| (pair.name.as_str(), pair.value.as_str(), pair.line))
            .collect();
        assert_eq!(
            read,
            [
                ("A", "1", 2),
                ("B", "two words", 3),
                ("C", "$raw # text", 5),
                ("D", "a\n\"b\" $C", 6),
                ("E", "over\ntwo lines", 7),
                ("F", "", 9),
                ("G", "a#b", 10),
                ("A", "2", 11),
            ]
        );
        assert_eq!(problems, []);
    }

    #[test]
    fn what_is_no_variable_is_told_with_its_line_and_without_its_text() {
        let (pairs, problems) = parse(".env", "hunter2\nA=1\n1B=hunter2\nC=\"hunter2\nD=3\n");
        let names: Vec<&str> = pairs.iter().map(|pair| pair.name.as_str()).collect();
        assert_eq!(names, ["A", "D"]);
        let lines: Vec<usize> = problems.iter().map(|problem| problem.place.line).collect();
        assert_eq!(lines, [1, 3, 4]);
        assert!(
            problems
                .iter()
                .all(|problem| !problem.render(None).contains("hunter2"))
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics_and_lines_are_counted(text in "[ -~\n\"'\\\\=é]{0,80}") {
            let (pairs, problems) = parse("f", &text);
            let lines = text.matches('\n').count() + 1;
            proptest::prop_assert!(pairs.iter().all(|pair| pair.line <= lines));
            proptest::prop_assert!(problems.iter().all(|problem| problem.place.line <= lines));
        }
    }
}
