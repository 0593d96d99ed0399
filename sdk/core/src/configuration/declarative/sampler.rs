//! Samplers of a declarative file. Refuses those in development that ask a server: they are told, and spans are sampled as by
//! default.

use std::sync::Arc;

use cupola_config::Node;

use super::composable;
use super::model::{RatioModel, SamplerModel};
use crate::configuration::text::File;
use crate::sampling::{
    AlwaysOff, AlwaysOn, Composable, Composite, ParentBased, Probability, Sampler, TraceIdRatio,
};

/// What is made of one; `None`, and told, where there is nothing of the kind.
pub(super) fn of(
    file: &mut File<'_>,
    node: &Node,
    key: &str,
    model: &SamplerModel,
) -> Option<Arc<dyn Sampler>> {
    if !file.is_one(node, key) {
        return None;
    }
    if let Some(parent) = &model.parent_based {
        let below = node.get("parent_based").unwrap_or(node);
        let mut sampler = ParentBased::new(Arc::new(AlwaysOn));
        for (name, own, into) in [
            ("root", &parent.root, &mut sampler.root),
            (
                "remote_parent_sampled",
                &parent.remote_parent_sampled,
                &mut sampler.remote_sampled,
            ),
            (
                "remote_parent_not_sampled",
                &parent.remote_parent_not_sampled,
                &mut sampler.remote_not_sampled,
            ),
            (
                "local_parent_sampled",
                &parent.local_parent_sampled,
                &mut sampler.local_sampled,
            ),
            (
                "local_parent_not_sampled",
                &parent.local_parent_not_sampled,
                &mut sampler.local_not_sampled,
            ),
        ] {
            let at = below.get(name).unwrap_or(below);
            if let Some(own) = own
                && let Some(own) = of(file, at, &format!("{key}.parent_based.{name}"), own)
            {
                *into = own;
            }
        }
        return Some(Arc::new(sampler));
    }
    if let Some(model) = model.trace_id_ratio_based {
        let ratio = ratio(file, node, key, "trace_id_ratio_based", model)?;
        return TraceIdRatio::new(ratio).map(|sampler| Arc::new(sampler) as Arc<dyn Sampler>);
    }
    if let Some(model) = model.probability {
        let probability = probability(file, node, key, "probability", model)?;
        return Some(Arc::new(Composite::new(probability)));
    }
    if let Some(composite) = &model.composite {
        let (below, named) = below(node);
        let composable = composable::of(file, below, &format!("{key}.{named}"), composite)?;
        return Some(Arc::new(Composite::new(composable)));
    }
    if model.always_on.is_some() {
        return Some(Arc::new(AlwaysOn));
    }
    if model.always_off.is_some() {
        return Some(Arc::new(AlwaysOff));
    }
    let (_, named) = below(node);
    file.warn(
        node.place(),
        key,
        format!("`{named}` is not available; the default is used in its place"),
        Some("use parent_based with trace_id_ratio_based, or composite/development"),
    );
    None
}

/// What stands below the one key of a mapping, and the key.
fn below(node: &Node) -> (&Node, String) {
    match node.entries().first() {
        Some(entry) => (&entry.value, entry.key.to_string()),
        None => (node, String::new()),
    }
}

/// A share as a part of a composed sampler.
pub(super) fn probability(
    file: &mut File<'_>,
    node: &Node,
    key: &str,
    kind: &str,
    model: RatioModel,
) -> Option<Composable> {
    let ratio = ratio(file, node, key, kind, model)?;
    Probability::new(ratio).map(Composable::Probability)
}

fn ratio(file: &mut File<'_>, node: &Node, key: &str, kind: &str, model: RatioModel) -> Option<f64> {
    let ratio = model.ratio.unwrap_or(1.0);
    if (0.0..=1.0).contains(&ratio) {
        return Some(ratio);
    }
    let (below, _) = below(node);
    let at = below.get("ratio").unwrap_or(node);
    file.error(
        at.place(),
        &format!("{key}.{kind}.ratio"),
        format!("`{ratio}` is not a share from 0 to 1"),
        Some("write for example 0.1"),
    );
    None
}
