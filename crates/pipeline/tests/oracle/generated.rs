//! Generated statements over generated telemetry, run here and by the Collector.
