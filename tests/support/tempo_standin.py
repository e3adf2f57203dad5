"""A stand-in of Tempo: OTLP over HTTP (url) and over gRPC (grpc_url), and what Tempo looks at.

    with Tempo(multi_tenant=True) as tempo:
        gw = Gateway(tmp_path, {"destinations": {"t": {"kind": "otlp_grpc", "endpoint": tempo.grpc_url,
                                                       "headers": {"X-Scope-OrgID": "plant-7"}}}})
        tempo.wait_ids(sent)

Checked: ids (16 and 8 bytes, not all zero; a parent may be absent or zero), tenant, authorization, and a burst of
bytes that one request may not exceed, with the codes that Tempo's distributor answers with. gRPC is the server of
grpcio, an implementation that shares nothing with the gateway's client.
"""
import concurrent.futures
import time

import grpc

from tests.support import otlp
from tests.support.sink import Received, Sink, _Handler


class Refused(Exception):
    def __init__(self, http, code, text):
        super().__init__(text)
        self.http = http
        self.code = code


def _check_id(name, value, size, may_be_zero=False):
    if may_be_zero and not value.strip(b"\0"):
        if len(value) not in (0, size):
            raise Refused(400, grpc.StatusCode.INVALID_ARGUMENT, f"{name} must be {size * 8} bit")
        return
    if len(value) != size or not value.strip(b"\0"):
        raise Refused(400, grpc.StatusCode.INVALID_ARGUMENT, f"{name} must be {size * 8} bit and not zero")


class _TempoHandler(_Handler):
    def do_POST(self):
        tempo = self.server.sink
        try:
            body = self._read_body()
        except (OSError, ValueError):
            self.close_connection = True
            return
        if self.path != "/v1/traces":
            self._reply(404)
            return
        mode = tempo._next_mode()
        if mode.mode == "hang":
            tempo._hung.wait(3600)
        if mode.mode in ("hang", "drop"):
            self.close_connection = True
            return
        try:
            if mode.mode == "answer":
                self._reply(mode.status, mode.body, mode.headers)
                return
            tempo.take(otlp.decompress(self.headers.get("Content-Encoding", "none"), body), self.headers)
            self._reply(200, otlp.RESPONSE["traces"]().SerializeToString())
        except Refused as refused:
            self._reply(refused.http, str(refused).encode(), content_type="text/plain")
        except OSError:
            self.close_connection = True


class _Grpc(grpc.GenericRpcHandler):
    def __init__(self, tempo):
        self._tempo = tempo

    def service(self, details):
        if details.method != otlp.METHOD["traces"]:
            return None
        return grpc.unary_unary_rpc_method_handler(self._export)

    def _export(self, body, context):
        headers = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
        mode = self._tempo._next_mode()
        if mode.mode == "answer":
            context.abort(grpc.StatusCode.UNAVAILABLE, mode.body.decode())
        try:
            self._tempo.take(body, headers)
        except Refused as refused:
            context.abort(refused.code, str(refused))
        return otlp.RESPONSE["traces"]().SerializeToString()


class Tempo(Sink):
    """auth: the Authorization header's value that is asked for. multi_tenant: X-Scope-OrgID is asked for.
    burst: bytes of one request at most."""

    handler = _TempoHandler

    def __init__(self, port=0, *, auth=None, multi_tenant=False, burst=20 << 20):
        super().__init__(port)
        self.auth = auth
        self.multi_tenant = multi_tenant
        self.burst = burst
        self.grpc_port = 0
        self._grpc = None

    def start(self):
        super().start()
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[_Grpc(self)],
                                 options=[("grpc.so_reuseport", 0)])
        self.grpc_port = self._grpc.add_insecure_port(f"127.0.0.1:{self.grpc_port}")
        self._grpc.start()
        return self

    def stop(self):
        self._grpc.stop(0).wait()
        super().stop()

    @property
    def grpc_url(self):
        return f"http://127.0.0.1:{self.grpc_port}"

    def take(self, body, headers):
        """Refused: nothing of it was taken. headers of any case."""
        given = {k.lower(): v for k, v in dict(headers).items()}
        if self.auth and given.get("authorization") != self.auth:
            raise Refused(401, grpc.StatusCode.UNAUTHENTICATED, "unauthorized")
        tenant = given.get("x-scope-orgid", "" if self.multi_tenant else "single-tenant")
        if not tenant:
            raise Refused(503, grpc.StatusCode.UNAVAILABLE, "no org id")
        message = otlp.parse("traces", body)
        if len(body) > self.burst:
            raise Refused(429, grpc.StatusCode.RESOURCE_EXHAUSTED,
                          f"RATE_LIMITED: batch size ({len(body)} bytes) exceeds ingestion limit (local: {self.burst} "
                          f"bytes/s, global: 0 bytes/s, burst: {self.burst} bytes) while adding {len(body)} bytes for "
                          f"user {tenant}. consider reducing batch size or increasing rate limit.")
        for span in otlp.records(message):
            _check_id("trace ids", span.trace_id, 16)
            _check_id("span ids", span.span_id, 8)
            _check_id("parent span ids", span.parent_span_id, 8, may_be_zero=True)
        received = Received("traces", otlp.record_ids(message), given, len(body), time.monotonic(), 200, {})
        received.tenant = tenant
        self._note(received)
