//! Everything the SDK can be told, resolved: what the environment, files and builders come down to. Owns the defaults.
//! Knows no variable and no file: those who read them make a [`Settings`] of what they find.
//!
//! What can be changed while the SDK runs is changed by giving it other settings; [`Settings`] says of each what is not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_telemetry::Signal;

use crate::attributes::AttributeLimits;
use crate::backend::Backend;
use crate::baggage::Baggage;
use crate::log::Severity;
use crate::metrics::MetricSettings;
use crate::pending::PendingSettings;
use crate::propagation::Propagators;
use crate::rate_limit::RateLimitSettings;
use crate::recorder::RecorderLimits;
use crate::resource::ResourceSettings;
use crate::sampling::{AlwaysOn, ForceSettings, ParentBased, Sampler};
use crate::scrub::ScrubSettings;
use crate::span::SpanLimits;
use crate::tail::TailSettings;

/// What an SDK is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Nothing is recorded; contexts are passed on all the same.
    pub is_disabled: bool,
    /// Cannot be changed later: what has been recorded has it.
    pub resource: ResourceSettings,
    pub propagators: Propagators,
    pub baggage: BaggageSettings,
    pub scrub: ScrubSettings,
    pub traces: TraceSettings,
    pub logs: LogSettings,
    /// Cannot be changed later.
    pub metrics: MetricSettings,
    pub backends: Vec<Backend>,
    /// What log records look like on the terminal, printed at once by the crate that the application uses; `None` for nothing.
    pub console: Option<ConsoleSettings>,
    /// Where records are kept from their end until they have been delivered, so that a crash loses none; without it they are
    /// in memory. Cannot be changed later.
    pub spool: Option<SpoolSettings>,
    /// Whether the SDK tells about itself, as metrics.
    pub self_metrics: bool,
    /// What of its own troubles the SDK says on standard error: less severe ones are kept to itself, and all of them without.
    pub own_level: Option<Severity>,
    /// Longest that the end of the process waits for what has not been delivered.
    pub exit_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            is_disabled: false,
            resource: ResourceSettings::default(),
            propagators: Propagators::default(),
            baggage: BaggageSettings::default(),
            scrub: ScrubSettings::default(),
            traces: TraceSettings::default(),
            logs: LogSettings::default(),
            metrics: MetricSettings::default(),
            backends: Vec::new(),
            console: Some(ConsoleSettings::default()),
            spool: None,
            self_metrics: true,
            own_level: Some(Severity::INFO),
            exit_timeout: Duration::from_secs(5),
        }
    }
}

/// Spans.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    pub sampler: Arc<dyn Sampler>,
    /// How a request may ask for its whole trace. Looked at by what serves requests.
    pub force: ForceSettings,
    /// Which traces are exported, decided when they have ended in this process; all that were sampled without it.
    pub tail: Option<TailSettings>,
    /// Tells about spans while they run; nothing without it.
    pub pending: Option<PendingSettings>,
    pub limits: SpanLimits,
    /// Cannot be changed later.
    pub queue: QueueSettings,
}

impl Default for TraceSettings {
    fn default() -> TraceSettings {
        TraceSettings {
            sampler: Arc::new(ParentBased::new(Arc::new(AlwaysOn))),
            force: ForceSettings::default(),
            tail: None,
            pending: None,
            limits: SpanLimits::default(),
            queue: QueueSettings::of(Signal::Traces),
        }
    }
}

/// Log records.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub limits: AttributeLimits,
    /// Less severe ones are not recorded at all; each backend may have a higher one.
    pub level: Severity,
    /// Somebody has said so. Otherwise whoever makes the records may have a higher one, as is usual in its language.
    pub is_level_given: bool,
    /// How many may be recorded.
    pub rate_limits: RateLimitSettings,
    /// Cannot be changed later.
    pub queue: QueueSettings,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings {
            limits: AttributeLimits::default(),
            level: Severity::TRACE,
            is_level_given: false,
            rate_limits: RateLimitSettings::default(),
            queue: QueueSettings::of(Signal::Logs),
        }
    }
}

/// Records between their end and their export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    pub limits: RecorderLimits,
    /// Longest that a record waits while there are few.
    pub delay: Duration,
}

impl QueueSettings {
    /// The defaults of the specification for the delay: 5 s for spans, 1 s for log records.
    pub fn of(signal: Signal) -> QueueSettings {
        let seconds = match signal {
            Signal::Traces => 5,
            Signal::Logs | Signal::Metrics => 1,
        };
        QueueSettings {
            limits: RecorderLimits::default(),
            delay: Duration::from_secs(seconds),
        }
    }
}

/// Log records as people see them while the application runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsoleSettings {
    pub format: ConsoleFormat,
    pub colour: Colour,
    pub target: ConsoleTarget,
    /// Less severe ones are not shown; by default all that are recorded.
    pub level: Option<Severity>,
    /// Shows spans too, as a tree to the right of which their records are.
    pub spans: bool,
}

/// How one record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleFormat {
    /// In columns, with the fields behind the message.
    #[default]
    Pretty,
    /// `pid|time|level|module:function:line - message`.
    Pattern,
    /// As little as says it.
    Compact,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// Where a terminal shows it.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleTarget {
    #[default]
    Stderr,
    Stdout,
}

/// Files in which records survive a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Of this application alone; its processes have a directory each below it.
    pub directory: PathBuf,
    /// Of each backend.
    pub bytes_max: u64,
}

/// Which members of the baggage become attributes of what is recorded while it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaggageSettings {
    pub spans: BaggageKeys,
    pub logs: BaggageKeys,
    /// Each value makes a series of its own: only what is opted in.
    pub metrics: BaggageKeys,
}

impl Default for BaggageSettings {
    fn default() -> BaggageSettings {
        let usual = ["tenant.id", "user.id", "request_id", "correlation_id"];
        let usual = BaggageKeys::These(usual.map(str::to_owned).to_vec());
        BaggageSettings {
            spans: usual.clone(),
            logs: usual,
            metrics: BaggageKeys::These(Vec::new()),
        }
    }
}

/// Names of members of the baggage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaggageKeys {
    All,
    These(Vec<String>),
}

impl BaggageKeys {
    /// Calls `with` with each member that is among them.
    #[inline]
    pub fn each<'b>(&self, baggage: &'b Baggage, mut with: impl FnMut(&'b str, &'b str)) {
        for member in baggage.members() {
            let is_wanted = match self {
                BaggageKeys::All => true,
                BaggageKeys::These(names) => names.contains(&member.name),
            };
            if is_wanted {
                with(&member.name, &member.value);
            }
        }
    }
}
