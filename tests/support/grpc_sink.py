"""An OTLP/gRPC backend for tests, on grpcio's server: takes exports, counts records by their test id, misbehaves on command.

    with GrpcSink() as sink:
        gw = start_gateway({"destinations": {"central": {"kind": "otlp_grpc", "endpoint": sink.url}}})
        sink.fail(grpc.StatusCode.UNAVAILABLE, times=2, retry_after_s=1)   # then it is well again
        sink.ok()
        sink.stop(); sink.start()                                         # the same port
        assert sink.ids("logs") == acknowledged

As a process of its own, which a test can stop with SIGSTOP: python3 tests/support/grpc_sink.py; it prints its port,
and at the end of its stdin the ids that it got, one a line.
"""
import concurrent.futures
import dataclasses
import pathlib
import sys
import threading
import time

import grpc

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.support import otlp  # noqa: E402
from tests.support.held_port import held_port  # noqa: E402
from tests.support.patience import DEADLINE_S  # noqa: E402
from tests.support.status import status_details  # noqa: E402


@dataclasses.dataclass
class Call:
    signal: str
    ids: list
    metadata: dict
    body_bytes: int         # of the message, decompressed
    time_remaining: float   # what grpc-timeout left
    peer: str
    peer_name: bytes        # common name of the client certificate
    code: grpc.StatusCode


@dataclasses.dataclass
class Failure:
    code: grpc.StatusCode
    times: int
    message: str
    retry_after_s: float
    details: bytes


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, sink):
        self._sink = sink

    def service(self, details):
        for signal, path in otlp.METHOD.items():
            if details.method == path and signal in self._sink.signals:
                return grpc.unary_unary_rpc_method_handler(
                    lambda body, context, signal=signal: self._sink._export(signal, body, context))
        return None


class GrpcSink:
    """options: of grpc.server. credentials: grpc.ssl_server_credentials. signals: others are UNIMPLEMENTED."""

    def __init__(self, *, options=(), credentials=None, signals=otlp.SIGNALS, compression=None):
        self.port = 0
        self.signals = signals
        self.calls = []
        self.reply = {}  # signal -> message to answer with
        self.is_bad = lambda record_id: False  # one of them, and the whole export is refused for good
        self._options = (("grpc.so_reuseport", 0), *options)
        self._credentials = credentials
        self._compression = compression
        self._failure = None
        self._changed = threading.Condition()
        self._gate = threading.Event()
        self._gate.set()
        self._server = None
        self._holder = None

    def start(self):
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), handlers=(_Handler(self),),
                                   options=self._options, compression=self._compression)
        address = f"127.0.0.1:{self.port}"
        self.port = (self._server.add_secure_port(address, self._credentials) if self._credentials
                     else self._server.add_insecure_port(address))
        self._server.start()
        if self._holder:
            self._holder.close()
        return self

    def stop(self):
        self._gate.set()
        self._server.stop(0).wait()
        self._server = None
        self._holder = held_port(self.port)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self._server:
            self.stop()
        self._holder.close()

    @property
    def url(self):
        return f"{'https' if self._credentials else 'http'}://127.0.0.1:{self.port}"

    def fail(self, code, times=-1, message="", retry_after_s=0, details=b""):
        with self._changed:
            self._failure = Failure(code, times, message, retry_after_s, details)

    def ok(self):
        with self._changed:
            self._failure = None

    def hold(self):
        """Calls come in and are not answered until release()."""
        self._gate.clear()

    def release(self):
        self._gate.set()

    def _next_failure(self):
        failure = self._failure
        if failure and failure.times == 0:
            self._failure = failure = None
        elif failure and failure.times > 0:
            failure.times -= 1
        return failure

    def _export(self, signal, body, context):
        remaining = context.time_remaining()
        name = (context.auth_context().get("x509_common_name") or [b""])[0]
        ids = otlp.record_ids(otlp.parse(signal, body))
        with self._changed:
            failure = self._next_failure()
            if not failure and any(map(self.is_bad, ids)):
                failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, 0, "cannot take this record", 0, b"")
            self.calls.append(Call(signal, ids,
                                   dict(context.invocation_metadata()), len(body), remaining, context.peer(), name,
                                   failure.code if failure else grpc.StatusCode.OK))
            self._changed.notify_all()
        self._gate.wait(3600)
        if failure:
            if failure.retry_after_s or failure.details:
                context.set_trailing_metadata((("grpc-status-details-bin", failure.details or status_details(
                    failure.code.value[0], failure.message, failure.retry_after_s)),))
            context.abort(failure.code, failure.message)
        reply = self.reply.get(signal)
        return reply.SerializeToString() if reply else b""

    def answered(self, signal=None):
        with self._changed:
            return [c for c in self.calls if c.code == grpc.StatusCode.OK and signal in (None, c.signal)]

    def ids(self, signal=None):
        """The ids of all records taken, in the order of arrival, with repeats."""
        return [i for c in self.answered(signal) for i in c.ids]

    def wait(self, condition, what, deadline_s=DEADLINE_S):
        end = time.monotonic() + deadline_s
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"not within {deadline_s} s: {what}; got {len(self.calls)} calls"
            with self._changed:
                self._changed.wait(min(left, 0.05))


def main():
    with GrpcSink() as sink:
        print(sink.port, flush=True)
        sys.stdin.read()
        print("\n".join(sink.ids()), flush=True)


if __name__ == "__main__":
    main()
