//! What a composite sampler of a declarative file is made of. Each part has one key; a file is refused where it has none, several, or
//! one that is not known.

use cupola_config::Node;

use super::model::{ComposableModel, ParentKindModel, RuleModel};
use super::sampler;
use crate::configuration::text::File;
use crate::sampling::{AttributePatterns, Composable, ComposableRule, ParentKind, Pattern, Predicate};

/// What is made of one; `None`, and told, where that cannot be.
pub(super) fn of(file: &mut File<'_>, node: &Node, key: &str, model: &ComposableModel) -> Option<Composable> {
    if !file.is_one(node, key) {
        return None;
    }
    if model.always_on.is_some() {
        return Some(Composable::AlwaysOn);
    }
    if let Some(model) = model.probability {
        return sampler::probability(file, node, key, "probability", model);
    }
    if let Some(parent) = &model.parent_threshold {
        let below = node.get("parent_threshold").unwrap_or(node);
        let at = below.get("root").unwrap_or(below);
        let key = format!("{key}.parent_threshold.root");
        let root = required(file, at, &key, parent.root.as_ref())?;
        return Some(Composable::ParentThreshold(Box::new(root)));
    }
    if let Some(rules) = &model.rule_based {
        let nodes = node
            .at(&["rule_based", "rules"])
            .map(Node::items)
            .unwrap_or_default();
        let rules = rules.rules.iter().zip(nodes).enumerate();
        let rules: Vec<Option<ComposableRule>> = rules
            .map(|(index, (model, node))| {
                rule(file, node, &format!("{key}.rule_based.rules[{index}]"), model)
            })
            .collect();
        return rules.into_iter().collect::<Option<_>>().map(Composable::Rules);
    }
    Some(Composable::AlwaysOff)
}

fn rule(file: &mut File<'_>, node: &Node, key: &str, model: &RuleModel) -> Option<ComposableRule> {
    let at = node.get("sampler").unwrap_or(node);
    let composable = required(file, at, &format!("{key}.sampler"), model.sampler.as_ref())?;
    let patterns = |list: &Option<Vec<String>>| list.iter().flatten().map(Pattern::new).collect();
    let parents = model.parent.iter().flatten().map(|parent| match parent {
        ParentKindModel::None => ParentKind::None,
        ParentKindModel::Remote => ParentKind::Remote,
        ParentKindModel::Local => ParentKind::Local,
    });
    let predicate = Predicate {
        values: model
            .attribute_values
            .as_ref()
            .map(|values| (values.key.clone(), values.values.clone())),
        patterns: model.attribute_patterns.as_ref().map(|model| AttributePatterns {
            key: model.key.clone(),
            included: patterns(&model.included),
            excluded: patterns(&model.excluded),
        }),
        kinds: model
            .span_kinds
            .iter()
            .flatten()
            .map(|kind| (*kind).into())
            .collect(),
        parents: parents.collect(),
    };
    Some(ComposableRule {
        predicate,
        composable,
    })
}

fn required(
    file: &mut File<'_>,
    node: &Node,
    key: &str,
    model: Option<&ComposableModel>,
) -> Option<Composable> {
    match model {
        Some(model) => of(file, node, key, model),
        None => {
            let hint = "add it with for example `probability: { ratio: 0.1 }` below";
            file.error(node.place(), key, "this key is missing", Some(hint));
            None
        }
    }
}
