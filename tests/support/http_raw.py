"""HTTP/1.1 by hand, for requests that no client library would send, and answers read to the byte."""
import socket
import time

from tests.support.patience import DEADLINE_S, Stopwatch


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self):
        return f"Answer({self.status}, {self.headers}, {self.body[:200]!r})"


class RawClient:
    """One TCP connection to the gateway's HTTP port."""

    def __init__(self, gateway, timeout=DEADLINE_S):
        self.socket = socket.create_connection(("127.0.0.1", gateway.http_port), timeout)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_until_refused(self, data):
        """As much of data as the other side takes."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def request(self, path="/v1/logs", body=b"", method="POST",
                content_type="application/x-protobuf", length=None, headers=()):
        """Head and body in one piece. length: what Content-Length says, where it is not the body's."""
        self.send(head(path, method, content_type, len(body) if length is None else length, headers)
                  + body)

    def _more(self):
        piece = self.socket.recv(65536)
        self._buffer += piece
        return bool(piece)

    def answer(self):
        """The next response, or None where the connection ends without one."""
        try:
            while b"\r\n\r\n" not in self._buffer:
                if not self._more():
                    assert self._buffer == b"", f"cut off: {self._buffer!r}"
                    return None
            top, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            lines = top.decode("latin1").split("\r\n")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            status = int(lines[0].split(" ")[1])
            length = 0 if status in (100, 204) else int(headers["content-length"])
            while len(self._buffer) < length:
                assert self._more(), f"body cut off: {self._buffer!r}"
        except ConnectionResetError:
            return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Answer(status, headers, body)

    def rest(self):
        """All bytes until the other side closes."""
        try:
            while self._more():
                pass
        except ConnectionResetError:
            pass
        return self._buffer

    def wait_closed(self):
        """Seconds (of a stopwatch) until the other side closed without a word."""
        watch = Stopwatch()
        try:
            data = self._buffer or self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        assert data == b"", f"expected the end, got {data!r}"
        return watch.seconds()


def head(path="/v1/logs", method="POST", content_type="application/x-protobuf", length=None,
         headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += headers
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunked(body, size=1000):
    """body in chunks of size, with the last one."""
    out = b""
    for i in range(0, len(body), size):
        piece = body[i:i + size]
        out += b"%x\r\n%b\r\n" % (len(piece), piece)
    return out + b"0\r\n\r\n"
