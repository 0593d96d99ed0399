//! A tailer over real files, with a clock that the test holds.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use cupola_export::fs::FileSystem;

use super::checkpoint::Checkpoints;
use super::config::FilelogConfig;
use super::finder::Finder;
use super::tailer::{Parts, Tailer};
use crate::operators::{self, Variables};
use crate::receivers::text::Templates;

pub(super) fn settings(json: serde_json::Value) -> FilelogConfig {
    let config: FilelogConfig = serde_json::from_value(json).unwrap();
    assert_eq!(config.problems(), []);
    config
}

pub(super) fn open_tailer(
    config: FilelogConfig,
    storage: Option<(Arc<dyn FileSystem>, PathBuf)>,
    now: DateTime<Utc>,
) -> Tailer {
    let mut problems = Vec::new();
    let nothing = Variables::new();
    let parts = Parts {
        finder: Finder::new(&config).unwrap(),
        split: config.split().unwrap(),
        operators: operators::compile("operators", &config.operators, &nothing, &Arc::default()).unwrap(),
        attributes: Templates::compile("attributes", &config.attributes, &nothing, &mut problems),
        resource: Templates::compile("resource", &config.resource, &nothing, &mut problems),
        checkpoints: storage
            .map(|(file_system, directory)| Checkpoints::open(file_system, &directory).unwrap()),
        stats: Arc::default(),
        open_max: 1000,
    };
    Tailer::new(config, parts, now)
}
