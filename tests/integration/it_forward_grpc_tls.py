"""OTLP/gRPC over TLS: an own authority, a client certificate, and nothing sent to a stranger."""
import ssl

import grpc
import pytest

from tests.support import otlp
from tests.support.grpc_sink import GrpcSink
from tests.support.pki import make_site
from tests.support.sink import Sink


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("pki"))


def server_credentials(pki, name="backend", wants_client=False):
    pair = ((pki / f"{name}.key").read_bytes(), (pki / f"{name}.pem").read_bytes())
    root = (pki / "site-ca.pem").read_bytes() if wants_client else None
    return grpc.ssl_server_credentials([pair], root, wants_client)


def destination(url, tls, **more):
    return {"kind": "otlp_grpc", "endpoint": url, "tls": tls, "timeout": "10s",
            "retry_on_failure": {"initial_interval": "50ms", "max_interval": "200ms"}, **more}


@pytest.mark.smoke
@pytest.mark.parametrize("scheme", ["https://", ""])
def test_records_arrive_over_tls_with_a_client_certificate(start_gateway, pki, scheme):
    with GrpcSink(credentials=server_credentials(pki, wants_client=True)) as sink:
        tls = {"ca_file": str(pki / "site-ca.pem"), "cert_file": str(pki / "gateway.pem"),
               "key_file": str(pki / "gateway.key")}
        gateway = start_gateway({"destinations": {"central": destination(f"{scheme}127.0.0.1:{sink.port}", tls)}})
        ids = {}
        for name in otlp.SIGNALS:
            ids[name] = otlp.new_ids(500)
            assert otlp.post(gateway, name, otlp.request(name, ids[name])).status_code == 200
        gateway.wait_drained()
        for name in otlp.SIGNALS:
            assert sink.ids(name) == ids[name]
        assert {c.peer_name for c in sink.calls} == {b"gateway"}
        gateway.assert_balanced()


REASONS = {
    "unknown authority": "issuer is unknown. (Its authority can be named in tls.ca_file.)",
    "wrong name": "The name in the certificate does not match",
    "no client certificate": "asked for a client certificate",
    "cleartext": "is no TLS: for cleartext write http://",
}


@pytest.mark.parametrize("case", ["unknown authority", "wrong name", "no client certificate", "cleartext"])
def test_a_peer_that_cannot_be_trusted_gets_nothing_and_the_data_waits(start_gateway, pki, case):
    bad = None if case == "cleartext" else server_credentials(
        pki, "wrong-name" if case == "wrong name" else "backend", case == "no client certificate")
    with GrpcSink(credentials=bad) as sink:
        tls = {"ca_file": str(pki / ("other-ca.pem" if case == "unknown authority" else "site-ca.pem"))}
        gateway = start_gateway({"destinations": {"central": destination(f"https://127.0.0.1:{sink.port}", tls)}},
                                expect=[r"event=forward\.down"])
        ids = otlp.new_ids(20)
        assert otlp.post(gateway, "logs", otlp.logs(ids)).status_code == 200
        reason = gateway.wait_event("forward.down")["reason"]
        assert REASONS[case] in reason
        assert sink.calls == []
        assert sorted(otlp.queued_ids(gateway)) == ids


def test_cleartext_to_a_tls_server_says_what_to_do(start_gateway, pki):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "backend.pem", pki / "backend.key")
    with Sink(tls=context) as sink:
        gateway = start_gateway({"destinations": {"central": destination(f"http://127.0.0.1:{sink.port}", {})}},
                                expect=[r"event=forward\.down"])
        assert otlp.post(gateway, "logs", otlp.logs(otlp.new_ids(2))).status_code == 200
        assert gateway.wait_event("forward.down")["reason"].endswith("perhaps it wants TLS, which is https://")


def test_without_verification_any_certificate_will_do(start_gateway, pki):
    with GrpcSink(credentials=server_credentials(pki, "wrong-name")) as sink:
        gateway = start_gateway({"destinations": {"central": destination(sink.url, {"insecure_skip_verify": True})}})
        ids = otlp.new_ids(5)
        assert otlp.post(gateway, "traces", otlp.traces(ids)).status_code == 200
        gateway.wait_drained()
        assert sink.ids() == ids
