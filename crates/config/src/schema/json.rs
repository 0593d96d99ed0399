//! What is known of a type, as JSON Schema. A reference such as `${env:PORT}` may stand for any value, since files are
//! checked as they are written.

use serde_json::{Map, Value, json};

use super::Walk;
use super::shape::{Kind, OPEN, Shape, Step, TypePath};
use crate::leaf::Leaf;
use crate::show::SecretPath;

/// What contains a reference.
const REFERENCE: &str = r"\$\{.+\}";

pub(super) fn value(walk: &Walk) -> Value {
    at(walk, &Vec::new())
}

fn at(walk: &Walk, path: &TypePath) -> Value {
    let path = walk.aliases.get(path).unwrap_or(path);
    let Some(shape) = walk.shapes.get(path) else {
        return Value::Bool(true);
    };
    let mut schema = of(walk, path, shape);
    if walk.nullable.contains(path) {
        allow_null(&mut schema);
    }
    schema
}

fn below(path: &TypePath, step: Step) -> TypePath {
    [path.as_slice(), &[step]].concat()
}

fn of(walk: &Walk, path: &TypePath, shape: &Shape) -> Value {
    let mut schema = match &shape.kind {
        Kind::Open => open(walk, path),
        Kind::Leaf(leaf) => return of_leaf(leaf),
        Kind::Bool => json!({"type": ["boolean", "string"], "pattern": REFERENCE}),
        Kind::Integer { min, max } => {
            let mut schema = json!({"type": ["integer", "string"], "pattern": REFERENCE});
            // The bounds of 64 bits say nothing, and not every reader holds them exactly.
            if *min > i128::from(i64::MIN) {
                schema["minimum"] = json!(*min as i64);
            }
            if *max < i128::from(i64::MAX) {
                schema["maximum"] = json!(*max as i64);
            }
            schema
        }
        Kind::Number => json!({"type": ["number", "string"], "pattern": REFERENCE}),
        // What looks like a number or a flag is read as it was written.
        Kind::String => json!({"type": ["string", "number", "boolean"]}),
        Kind::Nothing => json!({"type": "null"}),
        Kind::Cut => json!({"type": ["object", "null", "string"]}),
        Kind::Struct(fields) => of_struct(walk, path, fields),
        Kind::Map => {
            let values = at(walk, &below(path, Step::Value));
            json!({"type": ["object", "null", "string"], "additionalProperties": values, "pattern": REFERENCE})
        }
        // A text is a list separated by commas.
        Kind::Sequence => {
            json!({"type": ["array", "null", "string"], "items": at(walk, &below(path, Step::Item))})
        }
        Kind::Tuple(length) => {
            let items: Vec<Value> = (0..*length)
                .map(|index| at(walk, &below(path, Step::Index(index))))
                .collect();
            json!({"type": ["array", "string"], "prefixItems": items, "items": false, "minItems": length, "pattern": REFERENCE})
        }
        Kind::Enum(words) => of_enum(walk, path, words),
    };
    if says_something(&shape.expected)
        && let Value::Object(schema) = &mut schema
    {
        schema.insert("description".to_owned(), json!(shape.expected));
    }
    schema
}

/// Whether what a type says of itself is more than what serde says of every such type.
fn says_something(expected: &str) -> bool {
    const COMMON: &[&str] = &[
        "a string",
        "a character",
        "a boolean",
        "any value",
        "a sequence",
        "a map",
        "unit",
        "string",
        "path string",
        "bool",
        "f32",
        "f64",
        "a borrowed string",
        "byte array",
        "anything at all",
        "any valid JSON value",
    ];
    let integer = expected.starts_with(['u', 'i']) && expected[1..].parse::<u8>().is_ok();
    let named = [
        "struct ", "enum ", "tuple ", "variant ", "newtype ", "unit ", "a tuple", "an array", "usize",
        "isize",
    ];
    let named = named.iter().any(|start| expected.starts_with(start));
    !(COMMON.contains(&expected) || integer || named)
}

fn of_leaf(leaf: &Leaf) -> Value {
    let mut schema = json!({"type": ["string"], "description": leaf.what, "examples": leaf.examples});
    if leaf.secret {
        schema["type"] = json!(["string", "number", "boolean"]);
        schema["writeOnly"] = json!(true);
    }
    if !leaf.pattern.is_empty() {
        schema["pattern"] = json!(format!("({})|({REFERENCE})", leaf.pattern));
    }
    if let Some((min, max)) = leaf.numbers {
        schema["type"] = json!(["string", "number"]);
        schema["minimum"] = json!(min);
        if max < u64::MAX {
            schema["maximum"] = json!(max);
        }
    }
    schema
}

fn of_struct(walk: &Walk, path: &TypePath, fields: &[&'static str]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        properties.insert((*field).to_owned(), at(walk, &below(path, Step::Field(field))));
    }
    let mut schema = json!({
        "type": ["object", "null", "string"],
        "properties": properties,
        "additionalProperties": false,
        "pattern": REFERENCE,
    });
    // A field under another name is not missing.
    let aliased = |field| {
        let to = below(path, Step::Field(field));
        walk.aliases.values().any(|aliased| *aliased == to)
    };
    let required = walk.required.get(path).into_iter().flatten().copied();
    let required: Vec<&str> = required.filter(|field| !aliased(field)).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
        schema["type"] = json!(["object", "string"]);
    }
    schema
}

fn of_enum(walk: &Walk, path: &TypePath, words: &[&'static str]) -> Value {
    let has_content = |word: &&&'static str| walk.shapes.contains_key(&below(path, Step::Variant(word)));
    let plain: Vec<&str> = words.iter().filter(|word| !has_content(word)).copied().collect();
    let mut any_of = Vec::new();
    if !plain.is_empty() {
        any_of.push(json!({"enum": plain}));
    }
    for word in words.iter().filter(has_content) {
        let content = at(walk, &below(path, Step::Variant(word)));
        any_of.push(json!({
            "type": "object",
            "properties": {*word: content},
            "required": [word],
            "additionalProperties": false,
        }));
    }
    any_of.push(json!({"type": "string", "pattern": REFERENCE}));
    json!({"anyOf": any_of})
}

/// The kinds that were not refused for being such.
fn open(walk: &Walk, path: &TypePath) -> Value {
    let mut types: Vec<&str> = Vec::new();
    for (choice, sample) in OPEN.iter().enumerate() {
        let kind = sample.json_type();
        if !types.contains(&kind) && !walk.refused.contains(&(path.clone(), choice)) {
            types.push(kind);
        }
    }
    if types.len() == 7 || types.is_empty() {
        return json!({});
    }
    if !types.contains(&"string") {
        return json!({"anyOf": [{"type": types}, {"type": "string", "pattern": REFERENCE}]});
    }
    json!({"type": types})
}

fn allow_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        if !types.iter().any(|known| known == "null") {
            types.push(json!("null"));
        }
    } else if let Some(any_of) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        any_of.push(json!({"type": "null"}));
    }
}

pub(super) fn secrets(walk: &Walk) -> Vec<SecretPath> {
    let mut found = Vec::new();
    collect(walk, &Vec::new(), &mut Vec::new(), &mut found);
    found
}

fn collect(walk: &Walk, path: &TypePath, shown: &mut SecretPath, found: &mut Vec<SecretPath>) {
    let path = walk.aliases.get(path).unwrap_or(path);
    let Some(shape) = walk.shapes.get(path) else {
        return;
    };
    let mut go = |step: Step, name: &str| {
        shown.push(name.to_owned());
        collect(walk, &below(path, step), shown, found);
        shown.pop();
    };
    match &shape.kind {
        Kind::Leaf(leaf) if leaf.secret => found.push(shown.clone()),
        Kind::Struct(fields) => fields.iter().for_each(|field| go(Step::Field(field), field)),
        Kind::Enum(words) => words.iter().for_each(|word| go(Step::Variant(word), word)),
        Kind::Map => go(Step::Value, "*"),
        Kind::Sequence => go(Step::Item, "*"),
        Kind::Tuple(length) => (0..*length).for_each(|index| go(Step::Index(index), "*")),
        _ => {}
    }
}
