//! The sections of Cupola's own file beside `logger`, and what each changes.

use std::path::PathBuf;

use cupola_config::Node;
use cupola_config::units::{ByteSize, TimeSpan};
use serde::Deserialize;

use crate::attributes::AttributeLimits;
use crate::configuration::levels::Level;
use crate::configuration::metrics::{self, ExemplarFilterModel, HistogramModel, TemporalityModel, ViewModel};
use crate::configuration::text::File;
use crate::configuration::variables::{SPOOL_BYTES_DEFAULT, baggage_keys};
use crate::propagation::{Format, Propagators};
use crate::scrub::Scrubber;
use crate::settings::{
    BaggageKeys, Colour, ConsoleFormat, ConsoleTarget, QueueSettings, Settings, SpoolSettings,
};

/// One of `propagators`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Propagator {
    TraceContext,
    Baggage,
    B3,
    B3Multi,
    Jaeger,
    XRay,
}

pub(super) fn propagators(list: &[Propagator]) -> Propagators {
    let mut formats = Vec::new();
    for propagator in list {
        let format = match propagator {
            Propagator::TraceContext => Format::TraceContext,
            Propagator::Baggage => Format::Baggage,
            Propagator::B3 => Format::B3,
            Propagator::B3Multi => Format::B3Multi,
            Propagator::Jaeger => Format::Jaeger,
            Propagator::XRay => Format::XRay,
        };
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    Propagators(formats)
}

/// `logs`, and the like of other signals.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Queue {
    /// Longest that a record waits while there are few.
    pub(super) delay: Option<TimeSpan>,
    /// Of what waits, in bytes.
    pub(super) queue_size: Option<ByteSize>,
    pub(super) batch_items_max: Option<usize>,
}

impl Queue {
    pub(super) fn apply(&self, queue: &mut QueueSettings) {
        queue.delay = self.delay.map_or(queue.delay, |delay| delay.0);
        if let Some(size) = self.queue_size {
            queue.limits.bytes_max = usize::try_from(size.0).unwrap_or(usize::MAX);
        }
        if let Some(items) = self.batch_items_max {
            queue.limits.batch_items_max = items.max(1);
        }
    }
}

/// `metrics`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    interval: Option<TimeSpan>,
    timeout: Option<TimeSpan>,
    temporality: Option<TemporalityModel>,
    /// What a histogram becomes where no view says otherwise.
    histogram: Option<HistogramModel>,
    exemplars: Option<ExemplarFilterModel>,
    /// Most series of one instrument.
    cardinality_limit: Option<usize>,
    /// As in OpenTelemetry's declarative file.
    views: Option<Vec<ViewModel>>,
}

impl Metrics {
    pub(super) fn apply(&self, file: &mut File<'_>, root: &Node, settings: &mut Settings) {
        let metrics = &mut settings.metrics;
        for (key, span, into) in [
            ("interval", self.interval, &mut metrics.interval),
            ("timeout", self.timeout, &mut metrics.timeout),
        ] {
            let Some(TimeSpan(span)) = span else { continue };
            if span.is_zero() {
                let at = root.at(&["metrics", key]).unwrap_or(root);
                file.error(
                    at.place(),
                    &format!("metrics.{key}"),
                    "must be longer than 0s",
                    None,
                );
            }
            *into = span;
        }
        metrics.temporality = self.temporality.map_or(metrics.temporality, Into::into);
        metrics.histogram = self.histogram.map_or(metrics.histogram, Into::into);
        metrics.exemplars = self.exemplars.map_or(metrics.exemplars, Into::into);
        metrics.cardinality_limit = self.cardinality_limit.unwrap_or(metrics.cardinality_limit).max(1);
        if let (Some(views), Some(node)) = (&self.views, root.at(&["metrics", "views"])) {
            metrics.views = metrics::views(file, node, "metrics.views", views);
        }
    }
}

/// `baggage`: which of its members become attributes; `"*"` for all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Baggage {
    spans: Option<Vec<String>>,
    logs: Option<Vec<String>>,
    metrics: Option<Vec<String>>,
}

impl Baggage {
    pub(super) fn apply(&self, settings: &mut Settings) {
        let set = |into: &mut BaggageKeys, list: &Option<Vec<String>>| {
            if let Some(list) = list {
                *into = baggage_keys(list.clone());
            }
        };
        set(&mut settings.baggage.spans, &self.spans);
        set(&mut settings.baggage.logs, &self.logs);
        set(&mut settings.baggage.metrics, &self.metrics);
    }
}

/// `scrub`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Scrub {
    enabled: Option<bool>,
    /// The names that are known to be those of secrets.
    default_keys: Option<bool>,
    /// The forms that secrets are known to have.
    default_values: Option<bool>,
    /// Further names, as regular expressions.
    keys: Option<Vec<String>>,
    /// Names that are none after all.
    exempt_keys: Option<Vec<String>>,
    /// Further forms, as regular expressions.
    values: Option<Vec<String>>,
    /// Names of spans and events, and descriptions of a status, too.
    names: Option<bool>,
    /// Longest text of a value, in characters.
    value_length: Option<usize>,
}

impl Scrub {
    pub(super) fn apply(&self, file: &mut File<'_>, root: &Node, settings: &mut Settings) {
        let scrub = &mut settings.scrub;
        scrub.is_enabled = self.enabled.unwrap_or(scrub.is_enabled);
        scrub.default_keys = self.default_keys.unwrap_or(scrub.default_keys);
        scrub.default_values = self.default_values.unwrap_or(scrub.default_values);
        scrub.names = self.names.unwrap_or(scrub.names);
        scrub.value_length = self.value_length.or(scrub.value_length);
        for (list, into) in [
            (&self.keys, &mut scrub.keys),
            (&self.exempt_keys, &mut scrub.exempt_keys),
            (&self.values, &mut scrub.values),
        ] {
            if let Some(list) = list {
                into.clone_from(list);
            }
        }
        if let Err(error) = Scrubber::new(scrub) {
            let at = root.at(&["scrub", error.setting]).unwrap_or(root);
            let key = format!("scrub.{}", error.setting);
            let message = format!("`{}` is no regular expression: {}", error.pattern, error.source);
            file.error(at.place(), &key, message, None);
        }
    }
}

/// `limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Of everything that has attributes.
    attribute_count: Option<usize>,
    /// In characters.
    attribute_value_length: Option<usize>,
    spans: Option<SpanLimits>,
    logs: Option<LogLimits>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SpanLimits {
    attribute_count: Option<usize>,
    attribute_value_length: Option<usize>,
    event_count: Option<usize>,
    link_count: Option<usize>,
    event_attribute_count: Option<usize>,
    link_attribute_count: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogLimits {
    attribute_count: Option<usize>,
    attribute_value_length: Option<usize>,
}

impl Limits {
    pub(super) fn apply(&self, settings: &mut Settings) {
        let set = |limits: &mut AttributeLimits, count: Option<usize>, length: Option<usize>| {
            limits.count = count.or(self.attribute_count).unwrap_or(limits.count);
            limits.value_length = length.or(self.attribute_value_length).or(limits.value_length);
        };
        let own = self.spans.unwrap_or_default();
        let spans = &mut settings.traces.limits;
        set(
            &mut spans.attributes,
            own.attribute_count,
            own.attribute_value_length,
        );
        set(
            &mut spans.event_attributes,
            own.event_attribute_count,
            own.attribute_value_length,
        );
        set(
            &mut spans.link_attributes,
            own.link_attribute_count,
            own.attribute_value_length,
        );
        spans.events = own.event_count.unwrap_or(spans.events);
        spans.links = own.link_count.unwrap_or(spans.links);
        let own = self.logs.unwrap_or_default();
        set(
            &mut settings.logs.limits,
            own.attribute_count,
            own.attribute_value_length,
        );
    }
}

/// `console`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Console {
    enabled: Option<bool>,
    format: Option<ConsoleFormat>,
    #[serde(alias = "color")]
    colour: Option<Colour>,
    target: Option<ConsoleTarget>,
    level: Option<Level>,
    spans: Option<bool>,
}

impl Console {
    pub(super) fn apply(&self, settings: &mut Settings) {
        match self.enabled {
            Some(false) => settings.console = None,
            Some(true) => {
                settings.console.get_or_insert_default();
            }
            None => {}
        }
        let Some(console) = &mut settings.console else {
            return;
        };
        console.format = self.format.unwrap_or(console.format);
        console.colour = self.colour.unwrap_or(console.colour);
        console.target = self.target.unwrap_or(console.target);
        console.level = self.level.map(|level| level.0).or(console.level);
        console.spans = self.spans.unwrap_or(console.spans);
    }
}

/// `spool`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Spool {
    directory: Option<PathBuf>,
    /// Of each back-end.
    size: Option<ByteSize>,
}

impl Spool {
    pub(super) fn apply(&self, file: &mut File<'_>, root: &Node, settings: &mut Settings) {
        match self
            .directory
            .as_ref()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            Some(directory) => {
                settings.spool = Some(SpoolSettings {
                    directory: directory.clone(),
                    bytes_max: self.size.map_or(SPOOL_BYTES_DEFAULT, |size| size.0),
                });
            }
            None => {
                let at = root.get("spool").unwrap_or(root);
                let hint = "add `directory:`, or leave `spool:` out to keep records in memory";
                file.error(at.place(), "spool.directory", "this key is missing", Some(hint));
            }
        }
    }
}
