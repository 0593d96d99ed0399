//! Official OpenTelemetry clients.
