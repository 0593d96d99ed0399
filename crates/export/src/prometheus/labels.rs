//! Sets of labels: built from attributes, sorted, each name once.

use cupola_telemetry::json;
use cupola_telemetry::view::{AnyValue, Attributes};

use super::name::label_name;

/// Longest set of labels of an exemplar, names and values together, in characters.
pub(super) const EXEMPLAR_CHARACTERS_MAX: usize = 128;

/// Names and values, sorted by name, no name twice, no value empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let index = self
            .0
            .binary_search_by(|(known, _)| known.as_str().cmp(name))
            .ok()?;
        self.0.get(index).map(|(_, value)| value.as_str())
    }

    /// Sets a label, whatever it was. An empty value is none.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(index) if value.is_empty() => drop(self.0.remove(index)),
            Ok(index) => self.0[index].1 = value,
            Err(_) if value.is_empty() => {}
            Err(index) => self.0.insert(index, (name.to_owned(), value)),
        }
    }

    /// Sets a label that is not there.
    pub fn set_missing(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// Adds attributes under the names that Prometheus allows. Values of keys that get the same name are joined by
    /// semicolons in the order of the keys; labels that are there already stay.
    pub(super) fn add_attributes(&mut self, prefix: &str, attributes: Attributes<'_>) {
        let numbered = attributes.enumerate();
        let mut named: Vec<(String, &str, usize, String)> = numbered
            .map(|(place, attribute)| {
                let name = label_name(&format!("{prefix}{}", attribute.key));
                (name, attribute.key, place, text(attribute.value))
            })
            .collect();
        named.sort();
        // Of a key given twice, the first counts.
        named.dedup_by(|(_, key, ..), (_, first, ..)| key == first);
        let mut joined: Vec<(String, String)> = Vec::new();
        for (name, _, _, value) in named {
            match joined.last_mut() {
                Some((last, values)) if *last == name => {
                    values.push(';');
                    values.push_str(&value);
                }
                _ => joined.push((name, value)),
            }
        }
        for (name, value) in joined {
            self.set_missing(&name, &value);
        }
    }

    /// Characters of names and values.
    pub(super) fn characters(&self) -> usize {
        self.iter()
            .map(|(name, value)| name.chars().count() + value.chars().count())
            .sum()
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        let mut labels = Labels::default();
        for (name, value) in pairs {
            labels.set(&name, value);
        }
        labels
    }
}

/// An attribute value as the text of a label.
pub(super) fn text(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::String(text) => text.to_owned(),
        AnyValue::Empty => String::new(),
        AnyValue::Bytes(_) | AnyValue::Double(_) => json::plain(value).trim_matches('"').to_owned(),
        other => json::plain(other),
    }
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::TenantId;
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    #[test]
    fn keys_of_one_name_are_joined_in_their_order() {
        let mut logs = LogsEncoder::new();
        logs.resource_logs()
            .resource()
            .attribute("b_c", "second")
            .attribute("b.c", "first")
            .attribute("b.c", "never seen")
            .attribute("n", 5_i64)
            .attribute("d", 0.5)
            .attribute("empty", "");
        let batch = logs.finish(TenantId::default_tenant());
        let resource = batch.logs().resources().next().unwrap().resource();
        let mut labels = Labels::default();
        labels.add_attributes("", resource.attributes);
        let found: Vec<_> = labels.iter().collect();
        assert_eq!(found, [("b_c", "first;second"), ("d", "0.5"), ("n", "5")]);
    }
}
