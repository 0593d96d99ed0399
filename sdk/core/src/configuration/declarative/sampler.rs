//! Samplers of a declarative file. Refuses those in development that ask a server or are made of rules: they are told, and spans
//! are sampled as by default.

use std::sync::Arc;

use cupola_config::Node;

use super::model::{RatioModel, SamplerModel};
use crate::configuration::samplers;
use crate::configuration::text::File;
use crate::sampling::{AlwaysOff, AlwaysOn, ParentBased, Sampler};

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
    if let Some(model) = model.trace_id_ratio_based.or(model.probability) {
        return ratio(file, node, key, model);
    }
    if model.always_on.is_some() {
        return Some(Arc::new(AlwaysOn));
    }
    if model.always_off.is_some() {
        return Some(Arc::new(AlwaysOff));
    }
    let named = node
        .entries()
        .first()
        .map(|entry| entry.key.to_string())
        .unwrap_or_default();
    file.warn(
        node.place(),
        key,
        format!("`{named}` is not available; the default is used in its place"),
        Some("use parent_based with trace_id_ratio_based, or the rules of Cupola's own file"),
    );
    None
}

fn ratio(file: &mut File<'_>, node: &Node, key: &str, model: RatioModel) -> Option<Arc<dyn Sampler>> {
    let ratio = model.ratio.unwrap_or(1.0);
    if (0.0..=1.0).contains(&ratio) {
        return Some(samplers::of_ratio(ratio));
    }
    file.error(
        node.place(),
        &format!("{key}.ratio"),
        format!("`{ratio}` is not a share from 0 to 1"),
        Some("write for example 0.1"),
    );
    None
}
