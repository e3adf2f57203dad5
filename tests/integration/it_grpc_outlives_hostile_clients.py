"""Clients that flood, stall, lie or babble are ended, at bounded cost, and everybody else is served."""
import gzip
import os
import socket
import struct
import threading

import pytest

from tests.support import otlp
from tests.support.grpc_raw import RawGrpc, framed
from tests.support.patience import DEADLINE_S, Stopwatch

MIB = 1024 * 1024
LOGS = otlp.METHOD["logs"]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def assert_serves(gateway):
    ids = otlp.new_ids(1)
    with RawGrpc(gateway.grpc_port) as client:
        assert client.export("logs", otlp.logs(ids).SerializeToString()).code == 0
    assert ids[0] in otlp.queued_ids(gateway)


def peak_bytes(gateway):
    """The most memory it had. A sanitizer keeps what is freed, and measures something else: 0 then."""
    with open(f"/proc/{gateway.process.pid}/exe", "rb") as program:
        if b"__asan_init" in (text := program.read()) or b"__tsan_init" in text:
            return 0
    with open(f"/proc/{gateway.process.pid}/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def talk(gateway, *pieces, patience_s=DEADLINE_S):
    """Sends raw bytes and reads until the gateway closes; what it said, None where it did not close."""
    with socket.create_connection(("127.0.0.1", gateway.grpc_port), patience_s) as s:
        said = b""
        try:
            for piece in pieces:
                s.sendall(piece)
            while True:
                data = s.recv(65536)
                if not data:
                    return said
                said += data
        except ConnectionError:
            return said
        except TimeoutError:
            return None


def goaway_code(said):
    """The error code of the last GOAWAY in a server's bytes, or None."""
    code = None
    while len(said) >= 9:
        size = int.from_bytes(said[:3], "big")
        if said[3] == 7:
            code = struct.unpack(">I", said[13:17])[0]
        said = said[9 + size:]
    return code


def test_who_does_not_speak_http2_is_closed(start_gateway):
    gateway = start_gateway()
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                 os.urandom(100), PREFACE[:-1] + b"x", PREFACE + os.urandom(1000),
                 PREFACE + frame(0, 0, 1, b"data without headers")):
        assert talk(gateway, text) is not None
    assert_serves(gateway)


def test_a_client_on_the_wrong_port_is_told(start_gateway):
    gateway = start_gateway()
    said = talk(gateway, b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nsome body")
    assert said.startswith(b"HTTP/1.1 400 ") and b"usually 4318" in said
    # The other way round libmicrohttpd answers, in the words that it has.
    with socket.create_connection(("127.0.0.1", gateway.http_port), 30) as s:
        s.sendall(PREFACE + frame(4, 0, 0))
        assert s.recv(65536).startswith(b"HTTP/1.1 505 ")
    assert_serves(gateway)


PING = frame(6, 0, 0, b"12345678")
FLOODS = {
    "pings": PING * 100_000,
    "settings": frame(4, 0, 0, struct.pack(">HI", 3, 100)) * 100_000,
    "priorities": frame(2, 0, 1, b"\0\0\0\0\x10") * 100_000,
    "window updates": frame(8, 0, 0, b"\0\0\0\1") * 100_000,
    "one enormous settings frame": frame(4, 0, 0, struct.pack(">HI", 3, 100) * 2000),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_of_frames_end_their_connection(start_gateway, name):
    gateway = start_gateway()
    said = talk(gateway, PREFACE + frame(4, 0, 0), FLOODS[name])
    assert said is not None, "the flood was borne"
    assert_serves(gateway)
    assert peak_bytes(gateway) < 200 * MIB


def test_rapid_resets_end_their_connection(start_gateway):
    gateway = start_gateway()
    client = RawGrpc(gateway.grpc_port)
    try:
        for _ in range(5000):
            stream = client.begin(LOGS)
            client.h2.reset_stream(stream)
            client.flush()
        client.read_to_end()
    except OSError:
        client.is_closed = True
    client.close()
    assert client.is_closed
    assert_serves(gateway)


PIECE = 16 * 1024
IGNORED = {
    # nghttp2 has a limit of its own here, where it is new or patched.
    "pieces of a header that is none": (frame(1, 0, 1, b"\x82" * 10), frame(9, 0, 1, b"\x82" * PIECE)),
    "pieces of a header": (frame(1, 0, 1, b"\x83\x86\x84"), frame(9, 0, 1, b"\x9f" * PIECE)),
    "frames of an unknown type": (b"", frame(99, 0, 0, bytes(PIECE))),
    "a header for a stream that was never opened": (b"", frame(9, 0, 7, b"\x82" * PIECE)),
}


@pytest.mark.parametrize("what", IGNORED)
def test_a_flood_of_what_is_ignored_ends_its_connection(start_gateway, what):
    gateway = start_gateway()
    head, piece = IGNORED[what]
    assert talk(gateway, PREFACE + frame(4, 0, 0) + head, piece * (40 * MIB // PIECE)) is not None, "the flood was borne"
    assert_serves(gateway)
    assert peak_bytes(gateway) < 200 * MIB


def test_a_header_bomb_is_refused(start_gateway):
    gateway = start_gateway()
    with RawGrpc(gateway.grpc_port) as client:
        answer = client.call(LOGS, b"", [(f"x-{i}", "a" * 1000) for i in range(40)])
        assert answer.code == 8
        assert client.export("logs", b"").code == 0


def test_a_gzip_bomb_costs_no_more_than_the_limit(start_gateway):
    gateway = start_gateway()
    bomb = gzip.compress(bytes(300 * MIB), 6)
    with RawGrpc(gateway.grpc_port) as client:
        for _ in range(3):
            answer = client.call(LOGS, framed(bomb, flag=1), [("grpc-encoding", "gzip")])
            assert answer.code == 8
            assert answer.details is None
    assert peak_bytes(gateway) < 250 * MIB
    assert_serves(gateway)


def test_a_request_that_stalls_is_ended_and_its_neighbour_is_not(start_gateway):
    gateway = start_gateway({"receivers": {"otlp": {"grpc": {"read_timeout": "500ms"}}}})
    with RawGrpc(gateway.grpc_port) as client:
        stalled = client.begin(LOGS)
        client.send(stalled, framed(b"abc", length=10))
        for _ in range(5):
            assert client.export("logs", otlp.logs(otlp.new_ids(1)).SerializeToString()).code == 0
        answer = client.answer(stalled)
        assert answer.code == 4
        assert "0.5 s" in answer.message
        assert client.export("logs", b"").code == 0


def test_stalled_headers_end_the_connection(start_gateway):
    gateway = start_gateway({"receivers": {"otlp": {"grpc": {"read_timeout": "500ms"}}}})
    watch = Stopwatch()
    assert talk(gateway, PREFACE + frame(4, 0, 0) + frame(1, 0, 1, b"\x82")) is not None
    assert watch.seconds() < 20
    assert_serves(gateway)


def test_an_idle_connection_is_told_to_go(start_gateway):
    gateway = start_gateway({"receivers": {"otlp": {"grpc": {"idle_timeout": "1s"}}}})
    with RawGrpc(gateway.grpc_port) as client:
        assert client.export("logs", b"").code == 0
        client.read_to_end()
        assert client.goaways and client.goaways[-1][0] == 0


def test_who_says_nothing_is_closed(start_gateway):
    gateway = start_gateway()
    assert talk(gateway) is not None
    assert_serves(gateway)


def test_a_client_that_never_reads_is_closed(start_gateway):
    gateway = start_gateway({"receivers": {"otlp": {"grpc": {"read_timeout": "1s"}}}})
    client = RawGrpc(gateway.grpc_port, receive_buffer=2048)
    try:
        # Refusals with a text that header compression cannot shrink, until the sockets are full.
        for i in range(100_000):
            stream = client.begin(f"/{os.urandom(40).hex()}", end=True)
            client.h2.reset_stream(stream)
            client.flush()
            del client.answers[stream]
    except OSError:
        client.is_closed = True
    client.close()
    assert client.is_closed
    assert_serves(gateway)
    assert peak_bytes(gateway) < 200 * MIB


def test_attackers_and_a_client_at_the_same_time(start_gateway):
    gateway = start_gateway()
    is_over = threading.Event()

    def attack(number):
        while not is_over.is_set():
            if number % 3 == 0:
                talk(gateway, PREFACE + frame(4, 0, 0), PING * 20_000)
            elif number % 3 == 1:
                talk(gateway, PREFACE + os.urandom(5000))
            else:
                with RawGrpc(gateway.grpc_port) as client:
                    for _ in range(50):
                        client.send(client.begin(LOGS), framed(b"x" * 100, length=60 * MIB))

    attackers = [threading.Thread(target=attack, args=(i,)) for i in range(3)]
    for a in attackers:
        a.start()
    acked = []
    try:
        with otlp.GrpcClient(gateway.grpc_port) as client:
            for _ in range(100):
                ids = otlp.new_ids(2)
                client.export("logs", otlp.logs(ids), timeout=DEADLINE_S)
                acked += ids
    finally:
        is_over.set()
        for a in attackers:
            a.join()
    assert sorted(otlp.queued_ids(gateway)) == sorted(acked)
