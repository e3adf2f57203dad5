"""A remote write receiver, 1.0 and 2.0, that takes nothing that the specifications forbid.

    with Receiver() as receiver:                    # speaks both; Receiver(old="swallow") only 1.0
        gw = Gateway(tmp_path, {"destinations": {"metrics": {"kind": "prometheus", "endpoint": receiver.url}}})
        receiver.wait(lambda r: r.samples(), "a sample")
        assert receiver.series('up{job="shop"}') == [(1000, 1.0)]

It decodes snappy and protobuf by itself, down to unknown fields, and checks headers, label names, their order,
repeats and empty values, the order of time within each series (in a request and from request to request), one
series once in a request, native histograms (counts and buckets), and the table of strings. What is wrong is
answered with 400 and noted: leaving the block fails the test.

old: how a receiver of 1.0 answers 2.0: "415", "swallow" (204, as if it were an empty message) or "400".
new: only 2.0 is taken, and 415 answered to 1.0, as Prometheus 3 can be told to.
keep: a function of (labels, time) that says which samples are written; the others are refused as the protocol has
it: 1.0 refuses the whole request with 400, 2.0 writes the rest and says how much.
All that Sink does on command (answer, hang, drop, stop, start) it does too.
"""
import dataclasses
import math
import re
import struct
import threading
import time

from tests.support import protobuf_strict, snappy_block
from tests.support.patience import DEADLINE_S
from tests.support.sink import Mode, Sink, _Handler

PATH = "/api/v1/write"
METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
STALE = 0x7FF0000000000002
TYPE_2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
TYPES = {0: "unspecified", 1: "counter", 2: "gauge", 3: "histogram", 5: "summary"}


class Wrong(ValueError):
    """The sender broke the protocol."""


def _message(data, known, what):
    return protobuf_strict.message(data, known, what, Wrong)


def _signed(n):
    return n - (1 << 64) if n >= 1 << 63 else n


def _zigzag(n):
    return (n >> 1) ^ -(n & 1)


def _double(data):
    return struct.unpack("<d", data)[0]


def is_stale(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0] == STALE


def _packed(data):
    at, out = 0, []
    while at < len(data):
        n, at = protobuf_strict.varint(data, at, Wrong)
        out.append(n)
    return out


@dataclasses.dataclass
class Histogram:
    schema: int = 0
    count: int = 0
    sum: float = 0.0
    zero_threshold: float = 0.0
    zero_count: int = 0
    positive: dict = dataclasses.field(default_factory=dict)  # bucket -> count
    negative: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Series:
    labels: tuple = ()  # pairs
    samples: list = dataclasses.field(default_factory=list)     # (time, value, start)
    histograms: list = dataclasses.field(default_factory=list)  # (time, Histogram, start)
    exemplars: list = dataclasses.field(default_factory=list)   # (time, value, {labels})
    metadata: tuple = ()                                        # type, help, unit


def _buckets(spans, deltas):
    out, at, n = {}, 0, 0
    deltas = list(deltas)
    for i, (offset, length) in enumerate(spans):
        if i and offset < 0:
            raise Wrong("a span after the first has a negative offset")
        if not length:
            raise Wrong("an empty span")
        at += offset
        for _ in range(length):
            if not deltas:
                raise Wrong("spans and buckets do not match")
            n += deltas.pop(0)
            if n < 0:
                raise Wrong("a negative bucket")
            if n:
                out[at] = n
            at += 1
    if deltas:
        raise Wrong("more buckets than spans")
    return out


def _histogram(data):
    h, time_ms, start = Histogram(), 0, 0
    spans, deltas = {8: [], 11: []}, {9: [], 12: []}
    known = {1: 0, 3: 1, 4: 0, 5: 1, 6: 0, 8: 2, 9: 2, 11: 2, 12: 2, 15: 0, 17: 0}
    for number, value in _message(data, known, "Histogram"):
        if number in spans:
            span = dict(_message(value, {1: 0, 2: 0}, "BucketSpan"))
            spans[number].append((_zigzag(span.get(1, 0)), span.get(2, 0)))
        elif number in deltas:
            deltas[number] += [_zigzag(n) for n in _packed(value)]
        else:
            match number:
                case 1: h.count = value
                case 3: h.sum = _double(value)
                case 4: h.schema = _zigzag(value)
                case 5: h.zero_threshold = _double(value)
                case 6: h.zero_count = value
                case 15: time_ms = _signed(value)
                case 17: start = _signed(value)
    h.negative, h.positive = _buckets(spans[8], deltas[9]), _buckets(spans[11], deltas[12])
    if not -4 <= h.schema <= 8:
        raise Wrong(f"a histogram of schema {h.schema}")
    total = h.zero_count + sum(h.positive.values()) + sum(h.negative.values())
    if not is_stale(h.sum) and (total > h.count if math.isnan(h.sum) else total != h.count):
        raise Wrong(f"{total} observations in buckets should have matched the count of {h.count}")
    return time_ms, h, start


def _sample(data, is_2):
    fields = dict(_message(data, {1: 1, 2: 0, 3: 0} if is_2 else {1: 1, 2: 0}, "Sample"))
    return _signed(fields.get(2, 0)), _double(fields.get(1, bytes(8))), _signed(fields.get(3, 0))


def _label(data):
    fields = dict(_message(data, {1: 2, 2: 2}, "Label"))
    return fields.get(1, b"").decode(), fields.get(2, b"").decode()


def _pairs(data, symbols):
    refs = _packed(data)
    if len(refs) % 2 or max(refs, default=0) >= len(symbols):
        raise Wrong(f"references {refs} do not fit {len(symbols)} symbols")
    return [(symbols[refs[i]], symbols[refs[i + 1]]) for i in range(0, len(refs), 2)]


def _exemplar(data, symbols):
    labels, value, time_ms = [], 0.0, 0
    for number, field in _message(data, {1: 2, 2: 1, 3: 0}, "Exemplar"):
        match number:
            case 1: labels += _pairs(field, symbols) if symbols else [_label(field)]
            case 2: value = _double(field)
            case 3: time_ms = _signed(field)
    if labels != sorted(labels) or len(dict(labels)) < len(labels) or sum(len(k) + len(v) for k, v in labels) > 128:
        raise Wrong(f"the labels of an exemplar: {labels}")
    return time_ms, value, dict(labels)


def _series_1(data):
    s, labels = Series(), []
    for number, value in _message(data, {1: 2, 2: 2, 3: 2, 4: 2}, "TimeSeries"):
        match number:
            case 1: labels.append(_label(value))
            case 2: s.samples.append(_sample(value, False))
            case 3: s.exemplars.append(_exemplar(value, None))
            case 4: s.histograms.append(_histogram(value))
    s.labels = tuple(labels)
    return s


def _series_2(data, symbols):
    s, has_metadata = Series(), False
    for number, value in _message(data, {1: 2, 2: 2, 3: 2, 4: 2, 5: 2}, "TimeSeries"):
        match number:
            case 1: s.labels += tuple(_pairs(value, symbols))
            case 2: s.samples.append(_sample(value, True))
            case 3: s.histograms.append(_histogram(value))
            case 4: s.exemplars.append(_exemplar(value, symbols))
            case 5:
                has_metadata = True
                fields = dict(_message(value, {1: 0, 3: 0, 4: 0}, "Metadata"))
                s.metadata = (TYPES[fields.get(1, 0)], symbols[fields.get(3, 0)], symbols[fields.get(4, 0)])
    if not has_metadata:
        raise Wrong("a series without metadata")
    return s


def decode(data, is_2):
    if not is_2:
        return [_series_1(value) for _, value in _message(data, {1: 2}, "WriteRequest")]
    symbols, series = [], []
    for number, value in _message(data, {4: 2, 5: 2}, "Request"):
        if number == 4:
            symbols.append(value.decode())
        else:
            series.append(value)
    if not symbols or symbols[0] or len(set(symbols)) < len(symbols):
        raise Wrong("the first symbol is not the empty string, or one stands there twice")
    out = [_series_2(value, symbols) for value in series]
    used = {text for s in out for pair in s.labels for text in pair} | {t for s in out for t in s.metadata[1:]}
    used |= {text for s in out for _, _, labels in s.exemplars for pair in labels.items() for text in pair}
    if set(symbols) - used - {""}:
        raise Wrong(f"symbols that nobody uses: {sorted(set(symbols) - used)}")
    return out


def check_labels(labels):
    names = [name for name, _ in labels]
    if [n.encode() for n in names] != sorted({n.encode() for n in names}):
        raise Wrong(f"labels are not sorted, or repeat: {labels}")
    for name, value in labels:
        if not name or not value:
            raise Wrong(f"an empty name or value: {labels}")
        if not LABEL.match(name):
            raise Wrong(f"no label name: {name!r}")
    if not METRIC.match(dict(labels).get("__name__", "")):
        raise Wrong(f"no metric name: {labels}")


def check_order(times, what):
    if any(a >= b for a, b in zip(times, times[1:])):
        raise Wrong(f"{what} are not in the order of time: {times}")


def text_of(labels):
    """As PromQL writes it: name{a="b"}."""
    rest = ",".join(f'{k}="{v}"' for k, v in sorted(labels) if k != "__name__")
    return dict(labels)["__name__"] + ("{" + rest + "}" if rest else "")


class _WriteHandler(_Handler):
    def do_POST(self):
        receiver = self.server.sink
        try:
            body = self._read_body()
        except (OSError, ValueError):
            self.close_connection = True
            return
        mode = receiver._next_mode()
        if mode.mode == "hang":
            receiver._hung.wait(3600)
        if mode.mode in ("hang", "drop"):
            self.close_connection = True
            return
        receiver._note_busy(1)
        if mode.mode == "answer":
            status, text, headers = mode.status, mode.body, mode.headers
        else:
            status, text, headers = receiver.take(self.path, self.headers, body)
        with receiver._lock:
            receiver.requests.append((status, dict(self.headers)))
        try:
            self._reply(status, text, headers, content_type="text/plain; charset=utf-8")
        except OSError:
            self.close_connection = True
        receiver._note_busy(-1)


class Receiver(Sink):
    handler = _WriteHandler

    def __init__(self, port=0, *, old=None, new=False, keep=None, window_ms=0):
        super().__init__(port)
        self.old = old
        self.new = new
        self.keep = keep or (lambda labels, time_ms: True)
        self.window_ms = window_ms
        self.requests = []  # (status, headers)
        self.problems = []
        self._series = {}   # text -> Series
        self._take_lock = threading.Lock()
        self._busy = 0

    def _note_busy(self, n):
        with self._lock:
            self._busy += n
            self._lock.notify_all()

    @property
    def url(self):
        return super().url + PATH

    def __exit__(self, kind, *rest):
        # What was taken is answered too, or the gateway would call the receiver down.
        with self._lock:
            self._lock.wait_for(lambda: self._busy == 0, DEADLINE_S)
        super().__exit__(kind, *rest)
        if kind is None:
            assert self.problems == [], self.problems

    # What it takes

    def take(self, path, headers, body):
        """(status, text, headers)"""
        with self._take_lock:
            try:
                return self._take(path, headers, body)
            except (Wrong, snappy_block.SnappyError, UnicodeDecodeError, KeyError, IndexError) as error:
                self.problems.append(repr(error))
                return 400, f"{error}\n".encode(), {}

    def _take(self, path, headers, body):
        is_2 = headers.get("Content-Type") == TYPE_2
        want = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "2.0.0" if is_2 else "0.1.0",
                "Content-Type": TYPE_2 if is_2 else "application/x-protobuf"}
        for name, value in want.items():
            if headers.get_all(name) != [value]:
                raise Wrong(f"{name} is {headers.get_all(name)}, not {value}")
        if path != PATH or not headers.get("User-Agent", "").startswith("tidegate/"):
            raise Wrong(f"{path} asked by {headers.get('User-Agent')}")
        if is_2 and self.old:
            status = {"415": 415, "swallow": 204, "400": 400}[self.old]
            return status, b"what is this?\n" if status >= 400 else b"", {}
        if not is_2 and self.new:
            return 415, b"not accepted by this server\n", {}
        series = decode(self._decompress(body), is_2)
        if not series:
            raise Wrong("an empty request")
        self._check(series)
        return self._write(series, is_2)

    def _decompress(self, body):
        data = snappy_block.decode(body)
        # Prometheus 3 answers 400 to more.
        if len(data) > 32 << 20:
            raise Wrong(f"decoded size {len(data)} exceeds the 33554432 bytes limit")
        return data

    def _check(self, series):
        seen = set()
        for s in series:
            check_labels(s.labels)
            kind = (s.labels, bool(s.histograms))
            if kind in seen:
                raise Wrong(f"{text_of(s.labels)} stands twice in a request")
            seen.add(kind)
            if bool(s.samples) == bool(s.histograms):
                raise Wrong(f"{text_of(s.labels)} has samples and histograms, or neither")
            times = [t for t, *_ in s.samples + s.histograms]
            check_order(times, text_of(s.labels))
            check_order([t for t, *_ in s.exemplars], f"exemplars of {text_of(s.labels)}")
            for t, _, start in s.samples + s.histograms:
                if start and start >= t:
                    raise Wrong(f"{text_of(s.labels)} counts since {start}, after {t}")
            self._check_behind(s, times)

    def _check_behind(self, s, times):
        known = self._series.get(text_of(s.labels))
        before = [t for t, *_ in known.samples + known.histograms] if known else []
        if before and times and times[0] <= max(before) - self.window_ms:
            raise Wrong(f"out of order: {text_of(s.labels)} at {times[0]} after {max(before)}")

    def _write(self, series, is_2):
        wanted = [(s, x) for s in series for x in s.samples + s.histograms]
        kept = [(s, x) for s, x in wanted if self.keep(dict(s.labels), x[0])]
        if not is_2 and len(kept) < len(wanted):
            return 400, b"out of order sample\n", {}
        for s, x in kept:
            known = self._series.setdefault(text_of(s.labels), Series(s.labels))
            known.metadata = s.metadata
            (known.histograms if isinstance(x[1], Histogram) else known.samples).append(x)
        for s in series:
            if text_of(s.labels) in self._series:
                self._series[text_of(s.labels)].exemplars += s.exemplars
        if not is_2:
            return 204, b"", {}
        samples = sum(not isinstance(x[1], Histogram) for _, x in kept)
        written = {"X-Prometheus-Remote-Write-Samples-Written": str(samples),
                   "X-Prometheus-Remote-Write-Histograms-Written": str(len(kept) - samples),
                   "X-Prometheus-Remote-Write-Exemplars-Written": str(sum(len(s.exemplars) for s in series))}
        return (204, b"", written) if len(kept) == len(wanted) else (400, b"out of order sample\n", written)

    # What it has

    def names(self):
        """Of all series, as PromQL writes them."""
        with self._take_lock:
            return sorted(self._series)

    def get(self, text):
        with self._take_lock:
            return self._series.get(text, Series())

    def values(self, text):
        """[(time in ms, value)] in the order of arrival."""
        return [(t, v) for t, v, _ in self.get(text).samples]

    def versions(self):
        with self._lock:
            return [h.get("X-Prometheus-Remote-Write-Version") for _, h in self.requests]

    def wait(self, condition, what, deadline_s=DEADLINE_S):
        end = time.monotonic() + deadline_s
        with self._lock:
            while not condition(self):
                left = end - time.monotonic()
                assert left > 0, f"not within {deadline_s} s: {what}; {self.problems} {self.requests[-3:]}"
                self._lock.wait(min(left, 0.1))


__all__ = ["Histogram", "Mode", "Receiver", "Series", "is_stale"]
