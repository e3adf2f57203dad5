"""Web pages of the allowed origins may send, and their browsers learn it from preflight and answer; others get
no word of CORS."""
import pytest

from tests.support import otlp
from tests.support.gateway import Gateway
from tests.support.http_raw import RawClient

CORS = ("access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers",
        "access-control-allow-credentials", "access-control-max-age")
ALLOWED = ["https://app.example.com", "https://x.pages.example", "http://localhost:5173"]
REFUSED = ["https://example.com", "http://app.example.com", "https://pages.example", "null",
           "https://evil.example/.pages.example"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    cors = {"allowed_origins": ["https://app.example.com", "https://*.pages.example", "http://localhost:*"],
            "allowed_headers": ["X-Tenant"], "max_age": "10m"}
    with Gateway(tmp_path_factory.mktemp("gateway"), {"receivers": {"otlp": {"http": {"cors": cors}}}}) as gw:
        yield gw


def preflight(gateway, origin, path="/v1/traces"):
    with RawClient(gateway) as client:
        client.send((f"OPTIONS {path} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n"
                     "Access-Control-Request-Method: POST\r\n"
                     "Access-Control-Request-Headers: content-type\r\n\r\n").encode())
        answer = client.answer()
        # The connection is kept.
        client.request()
        assert client.answer().status == 200
        return answer


@pytest.mark.parametrize("origin", ALLOWED)
@pytest.mark.parametrize("signal", otlp.SIGNALS)
def test_a_preflight_of_an_allowed_origin(gateway, origin, signal):
    answer = preflight(gateway, origin, f"/v1/{signal}")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-headers"] == "Content-Type, Content-Encoding, X-Tenant"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-max-age"] == "600"
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", REFUSED)
def test_a_preflight_of_another_origin_allows_nothing(gateway, origin):
    answer = preflight(gateway, origin)
    assert answer.status == 204
    assert not [h for h in CORS if h in answer.headers]
    assert answer.headers["vary"] == "Origin"


def test_a_preflight_with_two_lengths_is_400(gateway):
    with RawClient(gateway) as client:
        client.send(b"OPTIONS /v1/logs HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\nContent-Length: 5\r\n"
                    b"Transfer-Encoding: chunked\r\nAccess-Control-Request-Method: POST\r\n\r\n0\r\n\r\n")
        answer = client.answer()
        assert answer.status == 400 and answer.headers["connection"].lower() == "close"
        client.wait_closed()


def test_a_preflight_of_an_unknown_path_is_404(gateway):
    assert preflight(gateway, ALLOWED[0], "/v1/nothing").status == 404


@pytest.mark.parametrize("origin", ALLOWED + REFUSED)
@pytest.mark.parametrize("code", [200, 400, 405, 415])
def test_answers_name_the_origin_only_where_it_is_allowed(gateway, origin, code):
    ids = otlp.new_ids(1)
    good = otlp.logs(ids).SerializeToString()
    with RawClient(gateway) as client:
        client.request(body=b"\xff" if code == 400 else good, method="PUT" if code == 405 else "POST",
                       content_type="text/html" if code == 415 else "application/x-protobuf",
                       headers=[f"Origin: {origin}"])
        answer = client.answer()
    assert answer.status == code
    assert answer.headers["vary"] == "Origin"
    assert answer.headers.get("access-control-allow-origin") == (origin if origin in ALLOWED else None)
    if code == 405:
        assert answer.headers["allow"] == "POST, OPTIONS"
    if code == 200:
        # CORS guards the browser's user; it is no access control.
        assert ids[0] in otlp.queued_ids(gateway)


def test_a_request_without_origin_is_served(gateway):
    assert otlp.post(gateway, "logs", otlp.logs(otlp.new_ids(1))).status_code == 200


def test_any_origin_gets_no_credentials(start_gateway):
    gateway = start_gateway({"receivers": {"otlp": {"http": {"cors": {"allowed_origins": ["*"]}}}}})
    answer = preflight(gateway, "https://anywhere.example")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://anywhere.example"
    assert "access-control-allow-credentials" not in answer.headers


def test_without_cors_there_is_no_word_of_it(start_gateway):
    gateway = start_gateway()
    answer = preflight(gateway, "https://app.example.com")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert not [h for h in (*CORS, "vary") if h in answer.headers]
