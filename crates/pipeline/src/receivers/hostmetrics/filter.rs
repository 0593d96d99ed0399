//! `include` and `exclude`: of which devices, interfaces, file systems and processes there are metrics.

use std::collections::BTreeSet;

use regex::RegexSet;
use serde::Deserialize;

use crate::processors::ConfigError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchType {
    Strict,
    Regexp,
}

/// Without effect: the Collector keeps the results of patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegexpConfig {
    pub cacheenabled: bool,
    pub cachemaxnumentries: u64,
}

/// A list of names or patterns, under a key of its own for each thing that has names.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident, $key:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $type {
            pub $key: Vec<String>,
            pub match_type: Option<MatchType>,
            pub regexp: RegexpConfig,
        }

        impl $type {
            /// Nothing if no name is given; `key` is where this stands in the settings.
            fn names(&self, key: &str) -> Result<Option<Names>, ConfigError> {
                Names::new(&self.$key, self.match_type, key, stringify!($key))
            }
        }

        impl Filter {
            pub(super) fn $key(
                include: (&$type, &str),
                exclude: (&$type, &str),
            ) -> Result<Filter, ConfigError> {
                Ok(Filter {
                    include: include.0.names(include.1)?,
                    exclude: exclude.0.names(exclude.1)?,
                })
            }
        }
    };
}

names!(Devices, devices);
names!(Interfaces, interfaces);
names!(FsTypes, fs_types);
names!(MountPoints, mount_points);
names!(
    /// Of processes.
    ProcessNames,
    names
);

/// What is included, if anything is named, and not excluded.
#[derive(Debug)]
pub(super) struct Filter {
    include: Option<Names>,
    exclude: Option<Names>,
}

impl Filter {
    pub(super) fn passes(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|names| names.matches(name))
            && !self.exclude.as_ref().is_some_and(|names| names.matches(name))
    }
}

#[derive(Debug)]
enum Names {
    Strict(BTreeSet<String>),
    Regexp(RegexSet),
}

impl Names {
    fn new(
        names: &[String],
        match_type: Option<MatchType>,
        key: &str,
        list: &str,
    ) -> Result<Option<Names>, ConfigError> {
        if names.is_empty() {
            return Ok(None);
        }
        match match_type {
            Some(MatchType::Strict) => Ok(Some(Names::Strict(names.iter().cloned().collect()))),
            Some(MatchType::Regexp) => match RegexSet::new(names) {
                Ok(patterns) => Ok(Some(Names::Regexp(patterns))),
                Err(error) => Err(ConfigError::setting(format!("{key}.{list}"), error.to_string())),
            },
            None => Err(ConfigError::setting(
                key,
                "add `match_type: strict`, or `regexp`: it has no default",
            )),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Names::Strict(names) => names.contains(name),
            Names::Regexp(patterns) => patterns.is_match(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(names: &[&str], match_type: Option<MatchType>) -> Devices {
        Devices {
            devices: names.iter().map(|name| (*name).to_owned()).collect(),
            match_type,
            regexp: RegexpConfig::default(),
        }
    }

    #[test]
    fn names_are_whole_and_patterns_match_anywhere() {
        let include = devices(&["^sd", "nvme"], Some(MatchType::Regexp));
        let exclude = devices(&["sda1"], Some(MatchType::Strict));
        let filter = Filter::devices((&include, ""), (&exclude, "")).unwrap();
        let passed: Vec<_> = ["sda", "sda1", "sda11", "xsda", "my-nvme0"]
            .into_iter()
            .filter(|name| filter.passes(name))
            .collect();
        assert_eq!(passed, ["sda", "sda11", "my-nvme0"]);
    }

    #[test]
    fn a_list_without_a_kind_of_match_is_refused_where_it_stands() {
        let (none, some) = (Devices::default(), devices(&["sda"], None));
        let error = Filter::devices((&none, "include"), (&some, "scrapers.disk.exclude")).unwrap_err();
        let ConfigError::Setting { key, problem } = error else {
            panic!("{error}");
        };
        assert_eq!(key, "scrapers.disk.exclude");
        assert!(problem.contains("match_type"), "{problem}");
        assert!(
            Filter::devices((&none, ""), (&none, ""))
                .unwrap()
                .passes("anything")
        );
    }
}
