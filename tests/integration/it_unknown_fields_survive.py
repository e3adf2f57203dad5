"""A field that this version's protocol does not know goes from the client to the backend as it came, also where attributes
are inserted and records of two classes are parted."""
import gzip
import http.server
import threading

import pytest

from tests.support import otlp


@pytest.fixture
def backend():
    """Keeps the bodies that it gets."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.bodies = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def unknown(text):
    """Field 100, a text of less than 128 bytes."""
    return b"\xa2\x06" + bytes([len(text)]) + text


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("config", [{}, {"site": "plant-7"}])
def test_from_the_client_to_the_backend(start_gateway, backend, transport, config):
    gateway = start_gateway({**config, "destinations": {
        "central": {"kind": "otlp_http", "endpoint": f"http://127.0.0.1:{backend.server_address[1]}"}}})
    request = otlp.logs(otlp.new_ids(2))
    entry = request.resource_logs[0]
    records = entry.scope_logs[0].log_records
    records[1].severity_number = otlp.SEVERITY["critical"]
    for message, text in ((records[0], b"in-info"), (records[1], b"in-critical"), (entry.resource, b"in-resource")):
        message.MergeFromString(unknown(text))
    if transport == "http":
        assert otlp.post(gateway, "logs", request).ok
    else:
        with otlp.GrpcClient(gateway.grpc_port) as client:
            client.export("logs", request)
    gateway.wait_drained()
    got = b"".join(backend.bodies)
    assert got.count(unknown(b"in-info")) == got.count(unknown(b"in-critical")) == 1
    assert got.count(unknown(b"in-resource")) == 2  # each class has its copy of the resource
