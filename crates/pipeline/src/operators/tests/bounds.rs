//! What no input may do: be held without end.

use serde_json::json;

use super::{entry, now, operators};

#[test]
fn what_is_held_to_be_joined_has_a_bound_over_all_sources() {
    let mut operators = operators(json!([{
        "type": "recombine", "combine_field": "body", "is_last_entry": "body == 'last'", "max_unmatched_batch_size": 0,
    }]));
    let (mut out, text) = (Vec::new(), "x".repeat(1 << 20));
    for source in 0..40 {
        let mut entry = entry(&text);
        entry.attributes.set("log.file.path", format!("/{source}"));
        operators.process(entry, now(), &mut out);
        assert!(
            source + 1 - out.len() <= 16,
            "{} MiB are held",
            source + 1 - out.len()
        );
    }
    operators.flush(now(), true, &mut out);
    assert_eq!(out.len(), 40);
}
