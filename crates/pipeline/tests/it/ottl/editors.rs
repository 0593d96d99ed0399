//! Editors do what their documentation says.

use cupola_pipeline::ottl::Context;
use cupola_telemetry::view::{AnyValue, Attributes};

use super::{apply, changed, log_attribute, log_batch, show};

/// What is left in `attributes["m"]` when it was `map` and then edited.
#[track_caller]
fn edited(map: &str, statement: &str) -> String {
    let set = format!("set(attributes[\"m\"], {map})");
    let batch = changed(&log_batch(), Context::Log, &[&set, statement]);
    log_attribute(&batch, "m").unwrap()
}

#[track_caller]
fn check(map: &str, cases: &[(&str, &str)]) {
    for (statement, expected) in cases {
        assert_eq!(edited(map, statement), *expected, "{statement}");
    }
}

fn all_attributes(statements: &[&str]) -> String {
    let batch = changed(&log_batch(), Context::Log, statements);
    let scope = batch.logs().resources().next().unwrap().scopes().next().unwrap();
    let attributes: Attributes<'_> = scope.records().next().unwrap().attributes;
    show(AnyValue::KeyValueList(attributes))
}

#[test]
fn values_are_set() {
    let cases = [
        ("set(attributes[\"a\"], \"x\")", "a", Some("\"x\"")),
        (
            "set(attributes[\"a\"], attributes[\"nested\"][\"deep\"][\"y\"])",
            "a",
            Some("\"z\""),
        ),
        (
            "set(attributes[\"a\"], resource.attributes[\"service.name\"])",
            "a",
            Some("\"cart\""),
        ),
        ("set(attributes[\"a\"], attributes[\"none\"])", "a", Some("nil")),
        (
            "set(attributes[\"a\"][\"b\"][\"c\"], 1)",
            "a",
            Some("{b: {c: 1}}"),
        ),
        (
            "set(attributes[\"nested\"][\"deep\"][\"y\"], 2)",
            "nested",
            Some("{x: 1, deep: {y: 2}}"),
        ),
        (
            "set(attributes[\"tags\"][1], \"c\")",
            "tags",
            Some("[\"a\", \"c\"]"),
        ),
        (
            "set(attributes[Concat([\"a\", \"b\"], \".\")], 1)",
            "a.b",
            Some("1"),
        ),
        ("set(attributes[body], 1)", "hello world", Some("1")),
        (
            "set(attributes[\"count\"], attributes[\"count\"] + 1)",
            "count",
            Some("4"),
        ),
        (
            "set(attributes[\"a\"], [1, \"b\", {\"c\": nil}])",
            "a",
            Some("[1, \"b\", {c: nil}]"),
        ),
        ("set(attributes, {\"only\": 1})", "only", Some("1")),
        ("set(attributes, {\"only\": 1})", "count", None),
    ];
    for (statement, key, expected) in cases {
        let batch = changed(&log_batch(), Context::Log, &[statement]);
        assert_eq!(log_attribute(&batch, key).as_deref(), expected, "{statement}");
    }
}

#[test]
fn what_cannot_be_set_is_an_error_of_the_item() {
    for statement in [
        "set(attributes[\"count\"][\"x\"], 1)",
        "set(attributes[\"tags\"][2], 1)",
        "set(attributes[\"tags\"][\"x\"], 1)",
        "set(attributes[0], 1)",
        "set(attributes, 1)",
        "set(severity_number, \"x\")",
        "set(severity_text, 1)",
        "set(trace_id, 0x01)",
        "set(trace_id.string, \"xyz\")",
        "set(time, 1)",
        "set(attributes[\"a\"], Now())",
        "delete_key(attributes[\"count\"], \"x\")",
        "merge_maps(attributes, body, \"upsert\")",
    ] {
        let outcome = apply(&log_batch(), Context::Log, &[statement]);
        assert_eq!(outcome.errors, 1, "{statement}");
        assert_eq!(outcome.batch.unwrap(), log_batch(), "{statement}");
    }
}

#[test]
fn keys_are_deleted_and_kept() {
    let map = r#"{"http.method": "GET", "http.route": "/", "Password": "x"}"#;
    check(
        map,
        &[
            (
                "delete_key(attributes[\"m\"], \"http.route\")",
                r#"{http.method: "GET", Password: "x"}"#,
            ),
            (
                "delete_key(attributes[\"m\"], \"none\")",
                r#"{http.method: "GET", http.route: "/", Password: "x"}"#,
            ),
            (
                "delete_keys(attributes[\"m\"], [\"http.route\", \"Password\"])",
                r#"{http.method: "GET"}"#,
            ),
            (
                "keep_keys(attributes[\"m\"], [\"http.route\", \"none\"])",
                r#"{http.route: "/"}"#,
            ),
            ("keep_keys(attributes[\"m\"], [])", "{}"),
            (
                "delete_matching_keys(attributes[\"m\"], \"(?i).*password.*\")",
                r#"{http.method: "GET", http.route: "/"}"#,
            ),
            (
                "keep_matching_keys(attributes[\"m\"], \"^http\")",
                r#"{http.method: "GET", http.route: "/"}"#,
            ),
            (
                "limit(attributes[\"m\"], 2, [\"Password\"])",
                r#"{http.method: "GET", Password: "x"}"#,
            ),
            ("limit(attributes[\"m\"], 0, [])", "{}"),
            (
                "limit(attributes[\"m\"], 9, [])",
                r#"{http.method: "GET", http.route: "/", Password: "x"}"#,
            ),
        ],
    );
    assert_eq!(
        all_attributes(&["keep_keys(attributes, [\"count\"])"]),
        "{count: 3}"
    );
}

#[test]
fn text_is_truncated_between_letters() {
    check(
        r#"{"a": "hello", "b": "größe", "c": 1}"#,
        &[
            (
                "truncate_all(attributes[\"m\"], 3)",
                r#"{a: "hel", b: "gr", c: 1}"#,
            ),
            (
                "truncate_all(attributes[\"m\"], 4, true, \"…\")",
                r#"{a: "h…", b: "g…", c: 1}"#,
            ),
            (
                "truncate_all(attributes[\"m\"], 4, truncation_marker = \"~\")",
                r#"{a: "hel~", b: "gr~", c: 1}"#,
            ),
            (
                "truncate_all(attributes[\"m\"], 100)",
                r#"{a: "hello", b: "größe", c: 1}"#,
            ),
            ("truncate_all(attributes[\"m\"], 0)", r#"{a: "", b: "", c: 1}"#),
        ],
    );
}

#[test]
fn maps_are_merged() {
    check(
        r#"{"a": 1, "b": 2}"#,
        &[
            (
                "merge_maps(attributes[\"m\"], {\"b\": 3, \"c\": 4}, \"insert\")",
                "{a: 1, b: 2, c: 4}",
            ),
            (
                "merge_maps(attributes[\"m\"], {\"b\": 3, \"c\": 4}, \"update\")",
                "{a: 1, b: 3}",
            ),
            (
                "merge_maps(attributes[\"m\"], {\"b\": 3, \"c\": 4}, \"upsert\")",
                "{a: 1, b: 3, c: 4}",
            ),
        ],
    );
    let batch = changed(
        &log_batch(),
        Context::Log,
        &["merge_maps(attributes, ParseJSON(\"{\\\"level\\\":\\\"warn\\\"}\"), \"upsert\")"],
    );
    assert_eq!(log_attribute(&batch, "level").as_deref(), Some("\"warn\""));
}

#[test]
fn maps_are_flattened() {
    let address = r#"{"name": "test", "address": {"street": "first", "house": 1234}, "occupants": ["user 1", "user 2"]}"#;
    check(
        address,
        &[
            (
                "flatten(attributes[\"m\"])",
                r#"{name: "test", address.street: "first", address.house: 1234, occupants.0: "user 1", occupants.1: "user 2"}"#,
            ),
            (
                "flatten(attributes[\"m\"], \"app\")",
                r#"{app.name: "test", app.address.street: "first", app.address.house: 1234, app.occupants.0: "user 1", app.occupants.1: "user 2"}"#,
            ),
        ],
    );
    check(
        r#"{"0": {"1": {"2": {"3": {"4": "value"}}}}}"#,
        &[(
            "flatten(attributes[\"m\"], depth=2)",
            r#"{0.1.2: {3: {4: "value"}}}"#,
        )],
    );
    check(
        r#"{"address": {"street": {"number": "first"}, "house": "1234"}, "address.street": {"number": ["second", "third"]}, "address.street.number": "fourth", "occupants": ["user 1", "user 2"]}"#,
        &[(
            "flatten(attributes[\"m\"], resolveConflicts=true)",
            r#"{address.street.number: "first", address.house: "1234", address.street.number.0: "second", address.street.number.1: "third", address.street.number.2: "fourth", occupants: "user 1", occupants.0: "user 2"}"#,
        )],
    );
}

#[test]
fn lists_grow_and_shrink() {
    check(
        r#"["a", "b", "c"]"#,
        &[
            ("append(attributes[\"m\"], \"d\")", r#"["a", "b", "c", "d"]"#),
            (
                "append(attributes[\"m\"], values = [\"d\", 1])",
                r#"["a", "b", "c", "d", 1]"#,
            ),
            ("delete_index(attributes[\"m\"], 0)", r#"["b", "c"]"#),
            (
                "delete_index(attributes[\"m\"], Len(attributes[\"m\"]) - 1)",
                r#"["a", "b"]"#,
            ),
            ("delete_index(attributes[\"m\"], 0, 2)", r#"["c"]"#),
            ("delete_index(attributes[\"m\"], 1, 1)", r#"["a", "b", "c"]"#),
        ],
    );
    check(
        "\"scalar\"",
        &[("append(attributes[\"m\"], \"x\")", r#"["scalar", "x"]"#)],
    );
    let batch = changed(
        &log_batch(),
        Context::Log,
        &["append(attributes[\"new\"], attributes[\"tags\"])"],
    );
    assert_eq!(log_attribute(&batch, "new").as_deref(), Some(r#"["a", "b"]"#));
}

#[test]
fn text_is_replaced() {
    check(
        "\"run password=secret now\"",
        &[
            (
                r#"replace_pattern(attributes["m"], "password\\=[^\\s]*(\\s?)", "password=*** ")"#,
                r#""run password=*** now""#,
            ),
            (
                r#"replace_pattern(attributes["m"], "(\\w+)=(\\w+)", "$2=$1")"#,
                r#""run secret=password now""#,
            ),
            (
                r#"replace_pattern(attributes["m"], "^(run)", "$$1 ${1}")"#,
                r#""$1 run password=secret now""#,
            ),
            (
                r#"replace_pattern(attributes["m"], "none", "x")"#,
                r#""run password=secret now""#,
            ),
            (r#"replace_match(attributes["m"], "run*", "gone")"#, r#""gone""#),
            (
                r#"replace_match(attributes["m"], "walk*", "gone")"#,
                r#""run password=secret now""#,
            ),
        ],
    );
    check(
        "\"/user/12/list/3\"",
        &[
            (
                r#"replace_match(attributes["m"], "/user/*/list/*", "/user/{userId}/list/{listId}")"#,
                r#""/user/{userId}/list/{listId}""#,
            ),
            (
                r#"replace_match(attributes["m"], "/user/*/list/[0-9]", "name", MD5, "/user/%s")"#,
                r#""/user/b068931cc450442b63f5b3d276ea4297""#,
            ),
        ],
    );
    check(
        "\"kube_pod_name\"",
        &[
            (
                r#"replace_pattern(attributes["m"], "^kube_([0-9A-Za-z]+_)", "k8s.$1.")"#,
                r#""k8s.pod_.name""#,
            ),
            (
                r#"replace_pattern(attributes["m"], "^kube_([0-9A-Za-z]+)", "$1", ToUpperCase, "k8s.%s")"#,
                r#""k8s.POD_name""#,
            ),
        ],
    );
    check(
        r#"{"kube_a": "/account/1234", "b": "/account/1", "c": 1}"#,
        &[
            (
                r#"replace_all_patterns(attributes["m"], "value", "/account/\\d{4}", "/account/{accountId}")"#,
                r#"{kube_a: "/account/{accountId}", b: "/account/1", c: 1}"#,
            ),
            (
                r#"replace_all_patterns(attributes["m"], "key", "^kube_([0-9A-Za-z]+)", "k8s.$1")"#,
                r#"{k8s.a: "/account/1234", b: "/account/1", c: 1}"#,
            ),
            (
                r#"replace_all_matches(attributes["m"], "/account/?", "one")"#,
                r#"{kube_a: "/account/1234", b: "one", c: 1}"#,
            ),
        ],
    );
}

#[test]
fn everything_becomes_text() {
    check(
        r#"{"a": 1, "b": 1.5, "c": true, "d": [1], "e": {"x": "y"}, "f": nil, "g": "s"}"#,
        &[(
            "stringify_all(attributes[\"m\"])",
            r#"{a: "1", b: "1.5", c: "true", d: "[1]", e: "{\"x\":\"y\"}", f: "", g: "s"}"#,
        )],
    );
}

#[test]
fn the_cache_lasts_for_one_item() {
    let batch = changed(
        &log_batch(),
        Context::Log,
        &[
            "set(cache[\"x\"], body)",
            "merge_maps(cache, {\"y\": 1}, \"upsert\")",
            "set(attributes[\"from cache\"], cache)",
            "set(attributes[\"one\"], log.cache[\"x\"])",
        ],
    );
    assert_eq!(
        log_attribute(&batch, "from cache").as_deref(),
        Some(r#"{x: "hello world", y: 1}"#)
    );
    assert_eq!(log_attribute(&batch, "one").as_deref(), Some("\"hello world\""));
}

#[test]
fn statements_that_change_nothing_keep_the_bytes() {
    let batch = log_batch();
    let same = changed(
        &batch,
        Context::Log,
        &[
            "set(attributes[\"a\"], \"b\") where body == \"other\"",
            "delete_key(attributes, \"none\")",
            "truncate_all(attributes, 1000)",
            "replace_pattern(body, \"none\", \"x\")",
            "delete_key(attributes[\"nested\"], \"none\")",
            "keep_matching_keys(attributes, \".*\")",
        ],
    );
    assert_eq!(same.payload().as_ptr(), batch.payload().as_ptr());
}
