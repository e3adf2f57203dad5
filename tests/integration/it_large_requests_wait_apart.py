"""Requests that take long to check are checked on a thread of their own: they get the same answers, and what
else comes in does not wait for them."""
import concurrent.futures
import gzip
import socket
import struct
import time

import pytest

from tests.support import otlp
from tests.support.grpc_raw import RawGrpc, framed
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
