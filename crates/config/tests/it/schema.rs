//! Schemas come from the types alone, say what the types take, and know where secrets are.

#![expect(dead_code, reason = "of most types only the shape counts")]

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;

use cupola_config::units::{ByteSize, MemoryLimit, TimeSpan};
use cupola_config::{ComponentId, Endpoint, Node, Problems, Secret, read, schema, secret_paths};
use serde::Deserialize;
use serde_json::{Value, json};

const REFERENCE: &str = r"\$\{.+\}";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Exporter {
    #[serde(alias = "address")]
    endpoint: Option<Endpoint>,
    timeout: TimeSpanOrDefault,
    headers: HashMap<String, Secret>,
    tls: Option<Tls>,
    retry: Retry,
    pipelines: BTreeMap<ComponentId, Vec<ComponentId>>,
    size: Option<ByteSize>,
    memory: Option<MemoryLimit>,
    loose: Option<Loose>,
    auth: Auth,
    parsed: Option<Even>,
    ports: Vec<NonZeroU16>,
    pair: (u8, String),
    tree: Option<Box<Tree>>,
    ratio: f64,
    stubborn: Option<Stubborn>,
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct TimeSpanOrDefault(TimeSpan);

impl Default for TimeSpanOrDefault {
    fn default() -> Self {
        Self("5s".parse().unwrap())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tls {
    ca_file: String,
    key_pem: Secret,
    insecure: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    keep: TimeSpan,
    mode: Mode,
    #[serde(default)]
    note: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Retry {
    rules: Vec<Rule>,
    attempts: Option<i32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[serde(alias = "quick")]
    Fast,
    Slow,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auth {
    #[default]
    None,
    Basic {
        user: String,
        password: Secret,
    },
    Token(Secret),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Rule(Rule),
}

/// Takes few texts only.
#[derive(Debug, Deserialize)]
#[serde(try_from = "u32")]
struct Even;

impl TryFrom<u32> for Even {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        number
            .is_multiple_of(10)
            .then_some(Even)
            .ok_or_else(|| "is not round".to_owned())
    }
}

/// Takes no sample at all.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Stubborn;

impl TryFrom<String> for Stubborn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        (text == "open sesame")
            .then_some(Stubborn)
            .ok_or_else(|| "no".to_owned())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tree {
    name: String,
    children: Vec<Tree>,
    left: Option<Box<Tree>>,
}

#[test]
fn every_kind_of_field_has_its_schema() {
    let schema = schema::<Exporter>();
    let property = |name: &str| schema["properties"][name].clone();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["type"], json!(["object", "null", "string"]));
    let text = json!({"type": ["string", "number", "boolean"]});
    let whole =
        |max: u64| json!({"type": ["integer", "string"], "minimum": 0, "maximum": max, "pattern": REFERENCE});
    assert_eq!(
        property("ratio"),
        json!({"type": ["number", "string"], "pattern": REFERENCE})
    );
    assert_eq!(property("timeout")["description"], "a duration");
    assert_eq!(property("timeout")["examples"][1], "10s");
    assert_eq!(property("endpoint")["type"], json!(["string", "number", "null"]));
    assert_eq!(property("endpoint")["maximum"], 65_535);
    assert_eq!(property("address"), property("endpoint"));
    let header = &property("headers")["additionalProperties"];
    assert_eq!(
        (&header["writeOnly"], &header["type"]),
        (&json!(true), &text["type"])
    );
    assert_eq!(property("tls")["properties"]["ca_file"], text);
    assert_eq!(
        property("tls")["properties"]["insecure"],
        json!({"type": ["boolean", "string"], "pattern": REFERENCE})
    );
    assert_eq!(
        property("pipelines")["additionalProperties"]["items"]["description"],
        "the name of a component"
    );
    let rule = &property("retry")["properties"]["rules"]["items"];
    assert_eq!(rule["required"], json!(["keep", "mode"]));
    assert_eq!(
        rule["properties"]["mode"]["anyOf"][0],
        json!({"enum": ["fast", "quick", "slow"]})
    );
    let attempts = &property("retry")["properties"]["attempts"];
    assert_eq!(
        (&attempts["minimum"], &attempts["type"]),
        (&json!(i32::MIN), &json!(["integer", "string", "null"]))
    );
    assert_eq!(property("loose"), json!({}));
    assert_eq!(property("auth")["anyOf"][0], json!({"enum": ["none"]}));
    assert_eq!(
        property("auth")["anyOf"][1]["properties"]["basic"]["required"],
        json!(["password", "user"])
    );
    assert_eq!(
        property("auth")["anyOf"][2]["properties"]["token"]["writeOnly"],
        true
    );
    assert_eq!(property("parsed")["maximum"], u32::MAX);
    assert_eq!(property("ports")["items"]["description"], "a nonzero u16");
    assert_eq!(property("pair")["prefixItems"], json!([whole(255), text]));
    assert_eq!(
        property("tree")["properties"]["children"]["items"],
        json!({"type": ["object", "null", "string"]})
    );
    assert_eq!(
        property("stubborn"),
        json!({"type": ["string", "number", "boolean", "null"]})
    );
    assert_eq!(schema.get("required"), None);
}

#[test]
fn the_paths_of_secrets_are_known() {
    let paths = secret_paths::<Exporter>();
    let joined: Vec<String> = paths.iter().map(|path| path.join(".")).collect();
    assert_eq!(
        joined,
        ["headers.*", "tls.key_pem", "auth.basic.password", "auth.token"]
    );
}

#[test]
fn single_types_have_schemas_too() {
    assert_eq!(
        schema::<Vec<Mode>>()["items"]["anyOf"][0],
        json!({"enum": ["fast", "quick", "slow"]})
    );
    assert_eq!(schema::<bool>()["type"], json!(["boolean", "string"]));
    assert_eq!(schema::<Value>(), json!({}));
    assert_eq!(schema::<std::net::IpAddr>()["description"], "IP address");
    assert_eq!(secret_paths::<Secret>(), [Vec::<String>::new()]);
}

/// Whether `value` meets `schema`, as far as the keywords used here go.
fn meets(schema: &Value, value: &Value) -> bool {
    let Value::Object(keywords) = schema else {
        return schema == &Value::Bool(true);
    };
    keywords
        .iter()
        .all(|(keyword, rule)| match (keyword.as_str(), value) {
            ("type", _) => rule
                .as_array()
                .map_or(std::slice::from_ref(rule), Vec::as_slice)
                .iter()
                .any(|kind| is_of_type(kind.as_str().unwrap(), value)),
            ("enum", _) => rule.as_array().unwrap().contains(value),
            ("anyOf", _) => rule.as_array().unwrap().iter().any(|schema| meets(schema, value)),
            ("pattern", Value::String(text)) => {
                regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)
            }
            ("minimum", Value::Number(number)) => number.as_f64() >= rule.as_f64(),
            ("maximum", Value::Number(number)) => number.as_f64() <= rule.as_f64(),
            ("required", Value::Object(entries)) => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|key| entries.contains_key(key.as_str().unwrap())),
            ("properties", Value::Object(entries)) => entries
                .iter()
                .all(|(key, value)| rule.get(key).is_none_or(|schema| meets(schema, value))),
            ("additionalProperties", Value::Object(entries)) => entries
                .iter()
                .all(|(key, value)| schema["properties"].get(key).is_some() || meets(rule, value)),
            ("items", Value::Array(items)) => {
                let first = schema["prefixItems"].as_array().map_or(0, Vec::len);
                items.iter().skip(first).all(|item| meets(rule, item))
            }
            ("prefixItems", Value::Array(items)) => rule
                .as_array()
                .unwrap()
                .iter()
                .zip(items)
                .all(|(schema, item)| meets(schema, item)),
            ("minItems", Value::Array(items)) => items.len() as u64 >= rule.as_u64().unwrap(),
            ("description" | "examples" | "writeOnly", _) => true,
            (
                "pattern"
                | "minimum"
                | "maximum"
                | "required"
                | "properties"
                | "additionalProperties"
                | "items",
                _,
            ) => true,
            ("prefixItems" | "minItems", _) => true,
            _ => panic!("the keyword {keyword} is not checked"),
        })
}

fn is_of_type(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("there is no type {kind}"),
    }
}

/// Reads `text` as the type and checks it against the schema: whether each takes it.
fn taken(text: &str) -> (bool, bool) {
    let mut problems = Problems::new();
    let node = Node::parse("f", text).unwrap();
    let document: Value = read(&node, &mut problems).unwrap();
    read::<Exporter>(&node, &mut problems);
    (problems.errors() == 0, meets(&schema::<Exporter>(), &document))
}

#[test]
fn documents_meet_the_schema_if_and_only_if_they_are_read() {
    for text in [
        "",
        "{endpoint: 4317, timeout: 1h15m30.918s, ratio: 0.5, ports: [1, 2], pair: [1, x]}",
        "{address: '[::1]:4317', timeout: 0, size: 10MiB, memory: 25%, parsed: 20}",
        "{headers: {a: b, c: 1}, tls: , retry: {rules: [{keep: 1d, mode: fast}]}}",
        "{auth: none, pipelines: {traces/slow: [otlp, otlp/2]}, loose: 3, stubborn: open sesame}",
        "{auth: {basic: {user: a, password: b}}, tree: {children: [{name: a}]}, loose: {keep: 1s, mode: slow}}",
        "{auth: {token: x}, size: 1e6, memory: 1.5 GiB, timeout: +1.5h}",
    ] {
        assert_eq!(taken(text), (true, true), "{text}");
    }
    for text in [
        "{endpont: 4317}",
        "{timeout: 10}",
        "{timeout: soon}",
        "{timeout: -1s}",
        "{ratio: [1]}",
        "{pair: [1]}",
        "{pair: [1, x, 2]}",
        "{pair: [256, x]}",
        "{endpoint: 70000}",
        "{retry: {rules: [{mode: fast}]}}",
        "{retry: {rules: [{keep: 1d, mode: faster}]}}",
        "{retry: {attempts: many}}",
        "{tls: {ca_file: [a]}}",
        "{auth: {basic: {user: a}}}",
        "{auth: basic}",
        "{headers: [a]}",
        "{pipelines: {traces: ['1 2']}}",
        "{size: much}",
    ] {
        assert_eq!(taken(text), (false, false), "{text}");
    }
}

#[test]
fn references_may_stand_for_every_value() {
    let schema = schema::<Exporter>();
    let names = schema["properties"].as_object().unwrap().keys();
    for name in names.filter(|name| *name != "address") {
        assert!(meets(&schema, &json!({name: "${env:NAME:-x}"})), "{name}");
    }
}

#[test]
fn leaves_are_read_by_other_deserializers_too() {
    let read: (TimeSpan, ByteSize, MemoryLimit, Endpoint, Secret, ComponentId) =
        serde_json::from_str(r#"["10s", 5, "25%", "4317", "x", "otlp/2"]"#).unwrap();
    assert_eq!(read.4.expose(), "x");
    assert_eq!(
        serde_json::from_value::<ByteSize>(json!("5MiB")).unwrap(),
        ByteSize(5 << 20)
    );
    let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer("1h");
    assert_eq!(TimeSpan::deserialize(text).unwrap().to_string(), "1h");

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Either {
        Span(TimeSpan),
        Secret(Secret),
    }
    let mut problems = Problems::new();
    let read: Vec<Either> = read_node("[1h, x]", &mut problems);
    assert_eq!(
        read,
        [
            Either::Span("1h".parse().unwrap()),
            Either::Secret(Secret::new("x"))
        ]
    );
}

fn read_node<T: serde::de::DeserializeOwned>(text: &str, problems: &mut Problems) -> T {
    read(&Node::parse("f", text).unwrap(), problems).unwrap()
}
