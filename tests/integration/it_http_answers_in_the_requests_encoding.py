"""Every answer of the OTLP/HTTP receiver: its status code, its headers, and an error in words that is a
google.rpc.Status in the encoding of the request."""
import json

import pytest

from tests.support import otlp
from tests.support.gateway import Gateway
from tests.support.http_raw import RawClient, chunked, head
from tests.support.status import parse_status, retry_seconds

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MIB = 1 << 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("gateway"), {
            "receivers": {"max_in_flight": "4MiB",
                          "otlp": {"http": {"max_request_body_size": "1MiB"}}}}) as gw:
        yield gw


@pytest.mark.smoke
@pytest.mark.parametrize("signal", otlp.SIGNALS)
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON, "Application/json; Charset=UTF-8"])
def test_success_is_an_empty_response_message(gateway, signal, content_type):
    ids = otlp.new_ids(3)
    answer = otlp.post(gateway, signal, otlp.request(signal, ids), content_type=content_type)
    assert answer.status_code == 200
    if "protobuf" in content_type:
        assert answer.headers["Content-Type"] == PROTOBUF
        assert answer.content == b""
    else:
        assert answer.headers["Content-Type"] == JSON
        assert json.loads(answer.content) == {}
    stored = otlp.queued_ids(gateway)
    assert all(stored.count(i) == 1 for i in ids)


@pytest.mark.parametrize("content_type, body", [(PROTOBUF, b""), (JSON, b"{}")])
def test_a_request_without_records_succeeds(gateway, content_type, body):
    with RawClient(gateway) as client:
        client.request(content_type=content_type, body=body)
        assert client.answer().status == 200


GZIP = "Content-Encoding: gzip"
REFUSALS = [
    # what, path, method, extra headers, body, status code, gRPC code, words of the message
    ("an unknown path", "/v1/profiles", "POST", (), b"", 404, 12, ["/v1/profiles", "/v1/traces"]),
    ("the root", "/", "POST", (), b"", 404, 12, ["/v1/logs"]),
    ("a NUL behind a path", "/v1/logs%00x", "POST", (), b"", 404, 12, ["/v1/logs%00x"]),
    ("a slash too many", "/v1/logs/", "POST", (), b"", 404, 12, ["/v1/logs"]),
    ("GET", "/v1/logs", "GET", (), b"", 405, 12, ["POST", "GET"]),
    ("PUT with a body", "/v1/logs", "PUT", (), b"xyz", 405, 12, ["POST", "PUT"]),
    ("OPTIONS without CORS", "/v1/logs", "OPTIONS", (), b"", 405, 12, ["POST"]),
    ("an unknown coding", "/v1/logs", "POST", ("Content-Encoding: br",), b"x", 415, 12,
     ["br", "gzip, zstd, identity"]),
    ("two codings", "/v1/logs", "POST", ("Content-Encoding: gzip, zstd",), b"x", 415, 12, ["gzip, zstd"]),
    ("a body that is no gzip", "/v1/logs", "POST", (GZIP,), b"plain", 400, 3, ["gzip"]),
    ("a body that is no zstd", "/v1/logs", "POST", ("Content-Encoding: zstd",), b"plain", 400, 3, ["zstd"]),
    ("a body that is no OTLP", "/v1/logs", "POST", (), b"\x0a\xff\xff", 400, 3, []),
    ("a body over the limit", "/v1/logs", "POST", (), b"x" * (MIB + 1), 413, 8, ["1048576"]),
]


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("what, path, method, headers, body, code, grpc_code, words", REFUSALS,
                         ids=[r[0] for r in REFUSALS])
def test_a_refusal_is_a_status_in_the_requests_encoding(gateway, content_type, what, path, method, headers,
                                                        body, code, grpc_code, words):
    with RawClient(gateway) as client:
        client.send_until_refused(head(path, method, content_type, len(body), headers) + body)
        answer = client.answer()
    assert answer.status == code, answer
    assert answer.headers["content-type"] == content_type
    status = parse_status(content_type, answer.body)
    assert status.code == grpc_code
    assert status.message
    for word in words:
        assert word in status.message
    assert retry_seconds(status) is None
    assert "retry-after" not in answer.headers
    if code == 405:
        assert answer.headers["allow"] == "POST"
    if code == 415:
        assert answer.headers["accept-encoding"] == "gzip, zstd"


@pytest.mark.parametrize("content_type", [
    None, "", "text/plain", "application/x-www-form-urlencoded", "application/grpc", "application/json;charset",
    "application/json; charset=latin1", "application/x-protobuf, application/json"])
def test_other_content_types_are_refused_in_text(gateway, content_type):
    with RawClient(gateway) as client:
        client.request(content_type=content_type, body=b"{}")
        answer = client.answer()
        assert answer.status == 415
        assert answer.headers["content-type"].startswith("text/plain")
        assert b"JSON" in answer.body or b"application/json" in answer.body
        # And the connection goes on.
        client.request()
        assert client.answer().status == 200


def test_a_path_that_is_no_utf8_gives_a_readable_message(gateway):
    with RawClient(gateway) as client:
        client.request(path="/v1/%ff%fe\\\"%0a", content_type=JSON)
        answer = client.answer()
    assert answer.status == 404
    assert "/v1/??" in parse_status(JSON, answer.body).message


@pytest.mark.parametrize("headers, framing", [
    (["Transfer-Encoding: gzip, chunked"], "Transfer-Encoding"),
    (["Transfer-Encoding: identity"], "Transfer-Encoding"),
    (["Transfer-Encoding : chunked"], "name"),
    (["Content-Length\t: 5"], "name"),
    (["X Y: 1", "Content-Length: 5"], "name"),
    (["Transfer-Encoding: chunked", "Content-Length: 5"], "exclude"),
    (["Content-Length: 5", "Content-Length: 5"], "repeated"),
    (["Content-Length: 5", "Content-Encoding: gzip", "Content-Encoding: gzip"], "repeated"),
    (["Content-Length: 5", "Content-Type: application/json"], "repeated"),
    (["Content-Length: 5", "Host: another"], "repeated"),
])
def test_a_request_with_two_meanings_is_refused_and_the_connection_closed(gateway, headers, framing):
    with RawClient(gateway) as client:
        client.send(head(headers=headers) + b"5\r\nhello\r\n0\r\n\r\n")
        answer = client.answer()
        assert answer.status == 400
        # libmicrohttpd 1.0 refuses some of them itself: in HTML, and without a Content-Type.
        if "content-type" in answer.headers:
            assert framing in parse_status(PROTOBUF, answer.body).message
        else:
            assert answer.body.startswith(b"<html>")
        assert answer.headers["connection"].lower() == "close"
        client.wait_closed()


def test_a_blank_behind_chunked_is_no_part_of_it_or_refused(gateway):
    """libmicrohttpd takes it for a part of the value before 1.0: another meaning than the proxy in front may see."""
    with RawClient(gateway) as client:
        client.send(head(headers=["Transfer-Encoding: chunked "]) + b"0\r\n\r\n")
        answer = client.answer()
        if answer.status == 200:
            client.request()
            assert client.answer().status == 200
        else:
            assert answer.status == 400
            assert "Transfer-Encoding" in parse_status(PROTOBUF, answer.body).message
            client.wait_closed()


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_too_much_in_flight_is_503_with_retry_after(gateway, content_type):
    """Three uploads that do not end hold the budget; a fourth is told to come again, and may."""
    size = MIB
    holders = [RawClient(gateway) for _ in range(4)]
    for client in holders:
        client.request(body=bytes(size - 1), length=size)
    gateway.wait_until(lambda: gateway.metrics()["tidegate_in_flight_bytes"] >= 4 * size - 1000,
                       "the uploads are in")
    with RawClient(gateway) as client:
        client.request(body=bytes(100_000), content_type=content_type)
        answer = client.answer()
        assert answer.status == 503
        seconds = int(answer.headers["retry-after"])
        assert seconds > 0
        status = parse_status(content_type, answer.body)
        assert status.code == 14
        assert retry_seconds(status) == seconds
        for holder in holders:
            holder.close()
        gateway.wait_until(lambda: gateway.metrics()["tidegate_in_flight_bytes"] == 0, "they are gone")
        client.request(body=otlp.logs(otlp.new_ids(1)).SerializeToString())
        assert client.answer().status == 200


def test_what_runs_into_the_budget_while_it_comes_is_503_too(gateway):
    """A chunked body does not say how long it will be: it is refused when the budget is full."""
    def in_flight():
        return gateway.metrics()["tidegate_in_flight_bytes"]

    holders = [RawClient(gateway) for _ in range(4)]
    for client in holders:
        client.request(body=bytes(MIB - 1), length=MIB)
    gateway.wait_until(lambda: in_flight() >= 4 * MIB - 1000, "the uploads are in")
    with RawClient(gateway) as client:
        client.send(head(headers=["Transfer-Encoding: chunked"]))
        client.send(chunked(bytes(900_000), 64_000))
        answer = client.answer()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert parse_status(PROTOBUF, answer.body).code == 14
        for holder in holders:
            holder.close()
        gateway.wait_until(lambda: in_flight() == 0, "they are gone")
        client.request(body=otlp.logs(otlp.new_ids(1)).SerializeToString())
        assert client.answer().status == 200


def test_requests_are_counted_by_their_status(gateway):
    def value(signal, status):
        name = (f'tidegate_receiver_requests{{receiver="otlp",transport="http",signal="{signal}"'
                f',status="{status}"}}')
        return gateway.metrics().get(name, 0)

    before = value("traces", "OK"), value("traces", "METHOD"), value("none", "NOT_FOUND")
    with RawClient(gateway) as client:
        for method, path in (("POST", "/v1/traces"), ("GET", "/v1/traces"), ("POST", "/v2/traces")):
            client.request(path=path, method=method)
            client.answer()
    after = value("traces", "OK"), value("traces", "METHOD"), value("none", "NOT_FOUND")
    assert after == tuple(n + 1 for n in before)


def test_a_lone_request_that_can_never_fit_is_told_so_for_good(start_gateway):
    """Attributes go into each of very many resources: more than all there is. Coming again would not help."""
    gateway = start_gateway({"receivers": {"max_in_flight": "4MiB"},
                             "resource": {"attributes": {"site.description": "x" * 100}}})
    resource_logs = b"\x0a\x04\x12\x02\x12\x00"  # one scope, one empty record
    with RawClient(gateway) as client:
        client.request(body=resource_logs * 60_000)
        answer = client.answer()
        assert answer.status == 413
        assert b"smaller batches" in answer.body
        client.request(body=resource_logs * 1000)
        assert client.answer().status == 200
