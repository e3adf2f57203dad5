"""A stand-in of Loki that checks what the real one checks, as it ships (limits_config of Loki 3).

    with Loki() as loki:
        gw = Gateway(tmp_path, {"destinations": {"logs": {"kind": "loki", "endpoint": loki.url}}})
        loki.wait(lambda s: len(s.entries()) == 10, "ten entries")
        assert loki.lines('{class="info", service_name="shop"}') == [...]

What it checks: the path, both encodings down to unknown fields, labels (syntax, number, lengths, repeats),
time (a week back, ten minutes ahead, and no more than an hour behind the newest of its stream), lines,
structured metadata (names, number, size), the rate with its burst, tenant and authorization. Like Loki it stores
the valid entries of a push that it answers with 400, says 400 with the reason of one of the others, and takes an
entry that it has (stream, time, line) once only. Stricter than Loki in two things, which a gateway should not
lean on: names of metadata must be what Loki would make of them already (label names, a run of underscores being
one), and none may stand twice in an entry.

Its native OTLP endpoint is there too (url + "/otlp", for kind otlp_http): resource attributes of OTLP_LABELS become
labels, everything else metadata, and the same checks hold. Its errors are google.rpc.Status, whatever their type says.

All that Sink does on command (answer, hang, drop, stop, start) it does too.
"""
import dataclasses
import gzip
import json
import re
import threading
import time

from google.protobuf.message import DecodeError

from tests.support import otlp, protobuf_strict, snappy_block
from tests.support.sink import Mode, Sink, _Handler

PATH = "/loki/api/v1/push"
OTLP_PATH = "/otlp/v1/logs"
# distributor.otlp_config.default_resource_attributes_as_index_labels
OTLP_LABELS = ("service.name", "service.namespace", "service.instance.id", "deployment.environment",
               "deployment.environment.name", "cloud.region", "cloud.availability_zone", "k8s.cluster.name",
               "k8s.namespace.name", "k8s.pod.name", "k8s.container.name", "container.name", "k8s.replicaset.name",
               "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name")
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_PAIR = re.compile(r'\s*([^\s=,{}"]+)\s*=\s*("(?:[^"\\\n]|\\.)*")\s*')
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.S)
_NS = 1_000_000_000


class BadRequest(ValueError):
    """Nothing of the push is taken."""


@dataclasses.dataclass
class Limits:
    labels: int = 15
    label_name: int = 1024
    label_value: int = 2048
    line: int = 256 * 1024
    metadata_bytes: int = 64 * 1024
    metadata_count: int = 128
    max_age_s: float = 7 * 86400
    max_future_s: float = 600
    behind_s: float = 3600
    rate: float = 4 << 20
    burst: float = 6 << 20
    body: int = 100 << 20


@dataclasses.dataclass
class Entry:
    time_ns: int
    line: str
    metadata: list  # pairs, in order
    at: float = 0.0  # time.monotonic() of its arrival
    labels: str = ""
    tenant: str = ""

    @property
    def meta(self):
        return dict(self.metadata)


@dataclasses.dataclass
class Push:
    status: int
    reason: str
    headers: dict
    entries: int
    body_bytes: int
    at: float


# ---- encodings ----

def _message(data, known, what):
    return protobuf_strict.message(data, known, what, BadRequest)


def _text(data):
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"not UTF-8: {error}") from None


def _proto_entry(data):
    seconds = nanos = 0
    entry = Entry(0, "", [])
    for number, value in _message(data, {1: 2, 2: 2, 3: 2}, "EntryAdapter"):
        if number == 1:
            for n, v in _message(value, {1: 0, 2: 0}, "Timestamp"):
                seconds, nanos = (v, nanos) if n == 1 else (seconds, v)
        elif number == 2:
            entry.line = _text(value)
        else:
            pair = {n: _text(v) for n, v in _message(value, {1: 2, 2: 2}, "LabelPairAdapter")}
            entry.metadata.append((pair.get(1, ""), pair.get(2, "")))
    if nanos >= _NS:
        raise BadRequest(f"{nanos} nanoseconds are more than a second")
    entry.time_ns = seconds * _NS + nanos
    return entry


def decode_proto(data):
    """[(labels as text, [Entry])] of a PushRequest."""
    streams = []
    for _, stream in _message(data, {1: 2}, "PushRequest"):
        labels, entries = "", []
        for number, value in _message(stream, {1: 2, 2: 2}, "StreamAdapter"):
            if number == 1:
                labels = _text(value)
            else:
                entries.append(_proto_entry(value))
        streams.append((labels, entries))
    return streams


def _quote(text):
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def decode_json(data):
    def no_repeats(pairs):
        if len({k for k, _ in pairs}) != len(pairs):
            raise BadRequest("a key stands twice in an object")
        return dict(pairs)

    try:
        node = json.loads(data, object_pairs_hook=no_repeats)
        streams = []
        for stream in node["streams"]:
            labels = "{" + ", ".join(f"{k}={_quote(v)}" for k, v in stream["stream"].items()) + "}"
            entries = []
            for value in stream["values"]:
                when, line, meta = value if len(value) == 3 else (*value, {})
                if not isinstance(when, str) or not isinstance(line, str) or not isinstance(meta, dict):
                    raise BadRequest("a value is not [nanoseconds as text, line, metadata]")
                if not all(isinstance(v, str) for v in meta.values()):
                    raise BadRequest("metadata is not a string")
                entries.append(Entry(int(when), line, list(meta.items())))
            streams.append((labels, entries))
        return streams
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(f"loghttp.PushRequest: {error}") from None


def _any(value):
    kind = value.WhichOneof("value")
    if kind == "bool_value":
        return str(value.bool_value).lower()
    return str(getattr(value, kind)) if kind else ""


def _name(key):
    """As Loki's OTLP endpoint does it (otlptranslator.LabelNamer); one bad name has the whole request refused."""
    name = re.sub(r"[^a-zA-Z0-9]+", "_", key)
    if not name.strip("_"):
        raise BadRequest(f"symbolizer lookup: normalization for label name {key!r} resulted in invalid name {name!r}")
    return "key_" + name if name[0].isdigit() else name


def _status(text):
    """google.rpc.Status with this message."""
    data, size = text.encode(), b""
    n = len(data)
    while n > 0x7F:
        size, n = size + bytes([n & 0x7F | 0x80]), n >> 7
    return b"\x12" + size + bytes([n]) + data


def decode_otlp(data):
    streams = []
    try:
        request = otlp.parse("logs", data)
    except DecodeError as error:
        raise BadRequest(f"OTLP: {error}") from None
    for resource in request.resource_logs:
        given = [(a.key, _any(a.value)) for a in resource.resource.attributes]
        labels = {_name(k): v for k, v in given if k in OTLP_LABELS}
        labels.setdefault("service_name", "unknown_service")
        rest = [(_name(k), v) for k, v in given if k not in OTLP_LABELS]
        text = "{" + ", ".join(f"{k}={_quote(v)}" for k, v in labels.items()) + "}"
        entries = []
        for scope in resource.scope_logs:
            for r in scope.log_records:
                meta = dict(rest + [(_name(a.key), _any(a.value)) for a in r.attributes])
                entries.append(Entry(r.time_unix_nano or r.observed_time_unix_nano, _any(r.body), list(meta.items())))
        streams.append((text, entries))
    return streams


def _unquote(text):
    def one(match):
        c = match.group(1)
        if c[:1] == b"x":
            return bytes([int(c[1:], 16)])
        if c not in (b"n", b"t", b"r", b'"', b"\\"):
            raise BadRequest(f"no such escape: \\{c.decode()}")
        return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(c, c)

    return _text(_ESCAPE.sub(one, text[1:-1].encode()))


def parse_labels(text):
    """Pairs of '{a="b", c="d"}'."""
    if not (text.startswith("{") and text.endswith("}")):
        raise BadRequest(f"couldn't parse labels: {text[:200]}")
    pairs, at, end = [], 1, len(text) - 1
    while at < end:
        match = _PAIR.match(text, at, end)
        if not match or not NAME.match(match.group(1)):
            raise BadRequest(f"couldn't parse labels: {text[:200]}")
        pairs.append((match.group(1), _unquote(match.group(2))))
        at = match.end()
        if at < end:
            if text[at] != ",":
                raise BadRequest(f"couldn't parse labels: {text[:200]}")
            at += 1
    return pairs


# ---- the server ----

class _LokiHandler(_Handler):
    def do_POST(self):
        loki = self.server.sink
        try:
            body = self._read_body()
        except (OSError, ValueError):
            self.close_connection = True
            return
        mode = loki._next_mode()
        if mode.mode == "hang":
            loki._hung.wait(3600)
        if mode.mode in ("hang", "drop"):
            self.close_connection = True
            return
        status, reason, headers = mode.status, mode.body.decode(), mode.headers
        entries = 0
        if mode.mode == "ok":
            status, reason, headers, entries = loki.push(self.path, dict(self.headers), body)
        loki._note_push(Push(status, reason, dict(self.headers), entries, len(body), time.monotonic()))
        is_status = self.path == OTLP_PATH and status >= 400
        body = _status(reason.strip()) if is_status else reason.encode()
        try:
            self._reply(status, body, headers,
                        content_type="application/octet-stream" if is_status else "text/plain; charset=utf-8")
        except OSError:
            self.close_connection = True

    def do_GET(self):
        self._reply(200, b"ready\n", content_type="text/plain")


class Loki(Sink):
    """auth: the Authorization header's value that is asked for. multi_tenant: X-Scope-OrgID is asked for.
    now: the wall clock in seconds."""

    handler = _LokiHandler

    def __init__(self, port=0, *, limits=None, auth=None, multi_tenant=False, now=time.time):
        super().__init__(port)
        self.limits = limits or Limits()
        self.auth = auth
        self.multi_tenant = multi_tenant
        self.pushes = []
        self._now = now
        self._entries = []
        self._streams = {}  # (tenant, labels) -> {"newest": ns, "seen": set}
        self._tokens = self.limits.burst
        self._tokens_at = time.monotonic()
        self._push_lock = threading.Lock()

    # What it takes

    def push(self, path, headers, body):
        """(status, text, headers, entries stored)."""
        if path not in (PATH, OTLP_PATH):
            return 404, "404 page not found\n", {}, 0
        if self.auth and headers.get("Authorization") != self.auth:
            return 401, "unauthorized\n", {}, 0
        tenant = headers.get("X-Scope-OrgID", "" if self.multi_tenant else "fake")
        if not tenant:
            return 401, "no org id\n", {}, 0
        if len(body) > self.limits.body:
            return 413, f"request body too large: {len(body)}\n", {}, 0
        with self._push_lock:
            try:
                return self._take(tenant, self._decode(path, headers, body))
            except BadRequest as error:
                return 400, f"{error}\n", {}, 0

    def _decode(self, path, headers, body):
        kind = headers.get("Content-Type", "").split(";")[0].strip().lower()
        coding = headers.get("Content-Encoding", "").lower()
        if path == OTLP_PATH:
            if kind != "application/x-protobuf" or coding not in ("", "gzip"):
                raise BadRequest(f"{kind} {coding}: not for OTLP")
            return decode_otlp(otlp.decompress(coding or "none", body))
        if kind == "application/json":
            if coding == "gzip":
                try:
                    body = gzip.decompress(body)
                except (OSError, EOFError) as error:
                    raise BadRequest(f"gzip: {error}") from None
            elif coding:
                raise BadRequest(f'Content-Encoding "{coding}" not supported')
            return decode_json(body)
        if kind not in ("", "application/x-protobuf"):
            raise BadRequest(f"Content-Type {kind}: Loki would take it for snappy")
        if coding not in ("", "snappy"):
            raise BadRequest(f'Content-Encoding "{coding}" not supported')
        try:
            return decode_proto(snappy_block.decode(body, self.limits.body))
        except snappy_block.SnappyError as error:
            raise BadRequest(f"snappy: {error}") from None

    def _check_labels(self, text):
        limits = self.limits
        pairs = parse_labels(text)
        if not pairs:
            return None, "error at least one label pair is required per stream"
        names = [name for name, _ in pairs]
        # service_name does not count: Loki adds it where it is missing.
        counted = len(pairs) - ("service_name" in names)
        if counted > limits.labels:
            return None, f"entry for stream '{text}' has {counted} label names; limit {limits.labels}"
        for name, value in pairs:
            if len(name.encode()) > limits.label_name:
                return None, f"stream '{text}' has label name too long: '{name}'"
            if len(value.encode()) > limits.label_value:
                return None, f"stream '{text}' has label value too long: '{value}'"
            if names.count(name) > 1:
                return None, f"stream '{text}' has duplicate label name: '{name}'"
        return "{" + ", ".join(f"{k}={_quote(v)}" for k, v in sorted(pairs)) + "}", None

    def _check_entry(self, labels, entry):
        limits = self.limits
        now = self._now()
        seconds = entry.time_ns / _NS
        if seconds < now - limits.max_age_s:
            return f"entry for stream '{labels}' has timestamp too old: {seconds}"
        if seconds > now + limits.max_future_s:
            return f"entry for stream '{labels}' has timestamp too new: {seconds}"
        n = len(entry.line.encode())
        if n > limits.line:
            return (f"Max entry size '{limits.line}' bytes exceeded for stream '{labels}' "
                    f"while adding an entry with length '{n}' bytes")
        size = sum(len(k.encode()) + len(v.encode()) for k, v in entry.metadata)
        if size > limits.metadata_bytes:
            return (f"stream '{labels}' has structured metadata too large: '{size}' bytes, "
                    f"limit: '{limits.metadata_bytes}' bytes")
        if len(entry.metadata) > limits.metadata_count:
            return (f"stream '{labels}' has too many structured metadata labels: "
                    f"'{len(entry.metadata)}', limit: '{limits.metadata_count}'")
        names = [k for k, _ in entry.metadata]
        for name in names:
            if not NAME.match(name) or "__" in name:
                return f"stream '{labels}' has structured metadata of the name '{name}'"
            if names.count(name) > 1:
                return f"stream '{labels}' has structured metadata '{name}' twice"
        return None

    def _has_rate(self, size):
        now = time.monotonic()
        limits = self.limits
        self._tokens = min(limits.burst, self._tokens + (now - self._tokens_at) * limits.rate)
        self._tokens_at = now
        if size > self._tokens:
            return False
        self._tokens -= size
        return True

    def _take(self, tenant, streams):
        valid, errors, size = [], [], 0
        for text, entries in streams:
            labels, error = self._check_labels(text)
            if error:
                errors.append(error)
                continue
            for entry in entries:
                error = self._check_entry(labels, entry)
                if error:
                    errors.append(error)
                    continue
                entry.labels, entry.tenant, entry.at = labels, tenant, time.monotonic()
                valid.append(entry)
                size += len(entry.line.encode()) + sum(len(k) + len(v) for k, v in entry.metadata)
        if not valid and not errors:
            return 422, "error at least one valid stream is required for ingestion\n", {}, 0
        if not self._has_rate(size):
            return (429, f"Ingestion rate limit exceeded for user {tenant} (limit: {self.limits.rate:.0f} bytes/sec) "
                    f"while attempting to ingest '{len(valid)}' lines totaling '{size}' bytes, reduce log volume or "
                    "contact your Loki administrator to see if the limit can be increased\n", {}, 0)
        stored = sum(self._store(entry, errors) for entry in valid)
        if errors:
            return 400, f"{errors[-1]}\n", {}, stored
        return 204, "", {}, stored

    def _store(self, entry, errors):
        stream = self._streams.setdefault((entry.tenant, entry.labels), {"newest": 0, "seen": set()})
        oldest = stream["newest"] - int(self.limits.behind_s * _NS)
        if entry.time_ns < oldest:
            errors.append(f"entry with timestamp {entry.time_ns} ignored, reason: 'entry too far behind, "
                          f"entry timestamp is: {entry.time_ns}, oldest acceptable timestamp is: {oldest}'")
            return 0
        stream["newest"] = max(stream["newest"], entry.time_ns)
        key = (entry.time_ns, entry.line)
        if key in stream["seen"]:
            return 0
        stream["seen"].add(key)
        with self._lock:
            self._entries.append(entry)
        return 1

    def _note_push(self, push):
        with self._lock:
            self.pushes.append(push)
            self._lock.notify_all()

    # What it has

    def entries(self, labels=None, tenant=None):
        """In the order of arrival."""
        with self._lock:
            return [e for e in self._entries if labels in (None, e.labels) and tenant in (None, e.tenant)]

    def lines(self, labels=None):
        return [e.line for e in self.entries(labels)]

    def streams(self):
        return sorted({e.labels for e in self.entries()})

    def ids(self, signal=None):
        del signal
        return [e.meta.get("test_id") for e in self.entries()]

    def stats(self):
        with self._lock:
            by_status = {}
            for push in self.pushes:
                by_status[push.status] = by_status.get(push.status, 0) + 1
            return {"pushes": by_status, "entries": len(self._entries)}


__all__ = ["Entry", "Limits", "Loki", "Mode", "PATH"]
