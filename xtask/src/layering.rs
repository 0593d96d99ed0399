//! Which crate may know which: the table of edges, held against `cargo metadata`. An edge that is not here is a
//! decision to take here first.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{cargo, output};
use crate::report::Outcome;

/// For each crate of ours, the crates of ours it may depend on. `cupola -> api -> query -> store -> telemetry` and
/// `cupola -> pipeline -> export -> telemetry`; `store` and `pipeline` do not know each other.
const EDGES: &[(&str, &[&str])] = &[
    ("cupola-telemetry", &[]),
    ("cupola-config", &[]),
    ("cupola-export", &["cupola-config", "cupola-telemetry"]),
    (
        "cupola-pipeline",
        &["cupola-config", "cupola-export", "cupola-telemetry"],
    ),
    ("cupola-store", &["cupola-telemetry"]),
    ("cupola-query", &["cupola-store", "cupola-telemetry"]),
    (
        "cupola-api",
        &["cupola-query", "cupola-store", "cupola-telemetry"],
    ),
    ("cupola-generator", &["cupola-telemetry"]),
    ("cupola-peers", &["cupola-telemetry"]),
    (
        "cupola-sdk-core",
        &["cupola-config", "cupola-export", "cupola-telemetry"],
    ),
    (
        "cupola-sdk",
        &[
            "cupola-config",
            "cupola-export",
            // Its tests have it with the feature that is for tests.
            "cupola-sdk",
            "cupola-sdk-core",
            "cupola-sdk-macros",
            "cupola-telemetry",
        ],
    ),
    ("cupola-sdk-macros", &[]),
    // For tests alone, as is what the server has it for.
    ("cupola-sdk-peers", &["cupola-sdk", "cupola-telemetry"]),
    ("cupola-example-services", &["cupola-sdk"]),
    (
        "cupola",
        &[
            "cupola-api",
            "cupola-config",
            // The demo runs them.
            "cupola-example-services",
            "cupola-export",
            "cupola-generator",
            "cupola-pipeline",
            "cupola-query",
            "cupola-store",
            "cupola-telemetry",
        ],
    ),
    (
        "cupola-bench",
        &[
            "cupola-export",
            "cupola-generator",
            "cupola-peers",
            "cupola-pipeline",
            "cupola-query",
            "cupola-store",
            "cupola-telemetry",
        ],
    ),
    (
        "cupola-bench-sdk",
        &[
            "cupola-export",
            "cupola-sdk",
            "cupola-sdk-core",
            "cupola-telemetry",
        ],
    ),
    ("xtask", &[]),
];

/// Besides the edges above, what tests may use to make their input.
const TEST_EDGES: &[&str] = &[
    "cupola-generator",
    "cupola-peers",
    "cupola-sdk-peers",
    "cupola-telemetry",
];

/// Dependencies from outside that only some of our crates may have, and why.
const OWNERS: &[(&str, &[&str], &str)] = &[
    ("datafusion", &["cupola-query"], "query alone owns DataFusion"),
    (
        "datafusion-postgres",
        &["cupola-api"],
        "a protocol belongs to the outermost crate that speaks it",
    ),
    (
        "arrow-flight",
        &["cupola-api", "cupola-bench"],
        "a protocol belongs to the outermost crate that speaks it",
    ),
    (
        "clap",
        &[
            "cupola",
            "cupola-bench",
            "cupola-bench-sdk",
            "cupola-example-services",
        ],
        "the binary alone reads the command line",
    ),
    (
        "anyhow",
        &["cupola", "cupola-bench", "cupola-bench-sdk", "xtask"],
        "libraries have error types that say what can be done",
    ),
];

/// Crates that do no input or output and know no runtime.
const PURE: &[&str] = &["cupola-telemetry"];
const IMPURE: &[&str] = &["tokio", "reqwest", "tonic", "hyper", "axum", "object_store"];

pub(crate) fn check() -> Result<Outcome> {
    let text = output(&mut cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--locked",
    ]))?;
    let metadata: Value =
        serde_json::from_str(&text).context("cargo metadata printed something other than JSON")?;
    Ok(Outcome::from_failures(violations(&dependencies(&metadata)?)))
}

#[derive(Debug, PartialEq, Eq)]
struct Dependency {
    name: String,
    /// Of its tests, and not of the crate itself.
    test: bool,
}

/// Every package of the workspace with what its manifest names.
fn dependencies(metadata: &Value) -> Result<BTreeMap<String, Vec<Dependency>>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let mut all = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has no name")?;
        let listed = package["dependencies"]
            .as_array()
            .context("a package has no dependencies")?;
        let named = listed.iter().map(|dependency| Dependency {
            name: dependency["name"].as_str().unwrap_or_default().to_owned(),
            test: dependency["kind"].as_str() == Some("dev"),
        });
        all.insert(name.to_owned(), named.collect());
    }
    Ok(all)
}

fn violations(packages: &BTreeMap<String, Vec<Dependency>>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, _) in EDGES {
        if !packages.contains_key(*name) {
            found.push(format!(
                "the table of edges names `{name}`, which is not in the workspace"
            ));
        }
    }
    for (package, dependencies) in packages {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| name == package) else {
            found.push(format!("`{package}` is not in the table of edges"));
            continue;
        };
        for dependency in dependencies {
            found.extend(violation(package, allowed, packages, dependency));
        }
    }
    found
}

fn violation(
    package: &str,
    allowed: &[&str],
    packages: &BTreeMap<String, Vec<Dependency>>,
    dependency: &Dependency,
) -> Option<String> {
    let name = dependency.name.as_str();
    if packages.contains_key(name) {
        let fine = allowed.contains(&name) || (dependency.test && TEST_EDGES.contains(&name));
        return (!fine).then(|| format!("`{package}` may not depend on `{name}`"));
    }
    if dependency.test {
        return None;
    }
    if PURE.contains(&package) && IMPURE.contains(&name) {
        return Some(format!(
            "`{package}` may not depend on `{name}`: it does no input or output"
        ));
    }
    let (_, owners, reason) = OWNERS.iter().find(|(owned, _, _)| *owned == name)?;
    (!owners.contains(&package)).then(|| format!("`{package}` may not depend on `{name}`: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(package: &str, name: &str, test: bool) -> Vec<String> {
        let mut packages: BTreeMap<String, Vec<Dependency>> = EDGES
            .iter()
            .map(|(name, _)| ((*name).to_owned(), Vec::new()))
            .collect();
        packages.insert(
            package.to_owned(),
            vec![Dependency {
                name: name.to_owned(),
                test,
            }],
        );
        violations(&packages)
    }

    #[test]
    fn edges_in_the_table_pass_and_others_do_not() {
        assert_eq!(with("cupola-api", "cupola-query", false), Vec::<String>::new());
        assert_eq!(with("cupola-store", "cupola-pipeline", false).len(), 1);
        assert_eq!(with("cupola-telemetry", "cupola-store", false).len(), 1);
        assert_eq!(with("cupola-new", "serde", false).len(), 1);
    }

    #[test]
    fn tests_may_use_the_generator() {
        assert_eq!(
            with("cupola-store", "cupola-generator", true),
            Vec::<String>::new()
        );
        assert_eq!(with("cupola-store", "cupola-generator", false).len(), 1);
    }

    #[test]
    fn owned_dependencies_stay_with_their_owners() {
        assert_eq!(with("cupola-query", "datafusion", false), Vec::<String>::new());
        assert_eq!(with("cupola-api", "datafusion", false).len(), 1);
        assert_eq!(with("cupola-telemetry", "tokio", false).len(), 1);
        assert_eq!(with("cupola-telemetry", "tokio", true), Vec::<String>::new());
    }
}
