//! One log record on its way through operators, and what becomes of many of them: a batch of OTLP.

use cupola_telemetry::encode::{LogsEncoder, ResourceLogs};
use cupola_telemetry::{Batch, TenantId};

use super::value::{Fields, Value};

/// Where an entry came from: a source such as a file, and the place in it where the entry begins. Whoever reads the
/// source learns by it what must not be counted as read yet, because an operator still holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub source: u64,
    pub start: u64,
}

/// A log record as operators see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Nanoseconds since the epoch; `None` until a parser has found it.
    pub time: Option<i64>,
    pub observed: i64,
    /// A severity number of OTLP; 0: not known.
    pub severity: i32,
    /// As it stood in the log; empty: the name of the severity.
    pub severity_text: String,
    pub trace_id: Vec<u8>,
    pub span_id: Vec<u8>,
    pub flags: Option<u8>,
    pub body: Value,
    pub attributes: Fields,
    pub resource: Fields,
    pub scope: String,
    pub origin: Origin,
}

/// Names of severities 1 to 24.
const SEVERITIES: [&str; 24] = [
    "TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG", "DEBUG2", "DEBUG3", "DEBUG4", "INFO", "INFO2", "INFO3",
    "INFO4", "WARN", "WARN2", "WARN3", "WARN4", "ERROR", "ERROR2", "ERROR3", "ERROR4", "FATAL", "FATAL2",
    "FATAL3", "FATAL4",
];

/// The name of a severity number; empty for 0.
pub(crate) fn severity_name(number: i32) -> &'static str {
    usize::try_from(number - 1)
        .ok()
        .and_then(|index| SEVERITIES.get(index))
        .copied()
        .unwrap_or_default()
}

impl Entry {
    fn write(&self, to: &mut cupola_telemetry::encode::LogRecord<'_>) {
        to.observed_time_unix_nano(self.observed.max(0) as u64);
        if let Some(time) = self.time {
            to.time_unix_nano(time.max(0) as u64);
        }
        let text = match self.severity_text.as_str() {
            "" => severity_name(self.severity),
            text => text,
        };
        to.severity_number(self.severity).severity_text(text);
        if self.body != Value::Nil {
            self.body.write(&mut to.body_with());
        }
        for (key, value) in self.attributes.iter() {
            to.attribute_with(key, |to| value.write(to));
        }
        // Longer ids than OTLP has are cut and shorter ones filled up, as the Collector does.
        if !self.trace_id.is_empty() {
            to.trace_id(&fitted::<16>(&self.trace_id));
        }
        if !self.span_id.is_empty() {
            to.span_id(&fitted::<8>(&self.span_id));
        }
        if let Some(flags) = self.flags {
            to.flags(u32::from(flags));
        }
    }
}

fn fitted<const N: usize>(id: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let length = id.len().min(N);
    out[..length].copy_from_slice(&id[..length]);
    out
}

/// A batch of entries, those of the same resource and scope together, otherwise in their order. The scope of entries
/// that have none is `scope`.
pub(crate) fn batch(entries: &[Entry], scope: &str) -> Batch {
    let mut logs = LogsEncoder::new();
    let mut rest: Vec<&Entry> = entries.iter().collect();
    while let Some(first) = rest.first().copied() {
        let (of_it, others) = rest
            .into_iter()
            .partition::<Vec<_>, _>(|entry| entry.resource == first.resource);
        rest = others;
        let mut resource = logs.resource_logs();
        {
            let mut fields = resource.resource();
            for (key, value) in first.resource.iter() {
                fields.attribute_with(key, |to| value.write(to));
            }
        }
        write_scopes(&mut resource, of_it, scope);
    }
    logs.finish(TenantId::default_tenant())
}

fn write_scopes(resource: &mut ResourceLogs<'_>, mut rest: Vec<&Entry>, scope: &str) {
    while let Some(first) = rest.first().copied() {
        let (of_it, others) = rest
            .into_iter()
            .partition::<Vec<_>, _>(|entry| entry.scope == first.scope);
        rest = others;
        let mut logs = resource.scope_logs();
        let name = if first.scope.is_empty() {
            scope
        } else {
            &first.scope
        };
        logs.scope().name(name);
        for entry in of_it {
            entry.write(&mut logs.record());
        }
    }
}
