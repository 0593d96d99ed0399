//! The resource of a declarative file.
//!
//! What `attributes` says counts more than `attributes_list`, and that more than what detectors find, as in the schema.

use cupola_config::{Node, Value};

use super::model::{AttributeType, Detection, ResourceModel};
use crate::configuration::environment::Environment;
use crate::configuration::text::File;
use crate::resource::{Detector, OwnedValue, ResourceSettings, parse_list};

/// The variable that the detector `service` looks at.
pub(super) const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

pub(super) fn apply(
    file: &mut File<'_>,
    node: &Node,
    model: &ResourceModel,
    environment: &Environment,
    resource: &mut ResourceSettings,
) {
    detect(file, node, model.detection.as_ref(), environment, resource);
    if let (Some(list), Some(at)) = (&model.attributes_list, node.get("attributes_list")) {
        match parse_list(list) {
            Ok(attributes) => resource.environment.extend(attributes),
            Err(error) => file.error(at.place(), "resource.attributes_list", error.to_string(), None),
        }
    }
    let nodes = node.get("attributes").map(Node::items).unwrap_or_default();
    for (index, (attribute, item)) in model.attributes.iter().flatten().zip(nodes).enumerate() {
        let Some(value) = item.get("value").filter(|value| !value.is_null()) else {
            continue;
        };
        match owned(value, attribute.kind.unwrap_or_default()) {
            Some(value) => resource.attributes.push((attribute.name.clone(), value)),
            None => file.error(
                value.place(),
                &format!("resource.attributes[{index}].value"),
                format!("{} is not what `type` says", value.kind()),
                Some("write a value of that type, or leave `type` out for a text"),
            ),
        }
    }
    resource.schema_url = model.schema_url.clone().unwrap_or_default();
}

/// Without the section nothing is found out.
fn detect(
    file: &mut File<'_>,
    node: &Node,
    model: Option<&Detection>,
    environment: &Environment,
    resource: &mut ResourceSettings,
) {
    resource.detectors.clear();
    let Some(model) = model else { return };
    let names = model
        .detectors
        .iter()
        .flatten()
        .flat_map(|detector| detector.keys());
    for name in names {
        let Some(detector) = Detector::from_name(name) else {
            let at = node
                .get("detection/development")
                .or(node.get("detection"))
                .unwrap_or(node);
            let known = Detector::ALL.map(Detector::name);
            let hint = cupola_config::read::keys_hint(name, &known);
            let key = "resource.detection/development.detectors";
            file.warn(
                at.place(),
                key,
                format!("there is no detector `{name}`"),
                Some(&hint),
            );
            continue;
        };
        resource.detectors.push(detector);
        match detector {
            // In the schema that of the host tells of the system too.
            Detector::Host => resource.detectors.push(Detector::Os),
            Detector::Service => {
                let name = environment.get(SERVICE_NAME);
                resource
                    .environment
                    .extend(name.map(|name| ("service.name".to_owned(), name.into())));
            }
            _ => {}
        }
    }
    let patterns = model.attributes.clone().unwrap_or_default();
    resource.included = patterns.included.unwrap_or_default();
    resource.excluded = patterns.excluded.unwrap_or_default();
}

/// A value, if it is of its type.
fn owned(value: &Node, kind: AttributeType) -> Option<OwnedValue> {
    let of_items = match kind {
        AttributeType::StringArray => AttributeType::String,
        AttributeType::BoolArray => AttributeType::Bool,
        AttributeType::IntArray => AttributeType::Int,
        AttributeType::DoubleArray => AttributeType::Double,
        kind => return single(value, kind),
    };
    let Value::Sequence(items) = value.value() else {
        return None;
    };
    let items: Option<Vec<OwnedValue>> = items.iter().map(|item| single(item, of_items)).collect();
    items.map(OwnedValue::Array)
}

fn single(value: &Node, kind: AttributeType) -> Option<OwnedValue> {
    match (kind, value.value()) {
        (_, Value::Sequence(_) | Value::Mapping(_)) => None,
        // Whatever it looks like.
        (AttributeType::String, _) => value.text().map(OwnedValue::from),
        (AttributeType::Bool, Value::Bool(value)) => Some(OwnedValue::Bool(*value)),
        (AttributeType::Int, Value::Int(number)) => i64::try_from(*number).ok().map(OwnedValue::Int),
        (AttributeType::Double, Value::Float(number)) => Some(OwnedValue::Double(*number)),
        (AttributeType::Double, Value::Int(number)) => Some(OwnedValue::Double(*number as f64)),
        _ => None,
    }
}
