//! The section `extensions`, as far as components refer to what is in it: authenticators. The others belong to whoever
//! links this crate, and are passed over here.

use std::collections::{BTreeMap, BTreeSet};

use cupola_config::nearest::nearest;
use cupola_config::{ComponentId, Entry, Node, Place, Problem, Problems};

use super::Planned;
use crate::graph::extensions::{ExtensionSettings, Reference, Side};
use crate::graph::kinds::Registry;

/// What the section has.
#[derive(Default)]
pub(super) struct Extensions {
    read: BTreeMap<ComponentId, Planned<dyn ExtensionSettings>>,
    /// Everything in the section, read or not, and whether it is of a kind that we know.
    named: BTreeMap<ComponentId, (Place, bool)>,
    kinds: Vec<&'static str>,
    /// Of kinds that belong to whoever links this crate; any, if it has not said which there are.
    others: Vec<&'static str>,
}

impl Extensions {
    pub(super) fn read(root: &Node, registry: &Registry, problems: &mut Problems) -> Extensions {
        let mut extensions = Extensions {
            kinds: registry.extensions.iter().map(|kind| kind.name).collect(),
            others: registry.other_extensions.clone(),
            ..Extensions::default()
        };
        let entries = root.get("extensions").map(Node::entries).unwrap_or_default();
        for Entry { key, place, value } in entries {
            // What is no name is told by whoever reads the rest.
            let Ok(id) = key.parse::<ComponentId>() else {
                continue;
            };
            let kind = registry.extensions.iter().find(|kind| kind.is_called(id.kind()));
            extensions
                .named
                .insert(id.clone(), (place.clone(), kind.is_some()));
            let settings = kind.and_then(|kind| kind.read(value, &format!("extensions.{key}"), problems));
            if let Some(settings) = settings {
                let written = value.clone();
                extensions.read.insert(id, Planned { settings, written });
            }
        }
        extensions
    }

    /// Whether what a component refers to is there and of its side. `at` is the component, written as `node`.
    pub(super) fn check(&self, at: &str, node: &Node, references: &[Reference], problems: &mut Problems) {
        for reference in references {
            let Some((message, hint)) = self.problem(reference) else {
                continue;
            };
            let path: Vec<&str> = reference.key.split('.').chain(["authenticator"]).collect();
            let place = node.at(&path).unwrap_or(node).place().clone();
            let key = format!("{at}.{}.authenticator", reference.key);
            problems.push(Problem::error(place, key, message).hint(hint));
        }
    }

    fn problem(&self, Reference { id, side, .. }: &Reference) -> Option<(String, String)> {
        let Some((_, is_known)) = self.named.get(id) else {
            let defined: Vec<String> = self.named.keys().map(ToString::to_string).collect();
            let hint = match nearest(&id.to_string(), defined.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add `{id}:` with its settings to the section `extensions`"),
            };
            return Some((format!("there is no extension `{id}`"), hint));
        };
        // That there is no such kind is told already.
        if !is_known && !self.others.is_empty() && !self.others.contains(&id.kind()) {
            return None;
        }
        if !is_known {
            let hint = format!("authenticators are {}", self.kinds.join(", "));
            return Some((format!("the extension `{id}` is no authenticator"), hint));
        }
        let planned = self.read.get(id)?;
        if planned.settings.sides().contains(side) {
            return None;
        }
        Some(match side {
            Side::Server => (
                format!("`{id}` gives clients their credentials and cannot tell who may send here"),
                "name a basicauth with `htpasswd`, or a bearertokenauth".to_owned(),
            ),
            Side::Client => (
                format!("`{id}` tells servers who may send and has no credentials to send"),
                "name a basicauth with `client_auth`, or a bearertokenauth, headers_setter or oauth2client"
                    .to_owned(),
            ),
        })
    }

    /// Tells of those that nothing refers to.
    pub(super) fn unused(&self, used: &BTreeSet<ComponentId>, problems: &mut Problems) {
        for (id, (place, is_known)) in &self.named {
            if *is_known && !used.contains(id) {
                let message = "no component has this authenticator, so that it protects nothing";
                problems.push(Problem::warning(
                    place.clone(),
                    format!("extensions.{id}"),
                    message,
                ));
            }
        }
    }

    /// Those that are referred to.
    pub(super) fn into_used(
        self,
        references: &[Reference],
    ) -> BTreeMap<ComponentId, Planned<dyn ExtensionSettings>> {
        let used: BTreeSet<&ComponentId> = references.iter().map(|reference| &reference.id).collect();
        self.read
            .into_iter()
            .filter(|(id, _)| used.contains(id))
            .collect()
    }
}
