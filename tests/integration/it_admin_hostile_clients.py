"""Whatever one client does to the admin listener, the next one's health probe is answered."""
import contextlib
import socket

import pytest

from tests.support.gateway import Gateway
from tests.support.patience import DEADLINE_S, Stopwatch


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("gateway")) as gw:
        yield gw


def connect(gateway):
    return socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=DEADLINE_S)


def say(gateway, data):
    """What comes back until the connection ends, or until the first answer's head is there."""
    with connect(gateway) as client:
        out = b""
        try:
            client.sendall(data)
            while b"\r\n\r\n" not in out:
                part = client.recv(65536)
                if not part:
                    break
                out += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        return out


def assert_healthy(gateway):
    watch = Stopwatch()
    assert gateway.admin_get("/healthz").json()["status"] == "ok"
    assert watch.seconds() < 5


@pytest.mark.parametrize("data,status", [
    (b"garbage\r\n\r\n", None),
    (b"GET / HTTP/9.9\r\n\r\n", None),
    (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (b"414", b"431", b"413", b"400")),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100000 + b"\r\n\r\n", (b"431", b"413", b"400")),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", (b"413",)),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", (b"413",)),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody", (b"405",)),
    (b"GET /api/v1/batches/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", (b"400", b"404")),
    (b"GET /api/v1/batches?service=%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n", (b"200",)),
    (b"GET /api/v1/batches?service='%3b+drop+table+batches%3b-- HTTP/1.1\r\nHost: localhost\r\n\r\n", (b"200",)),
    (b"GET /%3cscript%3e%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", (b"404",)),
])
def test_one_strange_request(gateway, data, status):
    answer = say(gateway, data)
    if status:
        assert answer.split(b" ")[1] in status, answer[:200]
    assert_healthy(gateway)


def test_silent_and_half_said_requests_do_not_block(gateway):
    clients = [connect(gateway) for _ in range(50)]
    for i, client in enumerate(clients):
        client.sendall(b"GET /api/v1/sta" if i % 2 else b"")
    assert_healthy(gateway)
    assert gateway.admin_get("/metrics").status_code == 200
    for client in clients:
        client.close()
    assert_healthy(gateway)


def test_one_address_cannot_take_every_connection(start_gateway):
    """With a gateway of its own: what the test before had closed may be there for a moment more, and counts."""
    gateway = start_gateway()
    clients = [socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=DEADLINE_S,
                                        source_address=("127.0.0.2", 0)) for _ in range(80)]
    for client in clients:
        with contextlib.suppress(ConnectionError):  # those beyond the limit are closed
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
    assert_healthy(gateway)
    for client in clients:
        client.close()
    assert_healthy(gateway)


def test_a_client_that_never_reads_its_answer_does_not_block(start_gateway):
    gateway = start_gateway()
    clients = [connect(gateway) for _ in range(20)]
    for client in clients:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
    assert_healthy(gateway)
    for client in clients:
        client.close()
