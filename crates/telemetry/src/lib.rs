//! The telemetry model: validated OTLP batches and zero-copy views over them. Pure: no IO, no async.
