//! What is hostile is refused in time and within bounds, and what is read is written so that it is read again. Answers are
//! compared with the Collector's in `tests/oracle`.

use proptest::prelude::*;

use super::path::Paths;
use super::select::select;
use super::tree::{DEPTH_MAX, Tree};
use super::{bounded, document, element, simplified};

fn problem(text: &str) -> String {
    Tree::read(text).unwrap_err().into_owned()
}

#[test]
fn entities_are_not_expanded() {
    let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>";
    for text in [
        format!("{bomb}<a>&b;</a>"),
        format!("{bomb}<a b=\"&b;\"/>"),
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>".to_owned(),
        "<!DOCTYPE a SYSTEM \"http://127.0.0.1/a.dtd\"><a>&x;</a>".to_owned(),
    ] {
        assert!(problem(&text).starts_with("no XML"), "{text}");
    }
    // What nobody refers to is text that is left alone.
    assert!(Tree::read(&format!("{bomb}<a/>")).is_ok());
}

#[test]
fn depth_and_number_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    let tree = Tree::read(&nested(DEPTH_MAX)).unwrap();
    assert_eq!(tree.write().unwrap(), nested(DEPTH_MAX));
    for text in [nested(DEPTH_MAX + 1), "<a>".repeat(1_000_000)] {
        assert!(problem(&text).contains("deeper"));
    }
    let attributes: String = (0..200_000).map(|number| format!(" a{number}=\"\"")).collect();
    for text in [
        format!("<r>{}</r>", "<a/>".repeat(200_000)),
        format!("<r>{}</r>", "<!---->".repeat(200_000)),
        format!("<r{attributes}/>"),
    ] {
        assert!(problem(&text).contains("parts"));
    }
}

/// As many elements as a value of telemetry can hold.
#[test]
fn maps_are_as_deep_as_telemetry_can_be() {
    let nested = |depth: usize| {
        let text = format!("{}x{}", "<a>".repeat(depth), "</a>".repeat(depth));
        document(&text).unwrap()
    };
    let plain = |depth| bounded(element(&nested(depth), 1)).is_ok();
    assert!(plain(14) && !plain(15) && !plain(DEPTH_MAX));
    let simple = |depth| bounded(simplified(&nested(depth), 0)).is_ok();
    assert!(simple(24) && !simple(25) && !simple(DEPTH_MAX));
}

#[test]
fn what_is_written_is_bounded() {
    let text = format!("<a>{}</a>", "&quot;".repeat(1 << 19));
    assert!(Tree::read(&text).is_ok());
    let long = format!("<a>{}</a>", "\"".repeat(4 << 20));
    assert!(Tree::read(&long).unwrap().write().unwrap_err().contains("long"));
    let (mut into, many) = (
        document("<a/>").unwrap(),
        format!("<b c=\"{}\"/>", "x".repeat(1 << 20)),
    );
    let many = document(&many).unwrap();
    let copied = (0..100).try_for_each(|_| into.copy(&many, 0, 1));
    assert!(copied.unwrap_err().contains("long"));
}

#[test]
fn paths_end_in_time_on_what_is_made_for_them() {
    let flat = Tree::read(&format!("<r>{}</r>", "<a/>".repeat(90_000))).unwrap();
    let inner = "x<b/>".repeat(10_000);
    let nested = Tree::read(&format!(
        "<r>{}{inner}{}</r>",
        "<a>".repeat(200),
        "</a>".repeat(200)
    ))
    .unwrap();
    for (tree, path) in [
        (&flat, "//a[count(//a) > 1]"),
        (&flat, "//a[//a = //r]"),
        (&flat, "//a/../a/../a/../a"),
        (&nested, "//a//a//a//b"),
        (&nested, "//a[contains(., 'y')]//b[contains(.., 'y')]"),
        (&nested, "//*[. = //*]"),
    ] {
        match select(tree, &Paths::parse(path).unwrap()) {
            Ok(found) => assert!(found.len() < 100_000, "{path}"),
            Err(problem) => assert!(problem.contains("too many"), "{path}: {problem}"),
        }
    }
    let simple = Paths::parse("//a[not(b) and position() > 5]").unwrap();
    assert_eq!(select(&flat, &simple).unwrap().len(), 89_995);
}

#[test]
fn many_attributes_become_elements_in_time() {
    let attributes: String = (0..30_000)
        .map(|number| format!(" a{number}=\"{number}\""))
        .collect();
    let mut tree = Tree::read(&format!("<r{attributes}/>")).unwrap();
    let found = select(&tree, &Paths::parse("//@*").unwrap()).unwrap();
    super::remove_attributes(&mut tree, &found);
    assert_eq!(tree.write().unwrap(), "<r></r>");
}

/// Pieces of a document, whole and broken.
const PIECES: [&str; 24] = [
    "<a>",
    "</a>",
    "<b c=\"d\">",
    "</b>",
    "<e/>",
    "x",
    "&lt;",
    "&#9;",
    "<!--y-->",
    "<![CDATA[z]]>",
    "<?p q?>",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE f>",
    " ",
    "\r\n",
    "<",
    ">",
    "&",
    "\"",
    "]]>",
    "\u{e9}",
    "<p:q xmlns:p=\"u\"/>",
    "<s xml:space=\"default\"> t </s>",
    "<?q?>",
];

proptest! {
    #[test]
    fn what_is_read_is_written_so_that_it_is_read_again(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12)
    ) {
        if let Ok(tree) = Tree::read(&format!("<?xml version=\"1.0\"?><r>{}</r>", pieces.concat())) {
            let written = tree.write().unwrap();
            let again = Tree::read(&written).unwrap();
            prop_assert_eq!(again.write().unwrap(), written);
        }
    }

    #[test]
    fn no_text_makes_it_fail(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
        path in "[a-z/@*.()\\[\\]='|!<> 0-9]{0,20}",
    ) {
        let tree = Tree::read(&pieces.concat());
        let tree = tree.or_else(|_| Tree::read("<a b=\"c\"><a>d</a><!--e--></a>"));
        if let (Ok(tree), Ok(paths)) = (tree, Paths::parse(&path)) {
            let _ = select(&tree, &paths);
            let _ = bounded(simplified(&tree, 0));
        }
    }
}
