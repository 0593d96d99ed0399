//! Laws that hold for every tree and every text.

use cupola_config::tree::{Entry, Node, Value};
use cupola_config::{Masking, Place, Problems, Sources, expand, merge, show};
use proptest::prelude::*;

fn place() -> Place {
    Place::whole("made")
}

fn mapping(entries: Vec<(String, Node)>) -> Node {
    let mut seen = std::collections::HashSet::new();
    let entries = entries.into_iter().filter(|(key, _)| seen.insert(key.clone()));
    Node::mapping(
        place(),
        entries.map(|(key, value)| Entry {
            key: key.into(),
            place: place(),
            value,
        }),
    )
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_/]{0,8}",
        "[-+0-9.eExob_:]{0,6}",
        "[ \\t\\r\\n'\"#:,&*!|>%@`{}\\[\\]?<=-]{0,6}",
        "(~|null|true|No|on|<<|=|---|\\.\\.\\.|\\.inf|2001-01-01|0x1F|a: b|a #b|- a|\\? a)",
        any::<String>(),
    ]
}

fn tree() -> impl Strategy<Value = Node> {
    let scalar = prop_oneof![
        Just(Node::null(place())),
        any::<bool>().prop_map(|flag| Node::new(place(), Value::Bool(flag))),
        any::<i64>().prop_map(|number| Node::new(place(), Value::Int(number.into()))),
        any::<u64>().prop_map(|number| Node::new(place(), Value::Int(number.into()))),
        any::<f64>().prop_map(|number| Node::new(place(), Value::Float(number))),
        text().prop_map(|text| Node::string(place(), text)),
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| Node::sequence(place(), items)),
            prop::collection::vec((text(), inner), 0..5).prop_map(mapping),
        ]
    })
}

/// Trees over few keys, so that they have many in common; `x` and `y` are single values and the others are sections.
fn overlapping() -> impl Strategy<Value = Node> {
    let values = || prop::collection::vec(("[xy]", 0..3_i64), 0..3);
    let value = |number: i64| Node::new(place(), Value::Int(number.into()));
    let section = move |values: Vec<(String, i64)>, sections: Vec<(String, Node)>| {
        let values = values.into_iter().map(|(key, number)| (key, value(number)));
        mapping(values.chain(sections).collect())
    };
    let leaf = values().prop_map(move |values| section(values, Vec::new()));
    leaf.prop_recursive(3, 20, 3, move |inner| {
        let sections = prop::collection::vec(("[abc]", inner), 0..4);
        (values(), sections).prop_map(move |(values, sections)| section(values, sections))
    })
}

struct Nothing;

impl Sources for Nothing {
    fn env(&self, name: &str) -> Option<String> {
        (name.len() < 3).then(|| format!("${{{name}x}}"))
    }

    fn file(&self, _path: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn all_keys(node: &Node, keys: &mut Vec<String>) {
    for entry in node.entries() {
        keys.push(entry.key.to_string());
        all_keys(&entry.value, keys);
    }
    node.items().iter().for_each(|item| all_keys(item, keys));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_shown_reads_back_as_the_same_tree(tree in tree()) {
        let text = show::plain(&tree);
        match Node::parse("shown", &text) {
            Ok(read) => prop_assert!(read == tree, "{text:?} reads as {read:?}, not as {tree:?}"),
            Err(problem) => prop_assert!(false, "{text:?}: {problem}"),
        }
    }

    #[test]
    fn masked_text_never_holds_the_secret(
        tree in tree(),
        key in "(password|api_key|client_secret|Authorization|bearer_token)",
        secret in "[a-z]{3}hunter2[ -~]{0,5}",
        again in "[a-z ]{0,5}",
    ) {
        let hidden = Node::string(place(), secret.as_str());
        let repeated = Node::string(place(), format!("{again}{secret}{again}"));
        let url = Node::string(place(), format!("https://me:{}@host/", secret.replace(' ', "")));
        let tree = Node::mapping(place(), []).with(&["a", "tree"], tree).with(&["a", "b", key.as_str()], hidden.clone());
        let tree = tree.with(&["c"], repeated).with(&["typed", "x", "y"], hidden).with(&["url"], url);
        let masking = Masking::new().below(&["typed"], [vec!["*".to_owned(), "y".to_owned()]]);
        let shown = show(&tree, &masking);
        prop_assert!(!shown.contains("hunter2"), "{shown}");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        all_keys(&tree, &mut before);
        let read = Node::parse("shown", &shown);
        prop_assert!(read.is_ok(), "{shown}");
        all_keys(&read.unwrap(), &mut after);
        prop_assert!(after.iter().all(|key| before.contains(key)));
    }

    #[test]
    fn merging_is_associative_and_keeps_what_is_alone(a in overlapping(), b in overlapping(), c in overlapping()) {
        let of = |nodes: &[&Node]| merge(nodes.iter().map(|&node| node.clone())).unwrap();
        prop_assert!(of(&[&of(&[&a, &b]), &c]) == of(&[&a, &of(&[&b, &c])]));
        let empty = mapping(Vec::new());
        prop_assert!(of(&[&a, &empty]) == a && of(&[&empty, &a]) == a && of(&[&a, &a]) == a);
        let merged = of(&[&a, &b]);
        for key in ["x", "y"] {
            prop_assert!(merged.get(key) == b.get(key).or(a.get(key)));
        }
    }

    #[test]
    fn text_without_a_dollar_is_left_alone(tree in tree()) {
        let shown = show::plain(&tree).replace('$', "S");
        let tree = Node::parse("made", &shown).unwrap();
        let mut problems = Problems::new();
        prop_assert!(expand(&tree, &Nothing, &mut problems) == tree);
        prop_assert!(problems.is_empty());
    }

    #[test]
    fn no_text_of_references_panics(text in "[$]?([$][{](env:|file:|ab|:-|[}])*|[ a}$:-]|[{]){0,12}") {
        let mut problems = Problems::new();
        expand(&Node::string(place(), text), &Nothing, &mut problems);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Node::parse("hostile", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_yaml_like_text_panics(text in "([-?:,\\[\\]{}#&*!|>'\"%@` \\t\\r\\nab01~<.\u{85}\u{2028}\u{feff}\u{e9}]|<<|---|: |- |&a |\\*a|!!str |%YAML 1\\.2\n|\n  ){0,60}") {
        if let Ok(tree) = Node::parse("hostile", &text) {
            let shown = show::plain(&tree);
            match Node::parse("shown", &shown) {
                Ok(read) => prop_assert!(read == tree, "{text:?} is shown as {shown:?}"),
                Err(problem) => prop_assert!(false, "{text:?} is shown as {shown:?}: {problem}"),
            }
        }
    }
}
