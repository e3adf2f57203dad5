"""Requests that take long to check are checked on a thread of their own: they get the same answers, and what
else comes in does not wait for them."""
import concurrent.futures
import gzip
import socket
import struct
import time

import pytest

from tests.support import otlp
from tests.support.grpc_raw import HEALTH, RawGrpc, framed
from tests.support.patience import DEADLINE_S

MIB = 1 << 20
# A request of nothing but tiny resources, each with one field that nobody knows: costly to check for its size.
TINY = b"\x0a\x02\x28\x01" * (12 * MIB)


def large(ids):
    request = otlp.logs(ids)
    request.resource_logs[0].scope_logs[0].log_records[0].body.string_value += " " + "x" * (3 * MIB)
    return request.SerializeToString()


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
def test_large_requests_are_stored(start_gateway, coding):
    gateway = start_gateway()
    grpc_ids, http_ids = otlp.new_ids(3), otlp.new_ids(3)
    with RawGrpc(gateway.grpc_port) as client:
        body = otlp.compress(coding, large(grpc_ids))
        answer = client.call(otlp.METHOD["logs"], framed(body, flag=int(coding != "identity")),
                             [("grpc-encoding", coding)])
        assert answer.code == 0
    reply = otlp.post(gateway, "logs", large(http_ids), encoding="none" if coding == "identity" else coding)
    assert reply.status_code == 200
    assert sorted(otlp.queued_ids(gateway)) == sorted(grpc_ids + http_ids)


def test_what_is_wrong_with_a_large_request_is_told(start_gateway):
    gateway = start_gateway()
    bad = large(otlp.new_ids(1)) + b"\x0a\x7f"
    with RawGrpc(gateway.grpc_port) as client:
        answer = client.export("logs", bad)
        assert answer.code == 3 and "resource_logs" in answer.message
    for encoding in ("none", "gzip"):
        assert otlp.post(gateway, "logs", bad, encoding=encoding).status_code == 400


def test_small_requests_do_not_wait_for_large_ones(start_gateway):
    gateway = start_gateway()

    def send_large():
        with RawGrpc(gateway.grpc_port) as client:
            began = time.monotonic()
            assert client.call(otlp.METHOD["logs"], framed(gzip.compress(TINY, 1), flag=1),
                               [("grpc-encoding", "gzip")]).code == 0
            return time.monotonic() - began

    with concurrent.futures.ThreadPoolExecutor() as pool, RawGrpc(gateway.grpc_port) as client:
        answers = [pool.submit(send_large) for _ in range(3)]
        waits = []
        while not all(x.done() for x in answers):
            began = time.monotonic()
            assert client.export("logs", otlp.logs(otlp.new_ids(1)).SerializeToString()).code == 0
            waits.append(time.monotonic() - began)
        longest_large = max(x.result() for x in answers)
    # They were answered meanwhile, and not behind the large ones.
    assert max(waits) < longest_large / 3


def deflate_of_tables(size):
    """gzip of nothing: dynamic blocks without content, whose tables are all that they cost (RFC 1951, 3.2.7)."""
    bits = ""

    def put(value, count):  # the lowest bit first
        nonlocal bits
        bits += "".join(str(value >> i & 1) for i in range(count))

    put(0, 1)
    put(2, 2)  # dynamic
    put(0, 5)  # 257 literals,
    put(0, 5)  # 1 distance,
    put(14, 4)  # 18 lengths of code lengths: those of 18 and 1 are 1, the others 0
    for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1]:
        put(int(symbol in (18, 1)), 3)
    for zeros in (138, 118):
        bits += "1"
        put(zeros - 11, 7)
    bits += "00" + "0"  # the end of the block and the distance have one bit each; the end
    eight = bits * 8
    blocks = bytes(int(eight[i:i + 8][::-1], 2) for i in range(0, len(eight), 8))
    return b"\x1f\x8b\x08" + bytes(7) + blocks * (size // len(blocks)) + b"\x03\x00" + bytes(8)


def test_many_costly_requests_at_a_time_hold_nobody_up(start_gateway):
    """Each is small enough to be checked where it comes in; all of them are not."""
    gateway = start_gateway()
    body = deflate_of_tables(60 << 10)
    assert gzip.decompress(body) == b""
    with RawGrpc(gateway.grpc_port) as attacker, RawGrpc(gateway.grpc_port) as client:
        streams = []
        for _ in range(90):
            streams.append(attacker.begin(otlp.METHOD["logs"], [("grpc-encoding", "gzip")]))
            attacker.send(streams[-1], framed(body, flag=1))
        began = time.monotonic()
        for stream in streams:
            attacker.h2.end_stream(stream)
        attacker.flush()
        assert client.call(HEALTH, framed(b"")).code == 0
        health_s = time.monotonic() - began
        for stream in streams:
            assert attacker.answer(stream).code == 0
        all_s = time.monotonic() - began
    assert health_s < all_s / 2


def test_what_clients_left_behind_is_not_checked(start_gateway):
    """They cost their sender 16 KiB each, and the one thread for such requests much longer than that takes."""
    gateway = start_gateway()
    count = 20
    head = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n"
    body = gzip.compress(TINY[:16 * MIB] + otlp.logs(otlp.new_ids(1)).SerializeToString())
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", gateway.http_port), DEADLINE_S) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            # Answers to others say that this was most likely read before the reset comes.
            for _ in range(2):
                assert otlp.post(gateway, "logs", otlp.logs([])).status_code == 200
    # The thread takes them in order: behind this one none is left.
    with RawGrpc(gateway.grpc_port) as client:
        assert client.export("logs", large(otlp.new_ids(1))).code == 0
    stored = gateway.metrics()['otelcol_receiver_accepted_log_records{receiver="otlp",transport="http"}']
    assert stored < count / 2
