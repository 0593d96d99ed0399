//! The page about configuration says what the code does.

use std::path::Path;

use cupola_sdk_core::configuration::variables::table;
use cupola_sdk_core::configuration::{Environment, load};

/// Set to 1 to write the table instead of comparing it:
/// `CUPOLA_WRITE_VARIABLES=1 cargo test -p cupola-sdk-core configuration_page`.
const WRITE: &str = "CUPOLA_WRITE_VARIABLES";
const BEGIN: &str = "<!-- variables: generated, see sdk/core/tests/it/configuration_page.rs -->\n";
const END: &str = "<!-- end of variables -->\n";

fn page() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sdk-configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn the_table_of_variables_is_fresh() {
    let (path, text) = page();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    let generated = format!("\n{}", table::markdown());
    if std::env::var(WRITE).is_ok_and(|value| value == "1") {
        std::fs::write(&path, format!("{head}{BEGIN}{generated}{END}{tail}")).unwrap();
        return;
    }
    assert!(
        written == generated,
        "the table of docs/sdk-configuration.md is not that of the code; write it with \
         {WRITE}=1 cargo test -p cupola-sdk-core configuration_page"
    );
}

#[test]
fn the_files_on_the_page_are_read_without_a_word() {
    let (_, text) = page();
    let files: Vec<String> = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let written = file.clone();
        let variables = [
            ("OTEL_SERVICE_NAME", "x"),
            ("ELASTIC_PASSWORD", "hunter2"),
            ("CUPOLA_ENV_FILE", "none"),
        ];
        let environment = Environment::of(variables).with_files(move |_| Ok(written.clone()));
        let loaded = load(&environment).unwrap_or_else(|error| panic!("{error}\n{file}"));
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, Vec::<String>::new());
    }
}
