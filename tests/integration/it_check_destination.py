"""check-destination against servers that are wrong in the ways that servers are wrong: it says what is the matter, what
to do, and exits with the code for it. It needs no queue, and disturbs no gateway."""
import json
import socket
import ssl
import subprocess
import threading
from concurrent import futures

import grpc
import pytest
import yaml

from tests.support import otlp
from tests.support.gateway import Gateway, binary
from tests.support.loki_standin import Loki
from tests.support.patience import DEADLINE_S
from tests.support.prometheus_standin import Receiver
from tests.support.sink import Sink
from tests.support.tempo_standin import Tempo

FINE, INVALID, NOT_FOUND, UNREACHABLE, UNAUTHORIZED, REFUSED = 0, 3, 4, 7, 8, 9


def check(tmp_path, destination, *args, routes=None, code=FINE, name="central"):
    config = tmp_path / "tidegate.yaml"
    config.write_text(yaml.safe_dump({"site": "plant-7", "queue": {"path": str(tmp_path / "queue.db")},
                                      "destinations": {"central": destination}, "routes": routes or []}))
    done = subprocess.run([binary(), "check-destination", name, "--config", str(config), *map(str, args)],
                          capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == code, done.stdout + done.stderr
    assert not (tmp_path / "queue.db").exists()
    return done.stdout + done.stderr


def http(url, **more):
    return {"kind": "otlp_http", "endpoint": url, **more}


class Listener:
    """Accepts connections; says `answer` to each, or nothing."""

    def __init__(self, answer=None):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.answer = answer
        self.open = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.open.append(connection)
            if self.answer:
                try:
                    connection.recv(65536)
                    connection.sendall(self.answer)
                    connection.close()
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        for connection in self.open:
            connection.close()


def openssl(directory, *args):
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Two authorities; certificates that are good, for another name, expired, and not yet valid."""
    d = tmp_path_factory.mktemp("pki")
    for ca in ("site-ca", "other-ca"):
        openssl(d, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{ca}.key",
                "-days", "3650", "-subj", f"/CN={ca}", "-addext", "basicConstraints=critical,CA:TRUE", "-out", f"{ca}.pem")
    (d / "ca.cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n"
                              "policy=p\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\nsubjectAltName=$ENV::SAN\n")
    (d / "index").write_text("")
    (d / "serial").write_text("01\n")
    for name, san, start, end in (("good", "IP:127.0.0.1", "20250101000000Z", "20991231000000Z"),
                                  ("stranger", "DNS:elsewhere.example", "20250101000000Z", "20991231000000Z"),
                                  ("expired", "IP:127.0.0.1", "20200101000000Z", "20210101000000Z"),
                                  ("early", "IP:127.0.0.1", "20980101000000Z", "20991231000000Z")):
        openssl(d, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                "-subj", f"/CN={name}", "-out", f"{name}.csr")
        subprocess.run(["openssl", "ca", "-batch", "-config", "ca.cnf", "-cert", "site-ca.pem", "-keyfile", "site-ca.key",
                        "-startdate", start, "-enddate", end, "-in", f"{name}.csr", "-out", f"{name}.pem", "-notext"],
                       cwd=d, check=True, capture_output=True, env={"SAN": san, "PATH": "/usr/bin:/bin"})
    return d


def tls_sink(pki, name, asks=ssl.CERT_NONE):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    context.load_verify_locations(pki / "site-ca.pem")
    context.verify_mode = asks
    return Sink(tls=context)


@pytest.mark.smoke
def test_a_backend_that_takes_all_is_told_so_and_gets_one_record_of_each_routed_signal(tmp_path):
    with Sink() as sink:
        kept = []
        sink.keep = lambda signal, message: kept.append((signal, message))
        said = check(tmp_path, http(sink.url),
                     routes=[{"match": {"signal": ["logs", "metrics"]}, "to": ["central"]}])
        assert "took the test record" in said and "FAILED" not in said
        assert sorted(signal for signal, _ in kept) == ["logs", "metrics"]
        for signal, message in kept:
            assert otlp.resource_attributes(message)[0]["service.name"] == "tidegate-check"
            assert otlp.resource_attributes(message)[0]["tidegate.site"] == "plant-7"
        kept.clear()
        check(tmp_path, http(sink.url), "--no-send")
        assert not kept
        document = json.loads(check(tmp_path, http(sink.url), "-o", "json"))
        assert document["is_fine"] and [s["step"] for s in document["steps"]] == [
            "config", "name", "connection", "traces", "metrics", "logs"]
        assert {signal for signal, _ in kept} == set(otlp.SIGNALS)


def test_what_is_not_configured(tmp_path):
    assert "it has central" in check(tmp_path, http("http://127.0.0.1:1"), code=NOT_FOUND, name="centre")
    assert "tls.ca_file" in check(tmp_path, http("https://127.0.0.1:1", tls={"ca_file": "/nowhere.pem"}), code=INVALID)


def test_check_config_sees_files_that_are_missing(tmp_path):
    config = tmp_path / "tidegate.yaml"
    config.write_text("destinations:\n  central: {kind: otlp_http, endpoint: https://127.0.0.1:1, tls: {ca_file: /nowhere.pem}}\n")
    done = subprocess.run([binary(), "check-config", "--config", str(config)], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == INVALID
    assert f"{config}:2:76: destinations.central: tls.ca_file: cannot read /nowhere.pem" in done.stderr


@pytest.mark.parametrize("destination,says,hint", [
    (http("http://127.0.0.1:1"), "Connection refused", "does the backend run"),
    ({"kind": "otlp_grpc", "endpoint": "http://127.0.0.1:1"}, "Connection refused", "4317 gRPC"),
    (http("http://name.invalid:4318"), "name.invalid", "name server"),
])
def test_what_cannot_be_reached(tmp_path, destination, says, hint):
    said = check(tmp_path, destination, code=UNREACHABLE)
    assert says in said and hint in said


@pytest.mark.parametrize("status,body,code,hint", [
    (401, b"", UNAUTHORIZED, "auth.basic"),
    (401, b"\x12\x09no org id", UNAUTHORIZED, "X-Scope-OrgID"),
    (403, b"", UNAUTHORIZED, "scopes"),
    (404, b"", REFUSED, "/otlp"),
    (405, b"", REFUSED, "/api/v1/push"),
    (400, b"\x12\x03bad", REFUSED, "another protocol"),
    (302, b"", REFUSED, "redirects are not followed"),
    (415, b"", REFUSED, "compression"),
    (429, b"", REFUSED, "over a limit"),
    (503, b"", REFUSED, "sent again"),
])
def test_answers_that_are_no_delivery(tmp_path, status, body, code, hint):
    with Sink() as sink:
        sink.answer(status, body=body)
        said = check(tmp_path, http(sink.url), routes=[{"match": {"signal": "logs"}, "to": ["central"]}], code=code)
        assert f"HTTP {status}" in said and hint in said


@pytest.mark.parametrize("where", ["endpoint", "headers"])
def test_secrets_are_not_shown(tmp_path, where):
    with Sink() as sink:
        sink.answer(401)
        destination = http(sink.url.replace("//", "//someone:hunter2@")) if where == "endpoint" else \
            http(sink.url, headers={"authorization": "sesame"})
        said = check(tmp_path, destination, code=UNAUTHORIZED)
        assert "hunter2" not in said and "sesame" not in said


@pytest.mark.parametrize("certificate,ca,code,says,hint", [
    ("good", "site-ca", FINE, "by \"CN=site-ca\", until 2099-12-31", ""),
    ("good", "other-ca", UNREACHABLE, "the authority \"CN=site-ca\" of the certificate is not trusted", "other-ca.pem does not hold"),
    ("good", None, UNREACHABLE, "is not trusted", "set tls.ca_file"),
    ("stranger", "site-ca", UNREACHABLE, "is for \"CN=stranger\", not for 127.0.0.1", "subjectAltName"),
    ("expired", "site-ca", UNREACHABLE, "expired at 2021-01-01", "a new one"),
    ("early", "site-ca", UNREACHABLE, "valid from 2098-01-01", "clock"),
])
def test_certificates(tmp_path, pki, certificate, ca, code, says, hint):
    with tls_sink(pki, certificate) as sink:
        tls = {"tls": {"ca_file": str(pki / f"{ca}.pem")}} if ca else {}
        said = check(tmp_path, http(sink.url, **tls), code=code)
        assert says in said and hint in said
        assert bool(sink.received) == (code == FINE)


@pytest.mark.parametrize("asks,code", [(ssl.CERT_OPTIONAL, FINE), (ssl.CERT_REQUIRED, REFUSED)])
def test_a_server_that_asks_for_a_client_certificate(tmp_path, pki, asks, code):
    ca = {"ca_file": str(pki / "site-ca.pem")}
    with tls_sink(pki, "good", asks) as sink:
        said = check(tmp_path, http(sink.url, tls=ca), code=code)
        assert "the server asks for a client certificate" in said and "set tls.cert_file and tls.key_file" in said
        if code == REFUSED:
            # The alert, or the reset behind it, whichever is seen first.
            assert ("it may insist on a client certificate" in said) == ("fatal alert" in said)
        own = {"cert_file": str(pki / "good.pem"), "key_file": str(pki / "good.key")}
        assert "asks for" not in check(tmp_path, http(sink.url, tls=ca | own), code=FINE)


def test_https_to_a_port_without_tls_and_the_other_way_round(tmp_path, pki):
    with Sink() as sink:
        said = check(tmp_path, http(sink.url.replace("http:", "https:")), code=UNREACHABLE)
        assert "the handshake failed" in said and "write http://" in said
    with tls_sink(pki, "good") as sink:
        check(tmp_path, http(sink.url.replace("https:", "http:")), "--timeout", "2", code=REFUSED)


def test_a_server_that_speaks_tls_and_no_http2(tmp_path, pki):
    with tls_sink(pki, "good") as sink:
        destination = {"kind": "otlp_grpc", "endpoint": sink.url, "tls": {"ca_file": str(pki / "site-ca.pem")}}
        said = check(tmp_path, destination, code=REFUSED)
        assert "does not speak HTTP/2" in said and "use kind otlp_http" in said and "without TLS" not in said


def test_a_server_that_hangs(tmp_path):
    with Listener() as listener:
        url = f"http://127.0.0.1:{listener.port}"
        said = check(tmp_path, http(url), "--timeout", "1", code=REFUSED)
        assert "connected, but no answer within 1 s" in said
        said = check(tmp_path, http(url.replace("http:", "https:")), "--timeout", "1", code=UNREACHABLE)
        assert "no TLS handshake within 1 s" in said


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2p1\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
                                    b"Content-Length: 6\r\n\r\n<html>"])
def test_strangers(tmp_path, answer):
    with Listener(answer) as listener:
        said = check(tmp_path, http(f"http://127.0.0.1:{listener.port}"), "--timeout", "2", code=REFUSED)
        assert "hint" in said


def test_loki(tmp_path):
    """One log record, whatever is routed; a tenant that is missing is found out."""
    with Loki() as loki:
        said = check(tmp_path, {"kind": "loki", "endpoint": loki.url})
        assert "took the test record" in said and "traces" not in said
        assert len(loki.entries()) == 1
    with Loki(multi_tenant=True) as loki:
        said = check(tmp_path, {"kind": "loki", "endpoint": loki.url}, code=UNAUTHORIZED)
        assert "no org id" in said and "X-Scope-OrgID" in said


def test_tempo(tmp_path):
    """It says 503 and UNAVAILABLE where a tenant is missing, which is nothing that passes."""
    traces = [{"match": {"signal": "traces"}, "to": ["central"]}]
    with Tempo(multi_tenant=True) as tempo:
        for destination in (http(tempo.url), {"kind": "otlp_grpc", "endpoint": tempo.grpc_url}):
            said = check(tmp_path, destination, routes=traces, code=UNAUTHORIZED)
            assert "no org id" in said and "X-Scope-OrgID" in said
            check(tmp_path, {**destination, "headers": {"X-Scope-OrgID": "plant-7"}}, routes=traces)


@pytest.mark.parametrize("old", [None, "415"])
def test_prometheus(tmp_path, old):
    """One gauge, in the version that the receiver speaks."""
    with Receiver(old=old) as receiver:
        said = check(tmp_path, {"kind": "prometheus", "endpoint": receiver.url})
        assert "took the test record" in said and "logs" not in said
        assert "tidegate_check_destination" in " ".join(receiver.names())
    with Sink() as sink:
        said = check(tmp_path, {"kind": "prometheus", "endpoint": sink.url + "/nowhere"}, code=REFUSED)
        assert "HTTP 404" in said and "/api/v1/write" in said


class Service(grpc.GenericRpcHandler):
    """Every method ends with this status, or succeeds with an empty message."""

    def __init__(self, code):
        self.code = code
        self.methods = []

    def service(self, details):
        def answer(_request, context):
            self.methods.append(details.method)
            if self.code:
                context.abort(self.code, "as the test wants it")
            return b""
        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.mark.parametrize("status,code,hint", [
    (None, FINE, ""),
    (grpc.StatusCode.UNAUTHENTICATED, UNAUTHORIZED, "auth.bearer"),
    (grpc.StatusCode.PERMISSION_DENIED, UNAUTHORIZED, "may not write"),
    (grpc.StatusCode.UNIMPLEMENTED, REFUSED, "no OTLP service"),
])
def test_grpc(tmp_path, status, code, hint):
    service = Service(status)
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[service])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        said = check(tmp_path, {"kind": "otlp_grpc", "endpoint": f"http://127.0.0.1:{port}"}, code=code)
        assert hint in said
        assert len(service.methods) >= 3
    finally:
        server.stop(0).wait()


def test_grpc_and_http_taken_for_each_other(tmp_path):
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Service(None)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        said = check(tmp_path, http(f"http://127.0.0.1:{port}"), "--timeout", "3", code=REFUSED)
        assert "gRPC" in said
    finally:
        server.stop(0).wait()
    with Sink() as sink:
        said = check(tmp_path, {"kind": "otlp_grpc", "endpoint": sink.url}, "--timeout", "3", code=REFUSED)
        assert "hint" in said


def test_a_file_is_not_touched_while_the_gateway_writes_it(tmp_path):
    path = tmp_path / "out" / "delivered.jsonl"
    said = check(tmp_path, {"kind": "file", "path": str(path)})
    assert "is made by the first delivery" in said and not path.parent.exists()
    with Gateway(tmp_path / "gateway", {"destinations": {"archive": {"kind": "file", "path": str(path)}}}) as gateway:
        ids = otlp.new_ids(3)
        assert otlp.post(gateway, "logs", otlp.logs(ids)).status_code == 200
        gateway.wait_drained()
        before = path.read_bytes()
        done = subprocess.run([binary(), "check-destination", "archive", "--config", str(gateway.config_path)],
                              capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == FINE and "can be written" in done.stdout
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == [path.name]
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "f.check").write_text("")
    assert "cannot make" in check(tmp_path, {"kind": "file", "path": str(tmp_path / "dir" / "f")}, code=REFUSED)
