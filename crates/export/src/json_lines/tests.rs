//! Lines as a reader of JSON finds them, and files as several writers leave them.

mod files;
mod lines;
mod processes;
mod rotated;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use super::line::LinesText;
use super::writer::{Locked, Writer};
use super::*;

fn config(path: &Path) -> JsonLinesConfig {
    JsonLinesConfig {
        log_file: path.to_owned(),
        ..JsonLinesConfig::default()
    }
}

/// All lines of a file and the full ones before it, whatever they are compressed with.
fn all_lines(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let mut text = String::new();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => flate2::read::GzDecoder::new(&bytes[..])
                .read_to_string(&mut text)
                .map(drop),
            Some("zst") => zstd::decode_all(&bytes[..]).map(|bytes| text = String::from_utf8(bytes).unwrap()),
            _ => {
                text = String::from_utf8(bytes).unwrap();
                Ok(())
            }
        }
        .unwrap();
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{}: a torn line",
            path.display()
        );
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

fn text<'l>(lines: impl IntoIterator<Item = &'l str>) -> LinesText {
    lines.into_iter().collect()
}

/// Fails unless each line is there once.
fn assert_once(directory: &Path, wanted: impl IntoIterator<Item = String>) {
    let found = all_lines(directory);
    let different: BTreeSet<&String> = found.iter().collect();
    assert_eq!(found.len(), different.len(), "none is there twice");
    let wanted: BTreeSet<String> = wanted.into_iter().collect();
    let missing: Vec<&String> = wanted.iter().filter(|line| !different.contains(line)).collect();
    assert!(
        missing.is_empty(),
        "{} are missing: {:?}",
        missing.len(),
        missing.first()
    );
    assert_eq!(wanted.len(), found.len(), "there are no others");
}
