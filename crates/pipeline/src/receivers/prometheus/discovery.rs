//! Which targets a job has: fixed ones and those of files. Owns relabelling of targets and their addresses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

use super::config::{Scheme, ScrapeConfig, TargetGroup};
use super::relabel::{Labels, Relabel};

/// Most targets of one job.
const TARGETS_MAX: usize = 10_000;
/// Largest file with targets.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What is scraped, and the labels that its series get.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) labels: Labels,
}

/// The targets of a job now. Reads files; an error leaves the caller with those it had.
pub(super) fn targets(
    job: &ScrapeConfig,
    external: &BTreeMap<String, String>,
) -> Result<Vec<Target>, String> {
    let relabel = Relabel::new(&job.relabel_configs).map_err(|(_, problem)| problem)?;
    let fixed = job.static_configs.iter().map(|group| (None, group.clone()));
    let mut groups: Vec<(Option<PathBuf>, TargetGroup)> = fixed.collect();
    for pattern in job.file_sd_configs.iter().flat_map(|discovery| &discovery.files) {
        for file in matching(pattern)? {
            groups.extend(read(&file)?.into_iter().map(|group| (Some(file.clone()), group)));
        }
    }
    let mut targets = Vec::new();
    for (file, group) in &groups {
        for address in &group.targets {
            let mut labels = described(job, address, &group.labels);
            if let Some(file) = file {
                labels.insert("__meta_filepath".to_owned(), file.display().to_string());
            }
            if relabel.apply(&mut labels) {
                targets.push(finish(job, labels, external)?);
            }
            if targets.len() > TARGETS_MAX {
                return Err(format!("there are more than {TARGETS_MAX} targets"));
            }
        }
    }
    targets.sort();
    targets.dedup();
    Ok(targets)
}

/// The labels that relabelling sees.
fn described(job: &ScrapeConfig, address: &str, group: &BTreeMap<String, String>) -> Labels {
    let scheme = match job.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let mut labels = Labels::new();
    let own = [
        ("job", job.job_name.as_str()),
        ("__scheme__", scheme),
        ("__metrics_path__", &job.metrics_path),
    ];
    for (name, value) in own.into_iter().chain([("__address__", address)]) {
        labels.insert(name.to_owned(), value.to_owned());
    }
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            labels.insert(format!("__param_{name}"), first.clone());
        }
    }
    labels.extend(group.iter().map(|(name, value)| (name.clone(), value.clone())));
    labels
}

/// The address that the labels have come to, and the labels that stay.
fn finish(
    job: &ScrapeConfig,
    mut labels: Labels,
    external: &BTreeMap<String, String>,
) -> Result<Target, String> {
    let get = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let address = get("__address__");
    let text = format!("{}://{address}{}", get("__scheme__"), get("__metrics_path__"));
    let mut url = Url::parse(&text).map_err(|error| format!("{text:?} is not an address: {error}"))?;
    if url.host_str().unwrap_or_default().is_empty() {
        return Err(format!("{text:?} has no host"));
    }
    let parameters: Vec<(&str, &String)> = labels
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("__param_")?, value)))
        .collect();
    if !parameters.is_empty() {
        let mut query = url.query_pairs_mut();
        for (name, first) in parameters {
            // A label holds the first value; the others are those of the settings.
            let others = job.params.get(name).into_iter().flatten().skip(1);
            query.extend_pairs(std::iter::once(first).chain(others).map(|value| (name, value)));
        }
    }
    labels.entry("instance".to_owned()).or_insert(address);
    labels.retain(|name, value| !name.starts_with("__") && !value.is_empty());
    for (name, value) in external {
        labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(Target { url, labels })
}

/// Files that a pattern means; `*` in its last part stands for any text.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let Some((before, after)) = name.split_once('*') else {
        // One that is not there yet has no targets yet.
        return Ok(if pattern.exists() {
            vec![pattern.to_owned()]
        } else {
            Vec::new()
        });
    };
    let folder = pattern
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        })
        .collect();
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Vec<TargetGroup>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(format!(
            "{} is larger than {FILE_BYTES_MAX} bytes",
            file.display()
        ));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    // JSON is YAML too.
    cupola_config::yaml::from_str(&text)
        .map_err(|error| format!("{}: line {}: {error}", file.display(), error.line))
}
