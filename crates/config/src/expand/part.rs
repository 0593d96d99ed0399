//! The grammar of references: a text in pieces. Refuses to know where references lead.

use super::NESTING_MAX;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    Reference(Vec<Part>),
}

/// The name in `env:NAME` or `NAME`, if it is one.
pub(super) fn variable_name(reference: &str) -> Option<&str> {
    let name = reference.strip_prefix("env:").unwrap_or(reference);
    let first = |character: char| character.is_ascii_alphabetic() || character == '_';
    let plain = name
        .chars()
        .all(|character| first(character) || character.is_ascii_digit());
    (plain && name.starts_with(first)).then_some(name)
}

/// Splits a text into plain text and references; whether one was left open, which then is plain text.
pub(super) fn split(text: &str) -> (Vec<Part>, bool) {
    // The levels of references being read; below them the text itself.
    let mut levels: Vec<Vec<Part>> = vec![Vec::new()];
    let mut rest = text;
    while !rest.is_empty() {
        let depth = levels.len();
        let special = rest.find(|character| character == '$' || (character == '}' && depth > 1));
        let (plain, tail) = rest.split_at(special.unwrap_or(rest.len()));
        push_text(&mut levels, plain);
        if let Some(after) = tail.strip_prefix("$$") {
            push_text(&mut levels, "$");
            rest = after;
        } else if let Some(after) = tail.strip_prefix("${").filter(|_| depth <= NESTING_MAX) {
            levels.push(Vec::new());
            rest = after;
        } else if let Some(after) = tail.strip_prefix('}') {
            let content = levels.pop().unwrap_or_default();
            if let Some(level) = levels.last_mut() {
                level.push(Part::Reference(content));
            }
            rest = after;
        } else {
            let width = tail.chars().next().map_or(0, char::len_utf8);
            push_text(&mut levels, &tail[..width]);
            rest = &tail[width..];
        }
    }
    let unclosed = levels.len() > 1;
    while let Some(open) = levels.pop() {
        if levels.is_empty() {
            return (open, unclosed);
        }
        push_text(&mut levels, "${");
        for part in open {
            match part {
                Part::Text(text) => push_text(&mut levels, &text),
                reference => levels
                    .iter_mut()
                    .last()
                    .into_iter()
                    .for_each(|level| level.push(reference.clone())),
            }
        }
    }
    (Vec::new(), unclosed)
}

fn push_text(levels: &mut [Vec<Part>], text: &str) {
    let Some(level) = levels.last_mut() else { return };
    match level.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.push_str(text),
        _ => level.push(Part::Text(text.to_owned())),
    }
}
