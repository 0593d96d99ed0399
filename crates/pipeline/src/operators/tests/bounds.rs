//! What no input may do: break a batch, take minutes, or be held without end.

use cupola_telemetry::{Batch, Signal, TenantId};
use serde_json::json;

use super::{entry, now, one, operators, run};
use crate::operators::{Entry, Value, batch};

#[test]
fn what_is_nested_too_deeply_for_telemetry_stays_text() {
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let valid = |out: &[Entry]| {
        let payload = batch(out, "scope").payload().clone();
        Batch::decode_protobuf(Signal::Logs, TenantId::default_tenant(), payload).unwrap();
    };
    let out = run(
        json!([{ "type": "json_parser" }]),
        &[&nested(20), &nested(30), &nested(100)],
    );
    assert!(out[0].attributes.get("a").is_some());
    // Beyond what telemetry can hold, the line is handed on as it came.
    assert_eq!((out[1].attributes.len(), out[2].attributes.len()), (1, 1));
    assert_eq!(out[1].body, Value::from(nested(30)));
    valid(&out);
    // What was not too deep becomes it where it is put.
    let moves = json!([{ "type": "json_parser", "parse_to": "attributes.b.c.d.e.f.g.h.i" }, { "type": "copy", "from": "attributes", "to": "body.x.y.z" }]);
    let lists = format!("{{\"a\":{}{}}}", "[".repeat(33), "]".repeat(33));
    valid(&run(moves, &[&nested(20), &nested(24), &lists]));
}

#[test]
fn a_line_of_many_members_is_read_in_time() {
    const MANY: usize = 100_000;
    let begun = std::time::Instant::now();
    let members: Vec<String> = (0..MANY)
        .map(|number| format!("\"k{number}\":{number}"))
        .collect();
    let line = format!("{{{},\"k7\":\"last\"}}", members.join(","));
    let entry = one(
        json!([{ "type": "json_parser", "parse_ints": true, "parse_to": "body" }]),
        &line,
    );
    let Value::Map(fields) = &entry.body else {
        panic!("{:?}", entry.body)
    };
    assert_eq!(fields.len(), MANY);
    assert_eq!(
        fields.iter().nth(7),
        Some(("k7", &Value::from("last"))),
        "in its old place"
    );
    assert_eq!(fields.get("k99999"), Some(&Value::Int(99_999)));
    let query: Vec<String> = (0..MANY).map(|number| format!("k{number}=x")).collect();
    let entry = one(
        json!([{ "type": "uri_parser" }]),
        &format!("?{}&k7=y", query.join("&")),
    );
    let Some(Value::Map(parameters)) = entry.attributes.get("query") else {
        panic!("{:?}", entry.attributes.get("query"))
    };
    assert_eq!(parameters.len(), MANY);
    assert_eq!(
        parameters.get("k7"),
        Some(&Value::List(vec![Value::from("x"), Value::from("y")]))
    );
    let elements: String = (0..MANY).map(|number| format!("[e{number}]")).collect();
    let parameters: String = (0..MANY).map(|number| format!(" p{number}=\"\"")).collect();
    for data in [elements, format!("[e{parameters}]")] {
        let line = format!("<14>1 - h a - - {data} m");
        let entry = one(json!([{ "type": "syslog_parser", "protocol": "rfc5424" }]), &line);
        assert_eq!(entry.body, Value::from(line), "handed on as it came");
        assert_eq!(entry.attributes.len(), 1);
    }
    // All with all is 5,000,000,000 comparisons each.
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
}

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
