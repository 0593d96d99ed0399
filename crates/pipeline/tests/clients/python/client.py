"""Sends one trace, one log record and three metrics with the official Python SDK.

Usage: client.py grpc|http/protobuf ENDPOINT none|gzip|deflate
What is sent is what `clients/expected.rs` expects.
"""

import sys
from collections.abc import Sequence

import grpc
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode


def exporters(protocol: str, endpoint: str, compression: str):
    """Exporters of traces, metrics and logs."""
    if protocol == "grpc":
        kinds = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
        options = {"endpoint": endpoint, "insecure": endpoint.startswith("http://"), "compression": kinds[compression]}
        return (
            grpc_traces.OTLPSpanExporter(**options),
            grpc_metrics.OTLPMetricExporter(**options),
            grpc_logs.OTLPLogExporter(**options),
        )
    kind = HttpCompression(compression)
    return (
        http_traces.OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", compression=kind),
        http_metrics.OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", compression=kind),
        http_logs.OTLPLogExporter(endpoint=f"{endpoint}/v1/logs", compression=kind),
    )


def temperature(_: CallbackOptions) -> Sequence[Observation]:
    return [Observation(21.5)]


def main() -> None:
    protocol, endpoint, compression = sys.argv[1:]
    span_exporter, metric_exporter, log_exporter = exporters(protocol, endpoint, compression)
    resource = Resource({"service.name": "client-under-test", "process.pid": 4711})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(span_exporter))
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    reader = PeriodicExportingMetricReader(metric_exporter, export_interval_millis=3_600_000)
    metrics = MeterProvider([reader], resource=resource)

    tracer = traces.get_tracer("checkout", "1.2.3")
    attributes = {
        "http.route": "/cart",
        "http.response.status_code": 500,
        "sample.ratio": 0.5,
        "cached": True,
        "tags": ["a", "b"],
        "text": "Grüße 🚀",
    }
    with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER, attributes=attributes) as parent:
        parent.add_event("cache.miss", {"key": "cart:42"})
        tracer.start_span("SELECT cart", kind=SpanKind.CLIENT).end()
        record = LogRecord(
            context=trace.set_span_in_context(parent),
            severity_number=SeverityNumber.WARN,
            severity_text="WARN",
            body="payment declined",
            attributes={"user.id": 42},
        )
        logs.get_logger("checkout", "1.2.3").emit(record)
        parent.set_status(Status(StatusCode.ERROR, "boom"))

    meter = metrics.get_meter("checkout", "1.2.3")
    requests = meter.create_counter("requests", unit="{request}", description="Requests served.")
    requests.add(7, {"http.route": "/cart"})
    latency = meter.create_histogram("latency", unit="ms", explicit_bucket_boundaries_advisory=[10, 100])
    for value in (5, 50, 500):
        latency.record(value)
    meter.create_observable_gauge("temperature", [temperature])

    for provider in (traces, logs, metrics):
        provider.force_flush()
        provider.shutdown()


if __name__ == "__main__":
    main()
