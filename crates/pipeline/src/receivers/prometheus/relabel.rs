//! Relabelling: rules that change the labels of targets and of samples, or drop them.
//!
//! <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use regex::Regex;
use serde::Deserialize;

/// Labels by name. One without a value is the same as none.
pub(super) type Labels = BTreeMap<String, String>;

/// One rule, as it is written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelabelConfig {
    pub source_labels: Vec<String>,
    pub separator: String,
    pub target_label: String,
    pub regex: String,
    pub modulus: u64,
    pub replacement: String,
    pub action: Action,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            target_label: String::new(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

/// Rules ready to be applied in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Relabel {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    config: RelabelConfig,
    regex: Regex,
}

impl Relabel {
    /// The first rule that cannot be applied, and why.
    pub(super) fn new(configs: &[RelabelConfig]) -> Result<Relabel, (usize, String)> {
        let rules = configs.iter().enumerate().map(|(index, config)| {
            let rule = Rule::new(config).map_err(|problem| (index, problem))?;
            Ok(rule)
        });
        Ok(Relabel {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether what has these labels is kept.
    #[must_use]
    pub(super) fn apply(&self, labels: &mut Labels) -> bool {
        self.rules.iter().all(|rule| rule.apply(labels))
    }
}

impl Rule {
    fn new(config: &RelabelConfig) -> Result<Rule, String> {
        use Action::{DropEqual, HashMod, KeepEqual, Lowercase, Replace, Uppercase};
        let regex =
            Regex::new(&format!("^(?s:{})$", config.regex)).map_err(|error| format!("regex: {error}"))?;
        let targeted = matches!(
            config.action,
            Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual
        );
        if targeted && config.target_label.is_empty() {
            return Err("target_label is missing".to_owned());
        }
        if config.action == HashMod && config.modulus == 0 {
            return Err("modulus must be greater than zero".to_owned());
        }
        Ok(Rule {
            config: config.clone(),
            regex,
        })
    }

    fn apply(&self, labels: &mut Labels) -> bool {
        let config = &self.config;
        let source = || {
            let values = config.source_labels.iter();
            let values: Vec<&str> = values
                .map(|name| labels.get(name).map_or("", String::as_str))
                .collect();
            values.join(&config.separator)
        };
        let target = |labels: &Labels| labels.get(&config.target_label).cloned().unwrap_or_default();
        match config.action {
            Action::Keep => return self.regex.is_match(&source()),
            Action::Drop => return !self.regex.is_match(&source()),
            Action::KeepEqual => return source() == target(labels),
            Action::DropEqual => return source() != target(labels),
            Action::Replace => self.replace(&source(), labels),
            Action::HashMod => {
                let hash = Md5::digest(source().as_bytes());
                let last: [u8; 8] = hash[8..].try_into().unwrap_or_default();
                let value = u64::from_be_bytes(last) % config.modulus;
                set(labels, config.target_label.clone(), value.to_string());
            }
            Action::Lowercase => set(labels, config.target_label.clone(), source().to_lowercase()),
            Action::Uppercase => set(labels, config.target_label.clone(), source().to_uppercase()),
            Action::LabelMap => {
                let renamed: Vec<(String, String)> = labels
                    .iter()
                    .filter(|(name, _)| self.regex.is_match(name))
                    .map(|(name, value)| {
                        (
                            self.regex.replace(name, &*config.replacement).into_owned(),
                            value.clone(),
                        )
                    })
                    .collect();
                renamed
                    .into_iter()
                    .for_each(|(name, value)| set(labels, name, value));
            }
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, source: &str, labels: &mut Labels) {
        let Some(captures) = self.regex.captures(source) else {
            return;
        };
        let (mut name, mut value) = (String::new(), String::new());
        captures.expand(&self.config.target_label, &mut name);
        captures.expand(&self.config.replacement, &mut value);
        if is_label_name(&name) {
            set(labels, name, value);
        }
    }
}

fn set(labels: &mut Labels, name: String, value: String) {
    match value.is_empty() {
        true => drop(labels.remove(&name)),
        false => drop(labels.insert(name, value)),
    }
}

fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// What rules make of labels; `None` if they drop them.
    fn relabel(rules: &str, before: &[(&str, &str)]) -> Option<Labels> {
        let configs: Vec<RelabelConfig> = cupola_config::yaml::from_str(rules).unwrap();
        let mut labels = labels(before);
        Relabel::new(&configs)
            .unwrap()
            .apply(&mut labels)
            .then_some(labels)
    }

    #[test]
    fn every_action_does_what_prometheus_does() {
        let before = [("a", "Foo"), ("b", "bar"), ("__meta_x", "y")];
        let check = |rule: &str, after: Option<&[(&str, &str)]>| {
            assert_eq!(relabel(rule, &before), after.map(labels), "{rule}");
        };
        let with = |more: &[(&'static str, &'static str)]| [&before[..], more].concat();
        check(
            "[{source_labels: [a, b], target_label: c}]",
            Some(&with(&[("c", "Foo;bar")])),
        );
        check(
            "[{source_labels: [a, b], separator: '', regex: 'F(o+)(.).*', target_label: '${2}_x', replacement: '<$1>'}]",
            Some(&with(&[("b_x", "<oo>")])),
        );
        check(
            "[{source_labels: [a], regex: oo, target_label: c}]",
            Some(&before),
        );
        check("[{source_labels: [none], target_label: a}]", Some(&before[1..]));
        check("[{source_labels: [a], target_label: 'no name'}]", Some(&before));
        check("[{action: keep, source_labels: [a], regex: Fo+}]", Some(&before));
        check("[{action: keep, source_labels: [a], regex: Fo}]", None);
        check("[{action: drop, source_labels: [a], regex: Fo.}]", None);
        check("[{action: keepequal, source_labels: [a], target_label: b}]", None);
        check(
            "[{action: dropequal, source_labels: [a], target_label: b}]",
            Some(&before),
        );
        check("[{action: dropequal, source_labels: [a], target_label: a}]", None);
        check(
            "[{action: labelmap, regex: '__meta_(.+)', replacement: 'm_$1'}]",
            Some(&with(&[("m_x", "y")])),
        );
        check("[{action: labeldrop, regex: '[ab]'}]", Some(&before[2..]));
        check("[{action: labelkeep, regex: 'b'}]", Some(&before[1..2]));
        check(
            "[{action: lowercase, source_labels: [a], target_label: c}]",
            Some(&with(&[("c", "foo")])),
        );
        check(
            "[{action: uppercase, source_labels: [b], target_label: c}]",
            Some(&with(&[("c", "BAR")])),
        );
        // The hash of "baz" with modulus 1000 is a case of Prometheus' own tests: 976.
        let hashed = relabel(
            "[{action: hashmod, source_labels: [c], target_label: d, modulus: 1000}]",
            &[("c", "baz")],
        );
        assert_eq!(hashed.unwrap()["d"], "976");
    }

    #[test]
    fn rules_that_cannot_be_applied_are_refused() {
        for rule in [
            "{source_labels: [a]}",
            "{action: hashmod, target_label: a}",
            "{regex: '(', target_label: a}",
        ] {
            let configs: Vec<RelabelConfig> = cupola_config::yaml::from_str(&format!("[{rule}]")).unwrap();
            assert_eq!(Relabel::new(&configs).unwrap_err().0, 0, "{rule}");
        }
        assert!(cupola_config::yaml::from_str::<Vec<RelabelConfig>>("[{action: explode}]").is_err());
    }
}
