//! Settings from variables, over what a file says or the defaults. A value that is none is told, and leaves what was: variables
//! never keep an application from starting.

mod exporters;
mod metrics;
mod reader;
pub mod table;
mod traces;

use std::path::PathBuf;
use std::time::Duration;

use crate::attributes::AttributeLimits;
use crate::log::Severity;
use crate::propagation::{Format, Propagators};
use crate::recorder::RecorderLimits;
use crate::resource::{Detector, parse_list};
use crate::scrub::{ScrubSettings, Scrubber};
use crate::settings::{
    BaggageKeys, Colour, ConsoleFormat, ConsoleSettings, ConsoleTarget, QueueSettings, Settings,
    SpoolSettings,
};

use super::pairs;
pub(super) use exporters::console as all_on_console;
pub(super) use reader::Variables;

/// Bytes of the queue for each record that `…_MAX_QUEUE_SIZE` names: what the defaults of both are to each other.
pub(super) const BYTES_PER_RECORD: usize = (32 << 20) / 2048;

/// What the variables of OpenTelemetry and Cupola say. `from_file` is whether `settings.backends` are those of a file.
pub(super) fn apply(variables: &mut Variables<'_>, settings: &mut Settings, from_file: bool) {
    general(variables, settings);
    limits(variables, settings);
    queue(variables, "OTEL_BSP", &mut settings.traces.queue);
    queue(variables, "OTEL_BLRP", &mut settings.logs.queue);
    metrics::apply(variables, settings);
    exporters::apply(variables, &mut settings.backends, from_file);
    apply_own(variables, settings);
}

/// What Cupola's own variables say, which nothing in a declarative file says otherwise.
pub(super) fn apply_own(variables: &mut Variables<'_>, settings: &mut Settings) {
    if let Some(level) = variables.level("CUPOLA_LOG_LEVEL") {
        settings.logs.level = level.unwrap_or(Severity::LAST);
        settings.logs.is_level_given = true;
    }
    console(variables, &mut settings.console);
    for (name, keys) in [
        ("CUPOLA_BAGGAGE_SPANS", &mut settings.baggage.spans),
        ("CUPOLA_BAGGAGE_LOGS", &mut settings.baggage.logs),
        ("CUPOLA_BAGGAGE_METRICS", &mut settings.baggage.metrics),
    ] {
        if let Some(list) = variables.list(name) {
            *keys = baggage_keys(list);
        }
    }
    scrub(variables, &mut settings.scrub);
    traces::apply(variables, &mut settings.traces);
    if let Some(words) = variables.words("CUPOLA_RESOURCE_DETECTORS") {
        settings.resource.detectors = match words.contains(&"all") {
            true => Detector::ALL.to_vec(),
            false => words
                .iter()
                .filter_map(|word| Detector::from_name(word))
                .collect(),
        };
    }
    let bytes = variables.byte_size("CUPOLA_SPOOL_SIZE");
    if let Some(directory) = variables.text("CUPOLA_SPOOL_DIRECTORY") {
        settings.spool = Some(SpoolSettings {
            directory: PathBuf::from(directory),
            bytes_max: settings
                .spool
                .as_ref()
                .map_or(SPOOL_BYTES_DEFAULT, |spool| spool.bytes_max),
        });
    }
    if let (Some(bytes), Some(spool)) = (bytes, &mut settings.spool) {
        spool.bytes_max = bytes;
    }
    if let Some(timeout) = variables.time_span("CUPOLA_EXIT_TIMEOUT") {
        settings.exit_timeout = timeout;
    }
    if let Some(wanted) = variables.boolean("CUPOLA_SELF_METRICS") {
        settings.self_metrics = wanted;
    }
}

fn scrub(variables: &mut Variables<'_>, scrub: &mut ScrubSettings) {
    if let Some(wanted) = variables.boolean("CUPOLA_SCRUB") {
        scrub.is_enabled = wanted;
    }
    let checked = |text: &str| {
        let keys: Vec<String> = text.split(',').map(|key| key.trim().to_owned()).collect();
        let settings = ScrubSettings {
            keys: keys.clone(),
            ..ScrubSettings::default()
        };
        match Scrubber::new(&settings) {
            Ok(_) => Ok(keys),
            Err(error) => Err(format!("`{}` is no regular expression", error.pattern)),
        }
    };
    if let Some(keys) = variables.parsed("CUPOLA_SCRUB_KEYS", checked) {
        scrub.keys = keys;
    }
}

/// Room on the disk unless something else is said.
pub(super) const SPOOL_BYTES_DEFAULT: u64 = 1 << 30;

pub(super) fn baggage_keys(list: Vec<String>) -> BaggageKeys {
    match list.as_slice() {
        [one] if one == "*" => BaggageKeys::All,
        [one] if one == "none" => BaggageKeys::These(Vec::new()),
        _ => BaggageKeys::These(list),
    }
}

fn general(variables: &mut Variables<'_>, settings: &mut Settings) {
    if let Some(disabled) = variables.boolean("OTEL_SDK_DISABLED") {
        settings.is_disabled = disabled;
    }
    let entities = variables
        .parsed("OTEL_ENTITIES", pairs::entities)
        .unwrap_or_default();
    let attributes = variables.parsed("OTEL_RESOURCE_ATTRIBUTES", |text| {
        parse_list(text).map_err(|error| error.to_string())
    });
    let resource = &mut settings.resource;
    // Of a key that stands twice the later value counts: those of a file are in front.
    resource.environment.extend(entities);
    resource.environment.extend(attributes.unwrap_or_default());
    if let Some(name) = variables.text("OTEL_SERVICE_NAME") {
        resource.service_name = Some(name);
    }
    if let Some(level) = variables.level("OTEL_LOG_LEVEL") {
        settings.own_level = level;
    }
    if let Some(words) = variables.words("OTEL_PROPAGATORS")
        && let Some(propagators) = propagators(variables, &words)
    {
        settings.propagators = propagators;
    }
    if let Some(sampler) = traces::sampler(variables) {
        settings.traces.sampler = sampler;
    }
}

fn propagators(variables: &mut Variables<'_>, words: &[&'static str]) -> Option<Propagators> {
    const NAME: &str = "OTEL_PROPAGATORS";
    if words.contains(&"none") {
        if words.len() > 1 {
            variables.warn(NAME, "has others beside `none`; there are none then", None);
        }
        return Some(Propagators(Vec::new()));
    }
    let mut formats = Vec::new();
    for word in words {
        match Format::of_name(word) {
            Some(format) if formats.contains(&format) => {}
            Some(format) => formats.push(format),
            None => variables.warn(
                NAME,
                format!("`{word}` is not available and left out"),
                Some("use tracecontext, which most understand"),
            ),
        }
    }
    // Nothing that can be used is not the same as nothing that is wanted.
    (!formats.is_empty()).then_some(Propagators(formats))
}

fn limits(variables: &mut Variables<'_>, settings: &mut Settings) {
    let length = variables.integer("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT");
    let count = variables.integer("OTEL_ATTRIBUTE_COUNT_LIMIT");
    let apply = |limits: &mut AttributeLimits, own_length: Option<usize>, own_count: Option<usize>| {
        limits.value_length = own_length.or(length).or(limits.value_length);
        limits.count = own_count.or(count).unwrap_or(limits.count);
    };
    let span_length = variables.integer("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT");
    let spans = &mut settings.traces.limits;
    apply(
        &mut spans.attributes,
        span_length,
        variables.integer("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
    );
    apply(
        &mut spans.event_attributes,
        span_length,
        variables.integer("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
    );
    apply(
        &mut spans.link_attributes,
        span_length,
        variables.integer("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
    );
    spans.events = variables
        .integer("OTEL_SPAN_EVENT_COUNT_LIMIT")
        .unwrap_or(spans.events);
    spans.links = variables
        .integer("OTEL_SPAN_LINK_COUNT_LIMIT")
        .unwrap_or(spans.links);
    apply(
        &mut settings.logs.limits,
        variables.integer("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        variables.integer("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"),
    );
}

fn queue(variables: &mut Variables<'_>, prefix: &str, queue: &mut QueueSettings) {
    let named = |end: &str| format!("{prefix}_{end}");
    if let Some(delay) = variables.milliseconds(&named("SCHEDULE_DELAY")) {
        queue.delay = delay;
    }
    let size = variables.integer(&named("MAX_QUEUE_SIZE"));
    if let Some(records) = size {
        queue.limits = queue_of(records, queue.limits);
    }
    let batch = named("MAX_EXPORT_BATCH_SIZE");
    let Some(items) = variables.integer(&batch) else {
        return;
    };
    match size {
        Some(size) if items > size => {
            let message = format!(
                "is more than the {size} that {} has; that many are used",
                named("MAX_QUEUE_SIZE")
            );
            variables.warn(&batch, message, None);
            queue.limits.batch_items_max = size;
        }
        _ => queue.limits.batch_items_max = items,
    }
}

/// Limits with room for so many records.
pub(super) fn queue_of(records: usize, limits: RecorderLimits) -> RecorderLimits {
    RecorderLimits {
        bytes_max: records.saturating_mul(BYTES_PER_RECORD),
        ..limits
    }
}

fn console(variables: &mut Variables<'_>, console: &mut Option<ConsoleSettings>) {
    let format = match variables.word("CUPOLA_CONSOLE") {
        Some("off") => {
            *console = None;
            None
        }
        Some(word) => Some(match word {
            "pattern" => ConsoleFormat::Pattern,
            "compact" => ConsoleFormat::Compact,
            "json" => ConsoleFormat::Json,
            _ => ConsoleFormat::Pretty,
        }),
        None => None,
    };
    if let Some(format) = format {
        console.get_or_insert_default().format = format;
    }
    let mut unused = ConsoleSettings::default();
    // Each is asked for, also where there is nothing to be shown.
    let console = console.as_mut().unwrap_or(&mut unused);
    match variables.word("CUPOLA_CONSOLE_COLOUR") {
        Some("always") => console.colour = Colour::Always,
        Some("never") => console.colour = Colour::Never,
        Some(_) => console.colour = Colour::Auto,
        None => {}
    }
    match variables.word("CUPOLA_CONSOLE_TARGET") {
        Some("stdout") => console.target = ConsoleTarget::Stdout,
        Some(_) => console.target = ConsoleTarget::Stderr,
        None => {}
    }
    if let Some(level) = variables.level("CUPOLA_CONSOLE_LEVEL") {
        console.level = Some(level.unwrap_or(Severity::LAST));
    }
    if let Some(spans) = variables.boolean("CUPOLA_CONSOLE_SPANS") {
        console.spans = spans;
    }
}

/// The time that variables of milliseconds mean.
pub(super) fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// The same, of a timeout, of which 0 is without end: a year, where nothing knows that.
pub(super) fn without_end(number: u64) -> Duration {
    match number {
        0 => Duration::from_secs(365 * 86_400),
        number => millis(number),
    }
}
