"""Requests that cannot be taken get the status that gRPC and OTLP ask for: one that a client gives up on
where the request is at fault, one that it comes back after where the gateway is."""
import gzip
import os

from tests.support import otlp
from tests.support.grpc_raw import HEALTH, RawGrpc, framed
from tests.support.status import retry_seconds

KIB = 1024
LOGS = otlp.METHOD["logs"]
BODY = otlp.logs(["x"]).SerializeToString()


def grpc_config(**options):
    return {"receivers": {"otlp": {"grpc": options}}}


def of_size(size):
    """A log request of exactly this many bytes."""
    pad = size - 200
    while True:
        request = otlp.logs(["x"])
        request.resource_logs[0].scope_logs[0].log_records[0].body.string_value = "x" * pad
        body = request.SerializeToString()
        if len(body) == size:
            return body
        pad += size - len(body)


CASES = {
    "two messages": (LOGS, framed(BODY) * 2, {}, 200, 13, "more than one message"),
    "no message": (LOGS, b"", {}, 200, 13, "no message"),
    "a cut message": (LOGS, framed(BODY)[:-1], {}, 200, 13, "within a message"),
    "a cut prefix": (LOGS, b"\0\0", {}, 200, 13, "within a message"),
    "a bad flag": (LOGS, framed(BODY, flag=7), {}, 200, 13, "compressed flag"),
    "compressed with nothing": (LOGS, framed(BODY, flag=1), {}, 200, 13, "grpc-encoding"),
    "unknown encoding": (LOGS, framed(BODY), {"extra": [("grpc-encoding", "snappy")]}, 200, 12, "snappy|gzip"),
    "damaged gzip": (LOGS, framed(gzip.compress(BODY)[:-5], flag=1), {"extra": [("grpc-encoding", "gzip")]},
                     200, 3, "cut off"),
    "damaged protobuf": (LOGS, framed(b"\x0a\x7fabc"), {}, 200, 3, "byte"),
    "bad timeout": (LOGS, framed(BODY), {"extra": [("grpc-timeout", "1 fortnight")]}, 200, 13, "grpc-timeout"),
    "unknown method": ("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
                       framed(b""), {}, 200, 12, "ProfilesService"),
    "not POST": (LOGS, framed(BODY), {"method": "PUT"}, 405, 13, "POST"),
    "not gRPC": (LOGS, framed(BODY), {"content_type": "application/x-protobuf"}, 415, 13, "4318"),
    "gRPC with JSON": (LOGS, framed(BODY), {"content_type": "application/grpc+json"}, 415, 13, "application/grpc"),
    "health of the unknown": (HEALTH, framed(b"\x0a\x03abc"), {}, 200, 5, "unknown service"),
}


def test_bad_requests_are_told_what_is_wrong_and_hurt_no_neighbour(start_gateway):
    gateway = start_gateway()
    with RawGrpc(gateway.grpc_port) as client:
        for name, (path, body, kwargs, http, code, word) in CASES.items():
            answer = client.call(path, body, **kwargs)
            assert (answer.http_status, answer.code) == (http, code), (name, answer)
            assert any(w in answer.message for w in word.split("|")), (name, answer)
            assert answer.details is None, name
            # The same connection goes on.
            assert client.export("logs", otlp.logs(otlp.new_ids(1)).SerializeToString()).code == 0, name
        answer = client.call(LOGS, framed(BODY), [("grpc-encoding", "br")])
        assert answer.headers["grpc-accept-encoding"] == "identity,gzip,zstd"
    assert len(otlp.queued_ids(gateway)) == len(CASES)


def test_content_types_with_a_suffix_or_a_parameter_are_grpc(start_gateway):
    gateway = start_gateway()
    with RawGrpc(gateway.grpc_port) as client:
        for content_type in ("application/grpc+proto", "application/grpc;charset=utf-8"):
            assert client.call(LOGS, framed(BODY), content_type=content_type).code == 0


def test_a_message_of_the_limit_is_taken_and_one_byte_more_is_refused_for_good(start_gateway):
    gateway = start_gateway(grpc_config(max_recv_msg_size="64KiB"))
    with RawGrpc(gateway.grpc_port) as client:
        for size, code in ((64 * KIB, 0), (64 * KIB + 1, 8), (500 * KIB, 8), (64 * KIB, 0)):
            answer = client.export("logs", of_size(size))
            assert answer.code == code, answer
            assert answer.details is None  # RetryInfo would make clients send it for ever
            body = gzip.compress(of_size(size))
            answer = client.call(LOGS, framed(body, flag=1), [("grpc-encoding", "gzip")])
            assert answer.code == code, answer


def test_a_length_beyond_the_limit_is_refused_before_the_bytes_come(start_gateway):
    gateway = start_gateway()
    with RawGrpc(gateway.grpc_port) as client:
        for length in (64 * KIB * KIB + 1, 2**32 - 1):
            stream = client.begin(LOGS)
            client.send(stream, framed(b"", length=length))
            answer = client.answer(stream)
            assert answer.code == 8
            assert str(length) in answer.message


def test_64_mib_come_through(start_gateway):
    gateway = start_gateway()
    size = 64 * KIB * KIB
    with RawGrpc(gateway.grpc_port) as client:
        assert client.export("logs", of_size(size)).code == 0
        assert client.export("logs", of_size(size + 1)).code == 8
    assert gateway.sqlite("SELECT sum(raw_bytes) > ? FROM batches", size - KIB) == [(1,)]


def test_too_much_in_flight_is_retryable_and_says_when(start_gateway):
    gateway = start_gateway({"receivers": {"max_in_flight": "4MiB"}})
    size = 1200 * KIB
    body = framed(of_size(size))
    with RawGrpc(gateway.grpc_port) as client:
        # Bodies that stop short of their end hold what came of them.
        waiting = []
        refused = None
        for _ in range(8):
            stream = client.begin(LOGS)
            waiting.append(stream)
            client.send(stream, body[:-1])
            client.h2.ping(b"12345678")
            client.flush()
            pongs = client.pongs
            while client.pongs == pongs:
                assert client.read()
            if client.answers[stream].headers:
                refused = client.answers[stream]
                waiting.remove(stream)
                break
        assert refused is not None
        assert refused.code == 14
        assert refused.details.code == 14
        assert retry_seconds(refused.details) > 0
        # What was begun is taken, or may come again: never refused for good.
        for stream in waiting:
            client.send(stream, body[-1:], end=True)
            answer = client.answer(stream)
            assert answer.code == 0 or (answer.code == 14 and retry_seconds(answer.details) > 0)
        assert client.export("logs", of_size(size)).code == 0


def test_a_full_queue_is_retryable_and_says_when(start_gateway):
    gateway = start_gateway({"queue": {"max_size": "16MiB", "when_full": {"info": "reject"}}}, expect=["queue"])
    with RawGrpc(gateway.grpc_port) as client:
        for _ in range(200):
            request = otlp.logs(otlp.new_ids(1))
            record = request.resource_logs[0].scope_logs[0].log_records[0]
            record.body.string_value = os.urandom(300 * KIB).hex()
            answer = client.export("logs", request.SerializeToString())
            if answer.code:
                break
        assert answer.code == 14, answer
        assert "full" in answer.message
        assert retry_seconds(answer.details) > 0
        health = client.call(HEALTH, framed(b""))
        assert (health.code, health.body) == (0, framed(b"\x08\x02"))


def test_no_connection_beyond_the_limit(start_gateway):
    gateway = start_gateway(grpc_config(max_connections=3), expect=["receiver.connection_refused"])
    clients = [RawGrpc(gateway.grpc_port) for _ in range(3)]
    for client in clients:
        assert client.export("logs", BODY).code == 0
    fourth = RawGrpc.__new__(RawGrpc)
    try:
        fourth.__init__(gateway.grpc_port)
        assert not fourth.read() or fourth.read_to_end() is None
    except (ConnectionError, OSError):
        pass
    for client in clients:
        assert client.export("logs", BODY).code == 0
    clients[0].close()

    def is_let_in():
        with RawGrpc(gateway.grpc_port) as client:
            try:
                return client.export("logs", BODY).code == 0
            except (AssertionError, OSError):
                return False

    gateway.wait_until(is_let_in, "a place is free again")
    for client in clients[1:]:
        client.close()
