//! Emitting log records: where levels, limits on records and their number, the clock and baggage come together.

use crate::baggage::Baggage;
use crate::log::{LogRecord, Severity};
use crate::rate_limit::{Limiter, TENANT};
use crate::recorder::Scope;
use crate::sdk::Sdk;
use crate::value::Value;

/// Emits log records of one scope.
#[derive(Clone, Debug)]
pub struct Logger {
    sdk: Sdk,
    scope: Scope,
}

impl Logger {
    pub(crate) fn new(sdk: Sdk, scope: Scope) -> Logger {
        Logger { sdk, scope }
    }

    pub fn sdk(&self) -> &Sdk {
        &self.sdk
    }

    /// Whether a record of this severity would be recorded.
    #[inline]
    pub fn is_enabled(&self, severity: Severity) -> bool {
        self.sdk.is_log_enabled(severity)
    }

    /// A record to be filled, of now, with what the baggage brings. The limits are those of the settings.
    pub fn record<'r>(
        &self,
        severity: Severity,
        body: impl Into<Value<'r>>,
        baggage: &Baggage,
    ) -> LogRecord<'r> {
        let live = self.sdk.live();
        let mut record = LogRecord::new(severity, body, live.log_limits);
        live.baggage
            .logs
            .each(baggage, |key, value| record.set(key, value));
        let now = self.sdk.clock().now();
        record.unix_nano = now;
        record.observed_unix_nano = now;
        record
    }

    /// Records it, if its severity is enough and no limit is reached. Whether it was, and there was room.
    pub fn emit(&self, record: &LogRecord<'_>) -> bool {
        self.emit_in(self.scope, record)
    }

    /// Records one of another scope.
    pub fn emit_in(&self, scope: Scope, record: &LogRecord<'_>) -> bool {
        let live = self.sdk.live();
        if live.is_disabled || !record.severity.is_at_least(live.level) {
            return false;
        }
        if let Some(limiter) = &live.limiter
            && !record.is_forced
            && !self.is_admitted(limiter, scope, record)
        {
            return false;
        }
        let logs = self.sdk.logs();
        match record.bytes_max() {
            Some(bytes_max) => logs.record_sized(scope, bytes_max, |out| record.write(out)),
            None => logs.record(scope, |out| record.write(out)),
        }
    }

    fn is_admitted(&self, limiter: &Limiter, scope: Scope, record: &LogRecord<'_>) -> bool {
        let tenant = match limiter.asks_for_tenant() {
            true => record.attributes().get(TENANT).and_then(|tenant| tenant.as_str()),
            false => None,
        };
        let bytes = match limiter.asks_for_bytes() {
            true => record.bytes(),
            false => 0,
        };
        // Not the record's own time: an application may set that to anything.
        let now = self.sdk.clock().now();
        limiter.admits(record.severity, scope.name(), tenant, bytes, now)
    }
}
