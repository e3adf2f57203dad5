"""The real Prometheus (Debian's package), with the remote write receiver on and nothing to scrape.

    with PrometheusServer(tmp_path / "prometheus", window="4h") as server:
        server.push({"__name__": "up"}, [(time_ms, 1.0)])   # as another sender would
        server.samples('{job="shop"}')                      # {'g{job="shop"}': [(time_ms, value), ...]}
"""
import math
import pathlib
import shutil
import struct
import subprocess
import threading
import time

import requests

from tests.support import snappy_block
from tests.support.held_port import held_port
from tests.support.patience import DEADLINE_S

BINARY = shutil.which("prometheus")
FEATURES = "exemplar-storage,native-histograms"


def _field(number, kind, payload):
    return bytes([number << 3 | kind]) + (_varint(len(payload)) if kind == 2 else b"") + payload


def _varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def write_request(labels, samples):
    pairs = b"".join(_field(1, 2, _field(1, 2, k.encode()) + _field(2, 2, v.encode()))
                     for k, v in sorted(labels.items()))
    values = b"".join(_field(2, 2, _field(1, 1, struct.pack("<d", v)) + _field(2, 0, _varint(t)))
                      for t, v in samples)
    return snappy_block.encode(_field(1, 2, pairs + values))


def text_of(labels):
    rest = ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()) if k != "__name__")
    return labels["__name__"] + ("{" + rest + "}" if rest else "")


class PrometheusServer:
    """window: out_of_order_time_window; None: as it ships."""

    def __init__(self, directory, window=None, features=FEATURES):
        self.features = features
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self._holder = held_port(0)
        self.port = self._holder.getsockname()[1]
        config = f"storage: {{tsdb: {{out_of_order_time_window: {window}}}}}\n" if window else "{}\n"
        (self.dir / "prometheus.yml").write_text(config)
        self.process = None

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self):
        return self.base + "/api/v1/write"

    def start(self):
        log = open(self.dir / "log", "ab")
        self.process = subprocess.Popen(
            [BINARY, f"--config.file={self.dir / 'prometheus.yml'}", f"--storage.tsdb.path={self.dir / 'data'}",
             f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver",
             f"--enable-feature={self.features}", "--storage.tsdb.retention.time=10y"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + DEADLINE_S
        pause = threading.Event()
        while True:
            try:
                if requests.get(self.base + "/-/ready", timeout=1).status_code == 200:
                    return self
            except requests.RequestException:
                pass
            text = (self.dir / "log").read_text(errors="replace")
            assert self.process.poll() is None and time.monotonic() < end, f"Prometheus did not start:\n{text}"
            pause.wait(0.05)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def push(self, labels, samples):
        reply = requests.post(self.url, data=write_request(labels, samples), timeout=DEADLINE_S, headers={
            "Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0"})
        assert reply.status_code == 204, reply.text

    def query(self, promql, at_ms):
        reply = requests.get(self.base + "/api/v1/query", params={"query": promql, "time": at_ms / 1000}, timeout=DEADLINE_S)
        assert reply.status_code == 200, reply.text
        return reply.json()["data"]["result"]

    def _matrix(self, selector, at_ms, what, span):
        return {text_of(r["metric"]): [(round(t * 1000), v) for t, v in r[what]]
                for r in self.query(f"{selector}[{span}]", at_ms) if what in r}

    def samples(self, selector, at_ms, span="1d"):
        """Every raw sample; NaN (which equals nothing) as the text NaN. PromQL leaves stale markers out."""
        found = self._matrix(selector, at_ms, "values", span)
        return {name: [(t, "NaN" if math.isnan(float(v)) else float(v)) for t, v in values]
                for name, values in found.items()}

    def histograms(self, selector, at_ms, span="1d"):
        """Native ones: {series: [(time_ms, {"count", "sum", "buckets": [[.., low, high, count]]})]}"""
        return self._matrix(selector, at_ms, "histograms", span)

    def value(self, promql, at_ms):
        """Of an expression with one series."""
        [result] = self.query(promql, at_ms)
        return float(result["value"][1])

    def exemplars(self, promql, start_ms, end_ms):
        reply = requests.get(self.base + "/api/v1/query_exemplars", timeout=DEADLINE_S, params={
            "query": promql, "start": start_ms / 1000, "end": end_ms / 1000})
        return [(text_of(r["seriesLabels"]), round(e["timestamp"] * 1000), float(e["value"]), e["labels"])
                for r in reply.json()["data"] for e in r["exemplars"]]
