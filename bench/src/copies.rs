//! A larger store out of one there is: the same segments given to more tenants, as one more commit of the catalog, with
//! hard links for files. What a start reads, the catalog and the listing of files, is as large as in a store that was
//! filled so far.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Makes `target` a copy of the store in `source`, with its segments `copies` times more.
pub(crate) fn multiply(source: &Path, target: &Path, copies: usize) -> Result<()> {
    link_all(source, target)?;
    let manifest = target.join("manifest");
    let (version, segments) = replay(&manifest)?;
    let mut added = Vec::new();
    for copy in 1..=copies {
        for (path, segment) in &segments {
            let tenant = segment["tenant"].as_str().context("a segment without a tenant")?;
            let copied = format!("copy-{copy}-{tenant}");
            let place = path.replacen(&format!("data/{tenant}/"), &format!("data/{copied}/"), 1);
            let file = target.join(&place);
            std::fs::create_dir_all(file.parent().context("a segment without a folder")?)?;
            std::fs::hard_link(target.join(path), file)?;
            let mut segment = segment.clone();
            segment["tenant"] = json!(copied);
            segment["path"] = json!(place);
            added.push(segment);
        }
    }
    let commit = json!({
        "format": 1,
        "version": version + 1,
        "commit": "00000000-0000-7000-8000-000000000000",
        "added": added,
    });
    std::fs::write(
        manifest.join(format!("{:020}.json", version + 1)),
        commit.to_string(),
    )?;
    Ok(())
}

/// The newest version of the catalog and its segments by path.
fn replay(manifest: &Path) -> Result<(u64, BTreeMap<String, Value>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(manifest)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let is_checkpoint = |path: &Path| path.to_string_lossy().ends_with(".checkpoint.json");
    let mut segments = BTreeMap::new();
    let mut version = 0;
    if let Some(checkpoint) = files.iter().rev().find(|path| is_checkpoint(path)) {
        let read: Value = serde_json::from_slice(&std::fs::read(checkpoint)?)?;
        version = read["version"]
            .as_u64()
            .context("a checkpoint without a version")?;
        add(&mut segments, &read["segments"]);
    }
    for path in files.iter().filter(|path| !is_checkpoint(path)) {
        let read: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let number = read["version"].as_u64().context("a commit without a version")?;
        if number <= version {
            continue;
        }
        version = number;
        for removed in read["removed"].as_array().into_iter().flatten() {
            segments.remove(removed.as_str().unwrap_or_default());
        }
        add(&mut segments, &read["added"]);
    }
    Ok((version, segments))
}

fn add(segments: &mut BTreeMap<String, Value>, added: &Value) {
    for segment in added.as_array().into_iter().flatten() {
        if let Some(path) = segment["path"].as_str() {
            segments.insert(path.to_owned(), segment.clone());
        }
    }
}

/// Everything below `source` as hard links; small files, which a server may write to, as copies.
fn link_all(source: &Path, target: &Path) -> Result<()> {
    std::fs::create_dir_all(target)?;
    for entry in std::fs::read_dir(source)? {
        let path = entry?.path();
        let place = target.join(path.file_name().context("a file without a name")?);
        if path.is_dir() {
            link_all(&path, &place)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            std::fs::hard_link(&path, &place)?;
        } else {
            std::fs::copy(&path, &place)?;
        }
    }
    Ok(())
}
