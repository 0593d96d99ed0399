//! Log records for the people in front of a terminal, or for what collects standard error: written at once, by the thread that
//! makes them, each in one call to the system. No lock: lines of threads do not mix, and the child of a fork finds none shut.

mod output;
mod text;

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use cupola_sdk_core::Sdk;
use cupola_sdk_core::fork::PerProcess;
use cupola_sdk_core::log::{LogRecord, Severity};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::settings::{ConsoleFormat, ConsoleSettings};
use cupola_sdk_core::span::Span;

use crate::context::node::Node;
pub use output::Output;

/// Writes records and spans as lines.
pub struct Console {
    format: ConsoleFormat,
    is_coloured: bool,
    level: Option<Severity>,
    /// Shows spans too.
    spans: bool,
    output: Output,
    /// The resource as a JSON object, made with the first line that wants it.
    resource: PerProcess<String>,
}

/// The console in force, to be changed while the application runs.
#[derive(Clone, Debug, Default)]
pub struct ConsoleHandle(Arc<InForce>);

#[derive(Debug, Default)]
struct InForce {
    /// There is one, so that who has none need not ask.
    is_there: AtomicBool,
    console: ArcSwapOption<Console>,
}

impl From<Option<Console>> for ConsoleHandle {
    fn from(console: Option<Console>) -> ConsoleHandle {
        ConsoleHandle::new(console)
    }
}

impl ConsoleHandle {
    pub fn new(console: Option<Console>) -> ConsoleHandle {
        let handle = ConsoleHandle::default();
        handle.set(console);
        handle
    }

    /// Puts another in force, or none.
    pub fn set(&self, console: Option<Console>) {
        let is_there = console.is_some();
        self.0.console.store(console.map(Arc::new));
        self.0.is_there.store(is_there, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<Arc<Console>> {
        match self.0.is_there.load(Ordering::Relaxed) {
            true => self.0.console.load_full(),
            false => None,
        }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// A record, and what is known of it beside.
#[derive(Debug)]
pub(crate) struct Line<'l> {
    pub(crate) sdk: &'l Sdk,
    pub(crate) record: &'l LogRecord<'l>,
    pub(crate) scope: Scope,
    pub(crate) body: &'l str,
    pub(crate) target: &'l str,
    pub(crate) module: Option<&'l str>,
    pub(crate) line: Option<u32>,
    pub(crate) node: Option<&'l Node>,
}

thread_local! {
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// Longer lines are not kept.
const LINE_KEPT_BYTES_MAX: usize = 16 * 1024;

impl Console {
    /// As the settings say.
    pub fn new(settings: &ConsoleSettings) -> Console {
        let output = Output::of(settings.target);
        Console {
            format: settings.format,
            is_coloured: output.is_coloured(settings.colour),
            level: settings.level,
            spans: settings.spans,
            output,
            resource: PerProcess::default(),
        }
    }

    /// Somewhere else than on standard output or error.
    #[must_use]
    pub fn with_output(mut self, output: Output) -> Console {
        self.output = output;
        self
    }

    #[inline]
    pub(crate) fn is_enabled(&self, severity: Severity) -> bool {
        self.level.is_none_or(|level| severity >= level)
    }

    /// How many spans around it a line is moved to the right for.
    fn indent(&self, node: Option<&Node>) -> usize {
        match node {
            Some(node) if self.spans => node.depth + 1,
            _ => 0,
        }
    }

    pub(crate) fn log(&self, line: &Line<'_>) {
        self.write(|out| match self.format {
            ConsoleFormat::Json => {
                line.record.write_line(out, line.scope, self.resource(line.sdk));
            }
            ConsoleFormat::Pattern => text::pattern(out, line),
            ConsoleFormat::Pretty => text::pretty(out, line, self.indent(line.node), self.is_coloured),
            ConsoleFormat::Compact => text::compact(out, line, self.indent(line.node), self.is_coloured),
        });
    }

    fn resource(&self, sdk: &Sdk) -> &str {
        let make = || Ok::<_, Infallible>(sdk.resource().to_json());
        match self.resource.get_or_make(make) {
            Ok(resource) => resource,
            Err(never) => match never {},
        }
    }

    fn shows_spans(&self) -> bool {
        self.spans && matches!(self.format, ConsoleFormat::Pretty | ConsoleFormat::Compact)
    }

    pub(crate) fn span_started(&self, node: &Node) {
        if self.shows_spans()
            && let Some(state) = node.state()
            && let Some(span) = &state.recording
        {
            self.write(|out| text::span_started(out, node, span, self.is_coloured));
        }
    }

    pub(crate) fn span_ended(&self, node: &Node, span: &Span, unix_nano: u64) {
        if self.shows_spans() {
            self.write(|out| text::span_ended(out, node, span, unix_nano, self.is_coloured));
        }
    }

    fn write(&self, write: impl FnOnce(&mut String)) {
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.clear();
        write(&mut line);
        line.push('\n');
        self.output.write(&line);
        if line.capacity() <= LINE_KEPT_BYTES_MAX {
            let _ = LINE.try_with(|kept| kept.set(line));
        }
    }
}
