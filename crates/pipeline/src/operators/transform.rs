//! Operators that change entries, send them elsewhere, or join several.

pub(super) mod recombine;
mod routes;

use serde::Deserialize;

use super::build::{Built, Making, edit, wrong};
use super::entry::Entry;
use super::field::{Field, RootField};
use super::parse::compiled;
use super::value::Value;

type Make = fn(&mut Making<'_>) -> Built;

pub(super) const KINDS: &[(&str, Make)] = &[
    ("add", add),
    ("copy", copy),
    ("move", moving),
    ("remove", remove),
    ("retain", retain),
    ("flatten", flatten),
    ("regex_replace", regex_replace),
    ("assign_keys", assign_keys),
    ("unquote", unquote),
    ("noop", noop),
    // Text is valid UTF-8 from the beginning.
    ("sanitize_utf8", sanitize),
    ("filter", routes::filter),
    ("router", routes::router),
    ("recombine", recombine::make),
];

fn missing(field: &Field) -> String {
    format!("the entry has no field `{field}`")
}

fn add(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        field: Field,
        value: serde_json::Value,
    }
    let Config { field, value } = making.read()?;
    if let Some(text) = value.as_str()
        && let Some(inner) = text.strip_prefix("EXPR(").and_then(|text| text.strip_suffix(')'))
    {
        let expression = making.expression("value", inner)?;
        return edit(move |entry, _| {
            let value = expression.value(entry)?;
            field.set(entry, value)
        });
    }
    let value = Value::from_json(value);
    edit(move |entry, _| field.set(entry, value.clone()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromTo {
    from: RootField,
    to: RootField,
}

fn copy(making: &mut Making<'_>) -> Built {
    from_to(making, |from, entry| from.copy(entry))
}

fn moving(making: &mut Making<'_>) -> Built {
    from_to(making, Field::remove)
}

fn from_to(making: &mut Making<'_>, take: fn(&Field, &mut Entry) -> Option<Value>) -> Built {
    let FromTo {
        from: RootField(from),
        to: RootField(to),
    } = making.read()?;
    edit(move |entry, _| {
        let value = take(&from, entry).ok_or_else(|| missing(&from))?;
        to.set(entry, value)
    })
}

fn remove(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        field: RootField,
    }
    let Config {
        field: RootField(field),
    } = making.read()?;
    edit(move |entry, _| field.remove(entry).map(drop).ok_or_else(|| missing(&field)))
}

fn retain(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        fields: Vec<RootField>,
    }
    let Config { fields } = making.read()?;
    if fields.is_empty() {
        return Err(wrong("fields", "is empty: name what is to be kept"));
    }
    let fields: Vec<Field> = fields.into_iter().map(|RootField(field)| field).collect();
    // Where no field of a part is named, all of the part is kept.
    let body = fields.iter().any(Field::is_body);
    let attributes = fields.iter().any(Field::is_attributes);
    let resource = fields
        .iter()
        .any(|field| !field.is_body() && !field.is_attributes());
    edit(move |entry, _| {
        let mut kept = Entry::default();
        for field in &fields {
            if let Some(value) = field.copy(entry) {
                field.set(&mut kept, value)?;
            }
        }
        if body {
            entry.body = kept.body;
        }
        if attributes {
            entry.attributes = kept.attributes;
        }
        if resource {
            entry.resource = kept.resource;
        }
        Ok(())
    })
}

fn flatten(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        field: RootField,
    }
    let Config {
        field: RootField(field),
    } = making.read()?;
    if field.is_root() {
        return Err(wrong(
            "field",
            "names no member: there is nothing to put its members beside",
        ));
    }
    edit(move |entry, _| {
        let kind = match field.get(entry) {
            None => return Err(missing(&field)),
            Some(Value::Map(_)) => None,
            Some(other) => Some(other.kind()),
        };
        if let Some(kind) = kind {
            return Err(format!("`{field}` is {kind}, not a map"));
        }
        let Some(Value::Map(members)) = field.remove(entry) else {
            return Err(missing(&field));
        };
        members
            .into_iter()
            .try_for_each(|(key, value)| field.parent().child(&key).set(entry, value))
    })
}

fn regex_replace(making: &mut Making<'_>) -> Built {
    /// What terminals take for colours and the like.
    const ANSI: &str = r"\x1b\[(?:\d{1,3}(?:;\d{1,3})*)?[A-Za-z]";
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        field: Field,
        #[serde(default)]
        regex: String,
        #[serde(default)]
        regex_name: String,
        #[serde(default)]
        replace_with: String,
    }
    let config: Config = making.read()?;
    let expression = match (config.regex.as_str(), config.regex_name.as_str()) {
        ("", "ansi_control_sequences") => ANSI,
        ("", "") => return Err(wrong("regex", "is missing, and so is `regex_name`")),
        (regex, "") => regex,
        ("", _) => return Err(wrong("regex_name", "can be `ansi_control_sequences`")),
        _ => return Err(wrong("regex_name", "cannot be set together with `regex`")),
    };
    let regex = compiled("regex", expression)?;
    edit(move |entry, _| {
        let Some(value) = config.field.get(entry) else {
            return Ok(());
        };
        let replaced = regex
            .replace_all(value.as_text()?, config.replace_with.as_str())
            .into_owned();
        config.field.set(entry, Value::Text(replaced))
    })
}

fn assign_keys(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        field: Field,
        keys: Vec<String>,
    }
    let Config { field, keys } = making.read()?;
    if keys.is_empty() {
        return Err(wrong("keys", "is empty: name each item of the list"));
    }
    edit(move |entry, _| {
        let items = match field.get(entry) {
            None => return Err(missing(&field)),
            Some(Value::List(items)) => items.clone(),
            Some(other) => return Err(format!("`{field}` is {}, not a list", other.kind())),
        };
        if items.len() != keys.len() {
            return Err(format!(
                "`{field}` has {} items for {} keys",
                items.len(),
                keys.len()
            ));
        }
        // In the place of the list, whose place a map would not take by itself.
        field.remove(entry);
        field.set(entry, Value::Map(keys.iter().cloned().zip(items).collect()))
    })
}

fn unquote(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        field: Field,
    }
    let Config { field } = making.read()?;
    edit(move |entry, _| {
        let text = field.get(entry).ok_or_else(|| missing(&field))?.as_text()?;
        let plain = unquoted(text).ok_or_else(|| format!("{text:?} is no quoted text"))?;
        field.set(entry, Value::Text(plain))
    })
}

/// Text in the quotes of Go: `"…"` with escapes, `'…'` with one character, or as it is between backticks.
fn unquoted(text: &str) -> Option<String> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(raw) = inner('`') {
        return (!raw.contains('`')).then(|| raw.replace('\r', ""));
    }
    if let Some(one) = inner('\'') {
        let mut letters = one.chars();
        return match (letters.next(), letters.next()) {
            (Some(letter), None) if letter != '\\' => Some(one.to_owned()),
            _ => None,
        };
    }
    let quoted = inner('"')?;
    // What JSON has of escapes is what programs write.
    (!quoted.contains('\n')).then(|| serde_json::from_str(text).ok())?
}

fn noop(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    making.read::<Nothing>()?;
    edit(|_, _| Ok(()))
}

fn sanitize(making: &mut Making<'_>) -> Built {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default, rename = "field")]
        _field: Option<Field>,
    }
    making.read::<Config>()?;
    edit(|_, _| Ok(()))
}
