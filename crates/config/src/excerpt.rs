//! Lines of a file as they may be shown beside a problem: what is secret in them is masked and the rest stays, so that a
//! caret still points at its character. Knows what is secret from the tree of the file, by the same rules as
//! [`show`](crate::show). Refuses to guess where a value ends: up to the next key or value that may be shown, all is
//! hidden.

use std::ops::Range;

use crate::mask;
use crate::secret::MASK;
use crate::show::Masking;
use crate::tree::{Node, Value};

/// Bytes below which a secret is too short to be looked for wherever it may stand.
const ANYWHERE_BYTES_MIN: usize = 6;
/// Bytes below which it is not looked for in quotes either.
const QUOTED_BYTES_MIN: usize = 2;

/// Which parts of a file, and which texts, are secret.
#[derive(Clone, Debug, Default)]
pub struct Excerpts {
    /// Every key and value, in the order of the file.
    spots: Vec<Spot>,
    /// Values that are secret, the longest first.
    secrets: Vec<String>,
}

/// Where a key or a value begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    line: usize,
    column: usize,
    hidden: bool,
}

/// A line that may be shown.
pub(crate) struct Line {
    pub(crate) text: String,
    /// Characters of the file that are masked, from 0.
    masked: Vec<Range<usize>>,
}

impl Excerpts {
    /// Of the tree of one file as it is written, before references are put in.
    pub fn of(tree: &Node, masking: &Masking<'_>) -> Excerpts {
        let mut excerpts = Excerpts::default();
        excerpts.walk(tree, masking, &mut Vec::new(), false);
        excerpts.spots.sort_unstable();
        // An alias has the place of what it stands for, which is hidden if it is in one of its places.
        excerpts.spots.dedup_by(|later, earlier| {
            let same = (later.line, later.column) == (earlier.line, earlier.column);
            earlier.hidden |= same && later.hidden;
            same
        });
        excerpts.sort();
        excerpts
    }

    /// Adds the secret values of another tree, such as one with its references put in.
    pub fn also(&mut self, tree: &Node, masking: &Masking<'_>) {
        let other = Excerpts::of(tree, masking);
        self.secrets.extend(other.secrets);
        self.sort();
    }

    fn sort(&mut self) {
        self.secrets
            .sort_by(|one, other| (other.len(), other).cmp(&(one.len(), one)));
        self.secrets.dedup();
    }

    fn walk<'n>(&mut self, node: &'n Node, masking: &Masking<'_>, path: &mut Vec<&'n str>, within: bool) {
        let hidden = !node.is_null() && !is_reference(node) && (within || masking.hides(path, node));
        self.spots.push(Spot {
            line: node.place().line,
            column: node.place().column,
            hidden,
        });
        match node.value() {
            Value::Mapping(entries) => {
                for entry in entries {
                    self.spots.push(Spot {
                        line: entry.place.line,
                        column: entry.place.column,
                        hidden,
                    });
                    path.push(&entry.key);
                    self.walk(&entry.value, masking, path, hidden);
                    path.pop();
                }
            }
            Value::Sequence(items) => {
                path.push("*");
                for item in items {
                    self.walk(item, masking, path, hidden);
                }
                path.pop();
            }
            _ => {
                let text = node.text().map(str::trim).filter(|text| hidden && *text != MASK);
                self.secrets.extend(text.map(str::to_owned));
            }
        }
    }

    /// The line of this number as it may be shown.
    pub(crate) fn line(&self, number: usize, text: &str) -> Line {
        let characters: Vec<char> = text.chars().collect();
        let mut masked: Vec<Range<usize>> = mask::spots(text)
            .into_iter()
            .map(|bytes| text[..bytes.start].chars().count()..text[..bytes.end].chars().count())
            .collect();
        let mut begun: Option<Spot> = None;
        let end = Spot {
            line: usize::MAX,
            column: 0,
            hidden: false,
        };
        for spot in self.spots.iter().chain([&end]) {
            match begun {
                None if spot.hidden => begun = Some(*spot),
                Some(from) if !spot.hidden => {
                    begun = None;
                    masked.extend(span(&characters, number, from, *spot));
                }
                _ => {}
            }
        }
        Line::of(&characters, masked)
    }

    /// A text without the secrets that are known.
    pub fn hush(&self, text: &str) -> String {
        let mut shown = mask::urls(text).unwrap_or_else(|| text.to_owned());
        for secret in &self.secrets {
            if secret.len() >= ANYWHERE_BYTES_MIN {
                shown = shown.replace(secret.as_str(), MASK);
            } else if secret.len() >= QUOTED_BYTES_MIN {
                for quote in ['`', '"', '\''] {
                    let quoted = format!("{quote}{secret}{quote}");
                    shown = shown.replace(&quoted, &format!("{quote}{MASK}{quote}"));
                }
            }
        }
        shown
    }
}

impl Line {
    /// Masks these ranges, which may overlap.
    fn of(characters: &[char], mut masked: Vec<Range<usize>>) -> Line {
        masked.sort_by_key(|range| (range.start, range.end));
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in masked.into_iter().filter(|range| !range.is_empty()) {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        let (mut text, mut at) = (String::new(), 0);
        for range in &apart {
            text.extend(&characters[at..range.start]);
            text.push_str(MASK);
            at = range.end;
        }
        text.extend(&characters[at..]);
        Line { text, masked: apart }
    }

    /// Whether the character at `index` of the file, from 0, is masked.
    pub(crate) fn masks(&self, index: usize) -> bool {
        self.masked.iter().any(|range| range.contains(&index))
    }

    /// Where the character that stands at `index` of the file is shown, both from 0.
    pub(crate) fn shown_at(&self, index: usize) -> usize {
        let mut shift = 0_isize;
        for range in &self.masked {
            if index < range.start {
                break;
            }
            if range.contains(&index) {
                return range.start.saturating_add_signed(shift);
            }
            shift += MASK.len() as isize - range.len() as isize;
        }
        index.saturating_add_signed(shift)
    }
}

/// What of a line is between two spots, without the marks that end a value.
fn span(characters: &[char], number: usize, from: Spot, to: Spot) -> Option<Range<usize>> {
    if number < from.line || number > to.line {
        return None;
    }
    let blank = |character: &&char| character.is_whitespace();
    let start = match from.line == number {
        true => from.column.saturating_sub(1),
        false => characters.iter().take_while(blank).count(),
    };
    let end = match to.line == number {
        true => to.column.saturating_sub(1).min(characters.len()),
        false => characters.len(),
    };
    let marks = |character: &char| {
        character.is_whitespace() || ",}]".contains(*character) || (*character == '-' && from.line < number)
    };
    let mut end = end;
    while end > start && marks(&characters[end - 1]) {
        end -= 1;
    }
    (end > start).then_some(start..end)
}

/// One reference and nothing else, which names where the secret is and is none.
fn is_reference(node: &Node) -> bool {
    let inner = node
        .as_str()
        .and_then(|text| text.trim().strip_prefix("${")?.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}', '$']) && !inner.contains(":-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, Problem};

    fn rendered(text: &str, line: usize, column: usize) -> String {
        let tree = Node::parse("f", text).unwrap();
        let typed = vec![vec!["typed".to_owned()]];
        let excerpts = Excerpts::of(&tree, &Masking::new().below(&["a"], typed));
        let source = text.lines().nth(line - 1).unwrap();
        let problem = Problem::error(Place::new("f", line, column), "", "wrong");
        let rendered = problem.render_with(source, &excerpts);
        rendered.lines().skip(2).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn secrets_are_masked_and_the_caret_still_points_at_its_character() {
        let text = "exporters: {otlp: {headers: {x-honeycomb-team: SECRETLIT}, foo: 1}}";
        assert_eq!(
            rendered(text, 1, 60),
            "1 | exporters: {otlp: {headers: {x-honeycomb-team: [REDACTED]}, foo: 1}}\n  | \
             \x20                                                           ^"
        );
        assert_eq!(
            rendered("a: {typed: {x: s3cret, y: [z]}, b: 1}", 1, 33),
            "1 | a: {typed: [REDACTED]]}, b: 1}\n  |                          ^"
        );
        assert_eq!(
            rendered("endpoint: \"http://user:PASSLIT@x/api\" # PASS", 1, 1),
            "1 | endpoint: \"http://user:[REDACTED]@x/api\" # PASS\n  | ^"
        );
    }

    #[test]
    fn what_goes_over_several_lines_is_hidden_on_each() {
        let text =
            "tls:\n  key_pem: |\n    one\n    two\n  insecure: x\nparams:\n  - {value: three, key: b}\n";
        assert_eq!(rendered(text, 2, 3), "2 |   key_pem: |\n  |   ^");
        assert_eq!(rendered(text, 3, 0), "3 |     [REDACTED]");
        assert_eq!(rendered(text, 5, 13), "5 |   insecure: x\n  |             ^");
        assert_eq!(
            rendered(text, 7, 20),
            "7 |   - {value: [REDACTED], key: b}\n  |                         ^"
        );
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        for text in [
            "headers: [{action: upsert, key: X-Team, from_context: auth.token}]",
            "cookies: [a, b]",
            "tls: {insecure: true, key_file: /a/key.pem}",
            "bearertokenauth: {token: '${env:TOKEN}', header: X}",
            "auth: {authenticator: basicauth/x}",
        ] {
            assert_eq!(rendered(text, 1, 1), format!("1 | {text}\n  | ^"));
        }
    }

    #[test]
    fn messages_show_no_secret_either() {
        let tree = Node::parse("f", "headers: {a: SECRETLIT, b: pw, c: x}").unwrap();
        let excerpts = Excerpts::of(&tree, &Masking::new());
        assert_eq!(
            excerpts.hush("bad SECRETLIT and `pw` at http://me:x@h/ by pw"),
            "bad [REDACTED] and `[REDACTED]` at http://me:[REDACTED]@h/ by pw"
        );
    }
}
