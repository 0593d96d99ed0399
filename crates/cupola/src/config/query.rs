//! What statements may use: the section `query` with its defaults. Knows the disk only by how much of it is free.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cupola_query::{QueryConfig, QueryLimits};

use super::file::QuerySection;
use crate::failure::Failure;
use cupola_config::units::{ByteSize, MemoryLimit, TimeSpan};

/// Below the data directory, or the one that is given: rows of statements that need more memory than there is. Cleared
/// at the start, so that it must be a directory of its own.
const SPILL_DIRECTORY: &str = "spill";
const SPILL_DIRECTORY_ELSEWHERE: &str = "cupola-spill";
/// Of what is free at the start: the log and the segments are on the same disk unless it is said otherwise.
const SPILL_SHARE_DEFAULT: MemoryLimit = MemoryLimit::Percent(25.0);
/// Assumed where the system does not tell what is free.
const FREE_FALLBACK: u64 = 4 << 30;

/// Settings of the query engine, with the defaults put in.
#[derive(Clone, Debug)]
pub(crate) struct QuerySettings {
    pub(crate) limits: QueryLimits,
    pub(crate) running_max: usize,
    pub(crate) waiting_max: usize,
    pub(crate) slow_query: Duration,
    /// As it was given.
    spill_directory_given: Option<PathBuf>,
    spill_limit: MemoryLimit,
}

impl Default for QuerySettings {
    fn default() -> Self {
        let default = QueryConfig::default();
        QuerySettings {
            limits: default.limits,
            running_max: default.running_max,
            waiting_max: default.waiting_max,
            slow_query: default.slow_query,
            spill_directory_given: None,
            spill_limit: SPILL_SHARE_DEFAULT,
        }
    }
}

impl QuerySettings {
    pub(super) fn resolve(section: QuerySection) -> Result<QuerySettings, Failure> {
        let default = QueryConfig::default();
        let positive = |key: &str, value: Option<u64>| match value {
            Some(0) => Err(Failure::usage(format!("query.{key} is zero"))
                .hint("leave it out for the default; every statement would be refused")),
            value => Ok(value),
        };
        let timeout = section.timeout.map(|span| span.0);
        positive("timeout", timeout.map(|time| u64::from(!time.is_zero())))?;
        let count = |key, value: Option<usize>, default: usize| {
            positive(key, value.map(|count| count as u64)).map(|_| value.unwrap_or(default))
        };
        let memory = positive("memory_bytes_max", section.memory_bytes_max.map(|size| size.0))?;
        let limits = QueryLimits {
            time: timeout.or(default.limits.time),
            memory_bytes_max: memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            rows_max: positive("rows_max", section.rows_max)?.or(default.limits.rows_max),
            bytes_max: positive("bytes_max", section.bytes_max.map(|size| size.0))?
                .or(default.limits.bytes_max),
        };
        Ok(QuerySettings {
            limits,
            running_max: count("running_max", section.running_max, default.running_max)?,
            waiting_max: section.waiting_max.unwrap_or(default.waiting_max),
            slow_query: section.slow_query.map_or(default.slow_query, |span| span.0),
            spill_directory_given: section.spill_directory,
            spill_limit: section.spill_limit.unwrap_or(SPILL_SHARE_DEFAULT),
        })
    }

    /// The engine's configuration; `data` is the data directory.
    pub(crate) fn config(&self, data: &Path) -> QueryConfig {
        let directory = self.spill_directory(data);
        let spill_bytes_max = match self.spill_limit {
            MemoryLimit::Bytes(bytes) => bytes,
            MemoryLimit::Percent(percent) => (free_bytes(&directory) as f64 * percent / 100.0) as u64,
        };
        QueryConfig {
            running_max: self.running_max,
            waiting_max: self.waiting_max,
            limits: self.limits,
            slow_query: self.slow_query,
            // Without room they fail, with a message that says what they lacked.
            spill_directory: (spill_bytes_max > 0).then_some(directory),
            spill_bytes_max,
            ..QueryConfig::default()
        }
    }

    fn spill_directory(&self, data: &Path) -> PathBuf {
        match &self.spill_directory_given {
            Some(given) => given.join(SPILL_DIRECTORY_ELSEWHERE),
            None => data.join(SPILL_DIRECTORY),
        }
    }

    /// The section, as a file has it.
    pub(super) fn show(&self, text: &mut String) {
        text.push_str("query:\n");
        let limits = &self.limits;
        if let Some(time) = limits.time {
            let _ = writeln!(text, "  timeout: {}", TimeSpan(time));
        }
        if let Some(rows) = limits.rows_max {
            let _ = writeln!(text, "  rows_max: {rows}");
        }
        if let Some(bytes) = limits.bytes_max {
            let _ = writeln!(text, "  bytes_max: {}", ByteSize(bytes));
        }
        if let Some(bytes) = limits.memory_bytes_max {
            let _ = writeln!(text, "  memory_bytes_max: {}", ByteSize(bytes as u64));
        }
        let _ = writeln!(text, "  running_max: {}", self.running_max);
        let _ = writeln!(text, "  waiting_max: {}", self.waiting_max);
        let _ = writeln!(text, "  slow_query: {}", TimeSpan(self.slow_query));
        if let Some(directory) = &self.spill_directory_given {
            // A text of JSON is one of YAML.
            let quoted = serde_json::Value::from(directory.to_string_lossy());
            let _ = writeln!(text, "  spill_directory: {quoted}");
        }
        let _ = writeln!(text, "  spill_limit: {}", self.spill_limit);
    }
}

/// Bytes that may still be written where `directory` is, or will be.
fn free_bytes(directory: &Path) -> u64 {
    let free = directory
        .ancestors()
        // The parent of a relative path is the current directory.
        .map(|path| {
            if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            }
        })
        .find_map(|path| rustix::fs::statvfs(path).ok());
    free.map_or(FREE_FALLBACK, |free| free.f_bavail.saturating_mul(free.f_frsize))
}

#[cfg(test)]
mod tests {
    use crate::config::{LogFlags, ServeFlags, Settings};

    use super::*;

    fn resolve(text: &str) -> Result<Settings, Failure> {
        let file = crate::config::file::File::parse(text).unwrap();
        Settings::resolve(&ServeFlags::default(), &LogFlags::default(), file)
    }

    #[test]
    fn every_limit_can_be_set_and_is_shown_as_it_holds() {
        let text = "query: {timeout: 90s, rows_max: 7, bytes_max: 2MiB, memory_bytes_max: 3MiB, running_max: 4, \
                    waiting_max: 0, slow_query: 250ms, spill_directory: scratch, spill_limit: 5GiB}";
        let settings = resolve(text).unwrap();
        let config = settings.query.config(Path::new("data"));
        assert_eq!(
            config.limits,
            QueryLimits {
                time: Some(Duration::from_secs(90)),
                memory_bytes_max: Some(3 << 20),
                rows_max: Some(7),
                bytes_max: Some(2 << 20),
            }
        );
        assert_eq!((config.running_max, config.waiting_max), (4, 0));
        assert_eq!(config.slow_query, Duration::from_millis(250));
        assert_eq!(config.spill_bytes_max, 5 << 30);
        assert_eq!(
            config.spill_directory,
            Some(Path::new("scratch").join("cupola-spill"))
        );
        let again = resolve(&settings.show()).unwrap();
        assert_eq!(again.show(), settings.show());
        assert!(
            settings.show().contains("  timeout: 90s\n"),
            "{}",
            settings.show()
        );
    }

    #[test]
    fn spilled_rows_get_a_share_of_what_is_free_unless_none_may_be() {
        let data = tempfile::tempdir().unwrap();
        let not_yet = data.path().join("not/yet/there");
        let config = resolve("").unwrap().query.config(&not_yet);
        let free = free_bytes(&not_yet);
        assert!(free > 0 && config.spill_bytes_max > 0);
        // What is free changes while the test runs.
        assert!(
            config.spill_bytes_max < free,
            "{} of {free}",
            config.spill_bytes_max
        );
        assert_eq!(config.spill_directory, Some(not_yet.join("spill")));
        let off = resolve("query: {spill_limit: 0}").unwrap();
        assert_eq!(off.query.config(data.path()).spill_directory, None);
        assert!(free_bytes(Path::new("not-there")) > 0, "of the current directory");
    }

    #[test]
    fn what_would_refuse_every_statement_is_refused_by_name() {
        for (text, named) in [
            ("query: {timeout: 0s}", "query.timeout"),
            ("query: {rows_max: 0}", "query.rows_max"),
            ("query: {bytes_max: 0}", "query.bytes_max"),
            ("query: {memory_bytes_max: 0}", "query.memory_bytes_max"),
            ("query: {running_max: 0}", "query.running_max"),
        ] {
            let failure = resolve(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(failure.to_string().contains(named), "{failure}");
        }
        assert!(
            crate::config::file::File::parse("query: {row_max: 1}").is_err(),
            "an unknown key"
        );
    }
}
