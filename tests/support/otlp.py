"""OTLP requests whose every record carries an id of its own, and the way back from bytes to ids.

The id is the attribute ID_KEY of the span, log record or data point. A test notes the ids of what
was acknowledged, and asks later where each of them is: in the queue (queued_ids) or at the backend.
"""
import base64
import gzip
import io
import itertools
import json

import grpc
import requests
import zstandard
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from tests.support.patience import DEADLINE_S

ID_KEY = "test.id"
SIGNALS = ("traces", "metrics", "logs")
REQUEST = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
RESPONSE = {
    "traces": trace_service_pb2.ExportTraceServiceResponse,
    "metrics": metrics_service_pb2.ExportMetricsServiceResponse,
    "logs": logs_service_pb2.ExportLogsServiceResponse,
}
METHOD = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
SEVERITY = {"info": 9, "warning": 13, "critical": 17}
_STATUS_ERROR = 2
_TIME_NS = 1_790_000_000_000_000_000
_counter = itertools.count(1)


def new_ids(count, prefix="r"):
    """Ids that no other call in this process gives."""
    return [f"{prefix}-{next(_counter):08d}" for _ in range(count)]


def _set(attributes, **pairs):
    for key, value in pairs.items():
        item = attributes.add()
        item.key = key.replace("__", ".")
        item.value.string_value = value


def traces(ids, service="shop", record_class="info"):
    request = REQUEST["traces"]()
    resource = request.resource_spans.add()
    _set(resource.resource.attributes, service__name=service)
    scope = resource.scope_spans.add()
    scope.scope.name = "test"
    for i, record_id in enumerate(ids):
        span = scope.spans.add()
        span.trace_id = bytes(range(1, 17))
        span.span_id = (i + 1).to_bytes(8, "big")
        span.name = "GET /things"
        span.kind = 2
        span.start_time_unix_nano = _TIME_NS + i
        span.end_time_unix_nano = _TIME_NS + i + 1_000_000
        if record_class == "critical":
            span.status.code = _STATUS_ERROR
        _set(span.attributes, **{ID_KEY: record_id})
    return request


def logs(ids, service="shop", record_class="info"):
    request = REQUEST["logs"]()
    resource = request.resource_logs.add()
    _set(resource.resource.attributes, service__name=service)
    scope = resource.scope_logs.add()
    scope.scope.name = "test"
    for i, record_id in enumerate(ids):
        record = scope.log_records.add()
        record.time_unix_nano = _TIME_NS + i
        record.severity_number = SEVERITY[record_class]
        record.severity_text = record_class
        record.body.string_value = f"something happened: {record_id}"
        _set(record.attributes, **{ID_KEY: record_id})
    return request


def metrics(ids, service="shop", record_class="info"):
    """Gauges; metric points are always info."""
    request = REQUEST["metrics"]()
    resource = request.resource_metrics.add()
    _set(resource.resource.attributes, service__name=service)
    scope = resource.scope_metrics.add()
    scope.scope.name = "test"
    metric = scope.metrics.add()
    metric.name = "queue.depth"
    metric.unit = "1"
    for i, record_id in enumerate(ids):
        point = metric.gauge.data_points.add()
        point.time_unix_nano = _TIME_NS + i
        point.as_double = float(i)
        _set(point.attributes, **{ID_KEY: record_id})
    return request


_MAKE = {"traces": traces, "metrics": metrics, "logs": logs}


def request(signal, ids, service="shop", record_class="info"):
    return _MAKE[signal](ids, service, record_class)


def parse(signal, body):
    """The request message in body (protobuf)."""
    message = REQUEST[signal]()
    message.ParseFromString(body)
    return message


def _points(metric):
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else ()


def partial_success(signal, rejected):
    """The reply of a backend that took all but so many records, as bytes."""
    reply = RESPONSE[signal]()
    for field in reply.partial_success.DESCRIPTOR.fields:
        if field.name.startswith("rejected_"):
            setattr(reply.partial_success, field.name, rejected)
    reply.partial_success.error_message = "these were not taken"
    return reply.SerializeToString()


def records(message):
    """Every span, log record or data point of a request."""
    for resource in getattr(message, "resource_spans", ()):
        for scope in resource.scope_spans:
            yield from scope.spans
    for resource in getattr(message, "resource_logs", ()):
        for scope in resource.scope_logs:
            yield from scope.log_records
    for resource in getattr(message, "resource_metrics", ()):
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield from _points(metric)


def record_ids(message):
    """The ids of a request's records, in order."""
    return [a.value.string_value for r in records(message) for a in r.attributes if a.key == ID_KEY]


def resource_attributes(message):
    """One dict per Resource of a request."""
    out = []
    for field in ("resource_spans", "resource_metrics", "resource_logs"):
        for entry in getattr(message, field, ()):
            out.append({a.key: getattr(a.value, a.value.WhichOneof("value") or "string_value")
                        for a in entry.resource.attributes})
    return out


# JSON as OTLP has it: ids in hex, enums as numbers.

_HEX_KEYS = ("traceId", "spanId", "parentSpanId")


def _base64_to_hex(node):
    if isinstance(node, list):
        for item in node:
            _base64_to_hex(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _HEX_KEYS and isinstance(value, str):
                node[key] = base64.b64decode(value).hex()
            else:
                _base64_to_hex(value)


def to_json(message):
    node = json_format.MessageToDict(message, use_integers_for_enums=True)
    _base64_to_hex(node)
    return json.dumps(node).encode()


def ids_in_json(node):
    """The ids in a parsed OTLP JSON document (a line of a file destination)."""
    found = []
    if isinstance(node, list):
        for item in node:
            found += ids_in_json(item)
    elif isinstance(node, dict):
        if node.get("key") == ID_KEY:
            found.append(node["value"]["stringValue"])
        else:
            for value in node.values():
                found += ids_in_json(value)
    return found


# Bytes at rest and on the wire.

def compress(encoding, body):
    if encoding == "gzip":
        return gzip.compress(body, 1)
    if encoding == "zstd":
        return zstandard.compress(body, 1)
    return body


def decompress(encoding, body):
    """Several gzip members or zstd frames are one stream."""
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "zstd":
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body), read_across_frames=True)
        return reader.read()
    return body


def queued_ids(gateway, destination=None):
    """The ids of all records in the queue file, as a list (with repeats where there are)."""
    query = "SELECT b.signal, b.encoding, p.body FROM batches b JOIN payloads p ON p.batch_id = b.id"
    params = ()
    if destination:
        query += (" WHERE b.id IN (SELECT q.batch_id FROM deliveries q JOIN destinations d"
                  " ON d.id = q.destination_id WHERE d.name = ?)")
        params = (destination,)
    out = []
    for signal, encoding, body in gateway.sqlite(query, *params):
        out += record_ids(parse(signal, decompress(encoding, body)))
    return out


def file_ids(*paths):
    """The ids in OTLP JSON lines files."""
    out = []
    for path in paths:
        with open(path, "rb") as lines:
            for line in lines:
                out += ids_in_json(json.loads(line))
    return out


# Clients.

def post(gateway, signal, message, *, content_type="application/x-protobuf", encoding="none",
         session=requests, timeout=DEADLINE_S, headers=None):
    """One OTLP/HTTP request. The response is checked by the caller."""
    body = message if isinstance(message, bytes) else (
        to_json(message) if "json" in content_type.lower() else message.SerializeToString())
    send = {"Content-Type": content_type, **(headers or {})}
    if encoding != "none":
        send["Content-Encoding"] = encoding
        body = compress(encoding, body)
    return session.post(gateway.http_url(signal), data=body, headers=send, timeout=timeout)


class GrpcClient:
    """The three Export methods on one channel (grpcio, C-core)."""

    def __init__(self, port, compression=None):
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", compression=compression,
                                              options=[("grpc.enable_retries", 0)])
        self._methods = {
            s: self._channel.unary_unary(METHOD[s], request_serializer=REQUEST[s].SerializeToString,
                                         response_deserializer=RESPONSE[s].FromString)
            for s in SIGNALS
        }

    def export(self, signal, message, timeout=DEADLINE_S):
        """The response; grpc.RpcError where it failed."""
        return self._methods[signal](message, timeout=timeout)

    def close(self):
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
