"""Sizes, times and numbers that a client cannot pass: bodies, bombs, slow and silent clients, connections.
Whoever runs into a limit is told so or cut, and everybody else is served."""
import os
import pathlib
import signal
import threading
import time

import pytest
import requests

from tests.support import otlp
from tests.support.gateway import Gateway, binary
from tests.support.http_raw import RawClient, chunked, head
from tests.support.patience import DEADLINE_S, Stopwatch
from tests.support.status import parse_status

KIB = 1024
PRELOAD = pathlib.Path(binary()).parent / "tests" / "libhang_sync.so"
PROTOBUF = "application/x-protobuf"


def start(start_gateway, **http):
    return start_gateway({"receivers": {"otlp": {"http": http}}})


def assert_serves(gateway):
    ids = otlp.new_ids(1)
    answer = otlp.post(gateway, "logs", otlp.logs(ids))
    assert answer.status_code == 200
    assert ids[0] in otlp.queued_ids(gateway)


def rss_bytes(gateway):
    with open(f"/proc/{gateway.process.pid}/status") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
    raise AssertionError("no VmHWM")


def of_size(size):
    """A log request of exactly this many bytes."""
    ids = otlp.new_ids(1)
    pad = size - 200
    while True:
        request = otlp.logs(ids)
        request.resource_logs[0].scope_logs[0].log_records[0].body.string_value = "x" * pad
        body = request.SerializeToString()
        if len(body) == size:
            return body
        pad += size - len(body)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_413(start_gateway, is_chunked):
    gateway = start(start_gateway, max_request_body_size="64KiB")
    with RawClient(gateway) as client:
        for size, code in ((64 * KIB, 200), (64 * KIB + 1, 413), (100 * KIB, 413), (64 * KIB, 200)):
            body = of_size(size)
            if is_chunked:
                client.send(head(headers=["Transfer-Encoding: chunked"]) + chunked(body, 10_000))
            else:
                client.request(body=body)
            answer = client.answer()
            assert answer.status == code
            if code == 413:
                status = parse_status(PROTOBUF, answer.body)
                assert status.code == 8 and "65536" in status.message and "smaller batches" in status.message


def test_clients_that_send_before_they_listen_read_the_413(start_gateway):
    """Most HTTP libraries write the whole body before they look for an answer."""
    gateway = start(start_gateway, max_request_body_size="2MiB")
    with requests.Session() as session:
        for size in (2 << 20) + 1, 3 << 20, 4 << 20:
            answer = otlp.post(gateway, "logs", bytes(size), session=session)
            assert answer.status_code == 413
            answer = otlp.post(gateway, "logs", otlp.logs(otlp.new_ids(1)), session=session)
            assert answer.status_code == 200


def test_a_length_far_over_the_limit_is_413_before_the_body(start_gateway):
    gateway = start(start_gateway)
    with RawClient(gateway) as client:
        client.send(head(length=10 << 30))
        answer = client.answer()
        assert answer.status == 413
        assert str(10 << 30) in parse_status(PROTOBUF, answer.body).message
        client.wait_closed()
    # 64-bit overflow included.
    with RawClient(gateway) as client:
        client.send(head(length=(1 << 64) + 5))
        assert client.answer().status == 413
    assert_serves(gateway)


def test_a_client_that_sends_on_after_413_is_cut(start_gateway):
    gateway = start(start_gateway, max_request_body_size="64KiB")
    with RawClient(gateway) as client:
        client.send(head(headers=["Transfer-Encoding: chunked"]))
        sent = 0
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < 100 << 20:
                client.send(b"10000\r\n" + bytes(64 * KIB) + b"\r\n")
                sent += 64 * KIB
    assert_serves(gateway)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_413_and_costs_bounded_memory(start_gateway, encoding):
    gateway = start(start_gateway, max_request_body_size="1MiB")
    assert_serves(gateway)
    before = rss_bytes(gateway)
    bomb = otlp.compress(encoding, bytes(128 << 20))
    assert len(bomb) < 1 << 20
    watch = Stopwatch()
    for _ in range(5):
        with RawClient(gateway) as client:
            client.request(body=bomb, headers=[f"Content-Encoding: {encoding}"])
            answer = client.answer()
        assert answer.status == 413
        assert "1048576" in parse_status(PROTOBUF, answer.body).message
    assert watch.seconds() < 10
    # One of the five, unfolded, would be 128 MiB; sanitizers hold back what is freed.
    assert rss_bytes(gateway) - before < 64 << 20
    assert_serves(gateway)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_compressed_body_that_is_cut_off_is_400(start_gateway, encoding):
    gateway = start(start_gateway)
    body = otlp.compress(encoding, otlp.logs(otlp.new_ids(100)).SerializeToString())
    with RawClient(gateway) as client:
        for n in (len(body) - 1, len(body) // 2, 5, 1):
            client.request(body=body[:n], headers=[f"Content-Encoding: {encoding}"])
            answer = client.answer()
            assert answer.status == 400, answer
            assert encoding in parse_status(PROTOBUF, answer.body).message


def test_a_client_that_closes_in_the_body_stores_nothing(start_gateway):
    gateway = start(start_gateway)
    for is_reset in (False, True):
        ids = otlp.new_ids(100)
        body = otlp.logs(ids).SerializeToString()
        client = RawClient(gateway)
        client.request(body=body[:-1], length=len(body))
        client.reset() if is_reset else client.close()
        # The whole message, but a length that says there is more.
        client = RawClient(gateway)
        client.request(body=body, length=len(body) + 1)
        client.close()
    assert_serves(gateway)
    gateway.wait_until(lambda: gateway.metrics()["tidegate_in_flight_bytes"] == 0, "their bytes are free")
    assert len(otlp.queued_ids(gateway)) == 1


def test_more_body_than_the_length_says_is_another_request(start_gateway):
    gateway = start(start_gateway)
    ids = otlp.new_ids(1)
    body = otlp.logs(ids).SerializeToString()
    with RawClient(gateway) as client:
        client.request(body=body + b"garbage\r\n\r\n", length=len(body))
        assert client.answer().status == 200
        # What is no request line ends the connection.
        answer = client.answer()
        assert answer is None or answer.status == 400
    assert otlp.queued_ids(gateway) == ids


def test_headers_of_20_kib_are_taken_and_of_much_more_are_431(start_gateway):
    gateway = start(start_gateway)
    url = f"http://127.0.0.1:{gateway.http_port}/v1/logs"
    for size, code in ((20 * KIB - 500, 200), (30 * KIB, 431)):
        headers = {"Content-Type": PROTOBUF, "X-Long": "a" * size}
        assert requests.post(url, of_size(1000), headers=headers, timeout=DEADLINE_S).status_code == code
    assert_serves(gateway)


def test_head_fields_without_end_are_refused(start_gateway):
    gateway = start(start_gateway)
    with RawClient(gateway) as client:
        client.send_until_refused(b"POST /v1/logs HTTP/1.1\r\n" + b"X-Filler: " + b"x" * 300_000)
        answer = client.answer()
        assert answer is None or answer.status in (413, 431)
    with RawClient(gateway) as client:
        client.send_until_refused(b"POST /v1/logs HTTP/1.1\r\n" + b"X-Filler: x\r\n" * 30_000)
        answer = client.answer()
        assert answer is None or answer.status in (413, 431)
    assert_serves(gateway)


PIPELINED = otlp.new_ids(1)
NO_HTTP = {
    "a length in letters": (head(length="abc"), (b"400",)),
    "a length with a sign": (head(length="-1"), (b"400",)),
    "a length in hex": (head(length="0x10"), (b"400",)),
    "a length of 30 digits": (head(length="9" * 30), (b"413",)),
    "a chunk size in other letters": (head(headers=["Transfer-Encoding: chunked"]) + b"zz\r\n", (b"400",)),
    "a chunk size of 20 digits": (head(headers=["Transfer-Encoding: chunked"]) + b"f" * 20 + b"\r\n", (b"400", b"413")),
    "a chunk longer than its size": (head(headers=["Transfer-Encoding: chunked"]) + b"1\r\nxyz\r\n", (b"400",)),
    "no request line": (b"garbage\r\n\r\n", (b"400", b"")),
    "HTTP/3": (b"POST /v1/logs HTTP/3.0\r\nHost: x\r\n\r\n", (b"400", b"505", b"")),
}


@pytest.mark.parametrize("what", NO_HTTP)
def test_what_is_no_http_ends_the_connection(start_gateway, what):
    """libmicrohttpd's own answers (decision 0021): the right code, nothing behind them is read, nothing is stored."""
    data, codes = NO_HTTP[what]
    gateway = start(start_gateway)
    body = otlp.logs(PIPELINED).SerializeToString()
    with RawClient(gateway) as client:
        client.send_until_refused(data + head(length=len(body)) + body)
        answer = client.rest()
        assert answer.partition(b" ")[2][:3] in codes, answer
        assert b" 200 OK" not in answer
    assert_serves(gateway)
    assert PIPELINED[0] not in otlp.queued_ids(gateway)


TRICKLES = {
    "in the request line": b"POST /v1/lo",
    "in the headers": b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "in the body": head(length=1000),
    "in a chunk": head(headers=["Transfer-Encoding: chunked"]) + b"ff\r\n",
    "in a refused body": head(content_type="text/plain", length=1000),
}


def trickle_until_cut(client):
    """A byte every 20 ms. The stopwatch when the connection is cut."""
    watch = Stopwatch()
    client.socket.settimeout(0.02)
    while True:
        try:
            data = client.socket.recv(1000)
        except TimeoutError:
            data = None
        except ConnectionResetError:
            data = b""
        if data is not None:
            assert data == b""
            return watch.passed_s(), watch.seconds()
        assert watch.passed_s() < DEADLINE_S, "never cut"
        client.send_until_refused(b"a")


def test_whoever_trickles_is_cut_while_others_are_served(start_gateway):
    gateway = start(start_gateway, read_timeout="500ms", idle_timeout="1s")
    seconds = {}

    def trickle(name, first):
        with RawClient(gateway) as client:
            client.send(first)
            seconds[name] = trickle_until_cut(client)

    threads = [threading.Thread(target=trickle, args=item) for item in TRICKLES.items()]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert_serves(gateway)
    for thread in threads:
        thread.join()
    assert set(seconds) == set(TRICKLES)
    for name, (passed, took) in seconds.items():
        # An unfinished request line has the idle time on top.
        least = 1.0 if name == "in the request line" else 0.4
        assert least <= passed and took < 6, (name, passed, took)


def test_whoever_is_silent_is_cut_at_the_idle_timeout(start_gateway):
    gateway = start(start_gateway, idle_timeout="1s")
    clients = {name: RawClient(gateway) for name in [*TRICKLES, "at once", "after a request"]}
    for name, client in clients.items():
        client.send(TRICKLES.get(name, b""))
    clients["after a request"].request()
    assert clients["after a request"].answer().status == 200
    for client in clients.values():
        assert client.wait_closed() < 5
        client.close()
    assert_serves(gateway)


def test_one_connection_too_many_is_closed_at_once(start_gateway):
    gateway = start(start_gateway, max_connections=5)
    gateway.expect_log("event=receiver.connections .*limit=5")
    clients = [RawClient(gateway) for _ in range(5)]
    for client in clients:
        client.request()
        assert client.answer().status == 200
    for _ in range(20):
        with RawClient(gateway) as client:
            assert client.wait_closed() < 2
    for client in clients:
        client.request()
        assert client.answer().status == 200
    clients.pop().close()

    def is_free_again():
        with RawClient(gateway) as client:
            try:
                client.request()
            except (BrokenPipeError, ConnectionResetError):
                return False
            answer = client.answer()
            return answer and answer.status == 200

    gateway.wait_until(is_free_again, "the place of a closed connection is free")
    for client in clients:
        client.close()


@pytest.mark.parametrize("is_done_meanwhile", [False, True])
def test_a_gateway_that_stood_still_cuts_nobody_who_waits(tmp_path, is_done_meanwhile):
    """Its request is at the writer, so the silence is the gateway's."""
    hang = tmp_path / "hang"
    env = {"LD_PRELOAD": str(PRELOAD), "TIDEGATE_HANG": str(hang)}
    config = {"receivers": {"otlp": {"http": {"idle_timeout": "1s"}}}}
    with Gateway(tmp_path / "gateway", config, env=env) as gateway, RawClient(gateway) as client:
        hang.touch()
        client.request(body=otlp.logs(otlp.new_ids(1)).SerializeToString())
        gateway.wait_until(lambda: gateway.metrics()["tidegate_in_flight_bytes"] > 0, "the request is taken")
        os.kill(gateway.process.pid, signal.SIGSTOP)
        if is_done_meanwhile:
            hang.unlink()
        time.sleep(1.5)
        os.kill(gateway.process.pid, signal.SIGCONT)
        if not is_done_meanwhile:
            # Two workers, and a turn of each: whoever would be cut is cut by then.
            for _ in range(4):
                assert otlp.post(gateway, "logs", otlp.logs([])).status_code == 200
            hang.unlink()
        assert client.answer().status == 200
