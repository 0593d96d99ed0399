//! Parts of the settings of the receiver `kafka`.

use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_export::retry::RetryConfig;
use serde::Deserialize;

/// Where a group begins that has read nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitialOffset {
    /// With what is written from now on.
    #[default]
    Latest,
    Earliest,
}

/// How partitions are divided among the members of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    Range,
    #[serde(alias = "round-robin")]
    Roundrobin,
    /// Refused: the client has it in its cooperative form alone.
    Sticky,
    CooperativeSticky,
}

/// Topics and encoding of one signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicSettings {
    /// Names, or patterns that begin with `^`.
    pub topics: Vec<String>,
    /// The older form, of one.
    pub topic: Option<String>,
    pub encoding: Option<String>,
    /// Patterns of topics that are left out.
    pub exclude_topics: Vec<String>,
    /// The older form, of one.
    pub exclude_topic: Option<String>,
}

/// When offsets are committed. Never before the sink has taken what they are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Autocommit {
    /// Every `interval`; otherwise after each batch.
    pub enable: bool,
    pub interval: TimeSpan,
}

impl Default for Autocommit {
    fn default() -> Self {
        Autocommit {
            enable: true,
            interval: TimeSpan(Duration::from_secs(1)),
        }
    }
}

/// What becomes of a message that was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessageMarking {
    /// Whether the two below hold. Messages are marked after they were taken in any case.
    pub after: bool,
    /// Goes on after one that was refused for now, once `error_backoff` has given up; it is kept as a dead letter.
    pub on_error: bool,
    /// Goes on after one that cannot be taken; otherwise the partition stands still. By default as `on_error`.
    pub on_permanent_error: Option<bool>,
}

/// Headers of messages that become attributes of resources, as `kafka.header.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderExtraction {
    pub extract_headers: bool,
    pub headers: Vec<String>,
}

/// Pauses between attempts to hand over what was refused for now.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorBackoff {
    /// Whether attempts end after `max_elapsed_time`, where `message_marking` lets a message be passed over.
    pub enabled: bool,
    pub initial_interval: TimeSpan,
    pub max_interval: TimeSpan,
    pub multiplier: f64,
    pub randomization_factor: f64,
    /// 0: never.
    pub max_elapsed_time: TimeSpan,
}

impl Default for ErrorBackoff {
    fn default() -> Self {
        ErrorBackoff {
            enabled: false,
            initial_interval: TimeSpan(Duration::from_millis(500)),
            max_interval: TimeSpan(Duration::from_secs(30)),
            multiplier: 1.5,
            randomization_factor: 0.5,
            max_elapsed_time: TimeSpan(Duration::from_secs(300)),
        }
    }
}

impl ErrorBackoff {
    pub(super) fn retry(&self) -> RetryConfig {
        RetryConfig {
            enabled: self.enabled,
            initial_interval: self.initial_interval.0,
            multiplier: self.multiplier,
            randomization_factor: self.randomization_factor,
            max_interval: self.max_interval.0,
            max_elapsed_time: self.max_elapsed_time.0,
        }
    }
}
