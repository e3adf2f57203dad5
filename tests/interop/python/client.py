"""The unmodified OpenTelemetry SDK for Python (gRPC C-core below it), as a client of the gateway.

    client.py PROTOCOL ENDPOINT SIGNAL PREFIX WORKERS ROUNDS COUNT

PROTOCOL: grpc or http/protobuf (this SDK has no http/json). Each worker is a thread with an exporter of its own, and
sends ROUNDS exports of COUNT records. Record i of all carries the attribute test.id = PREFIX-<signal>-<i>. Exit code
0: every export was acknowledged.
"""
import concurrent.futures
import importlib
import sys
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

MODULE = {"traces": "trace_exporter", "metrics": "metric_exporter", "logs": "_log_exporter"}
CLASS = {"traces": "OTLPSpanExporter", "metrics": "OTLPMetricExporter", "logs": "OTLPLogExporter"}
SUCCESS = (SpanExportResult.SUCCESS, MetricExportResult.SUCCESS, LogRecordExportResult.SUCCESS)
HOUR_S = 3600

protocol, endpoint, signal, prefix = sys.argv[1:5]
workers, rounds, count = map(int, sys.argv[5:8])
failures = []


def make_exporter():
    kind = "grpc" if protocol == "grpc" else "http"
    module = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{kind}.{MODULE[signal]}")
    options = {"timeout": 30}
    if signal == "metrics":
        options["preferred_temporality"] = {Counter: AggregationTemporality.DELTA}
    if kind == "grpc":
        import grpc
        options |= {"endpoint": f"http://{endpoint}", "insecure": True, "compression": grpc.Compression.Gzip}
    else:
        http = importlib.import_module("opentelemetry.exporter.otlp.proto.http")
        options |= {"endpoint": f"http://{endpoint}/v1/{signal}", "compression": http.Compression.Gzip}
    exporter = getattr(module, CLASS[signal])(**options)
    # Flushing does not tell that an export failed: look at every result.
    send = exporter.export

    def export(*args, **kwargs):
        result = send(*args, **kwargs)
        if result not in SUCCESS:
            failures.append(result)
        return result

    exporter.export = export
    return exporter


def make_traces():
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(
        make_exporter(), max_queue_size=count, max_export_batch_size=count, schedule_delay_millis=HOUR_S * 1000))
    tracer = provider.get_tracer("interop")
    return provider, lambda i: tracer.start_span("GET /things", attributes={"test.id": i, "empty": ""}).end()


def make_logs():
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(
        make_exporter(), max_queue_size=count, max_export_batch_size=count, schedule_delay_millis=HOUR_S * 1000))
    logger = provider.get_logger("interop")
    return provider, lambda i: logger.emit(LogRecord(
        timestamp=time.time_ns(), severity_number=SeverityNumber.INFO, body={"nested": {"text": "ü"}},
        attributes={"test.id": i}))


def make_metrics():
    reader = PeriodicExportingMetricReader(make_exporter(), export_interval_millis=HOUR_S * 1000)
    provider = MeterProvider([reader])
    counter = provider.get_meter("interop").create_counter("things")
    return provider, lambda i: counter.add(1, {"test.id": i})


MAKE = {"traces": make_traces, "logs": make_logs, "metrics": make_metrics}


def work(worker):
    provider, record = MAKE[signal]()
    first = worker * rounds * count
    for r in range(rounds):
        for i in range(count):
            record(f"{prefix}-{signal}-{first + r * count + i}")
        if not provider.force_flush(60_000):
            failures.append("force_flush")
    provider.shutdown()


with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    list(pool.map(work, range(workers)))
if failures:
    sys.exit(f"not acknowledged: {failures}")
