//! Which files there are: paths by pattern, without those left out, in an order. Refuses to follow directories in circles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::config::FilelogConfig;
use super::order::Order;

/// Directories that `**` goes into, within one another.
const DEPTH_MAX: usize = 64;
/// Alternatives that `{a,b}` may make of one pattern.
const ALTERNATIVES_MAX: usize = 1000;

/// Finds files again and again.
#[derive(Debug)]
pub(super) struct Finder {
    patterns: Vec<Vec<Part>>,
    exclude: GlobSet,
    age_max: Option<Duration>,
    order: Order,
}

/// One step of a pattern of paths.
#[derive(Debug)]
enum Part {
    Name(String),
    Glob(GlobMatcher),
    /// `**`: any number of directories.
    Any,
}

/// A file that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Of the file, through symbolic links.
    pub(super) metadata: fs::Metadata,
}

impl Finder {
    /// The error is a key and what is wrong with it.
    pub(super) fn new(config: &FilelogConfig) -> Result<Finder, (String, String)> {
        if config.include.is_empty() {
            return Err((
                "include".to_owned(),
                "is missing: patterns of the files to be read".to_owned(),
            ));
        }
        let mut patterns = Vec::new();
        for (index, pattern) in config.include.iter().enumerate() {
            let failed = |problem| (format!("include[{index}]"), problem);
            for pattern in alternatives(pattern).map_err(failed)? {
                patterns.push(parts(&pattern).map_err(failed)?);
            }
        }
        let mut exclude = GlobSetBuilder::new();
        for (index, pattern) in config.exclude.iter().enumerate() {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            exclude.add(glob.map_err(|error| (format!("exclude[{index}]"), error.to_string()))?);
        }
        let exclude = exclude
            .build()
            .map_err(|error| ("exclude".to_owned(), error.to_string()))?;
        let age = config.exclude_older_than.0;
        let order = Order::new(&config.ordering_criteria)
            .map_err(|(key, problem)| (format!("ordering_criteria.{key}"), problem))?;
        Ok(Finder {
            patterns,
            exclude,
            age_max: (!age.is_zero()).then_some(age),
            order,
        })
    }

    /// The files that there are now, each path once.
    pub(super) fn find(&self, now: DateTime<Utc>) -> Vec<Found> {
        let mut paths = BTreeMap::new();
        for parts in &self.patterns {
            let root = match parts.first() {
                Some(Part::Name(name)) if name.is_empty() => PathBuf::from("/"),
                _ => PathBuf::new(),
            };
            let parts = if root.as_os_str().is_empty() {
                &parts[..]
            } else {
                &parts[1..]
            };
            walk(&root, parts, 0, &mut paths);
        }
        let oldest = self
            .age_max
            .and_then(|age| SystemTime::from(now).checked_sub(age));
        let kept = paths.into_iter().filter_map(|(path, ())| {
            if self.exclude.is_match(&path) {
                return None;
            }
            let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
            let too_old = oldest.is_some_and(|oldest| metadata.modified().is_ok_and(|time| time < oldest));
            (!too_old).then_some(Found { path, metadata })
        });
        self.order.sort(kept.collect())
    }
}

/// Follows the parts of a pattern from a directory on.
fn walk(at: &Path, parts: &[Part], depth: usize, paths: &mut BTreeMap<PathBuf, ()>) {
    let Some((part, rest)) = parts.split_first() else {
        paths.insert(at.to_owned(), ());
        return;
    };
    match part {
        Part::Name(name) => {
            let path = at.join(name);
            // A name that is not there costs one look, not one for each pattern behind it.
            if path.symlink_metadata().is_ok() {
                walk(&path, rest, depth, paths);
            }
        }
        Part::Glob(glob) => {
            for (path, _) in entries(at) {
                if path.file_name().is_some_and(|name| glob.is_match(name)) {
                    walk(&path, rest, depth, paths);
                }
            }
        }
        Part::Any => {
            walk(at, rest, depth, paths);
            if depth >= DEPTH_MAX {
                return;
            }
            for (path, is_directory) in entries(at) {
                if is_directory {
                    walk(&path, parts, depth + 1, paths);
                } else if rest.is_empty() {
                    paths.insert(path, ());
                }
            }
        }
    }
}

/// What a directory has; links to directories are none here.
fn entries(directory: &Path) -> Vec<(PathBuf, bool)> {
    let here = directory.as_os_str().is_empty();
    let Ok(entries) = fs::read_dir(if here { Path::new(".") } else { directory }) else {
        return Vec::new();
    };
    let read = |entry: fs::DirEntry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        (directory.join(entry.file_name()), is_directory)
    };
    entries.flatten().map(read).collect()
}

fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    if pattern.is_empty() {
        return Err("is empty".to_owned());
    }
    let part = |(index, name): (usize, &str)| {
        if name == "**" {
            return Some(Ok(Part::Any));
        }
        if name.is_empty() && index > 0 || name == "." {
            return None;
        }
        if !name.contains(['*', '?', '[', '\\']) {
            return Some(Ok(Part::Name(name.to_owned())));
        }
        let glob = GlobBuilder::new(name)
            .literal_separator(true)
            .backslash_escape(true)
            .build();
        Some(
            glob.map(|glob| Part::Glob(glob.compile_matcher()))
                .map_err(|error| error.to_string()),
        )
    };
    let parts = pattern
        .split('/')
        .enumerate()
        .filter_map(part)
        .collect::<Result<Vec<_>, _>>()?;
    match parts.is_empty() {
        true => Err("names no file".to_owned()),
        false => Ok(parts),
    }
}

/// What a pattern with `{a,b}` stands for; a slash may stand within.
fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let mut waiting = vec![pattern.to_owned()];
    let mut found = BTreeSet::new();
    while let Some(pattern) = waiting.pop() {
        if waiting.len() + found.len() > ALTERNATIVES_MAX {
            return Err(format!("stands for more than {ALTERNATIVES_MAX} patterns"));
        }
        // The innermost braces first: their content has no others.
        let Some(open) = pattern.rfind('{') else {
            if pattern.contains('}') {
                return Err("has a `}` without a `{`".to_owned());
            }
            found.insert(pattern);
            continue;
        };
        let close = pattern[open..].find('}').ok_or("has a `{` that is not closed")? + open;
        for choice in pattern[open + 1..close].split(',') {
            waiting.push(format!("{}{choice}{}", &pattern[..open], &pattern[close + 1..]));
        }
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(directory: &Path, include: &[&str], exclude: &[&str]) -> Vec<String> {
        let absolute = |pattern: &&str| format!("{}/{pattern}", directory.display());
        let config = FilelogConfig {
            include: include.iter().map(absolute).collect(),
            exclude: exclude.iter().map(absolute).collect(),
            ..FilelogConfig::default()
        };
        let finder = Finder::new(&config).unwrap();
        let name = |found: Found| found.path.strip_prefix(directory).unwrap().display().to_string();
        finder.find(Utc::now()).into_iter().map(name).collect()
    }

    #[test]
    fn patterns_are_those_of_the_collector() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.log", "b.log", "b.txt", "x/a.log", "x/y/a.log", "x/y/z.log.1"] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(directory.path(), directory.path().join("x/round")).unwrap();
        for (include, exclude, expected) in [
            (&["*.log"][..], &[][..], &["a.log", "b.log"][..]),
            (&["[ab].log", "a.log"], &["b*"], &["a.log"]),
            (&["**/*.log"], &[], &["a.log", "b.log", "x/a.log", "x/y/a.log"]),
            (&["**/*.log"], &["**/y/*", "a.log"], &["b.log", "x/a.log"]),
            (
                &["{b.{log,txt},x/y/*}"],
                &[],
                &["b.log", "b.txt", "x/y/a.log", "x/y/z.log.1"],
            ),
            (&["x/**"], &[], &["x/a.log", "x/y/a.log", "x/y/z.log.1"]),
            (&["missing/*", "x/?.log"], &[], &["x/a.log"]),
        ] {
            assert_eq!(
                found(directory.path(), include, exclude),
                expected,
                "{include:?} {exclude:?}"
            );
        }
    }

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        for pattern in ["", "a/[b", "a/{b", "a}"] {
            let config = FilelogConfig {
                include: vec![pattern.to_owned()],
                ..FilelogConfig::default()
            };
            assert_eq!(Finder::new(&config).unwrap_err().0, "include[0]", "{pattern}");
        }
    }
}
