//! What receivers of text share: encodings, and where one record ends and the next begins.

pub(super) mod delivery;
pub(super) mod encoding;
pub(super) mod split;

use crate::operators::{Fields, Problem, Template, Value, Variables};

/// `attributes` or `resource` of a receiver: text by name, perhaps with `EXPR(…)` in it.
#[derive(Debug, Default)]
pub(super) struct Templates(Vec<(String, Template)>);

impl Templates {
    pub(super) fn compile(
        key: &str,
        texts: &std::collections::BTreeMap<String, String>,
        variables: &Variables,
        problems: &mut Vec<Problem>,
    ) -> Templates {
        let mut compiled = Vec::new();
        for (name, text) in texts {
            match Template::compile(text, variables) {
                Ok(template) => compiled.push((name.clone(), template)),
                Err(error) => problems.push((format!("{key}.{name}"), error.render())),
            }
        }
        Templates(compiled)
    }

    /// Sets what they say of `entry`; an expression that fails leaves its name out.
    pub(super) fn apply(
        &self,
        entry: &mut crate::operators::Entry,
        to: fn(&mut crate::operators::Entry) -> &mut Fields,
    ) {
        for (name, template) in &self.0 {
            match template.render(entry) {
                Ok(text) => to(entry).set(name, Value::Text(text)),
                Err(problem) => tracing::debug!(name, problem, "attribute left out"),
            }
        }
    }
}
