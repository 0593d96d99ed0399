//! The API of OpenTelemetry over the core.
