//! Through a real OpenTelemetry Collector and back, as its file exporter writes it: what the API's providers and the layer of
//! `tracing` record arrives there equal to what was exported.
