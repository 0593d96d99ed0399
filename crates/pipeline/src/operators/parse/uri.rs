//! `uri_parser`: the parts of an absolute URI, of a path with a query, or of a query alone.

use std::collections::HashMap;

use url::Url;

use super::{map, parser};
use crate::operators::build::{Built, Making};
use crate::operators::value::Value;

pub(super) fn make(making: &mut Making<'_>) -> Built {
    parser(making, |value| parse(value.as_text()?))
}

pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parts = Vec::new();
    if let Some(query) = text.strip_prefix('?') {
        push_query(&mut parts, query);
        return Ok(map(parts));
    }
    let mut push = |key: &str, value: &str| {
        if !value.is_empty() {
            parts.push((key.to_owned(), Value::from(value)));
        }
    };
    if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err("no URI".to_owned());
    }
    let (before, query) = text.split_once('?').unwrap_or((text, ""));
    if before.starts_with('/') {
        push("path", before);
        push_query(&mut parts, query);
        return Ok(map(parts));
    }
    let url = Url::parse(text).map_err(|error| format!("no URI: {error}"))?;
    push("scheme", url.scheme());
    push("user", url.username());
    push(
        "host",
        url.host_str().unwrap_or_default().trim_matches(['[', ']']),
    );
    // As it is written: the usual port of a scheme is one, an empty path is no slash.
    let after = before.split_once("://").map_or("", |(_, after)| after);
    let authority = after.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    if port.bytes().all(|digit| digit.is_ascii_digit()) {
        push("port", port);
    }
    push("path", &after[authority.len()..]);
    push_query(&mut parts, query);
    Ok(map(parts))
}

/// Each parameter with the list of its values.
fn push_query(parts: &mut Vec<(String, Value)>, query: &str) {
    let mut parameters: Vec<(String, Value)> = Vec::new();
    let mut places = HashMap::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = Value::from(value.into_owned());
        let place = *places.entry(key.clone()).or_insert(parameters.len());
        match parameters.get_mut(place) {
            Some((_, Value::List(values))) => values.push(value),
            _ => parameters.push((key.into_owned(), Value::List(vec![value]))),
        }
    }
    if !parameters.is_empty() {
        parts.push(("query".to_owned(), map(parameters)));
    }
}
