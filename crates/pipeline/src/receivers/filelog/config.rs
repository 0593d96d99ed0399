//! Settings of the receiver `filelog`, as the Collector has them. Refuses what cannot work, by its key.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::ComponentId;
use cupola_config::units::{ByteSize, TimeSpan};
use serde::Deserialize;

use super::finder::Finder;
use super::header::Header;
use crate::operators::{self, OperatorConfig, Problem, Variables};
use crate::receivers::text::Templates;
use crate::receivers::text::delivery::RetryOnFailure;
use crate::receivers::text::encoding::Encoding;
use crate::receivers::text::split::{MultilineConfig, Split};

/// A beginning that is shorter tells files apart badly.
const FINGERPRINT_BYTES_MIN: u64 = 16;
/// A longer one is read at every look at a file.
const FINGERPRINT_BYTES_MAX: u64 = 1 << 20;
/// A record must fit what one batch may take of memory.
const LOG_BYTES_MAX: u64 = 64 << 20;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilelogConfig {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Zero: files of any age.
    pub exclude_older_than: TimeSpan,
    pub ordering_criteria: OrderingConfig,
    pub start_at: StartAt,
    pub poll_interval: TimeSpan,
    pub fingerprint_size: ByteSize,
    /// Without effect: buffers grow as they have to.
    pub initial_buffer_size: ByteSize,
    pub max_log_size: ByteSize,
    pub max_log_size_behavior: TooLong,
    /// Files held open.
    pub max_concurrent_files: usize,
    /// Of half as many files as may be open, read at one poll. Zero: all.
    pub max_batches: usize,
    pub encoding: Encoding,
    pub multiline: MultilineConfig,
    /// Lines at the beginning of a file that say something of all its records.
    pub header: Option<HeaderConfig>,
    /// Zero: the end of a file without a line end waits for one.
    pub force_flush_period: TimeSpan,
    pub preserve_leading_whitespaces: bool,
    pub preserve_trailing_whitespaces: bool,
    pub include_file_name: bool,
    pub include_file_path: bool,
    pub include_file_name_resolved: bool,
    pub include_file_path_resolved: bool,
    pub include_file_owner_name: bool,
    pub include_file_owner_group_name: bool,
    pub include_file_permissions: bool,
    pub include_file_record_number: bool,
    pub include_file_record_offset: bool,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
    pub operators: Vec<OperatorConfig>,
    pub storage: Option<ComponentId>,
    pub retry_on_failure: RetryOnFailure,
    pub delete_after_read: bool,
    pub compression: Compression,
    /// Without effect: what is known of files is kept until there is too much of it.
    pub polls_to_archive: usize,
    /// Without effect: nobody else is kept from a file.
    pub acquire_fs_lock: bool,
    /// Without effect.
    pub file_cache_advise: bool,
    /// Without effect: a file that was truncated is read from its beginning.
    pub on_truncate: OnTruncate,
    /// Without effect: nothing is read of a file that has not changed.
    pub skip_unmodified_files: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderConfig {
    /// What every line of it matches.
    pub pattern: String,
    /// What finds attributes in a line.
    pub metadata_operators: Vec<OperatorConfig>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    Beginning,
    #[default]
    End,
}

/// What happens to a record beyond `max_log_size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    #[default]
    Split,
    /// The rest of it is dropped, and counted.
    Truncate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    #[serde(rename = "")]
    None,
    /// All files are compressed.
    Gzip,
    /// Those whose names end with `.gz` are.
    Auto,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTruncate {
    #[default]
    Ignore,
    ReadWholeFile,
    ReadNew,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderingConfig {
    /// Finds in a path what is sorted by.
    pub regex: String,
    /// Zero: all; unless given, one.
    pub top_n: Option<usize>,
    pub sort_by: Vec<SortConfig>,
    /// Files of which this finds the same are a group of their own.
    pub group_by: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SortConfig {
    pub sort_type: SortType,
    #[serde(default)]
    pub regex_key: String,
    #[serde(default)]
    pub ascending: bool,
    #[serde(default)]
    pub layout: String,
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SortType {
    Numeric,
    Alphabetical,
    Timestamp,
    Mtime,
}

impl Default for FilelogConfig {
    fn default() -> FilelogConfig {
        FilelogConfig {
            include: Vec::new(),
            exclude: Vec::new(),
            exclude_older_than: TimeSpan(Duration::ZERO),
            ordering_criteria: OrderingConfig::default(),
            start_at: StartAt::End,
            poll_interval: TimeSpan(Duration::from_millis(200)),
            fingerprint_size: ByteSize(1000),
            initial_buffer_size: ByteSize(16 << 10),
            max_log_size: ByteSize(1 << 20),
            max_log_size_behavior: TooLong::Split,
            max_concurrent_files: 1024,
            max_batches: 0,
            encoding: Encoding::Utf8,
            multiline: MultilineConfig::default(),
            header: None,
            force_flush_period: TimeSpan(Duration::from_millis(500)),
            preserve_leading_whitespaces: false,
            preserve_trailing_whitespaces: false,
            include_file_name: true,
            include_file_path: false,
            include_file_name_resolved: false,
            include_file_path_resolved: false,
            include_file_owner_name: false,
            include_file_owner_group_name: false,
            include_file_permissions: false,
            include_file_record_number: false,
            include_file_record_offset: false,
            attributes: BTreeMap::new(),
            resource: BTreeMap::new(),
            operators: Vec::new(),
            storage: None,
            retry_on_failure: RetryOnFailure::default(),
            delete_after_read: false,
            compression: Compression::None,
            polls_to_archive: 0,
            acquire_fs_lock: false,
            file_cache_advise: false,
            on_truncate: OnTruncate::Ignore,
            skip_unmodified_files: false,
        }
    }
}

impl FilelogConfig {
    /// Everything that is wrong: keys and problems.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |key: &str, problem: String| problems.push((key.to_owned(), problem));
        if let Err((key, problem)) = Finder::new(self) {
            add(&key, problem);
        }
        let between = |size: ByteSize, least: u64, most: u64| (least..=most).contains(&size.0);
        if !between(
            self.fingerprint_size,
            FINGERPRINT_BYTES_MIN,
            FINGERPRINT_BYTES_MAX,
        ) {
            add(
                "fingerprint_size",
                format!("must be between {FINGERPRINT_BYTES_MIN} bytes and 1 MiB"),
            );
        }
        if !between(self.max_log_size, FINGERPRINT_BYTES_MIN, LOG_BYTES_MAX) {
            add(
                "max_log_size",
                format!("must be between {FINGERPRINT_BYTES_MIN} bytes and 64 MiB"),
            );
        }
        if self.poll_interval.0.is_zero() {
            add("poll_interval", "must be greater than zero".to_owned());
        }
        if self.max_concurrent_files == 0 {
            add("max_concurrent_files", "must be greater than zero".to_owned());
        }
        if self.delete_after_read && self.start_at == StartAt::End {
            add(
                "delete_after_read",
                "needs `start_at: beginning`: what was there before would be deleted unread".to_owned(),
            );
        }
        if let Err((key, problem)) = self.split() {
            add(key, problem);
        }
        self.retry_on_failure.check(&mut problems);
        let nothing = Variables::new();
        Templates::compile("attributes", &self.attributes, &nothing, &mut problems);
        Templates::compile("resource", &self.resource, &nothing, &mut problems);
        if let Err(found) = operators::compile("operators", &self.operators, &nothing, &Default::default()) {
            problems.extend(found);
        }
        problems.extend(
            Header::new(self, &nothing, &Default::default())
                .err()
                .into_iter()
                .flatten(),
        );
        problems
    }

    pub(super) fn split(&self) -> Result<Split, (&'static str, String)> {
        Split::new(&self.multiline, self.encoding, self.max_log_size.0 as usize)
    }
}
