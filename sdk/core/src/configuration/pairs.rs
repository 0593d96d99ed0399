//! Lists of names and values in one text, as variables and the declarative file have them: headers,
//! entities. Refuses to show values.

use cupola_config::Secret;

use crate::baggage;
use crate::resource::{OwnedValue, parse_list};

/// Headers: `name=value,name=value`, values percent-encoded. What is none is left out; messages tell which it was.
///
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables>
pub(super) fn headers(text: &str) -> (Vec<(String, Secret)>, Vec<String>) {
    let (mut headers, mut problems): (Vec<(String, Secret)>, _) = (Vec::new(), Vec::new());
    for (index, entry) in text.split(',').enumerate() {
        let entry = entry.trim();
        if entry.is_empty() {
            continue;
        }
        let number = index + 1;
        let Some((name, value)) = entry.split_once('=') else {
            problems.push(format!("entry {number} has no `=`"));
            continue;
        };
        let name = name.trim().to_ascii_lowercase();
        let value = baggage::decode(value.trim());
        if !is_header_name(&name) {
            problems.push(format!("entry {number} has no name that a header can have"));
        } else if value.chars().any(char::is_control) {
            problems.push(format!("entry {number} has a value that a header cannot have"));
        } else {
            // The last of one name counts.
            headers.retain(|(known, _)| *known != name);
            headers.push((name, Secret::new(value)));
        }
    }
    (headers, problems)
}

pub(super) fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// The attributes of entities: `type{id=value,…}[description=value,…]@schema;…`, what is in brackets or behind `@` optional.
///
/// <https://opentelemetry.io/docs/specs/otel/entities/entity-propagation/>
pub(super) fn entities(text: &str) -> Result<Vec<(String, OwnedValue)>, String> {
    let mut all = Vec::new();
    let entities = text.split(';').map(str::trim).enumerate();
    for (index, entity) in entities.filter(|(_, entity)| !entity.is_empty()) {
        let number = index + 1;
        let wrong = |what: &str| format!("entity {number} {what}");
        let (kind, rest) = entity.split_once('{').ok_or_else(|| wrong("has no `{`"))?;
        let (identity, rest) = rest.split_once('}').ok_or_else(|| wrong("has no `}`"))?;
        if kind.trim().is_empty() {
            return Err(wrong("has no type in front of its `{`"));
        }
        let of =
            |list: &str| parse_list(list).map_err(|error| wrong(&format!("is not written right: {error}")));
        let identity = of(identity)?;
        if identity.is_empty() {
            return Err(wrong("has nothing that identifies it within `{}`"));
        }
        all.extend(identity);
        if let Some(described) = rest.trim_start().strip_prefix('[') {
            let (description, _) = described.split_once(']').ok_or_else(|| wrong("has no `]`"))?;
            all.extend(of(description)?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mistakes_in_headers_are_told_without_values_and_cost_nothing_else() {
        let (read, problems) =
            headers("api-key=hunter2, x y=1,Authorization=Bearer%20abc,,lone,b=%0a,api-key=other");
        let read: Vec<(&str, &str)> = read
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        assert_eq!(read, [("authorization", "Bearer abc"), ("api-key", "other")]);
        assert_eq!(
            problems,
            [
                "entry 2 has no name that a header can have",
                "entry 5 has no `=`",
                "entry 6 has a value that a header cannot have"
            ]
        );
    }

    #[test]
    fn entities_are_taken_whole_or_not_at_all() {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, OwnedValue)> {
            list.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).into()))
                .collect()
        };
        assert_eq!(
            entities(
                "service{service.name=a,service.instance.id=1}[service.version=2]@https://x;host{host.id=h%2Ci}"
            ),
            Ok(pairs(&[
                ("service.name", "a"),
                ("service.instance.id", "1"),
                ("service.version", "2"),
                ("host.id", "h,i")
            ]))
        );
        for wrong in ["service", "service{a=1", "{a=1}", "service{}", "a{b=1}[c", "a{b}"] {
            assert!(entities(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(pairs in prop::collection::vec(("[a-z][a-z0-9.-]{0,12}", "[^\\p{C}]{0,20}"), 0..6)) {
            let mut text = String::new();
            for (name, value) in &pairs {
                text.push_str(name);
                text.push('=');
                let mut encoded = String::new();
                crate::baggage::encode(value.trim(), &mut encoded);
                text.push_str(&encoded.replace('=', "%3D"));
                text.push(',');
            }
            let expected: Vec<(String, String)> =
                pairs.iter().map(|(name, value)| (name.clone(), value.trim().to_owned())).collect();
            let (headers, problems) = headers(&text);
            prop_assert!(problems.is_empty(), "{:?}", problems);
            for (name, value) in headers {
                let last = expected.iter().rev().find(|(known, _)| *known == name);
                prop_assert_eq!(last.map(|(_, value)| value.as_str()), Some(value.expose()));
            }
        }

        #[test]
        fn nothing_panics(text in "[ -~é]{0,60}") {
            let _ = (headers(&text), entities(&text));
        }
    }
}
