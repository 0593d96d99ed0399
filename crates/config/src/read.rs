//! From a tree to a type with every mistake reported, not the first: what is wrong is left out of a copy and the rest is
//! read again. Refuses to show values that came from the environment or a file, or that are secrets by their name.

use std::collections::HashSet;

use serde::de::DeserializeOwned;

use crate::MASK;
use crate::de::{self, Kind, Mistake, Spot, Step};
use crate::leaf::Leaf;
use crate::mask;
use crate::nearest::nearest;
use crate::problem::{Problem, Problems};
use crate::tree::{Node, Origin};

/// How often one node is read again without what was wrong with it.
pub const TRIES_MAX: usize = 500;
/// Characters of a value that a message shows.
const SHOWN_MAX: usize = 80;
/// Known keys that a hint lists.
const LISTED_MAX: usize = 60;

/// Reads `node`. With problems of severity error the result, if there is one, lacks what is wrong.
pub fn read<T: DeserializeOwned>(node: &Node, problems: &mut Problems) -> Option<T> {
    read_at(node, "", problems)
}

/// Reads `node`, which is at the dotted path `key` of its configuration, such as `exporters.otlp/2`.
pub fn read_at<T: DeserializeOwned>(node: &Node, key: &str, problems: &mut Problems) -> Option<T> {
    let mut reading = Reading {
        key,
        root: node,
        left_out: HashSet::new(),
        problems,
    };
    let mut rest = node.clone();
    for _ in 0..TRIES_MAX {
        let mistake = match de::read::<T>(&rest) {
            Ok(read) => return Some(read),
            Err(mistake) => mistake,
        };
        let path = reading.take(mistake)?;
        rest = rest.without(&path);
    }
    let message = format!("has more than {TRIES_MAX} mistakes; the others are not looked for");
    reading
        .problems
        .push(Problem::error(node.place().clone(), key, message));
    None
}

struct Reading<'a> {
    key: &'a str,
    root: &'a Node,
    /// Paths in the whole tree.
    left_out: HashSet<Vec<Step>>,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    /// Reports a mistake; the path of what to leave out, unless that is everything.
    fn take(&mut self, mistake: Mistake) -> Option<Vec<Step>> {
        let (kind, spot) = mistake.into_parts();
        let spot = spot.unwrap_or_else(|| Spot {
            path: Vec::new(),
            node: self.root.clone(),
            place: self.root.place().clone(),
            leaf: None,
        });
        let whole = self.in_whole(&spot.path);
        if spot.node.is_null() && is_about_value(&kind) && whole.last().is_some_and(|step| !step.item) {
            // A key without a value leaves the default. Where there is none the key is missing, and said to be.
            return Some(spot.path);
        }
        if !self.is_consequence(&kind, &whole) {
            let problem = self.problem(kind, &spot, &whole);
            self.problems.push(problem);
        }
        if spot.path.is_empty() {
            return None;
        }
        self.left_out.insert(whole);
        Some(spot.path)
    }

    /// A key that was left out is not missing.
    fn is_consequence(&self, kind: &Kind, whole: &[Step]) -> bool {
        let Kind::MissingKey(key) = kind else { return false };
        let missing = Step {
            text: (*key).into(),
            item: false,
        };
        self.left_out.contains(&[whole, &[missing]].concat())
    }

    /// The path in the whole tree of what is at `path` after items were left out.
    fn in_whole(&self, path: &[Step]) -> Vec<Step> {
        let mut whole: Vec<Step> = Vec::with_capacity(path.len());
        for step in path {
            whole.push(step.clone());
            let Some(index) = step.text.parse::<usize>().ok().filter(|_| step.item) else {
                continue;
            };
            let (mut at, mut kept) = (0, 0);
            loop {
                let last = whole.len() - 1;
                whole[last].text = at.to_string().into();
                kept += usize::from(!self.left_out.contains(&whole));
                if kept > index {
                    break;
                }
                at += 1;
            }
        }
        whole
    }

    fn problem(&self, kind: Kind, spot: &Spot, whole: &[Step]) -> Problem {
        let hidden = Hidden::of(self.root, &kind, spot, whole, self.key);
        let error = |message: String| Problem {
            hidden: hidden.line,
            ..Problem::error(spot.place.clone(), self.dotted(whole), message)
        };
        match kind {
            Kind::UnknownKey { key, known } => {
                let message = match hidden.keys {
                    true => format!("{} holds a key that is not known here", spot.node.origin()),
                    false => "unknown key".to_owned(),
                };
                error(message).hint(one_of("keys", &key, known))
            }
            Kind::UnknownWord { word, known } => {
                let message = match &hidden.value {
                    Some(why) => format!("is none of the known words{why}"),
                    None => format!("`{}` is none of the known words", shortened(&word)),
                };
                error(message).hint(one_of("words", &word, known))
            }
            Kind::MissingKey(key) => {
                let dotted = join(&self.dotted(whole), key);
                Problem::error(spot.place.clone(), dotted, "this key is missing")
                    .hint(format!("add `{key}:`"))
            }
            Kind::DuplicateKey(key) => {
                error(format!("`{key}` is set twice, under two names")).hint("keep one of the two")
            }
            Kind::Unfit { found, expected } => {
                let phrase = spot
                    .leaf
                    .map_or_else(|| expected_phrase(&expected), |leaf| leaf.what.to_owned());
                let message = match &hidden.value {
                    // A kind shows nothing of the value.
                    Some(why) if matches!(found.as_str(), "map" | "sequence" | "unit value") => {
                        format!("{phrase} is expected, not {}{why}", found_phrase(&found))
                    }
                    Some(why) => format!("{phrase} is expected{why}"),
                    None => format!("{phrase} is expected, not {}", found_phrase(&found)),
                };
                hinted(error(message), spot.leaf, &phrase)
            }
            Kind::Other(message) => hinted(error(said(message, &hidden, spot)), spot.leaf, ""),
        }
    }

    /// The path as people write it. What is below a variable's value is part of that value and stays out.
    fn dotted(&self, whole: &[Step]) -> String {
        let mut dotted = self.key.to_owned();
        let mut node = Some(self.root);
        for step in whole {
            if node.is_some_and(|node| matches!(node.origin(), Origin::Environment(_))) {
                break;
            }
            match step.item {
                true => dotted.push_str(&format!("[{}]", step.text)),
                false => dotted = join(&dotted, &step.text),
            }
            node = node.and_then(|node| node.at(std::slice::from_ref(step)));
        }
        dotted
    }
}

fn is_about_value(kind: &Kind) -> bool {
    matches!(kind, Kind::Unfit { .. } | Kind::Other(_))
}

/// What of a spot may not be shown.
struct Hidden {
    /// Why the value is not shown, as the end of a sentence.
    value: Option<String>,
    keys: bool,
    /// Whether the line of the file may not be shown either.
    line: bool,
}

impl Hidden {
    fn of(root: &Node, kind: &Kind, spot: &Spot, whole: &[Step], prefix: &str) -> Hidden {
        let parent = whole
            .len()
            .checked_sub(1)
            .and_then(|last| root.at(&whole[..last]));
        // A section of this name is none; what a text of this name would hold is one.
        let named = |step: &Step| !step.item && &*step.text != "auth" && mask::is_secret_name(&step.text);
        let typed = spot.leaf.is_some_and(|leaf| leaf.secret);
        let steps = prefix.split(['.', '[']).filter(|step| !step.is_empty());
        let steps = steps.map(|step| if step.ends_with(']') { "*" } else { step });
        let below = whole.iter().map(|step| if step.item { "*" } else { &*step.text });
        let path: Vec<&str> = steps.chain(below).collect();
        // The name of a key is no value.
        let is_value = !matches!(kind, Kind::UnknownKey { .. }) && !spot.node.is_mapping();
        let of_headers = is_value && mask::is_of_headers(&path);
        let secret = typed || whole.iter().any(named) || of_headers;
        let value = match spot.node.origin() {
            Origin::Written if secret => Some(String::new()),
            Origin::Written => None,
            origin => Some(format!("; the value comes from {origin}")),
        };
        let own_file = matches!(spot.node.origin(), Origin::File(path) if *path == spot.place.file);
        Hidden {
            line: secret || own_file,
            value,
            keys: parent.is_some_and(|parent| matches!(parent.origin(), Origin::Environment(_))),
        }
    }
}

/// A message of a type about its own value.
fn said(message: String, hidden: &Hidden, spot: &Spot) -> String {
    let Some(why) = &hidden.value else {
        // serde names the type, which no file does.
        if message.starts_with("data did not match any variant of untagged enum") {
            return format!("{} has none of the forms that are taken here", spot.node.kind());
        }
        let mut message = mask::urls(&message).unwrap_or(message);
        redact(&spot.node, false, &mut message);
        return message;
    };
    match spot.leaf {
        Some(leaf) => format!("{} is expected{why}", leaf.what),
        None => format!("the value is not accepted here{why}"),
    }
}

/// Takes the hidden values within `node` out of a message about it.
fn redact(node: &Node, hidden: bool, message: &mut String) {
    let hidden = hidden || !node.origin().is_written();
    for entry in node.entries() {
        redact(&entry.value, hidden || mask::is_secret_name(&entry.key), message);
    }
    for item in node.items() {
        redact(item, hidden, message);
    }
    let Some(text) = node.text().filter(|text| hidden && !text.trim().is_empty()) else {
        return;
    };
    let escaped = format!("{text:?}");
    for form in [text, text.trim(), escaped.trim_matches('"')] {
        if message.contains(form) {
            *message = message.replace(form, MASK);
        }
    }
}

fn hinted(problem: Problem, leaf: Option<&Leaf>, phrase: &str) -> Problem {
    match (leaf, phrase) {
        // A type that says itself what to write needs no hint.
        (Some(_), "") if problem.message.contains("write") => problem,
        (Some(leaf), _) => problem.hint(leaf.hint()),
        (None, "a list") => problem.hint("write [a, b], or one item per line after `- `"),
        (None, "a mapping") => problem.hint("write its keys in the lines below, further to the right"),
        _ => problem,
    }
}

/// What to do about a key that is none of those known.
pub fn keys_hint(written: &str, known: &[&str]) -> String {
    one_of("keys", written, known)
}

fn one_of(kind: &str, written: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("there are no {kind} here");
    }
    if let Some(near) = nearest(written, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let listed = known[..known.len().min(LISTED_MAX)].join(", ");
    let more = if known.len() > LISTED_MAX { ", …" } else { "" };
    format!("known {kind}: {listed}{more}")
}

fn join(path: &str, key: &str) -> String {
    match path.is_empty() {
        true => key.to_owned(),
        false => format!("{path}.{key}"),
    }
}

fn shortened(text: &str) -> String {
    let text = mask::urls(text).unwrap_or_else(|| text.to_owned());
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn found_phrase(found: &str) -> String {
    match found {
        "unit value" => "nothing".to_owned(),
        "sequence" => "a list".to_owned(),
        "map" => "a mapping".to_owned(),
        _ => shortened(&found.replacen("string ", "the text ", 1)),
    }
}

fn expected_phrase(expected: &str) -> String {
    let phrase = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" | "string" => "a text",
        "a character" => "a single character",
        "a sequence" => "a list",
        "a map" => "a mapping",
        _ if expected.starts_with("struct ") => "a mapping",
        _ if expected.starts_with("enum ") => "one of the known words",
        _ if expected.starts_with("a nonzero u") => "a whole number above 0",
        _ if expected.starts_with("a nonzero i") => "a whole number other than 0",
        _ => return expected.to_owned(),
    };
    phrase.to_owned()
}
