"""An OTLP/HTTP backend for tests: takes exports, counts records by their test id, misbehaves on command.

In a test:

    with Sink() as sink:
        gw = Gateway(tmp_path, {"destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url}}})
        sink.answer(503, times=2, headers={"Retry-After": "1"})   # then it is well again
        sink.hang(); sink.drop(); sink.ok()
        sink.stop(); sink.start()                                 # the same port: an uplink that goes and comes
        sink.refuse(["r-00000007"])                               # 400 to every export that has one of them
        assert sink.ids("logs") == acknowledged                   # in the order of arrival, with repeats

As a process of its own (demo, crash tests): python3 tests/support/sink.py --port 4319
    GET  /_sink/stats            {"requests": .., "records": .., "unique": .., "by_signal": {..}}
    GET  /_sink/ids              {"id": times, ..}
    POST /_sink/mode             {"mode": "ok"}, {"mode": "answer", "status": 503, "times": 2, "headers": {..}},
                                 {"mode": "hang"}, {"mode": "drop"}
Only what was answered with 200 counts as received; what was refused is in `refused`.
"""
import argparse
import collections
import dataclasses
import http.server
import json
import pathlib
import socket
import ssl
import sys
import threading
import time

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.support import otlp  # noqa: E402
from tests.support.held_port import held_port  # noqa: E402
from tests.support.patience import DEADLINE_S  # noqa: E402

PATHS = {f"/v1/{s}": s for s in otlp.SIGNALS}


@dataclasses.dataclass
class Received:
    signal: str
    ids: list
    headers: dict
    body_bytes: int  # on the wire
    at: float        # time.monotonic()
    status: int
    peer_cert: dict


@dataclasses.dataclass
class Mode:
    mode: str = "ok"
    status: int = 200
    times: int = -1  # requests; -1: until told otherwise
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = b""
    content_type: str = "application/x-protobuf"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.server.sink._opened(self.connection)

    def finish(self):
        self.server.sink._closed(self.connection)
        try:
            super().finish()
        except OSError:
            pass

    def _read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _reply(self, status, body=b"", headers=None, content_type="application/x-protobuf"):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def _reply_json(self, node):
        self._reply(200, json.dumps(node).encode(), content_type="application/json")

    def do_GET(self):
        sink = self.server.sink
        if self.path == "/_sink/stats":
            self._reply_json(sink.stats())
        elif self.path == "/_sink/ids":
            self._reply_json(collections.Counter(sink.ids()))
        else:
            self._reply(404)

    def do_POST(self):
        sink = self.server.sink
        try:
            body = self._read_body()
        except (OSError, ValueError):
            self.close_connection = True
            return
        if self.path == "/_sink/mode":
            node = json.loads(body)
            node["body"] = node.get("body", "").encode()
            sink.set_mode(Mode(**node))
            self._reply_json({})
            return
        signal = sink.paths.get(self.path)
        if not signal:
            self._reply(404)
            return
        mode = sink._next_mode()
        if mode.mode == "hang":
            sink._hung.wait(3600)
        if mode.mode in ("hang", "drop"):
            self.close_connection = True
            return
        sink._paused.wait(sink.delay_s)
        encoding = self.headers.get("Content-Encoding", "none")
        if mode.mode == "ok" and encoding not in sink.encodings:
            mode = Mode("answer", 415)
        if mode.mode == "ok" and signal in sink.busy_signals:
            mode = Mode("answer", 500)
        message = otlp.parse(signal, otlp.decompress(encoding, body))
        ids = otlp.record_ids(message)
        if mode.mode == "ok" and any(map(sink.is_bad, ids)):
            mode = Mode("answer", 400, body=sink.bad_words, content_type="text/plain")
        rejected = [i for i in ids if sink.is_rejected(i)] if mode.mode == "ok" else []
        if rejected:
            mode = Mode("ok", body=otlp.partial_success(signal, len(rejected)))
        if mode.status // 100 == 2:
            sink.keep(signal, message)
        cert = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        sink._note(Received(signal, [i for i in ids if i not in rejected], dict(self.headers), len(body),
                            time.monotonic(), mode.status, cert or {}), rejected)
        try:
            self._reply(mode.status, mode.body, mode.headers, mode.content_type)
        except OSError:
            self.close_connection = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # peers go away: that is what these tests are about


class Sink:
    """tls: an ssl.SSLContext. paths: URL path -> signal. encodings: others are answered with 415."""

    handler = _Handler

    def __init__(self, port=0, *, host="127.0.0.1", tls=None, paths=None, encodings=("none", "gzip", "zstd")):
        self.port = port
        self.host = host
        self.paths = paths or PATHS
        self.encodings = encodings
        self.received = []  # Received, answered with 2xx
        self.refused = []   # Received, answered with anything else
        self.delay_s = 0  # before each answer: a slow link
        self.rejected = set()                # ids that were refused by partial success
        self.is_bad = lambda record_id: False       # one of them, and the whole export is refused
        self.bad_words = b""
        self.is_rejected = lambda record_id: False  # refused alone, by partial success
        self.busy_signals = frozenset()  # answered with 500
        self.keep = lambda signal, message: None  # called with each export that is taken
        self._tls = tls
        self._mode = Mode()
        self._lock = threading.Condition()
        self._hung = threading.Event()
        self._paused = threading.Event()  # never set: to wait with a time-out
        self._connections = set()
        self._server = None
        self._holder = None
        self._thread = None

    # Life

    def start(self):
        """On the port that it had before, where it had one."""
        assert self._server is None, "it runs already"
        self._hung = threading.Event()
        self._server = _Server((self.host, self.port), self.handler)
        self._server.sink = self
        if self._tls:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        if self._holder:
            self._holder.close()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Closes the port and every connection: connections are refused until start()."""
        self._hung.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._lock:
            for connection in list(self._connections):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self._server = None
        self._holder = held_port(self.port, self.host)

    def __enter__(self):
        return self if self._server else self.start()

    def __exit__(self, *_):
        if self._server:
            self.stop()
        self._holder.close()

    @property
    def url(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    # Behaviour

    def set_mode(self, mode):
        with self._lock:
            self._mode = mode
            if mode.mode == "ok":
                self._hung.set()
                self._hung = threading.Event()

    def ok(self):
        self.set_mode(Mode())

    def answer(self, status, times=-1, headers=None, body=b""):
        """So many exports get this answer; then it is well again."""
        self.set_mode(Mode("answer", status, times, headers or {}, body))

    def hang(self, times=-1):
        """Reads the export and says nothing, until ok() or stop()."""
        self.set_mode(Mode("hang", times=times))

    def drop(self, times=-1):
        """Reads the export and closes the connection."""
        self.set_mode(Mode("drop", times=times))

    def refuse(self, ids, words=b"cannot take this record"):
        """400 with these words to every export that has one of these records, for good."""
        self.bad_words = words
        self.is_bad = frozenset(ids).__contains__

    def _next_mode(self):
        with self._lock:
            mode = self._mode
            if mode.times == 0:
                self._mode = mode = Mode()
            elif mode.times > 0:
                mode.times -= 1
                mode = dataclasses.replace(mode)
            return mode

    def _opened(self, connection):
        with self._lock:
            self._connections.add(connection)

    def _closed(self, connection):
        with self._lock:
            self._connections.discard(connection)

    def _note(self, received, rejected=()):
        with self._lock:
            self.rejected.update(rejected)
            (self.received if received.status // 100 == 2 else self.refused).append(received)
            self._lock.notify_all()

    # What it got

    def ids(self, signal=None):
        """The ids of all records received, in the order of arrival, with repeats."""
        with self._lock:
            return [i for r in self.received if signal in (None, r.signal) for i in r.ids]

    def stats(self):
        ids = self.ids()
        return {"requests": len(self.received), "refused": len(self.refused), "records": len(ids),
                "unique": len(set(ids)), "by_signal": {s: len(self.ids(s)) for s in otlp.SIGNALS}}

    def wait(self, condition, what, deadline_s=DEADLINE_S):
        """Until condition(self) is true; it is asked again after each export."""
        end = time.monotonic() + deadline_s
        while not condition(self):
            left = end - time.monotonic()
            assert left > 0, f"not within {deadline_s} s: {what}; got {self.stats()}"
            with self._lock:
                self._lock.wait(min(left, 0.05))

    def wait_ids(self, ids, deadline_s=DEADLINE_S):
        """Until every one of these ids has come."""
        want = set(ids)
        self.wait(lambda s: want <= set(s.ids()), f"{len(want)} ids at the sink", deadline_s)


def main():
    parser = argparse.ArgumentParser(description="An OTLP/HTTP backend that counts what it gets.")
    parser.add_argument("--port", type=int, default=4319)
    sink = Sink(parser.parse_args().port).start()
    print(f"listening on {sink.url}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        sink.stop()


if __name__ == "__main__":
    main()
