//! The committed OpenAPI document is what the code generates.

use std::path::Path;

/// Set to 1 to write the document instead of comparing it: `CUPOLA_WRITE_OPENAPI=1 cargo test -p cupola-api openapi`.
const WRITE: &str = "CUPOLA_WRITE_OPENAPI";

#[test]
fn the_committed_document_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let generated = cupola_api::openapi_json();
    if std::env::var(WRITE).is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/openapi.json is not what the code generates; write it with: cargo xtask openapi"
    );
}

#[test]
fn every_operation_can_be_told_apart() {
    let document: serde_json::Value = serde_json::from_str(&cupola_api::openapi_json()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/"), "{path}");
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} twice");
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            let tenant = operation["parameters"].as_array().into_iter().flatten();
            let takes_tenant = tenant
                .into_iter()
                .any(|parameter| parameter["name"] == "X-Scope-OrgID");
            let of_the_server = ["/status", "/flush", "/compact", "/reload"]
                .iter()
                .any(|end| path.ends_with(end));
            assert_eq!(takes_tenant, !of_the_server, "{method} {path}");
        }
    }
    assert!(names.len() >= 14, "{names:?}");
}

/// Whatever runs statements.
const QUERYING: [&str; 7] = [
    "runSql",
    "listTraces",
    "readTrace",
    "listLogs",
    "listAttributes",
    "listServices",
    "readServiceMap",
];

#[test]
fn every_operation_says_what_it_refuses() {
    let document: serde_json::Value = serde_json::from_str(&cupola_api::openapi_json()).unwrap();
    let mut querying = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            let mut expected = vec!["421", "500"];
            if method != "get" {
                expected.push("403");
            }
            if QUERYING.contains(&name) {
                querying += 1;
                expected.extend(["400", "409", "422", "503", "504"]);
            }
            expected.extend(match name {
                "runSql" => &["406", "413", "415"][..],
                "deleteRows" => &["400", "413", "415", "503"],
                "flush" | "compact" => &["503"],
                "readTrace" | "cancelQuery" => &["400", "404"],
                "tail" => &["400", "429"],
                _ => &[],
            });
            for status in expected {
                let answer = &operation["responses"][status];
                assert_eq!(
                    answer["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/ErrorBody",
                    "{method} {path} {status}: {answer}"
                );
                let described = answer["description"].as_str();
                assert!(
                    described.is_some_and(|text| !text.is_empty()),
                    "{method} {path} {status}"
                );
            }
        }
    }
    assert_eq!(querying, QUERYING.len());
}
