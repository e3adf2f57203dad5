"""A link between a gateway and a backend that misbehaves on command: a TCP proxy on loopback.

    with Sink() as sink, BadLink(sink.port) as link:
        gateway = start_gateway({"destinations": {"central": {"kind": "otlp_http", "endpoint": link.url}}})
        link.delay(0.3)             # every piece, in both directions
        link.limit(64 * 1024)       # bytes a second towards the backend, for all connections together
        link.trickle(7, 0.001)      # pieces of so many bytes with so long a pause, in both directions
        link.drip_answers(0.1, 300) # answers come byte by byte after their first 300, with so long a pause
        link.down()                 # connections are reset, new ones refused
        link.swallow()              # connections stay and take bytes, nothing arrives: no FIN, no RST
        link.cut_answers(3)         # so many answers are lost after the backend gave them: reset in their middle
        link.cut_requests(3, 5000)  # so many connections are reset after so many bytes of a request
        link.flap(0.2, 0.3)         # up for so long, down for so long, until told otherwise
        link.up()                   # connections are taken again, by a link that is still as it was told to be
        link.ok()                   # well again; what was swallowed stays lost, its connections are reset

Counts what passed: `connections`, `refused`, `cuts`, `bytes_up`, `bytes_down`.
"""
import dataclasses
import socket
import struct
import threading
import time

from tests.support.held_port import held_port
from tests.support.patience import DEADLINE_S

CHUNK = 16384


@dataclasses.dataclass
class _Mode:
    delay_s: float = 0
    piece: int = CHUNK
    pause_s: float = 0
    rate: float = 0          # bytes a second, upwards
    is_swallowing: bool = False
    drip_after: int = -1     # bytes of a connection's answers that come at once; then one by one


def _reset(connection):
    """Closes it so that the peer gets a RST, and not a polite end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread that is in recv holds the socket open: this ends it.
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    connection.close()


class _Pair:
    """One connection of the gateway, and its other half to the backend."""

    def __init__(self, link, near):
        self.link = link
        self.near = near
        self.far = socket.create_connection(("127.0.0.1", link.target_port), timeout=DEADLINE_S)
        self.far.settimeout(None)
        self.sent_up = self.sent_down = 0
        for s in (near, self.far):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink, is_up in ((near, self.far, True), (self.far, near, False)):
            threading.Thread(target=self._pump, args=(source, sink, is_up), daemon=True).start()

    def reset(self):
        _reset(self.near)
        _reset(self.far)

    def _pump(self, source, sink, is_up):
        link = self.link
        try:
            while data := source.recv(CHUNK):
                if not link._pass(self, data, is_up):
                    continue
                self._send(sink, data, is_up)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.reset()
        finally:
            if not is_up:
                link._forget(self)

    def _send(self, sink, data, is_up):
        mode = self.link._mode
        is_whole = mode.drip_after >= 0 and (is_up or self.sent_down < mode.drip_after)
        size = CHUNK if is_whole else mode.piece
        if is_whole and not is_up:
            rest = data[mode.drip_after - self.sent_down:]
            data = data[:mode.drip_after - self.sent_down]
            self.sent_down += len(data)
            sink.sendall(data)
            return self._send(sink, rest, is_up) if rest else None
        if mode.delay_s:
            self.link._wait(mode.delay_s)
        for i in range(0, len(data), size):
            piece = data[i:i + size]
            if mode.pause_s and not is_whole:
                self.link._wait(mode.pause_s)
            if is_up and mode.rate:
                self.link._throttle(len(piece), mode.rate)
            if self.link._mode.is_swallowing:
                return
            sink.sendall(piece)
            self.link._count(len(piece), is_up)


class BadLink:
    def __init__(self, target_port):
        self.target_port = target_port
        self.port = 0
        self.connections = self.refused = self.cuts = self.bytes_up = self.bytes_down = 0
        self._mode = _Mode()
        self._lock = threading.Lock()
        self._pairs = set()
        self._answers_to_cut = self._requests_to_cut = self._cut_after = 0
        self._free_at = 0.0
        self._listener = self._holder = None
        self._flapping = None
        self._wake = threading.Event()
        self._is_closed = False
        self._listen()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def close(self):
        self._is_closed = True
        self._end_flapping()
        self.down()
        self._holder.close()

    # Commands

    def ok(self):
        self._end_flapping()
        was_swallowing = self._mode.is_swallowing
        self._set(_Mode())
        if was_swallowing:
            self._reset_all()
        self._listen()

    def up(self):
        self._end_flapping()
        self._listen()

    def delay(self, seconds):
        self._set(_Mode(delay_s=seconds))

    def limit(self, bytes_per_s):
        self._set(_Mode(rate=bytes_per_s, piece=1024))

    def trickle(self, piece, pause_s):
        self._set(_Mode(piece=piece, pause_s=pause_s))

    def drip_answers(self, pause_s, after):
        self._set(_Mode(piece=1, pause_s=pause_s, drip_after=after))

    def swallow(self):
        self._set(_Mode(is_swallowing=True))

    def cut_answers(self, times):
        with self._lock:
            self._answers_to_cut = times

    def cut_requests(self, times, after_bytes):
        with self._lock:
            self._requests_to_cut, self._cut_after = times, after_bytes

    def down(self):
        with self._lock:
            listener, self._listener = self._listener, None
        if listener:
            # Ends the accept of its thread; close alone would not.
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
            self._holder = held_port(self.port)
        self._reset_all()

    def flap(self, up_s, down_s):
        self._end_flapping()
        stop = threading.Event()

        def run():
            while not stop.wait(up_s):
                self.down()
                if stop.wait(down_s):
                    break
                self._listen()

        thread = threading.Thread(target=run, daemon=True)
        self._flapping = (stop, thread)
        thread.start()

    # What it is made of

    def _set(self, mode):
        self._mode = mode
        self._wake.set()
        self._wake = threading.Event()

    def _wait(self, seconds):
        """A pause that a command ends."""
        self._wake.wait(seconds)

    def _end_flapping(self):
        if self._flapping:
            stop, thread = self._flapping
            self._flapping = None
            stop.set()
            thread.join()

    def _listen(self):
        with self._lock:
            if self._listener or self._is_closed:
                return
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(128)
            self.port = listener.getsockname()[1]
            self._listener = listener
            if self._holder:
                self._holder.close()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                pair = _Pair(self, near)
            except OSError:
                _reset(near)
                continue
            with self._lock:
                self._pairs.add(pair)
                is_late = self._listener is not listener
            if is_late:
                pair.reset()

    def _reset_all(self):
        with self._lock:
            pairs = list(self._pairs)
            self._pairs.clear()
        for pair in pairs:
            pair.reset()

    def _forget(self, pair):
        with self._lock:
            self._pairs.discard(pair)

    def _count(self, n, is_up):
        with self._lock:
            if is_up:
                self.bytes_up += n
            else:
                self.bytes_down += n

    def _pass(self, pair, data, is_up):
        """False: these bytes are lost, with or without their connection."""
        if self._mode.is_swallowing:
            return False
        with self._lock:
            if is_up:
                pair.sent_up += len(data)
                is_cut = self._requests_to_cut > 0 and pair.sent_up > self._cut_after
                self._requests_to_cut -= is_cut
            else:
                is_cut = self._answers_to_cut > 0
                self._answers_to_cut -= is_cut
            self.cuts += is_cut
        if is_cut and not is_up:
            try:
                pair.near.sendall(data[:len(data) // 2])
            except OSError:
                pass
        if is_cut:
            pair.reset()
        return not is_cut

    def _throttle(self, n, rate):
        with self._lock:
            now = time.monotonic()
            at = max(self._free_at, now)
            self._free_at = at + n / rate
        self._wait(at - now)
