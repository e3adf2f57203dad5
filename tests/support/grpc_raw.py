"""HTTP/2 by hand (h2 for the frames), for gRPC requests that no client library would send."""
import base64
import socket
import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.support.otlp import METHOD
from tests.support.patience import DEADLINE_S
from tests.support.status import status_pb2

_GOAWAY = 7
HEALTH = "/grpc.health.v1.Health/Check"


def framed(message, flag=0, length=None):
    """A length-prefixed message. length: what the prefix says, where it is not the message's."""
    return struct.pack(">BI", flag, len(message) if length is None else length) + message


class Answer:
    """What came back on one stream: headers and trailers in one dict."""

    def __init__(self):
        self.headers = {}
        self.body = b""
        self.is_ended = False
        self.reset_code = None

    @property
    def http_status(self):
        return int(self.headers[":status"])

    @property
    def code(self):
        return int(self.headers["grpc-status"])

    @property
    def message(self):
        return self.headers.get("grpc-message", "")

    @property
    def details(self):
        """The google.rpc.Status of grpc-status-details-bin (h2 gives the header's text), or None."""
        text = self.headers.get("grpc-status-details-bin")
        if text is None:
            return None
        status = status_pb2.Status()
        status.ParseFromString(base64.b64decode(text + "=" * (-len(text) % 4)))
        return status

    def __repr__(self):
        return f"Answer({self.headers}, body={self.body!r}, reset={self.reset_code})"


class RawGrpc:
    """One connection to the gateway's gRPC port."""

    def __init__(self, port, timeout=DEADLINE_S, settings=None, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False))
        if settings:
            self.h2.local_settings.update(settings)
        self.h2.initiate_connection()
        self._pending = b""
        self.answers = {}
        self.goaways = []
        self.pongs = 0
        self.is_closed = False
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def begin(self, path, extra=(), end=False, method="POST", content_type="application/grpc"):
        """Sends the headers of a request. The stream's id."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        headers = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test"),
                   ("content-type", content_type), ("te", "trailers"), *extra]
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False, chunk=16384):
        """DATA frames of at most chunk bytes, as the windows allow, until the stream has its answer."""
        view = memoryview(data)
        while len(view) and not self._is_over(stream):
            n = min(len(view), chunk, self.h2.local_flow_control_window(stream),
                    self.h2.max_outbound_frame_size)
            if n == 0:
                assert self.read(), "closed while the window was empty"
                continue
            self.h2.send_data(stream, bytes(view[:n]))
            view = view[n:]
            self.flush()
        if end and not self._is_over(stream):
            self.h2.end_stream(stream)
            self.flush()

    def _is_over(self, stream):
        answer = self.answers[stream]
        return answer.is_ended or answer.reset_code is not None

    def call(self, path, body, extra=(), **kwargs):
        stream = self.begin(path, extra, **kwargs)
        self.send(stream, body, end=True)
        return self.answer(stream)

    def export(self, signal, message, extra=()):
        return self.call(METHOD[signal], framed(message), extra)

    def read(self):
        """Handles what comes next. False: the connection ended."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_closed = True
            return False
        self._pending += data
        while len(self._pending) >= 9:
            size = 9 + int.from_bytes(self._pending[:3], "big")
            if len(self._pending) < size:
                break
            self._take_frame(self._pending[:size])
            self._pending = self._pending[size:]
        self.flush_quietly()
        return True

    def _take_frame(self, frame):
        # h2 takes a GOAWAY for the end of everything; in HTTP/2 the calls that were begun go on.
        if frame[3] == _GOAWAY:
            last, code = struct.unpack(">II", frame[9:17])
            self.goaways.append((code, last))
            return
        for event in self.h2.receive_data(frame):
            self._handle(event)

    def flush_quietly(self):
        try:
            self.flush()
        except OSError:
            pass

    def _handle(self, event):
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            self.answers[event.stream_id].headers.update(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self.answers[event.stream_id].body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.answers[event.stream_id].is_ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.answers[event.stream_id].reset_code = int(event.error_code)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1

    def answer(self, stream):
        """Reads until the stream has its answer."""
        answer = self.answers[stream]
        while not self._is_over(stream):
            assert self.read(), f"the connection ended without an answer: {answer}, {self.goaways}"
        return answer

    def read_to_end(self):
        while self.read():
            pass
