//! `resource`: attributes with the types that YAML gives them, and what of the surroundings is found out. Variables go before them.

use std::collections::BTreeMap;

use cupola_config::{Node, Passed, Value};
use serde::Deserialize;

use crate::configuration::text::File;
use crate::resource::{Detector, OwnedValue};
use crate::settings::Settings;

/// `resource`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Resource {
    /// Read by hand, for the types of their values.
    attributes: BTreeMap<String, Passed>,
    schema_url: Option<String>,
    detectors: Option<Vec<DetectorName>>,
    /// Of what is found out, names that fit one of these patterns, and none of those below.
    included: Option<Vec<String>>,
    excluded: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DetectorName {
    Service,
    Process,
    Host,
    Os,
    Container,
    #[serde(alias = "kubernetes")]
    K8s,
    Cloud,
}

impl Resource {
    pub(super) fn apply(&self, file: &mut File<'_>, root: &Node, settings: &mut Settings) {
        let resource = &mut settings.resource;
        let attributes = root.at(&["resource", "attributes"]).map(Node::entries);
        for entry in attributes.unwrap_or_default() {
            match owned(&entry.value) {
                Some(value) => resource.environment.push((entry.key.to_string(), value)),
                None if entry.value.is_null() => {}
                None => file.error(
                    entry.value.place(),
                    &format!("resource.attributes.{}", entry.key),
                    format!(
                        "a single value or a list of such is expected, not {}",
                        entry.value.kind()
                    ),
                    None,
                ),
            }
        }
        if let Some(url) = &self.schema_url {
            resource.schema_url.clone_from(url);
        }
        if let Some(detectors) = &self.detectors {
            let detectors = detectors.iter().map(|name| match name {
                DetectorName::Service => Detector::Service,
                DetectorName::Process => Detector::Process,
                DetectorName::Host => Detector::Host,
                DetectorName::Os => Detector::Os,
                DetectorName::Container => Detector::Container,
                DetectorName::K8s => Detector::Kubernetes,
                DetectorName::Cloud => Detector::Cloud,
            });
            resource.detectors = detectors.collect();
        }
        for (list, into) in [
            (&self.included, &mut resource.included),
            (&self.excluded, &mut resource.excluded),
        ] {
            if let Some(list) = list {
                into.clone_from(list);
            }
        }
    }
}

/// A value as YAML has it.
fn owned(node: &Node) -> Option<OwnedValue> {
    Some(match node.value() {
        Value::String(text) => OwnedValue::String(text.to_string()),
        Value::Bool(value) => OwnedValue::Bool(*value),
        Value::Int(number) => OwnedValue::Int(i64::try_from(*number).ok()?),
        Value::Float(number) => OwnedValue::Double(*number),
        Value::Sequence(items) => {
            let leaf = |item: &Node| owned(item).filter(|value| !matches!(value, OwnedValue::Array(_)));
            OwnedValue::Array(items.iter().map(leaf).collect::<Option<Vec<OwnedValue>>>()?)
        }
        Value::Null | Value::Mapping(_) => return None,
    })
}
