//! The resource of a declarative file.

use cupola_config::{Node, Value};

use super::model::{AttributeType, ResourceModel};
use crate::configuration::pairs;
use crate::configuration::text::File;
use crate::configuration::variables::set_attribute;
use crate::settings::Settings;

/// Detectors that there are, in the words of the schema.
const DETECTORS: [&str; 6] = ["container", "host", "process", "service", "os", "k8s"];

pub(super) fn apply(file: &mut File<'_>, node: &Node, model: &ResourceModel, settings: &mut Settings) {
    if let (Some(list), Some(at)) = (&model.attributes_list, node.get("attributes_list")) {
        match pairs::attributes(list) {
            Ok(attributes) => attributes
                .into_iter()
                .for_each(|(key, value)| set_attribute(settings, key, value)),
            Err(problem) => file.error(
                at.place(),
                "resource.attributes_list",
                problem,
                Some("write key=value,key=value"),
            ),
        }
    }
    let nodes = node.get("attributes").map(Node::items).unwrap_or_default();
    for (index, (attribute, item)) in model.attributes.iter().flatten().zip(nodes).enumerate() {
        let key = format!("resource.attributes[{index}].value");
        let kind = attribute.kind.unwrap_or_default();
        let Some(value) = item.get("value").filter(|value| !value.is_null()) else {
            continue;
        };
        match text_of(value, kind) {
            Some(text) => set_attribute(settings, attribute.name.clone(), text),
            None => file.error(
                value.place(),
                &key,
                format!("{} is not what `type` says", value.kind()),
                Some("write a value of that type, or leave `type` out for a text"),
            ),
        }
    }
    if let Some(detection) = &model.detection {
        let known = |name: &str| DETECTORS.contains(&name);
        for name in detection
            .detectors
            .iter()
            .flatten()
            .flat_map(|detector| detector.keys())
        {
            if !known(name) {
                let at = node
                    .get("detection/development")
                    .or(node.get("detection"))
                    .unwrap_or(node);
                let hint = cupola_config::read::keys_hint(name, &DETECTORS);
                let key = "resource.detection/development.detectors";
                file.warn(
                    at.place(),
                    key,
                    format!("there is no detector `{name}`"),
                    Some(&hint),
                );
            }
        }
    }
}

/// A value as the text that the resource has it as, if it is of its type.
fn text_of(value: &Node, kind: AttributeType) -> Option<String> {
    let single = |value: &Node, kind: AttributeType| -> Option<String> {
        let fits = match (kind, value.value()) {
            (AttributeType::String, Value::Sequence(_) | Value::Mapping(_)) => false,
            (AttributeType::String, _) => true,
            (AttributeType::Bool, Value::Bool(_)) => true,
            (AttributeType::Int, Value::Int(_)) => true,
            (AttributeType::Double, Value::Int(_) | Value::Float(_)) => true,
            _ => false,
        };
        value.text().filter(|_| fits).map(str::to_owned)
    };
    let of_items = match kind {
        AttributeType::StringArray => AttributeType::String,
        AttributeType::BoolArray => AttributeType::Bool,
        AttributeType::IntArray => AttributeType::Int,
        AttributeType::DoubleArray => AttributeType::Double,
        kind => return single(value, kind),
    };
    let items: Option<Vec<String>> = value
        .is_sequence()
        .then(|| value.items())?
        .iter()
        .map(|item| single(item, of_items))
        .collect();
    items.map(|items| items.join(","))
}
