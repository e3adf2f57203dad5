"""One address cannot take all connections of a receiver: some are left to the others."""
import socket

import pytest

from tests.support.patience import DEADLINE_S

LIMIT, SHARE = 8, 6


def connect(port, source):
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S, source_address=(source, 0))


def is_closed(connection, patience_s):
    """The gateway closed it. A connection that is kept says nothing here, as its client said nothing."""
    connection.settimeout(patience_s)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_no_address_takes_every_connection(start_gateway, transport):
    gateway = start_gateway({"receivers": {"otlp": {transport: {"max_connections": LIMIT}}}},
                            expect=["too many from one address"])
    port = gateway.ports[transport]
    greedy = [connect(port, "127.0.0.1") for _ in range(SHARE)]
    for _ in range(5):
        with connect(port, "127.0.0.1") as one_more:
            assert is_closed(one_more, DEADLINE_S)
    with connect(port, "127.0.0.2") as other:
        assert not is_closed(other, 0.5)
    assert not is_closed(greedy[0], 0.1)
    for connection in greedy:
        connection.close()
