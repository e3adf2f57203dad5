"""A gRPC server that never ends a call, and gives a sign of life now and then: each export ends by its deadline, and the
data stays. One thread, raw HTTP/2 frames."""
import contextlib
import socket
import struct
import threading
import time

from tests.support import otlp
from tests.support.bad_link import BadLink
from tests.support.grpc_sink import GrpcSink

PREFACE = 24
DATA, HEADERS, SETTINGS, PING, WINDOW = 0, 1, 4, 6, 8
ACK, END_HEADERS = 1, 4
# :status 200 (indexed), content-type: application/grpc (literal with an indexed name)
ANSWER_HEADERS = b"\x88\x0f\x10\x10application/grpc"
TIMEOUT_S = 0.2
PATIENCE = 20            # times the timeout, for what moves (docs/uplink.md)
FAST = {"initial_interval": "10ms", "max_interval": "50ms"}


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


class Dripper:
    """What it does for each open stream, every 20 ms."""

    def __init__(self, act):
        self.act, self.drips, self.calls = act, 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._is_closed = True
        self._listener.close()

    def _accept(self):
        while not self._is_closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                self._talk(connection)
            except OSError:
                pass

    def _talk(self, connection):
        window = 0 if self.act == "window" else 1 << 20
        connection.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window)))
        connection.settimeout(0.02)
        seen, skip, stream = b"", PREFACE, 0
        while not self._is_closed:
            try:
                data = connection.recv(65536)
                if not data:
                    return
                seen += data
            except TimeoutError:
                if stream:
                    self.drips += 1
                    connection.sendall(self._drip(stream))
                continue
            seen, skip = seen[skip:] if len(seen) >= skip else seen, 0 if len(seen) >= skip else skip
            while not skip and len(seen) >= 9 and len(seen) >= 9 + int.from_bytes(seen[:3], "big"):
                length, kind, flags = int.from_bytes(seen[:3], "big"), seen[3], seen[4]
                payload = seen[9:9 + length]
                if kind == HEADERS:
                    stream = int.from_bytes(seen[5:9], "big")
                    self.calls += 1
                    if self.act == "answer":
                        connection.sendall(frame(HEADERS, END_HEADERS, stream, ANSWER_HEADERS))
                elif kind == SETTINGS and not flags & ACK:
                    connection.sendall(frame(SETTINGS, ACK, 0, b""))
                elif kind == PING and not flags & ACK:
                    connection.sendall(frame(PING, ACK, 0, payload))
                seen = seen[9 + length:]

    def _drip(self, stream):
        if self.act == "window":
            return frame(WINDOW, 0, stream, struct.pack(">I", 1))
        if self.act == "answer":
            return frame(DATA, 0, stream, b"\0")
        return frame(PING, 0, 0, b"tick-tac")


ACTS = {
    "window": "in all",        # one byte of flow-control window, so one byte of the request goes
    "answer": "in all",        # one byte of an answer
    "ping": "nothing moved",   # the connection lives, and nothing comes of the call
}


def start(start_gateway, server):
    return start_gateway(
        {"destinations": {"central": {"kind": "otlp_grpc", "endpoint": server.url, "compression": "none",
                                      "timeout": f"{int(TIMEOUT_S * 1000)}ms", "retry_on_failure": FAST}},
         "shutdown_timeout": "1s"}, expect=[r"event=forward\.down"])


def test_an_export_ends_by_its_deadline_whatever_drips(start_gateway):
    """All three at a time, each with a gateway of its own."""
    ids = otlp.new_ids(50)
    with contextlib.ExitStack() as stack:
        servers = {act: stack.enter_context(Dripper(act)) for act in ACTS}
        gateways = {act: start(start_gateway, server) for act, server in servers.items()}
        began = time.monotonic()
        for gateway in gateways.values():
            assert otlp.post(gateway, "logs", otlp.logs(ids)).status_code == 200
        for act, gateway in gateways.items():
            # On a machine that stands still for a moment, a try may end for another reason: there is a next one.
            gateway.wait_until(lambda: ACTS[act] in (gateway.sqlite("SELECT last_error FROM deliveries")[0][0] or ""),
                               f"the end of a call ({act})", 60)
            # No sooner than promised, for a thin link is slow too.
            assert time.monotonic() - began >= TIMEOUT_S * (PATIENCE if ACTS[act] == "in all" else 1)
            gateway.wait_until(lambda: servers[act].calls > 1, "the next try")
            assert servers[act].drips > 0
            assert sorted(otlp.queued_ids(gateway)) == ids
            gateway.assert_balanced()


def test_a_grpc_connection_on_which_nothing_moves_is_noticed(start_gateway):
    """Half open in the middle of its life: no FIN, no RST, no answer to a ping."""
    with GrpcSink() as sink, BadLink(sink.port) as link:
        gateway = start_gateway(
            {"destinations": {"central": {"kind": "otlp_grpc", "endpoint": link.url, "timeout": "300ms",
                                          "retry_on_failure": FAST}}}, expect=[r"event=forward\.down"])
        first = otlp.new_ids(5)
        assert otlp.post(gateway, "logs", otlp.logs(first)).status_code == 200
        gateway.wait_drained()
        link.swallow()
        ids = otlp.new_ids(5)
        assert otlp.post(gateway, "logs", otlp.logs(ids)).status_code == 200
        assert "not even a ping was answered" in gateway.wait_event("forward.down")["reason"]
        link.ok()
        gateway.wait_drained()
        assert set(sink.ids("logs")) == set(first + ids)
        gateway.assert_balanced()
