//! Several configurations into one, as the Collector merges its `--config` files: later ones win, mappings are merged key
//! by key, everything else is replaced as a whole, sequences included. Each value keeps its place.

use std::collections::HashMap;
use std::sync::Arc;

use crate::tree::{Entry, Node, Value};

/// Merges in order. A file without content changes nothing; no file at all is `None`.
pub fn merge(files: impl IntoIterator<Item = Node>) -> Option<Node> {
    files.into_iter().reduce(|below, above| match above.is_null() {
        true => below,
        false => over(&below, &above),
    })
}

/// `above` laid over `below`.
fn over(below: &Node, above: &Node) -> Node {
    let (Value::Mapping(lower), Value::Mapping(upper)) = (below.value(), above.value()) else {
        return above.clone();
    };
    let mut entries: Vec<Entry> = lower.clone();
    let positions: HashMap<Arc<str>, usize> = lower
        .iter()
        .enumerate()
        .map(|(position, entry)| (entry.key.clone(), position))
        .collect();
    for entry in upper {
        match positions.get(&entry.key) {
            Some(&position) => {
                let value = over(&entries[position].value, &entry.value);
                entries[position] = Entry {
                    value,
                    ..entry.clone()
                };
            }
            None => entries.push(entry.clone()),
        }
    }
    above.replaced(Value::Mapping(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(file: &str, text: &str) -> Node {
        Node::parse(file, text).unwrap()
    }

    #[test]
    fn later_files_win_and_mappings_are_merged() {
        let base = parse(
            "base",
            "exporters: {otlp: {endpoint: a, headers: {x: 1}}}\nlist: [1, 2]\n",
        );
        let site = parse("site", "exporters: {otlp: {endpoint: b}, debug: }\nlist: [3]\n");
        let merged = merge([base, parse("empty", "# nothing"), site]).unwrap();
        let expected = "{exporters: {otlp: {endpoint: b, headers: {x: 1}}, debug: }, list: [3]}";
        assert_eq!(merged, parse("", expected));
        assert_eq!(
            &*merged
                .at(&["exporters", "otlp", "endpoint"])
                .unwrap()
                .place()
                .file,
            "site"
        );
        assert_eq!(
            &*merged
                .at(&["exporters", "otlp", "headers", "x"])
                .unwrap()
                .place()
                .file,
            "base"
        );
    }

    #[test]
    fn a_section_named_again_without_content_is_emptied() {
        let merged = merge([parse("a", "a: {b: 1}"), parse("b", "a:")]).unwrap();
        assert!(merged.get("a").unwrap().is_null());
        assert_eq!(merge([]), None);
    }
}
