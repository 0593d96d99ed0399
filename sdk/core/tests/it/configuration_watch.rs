//! Files of configuration that change while an application runs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use cupola_sdk_core::configuration::watch::Watched;
use cupola_sdk_core::configuration::{Environment, load};

/// Writes a file with a time of its own, which a disk may not tell from the one before otherwise.
fn write(path: &Path, text: &str, seconds: u64) {
    std::fs::write(path, text).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[test]
fn a_change_is_seen_once_and_a_broken_file_is_told_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cupola.yaml");
    write(&file, "logger: {service_name: a, log_level: INFO}\n", 0);
    let environment = Environment::of([
        ("CUPOLA_CONFIG", file.to_str().unwrap()),
        ("CUPOLA_ENV_FILE", "none"),
    ])
    .with_files(|path| std::fs::read_to_string(path));
    let loaded = load(&environment).unwrap();
    assert_eq!(loaded.settings.logs.level.name(), "INFO");
    let mut watched = Watched::new(environment, &loaded);
    assert!(watched.changed().is_none());

    write(&file, "logger: {service_name: a, log_level: WARN}\n", 1);
    let changed = watched.changed().unwrap().unwrap();
    assert_eq!(changed.settings.logs.level.name(), "WARN");
    assert!(watched.changed().is_none());

    // Written again as it was.
    write(&file, "logger: {service_name: a, log_level: WARN}\n", 2);
    assert!(watched.changed().is_none());

    write(&file, "logger: {service_name: a, log_levl: WARN}\n", 3);
    let error = watched.changed().unwrap().unwrap_err().to_string();
    assert!(error.contains("did you mean `log_level`?"), "{error}");
    assert!(watched.changed().is_none(), "told once");

    std::fs::remove_file(&file).unwrap();
    assert!(watched.changed().unwrap().is_err());
    assert!(watched.changed().is_none());

    write(&file, "logger: {service_name: a, log_level: ERROR}\n", 4);
    assert_eq!(
        watched.changed().unwrap().unwrap().settings.logs.level.name(),
        "ERROR"
    );
}

#[test]
fn a_file_of_variables_that_appears_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("my.env");
    let environment = Environment::of([
        ("OTEL_SERVICE_NAME", "a"),
        ("CUPOLA_ENV_FILE", file.to_str().unwrap()),
    ])
    .with_files(|path| std::fs::read_to_string(path));
    let loaded = load(&environment).unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    let mut watched = Watched::new(environment, &loaded);
    write(&file, "CUPOLA_LOG_LEVEL=error\n", 0);
    assert_eq!(
        watched.changed().unwrap().unwrap().settings.logs.level.name(),
        "ERROR"
    );
}
