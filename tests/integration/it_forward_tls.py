"""OTLP/HTTP over TLS: an own authority, a client certificate, and nothing sent to a stranger."""
import ssl

import pytest

from tests.support import otlp
from tests.support.pki import make_site
from tests.support.sink import Sink


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("pki"))


def tls_context(pki, name="backend", wants_client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki / "site-ca.pem")
    return context


def destination(sink, pki, **more):
    return {"kind": "otlp_http", "endpoint": sink.url, "tls": {"ca_file": str(pki / "site-ca.pem")},
            "retry_on_failure": {"initial_interval": "50ms", "max_interval": "200ms"}, **more}


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_records_arrive_over_tls_with_a_client_certificate(start_gateway, pki, compression):
    with Sink(tls=tls_context(pki, wants_client=True)) as sink:
        central = destination(sink, pki, compression=compression)
        central["tls"].update(cert_file=str(pki / "gateway.pem"), key_file=str(pki / "gateway.key"))
        gateway = start_gateway({"destinations": {"central": central}})
        ids = {}
        for signal in otlp.SIGNALS:
            ids[signal] = otlp.new_ids(50)
            assert otlp.post(gateway, signal, otlp.request(signal, ids[signal])).status_code == 200
        gateway.wait_drained()
        for signal in otlp.SIGNALS:
            assert sink.ids(signal) == ids[signal]
        for received in sink.received:
            assert received.peer_cert["subject"] == ((("commonName", "gateway"),),)
            assert received.headers.get("Content-Encoding", "none") == compression
            assert received.headers["User-Agent"].startswith("tidegate/")
            assert "Expect" not in received.headers
        gateway.assert_balanced()


@pytest.mark.parametrize("case", ["unknown authority", "wrong name", "no client certificate"])
def test_a_peer_that_cannot_be_trusted_gets_nothing_and_the_data_waits(start_gateway, pki, case):
    bad = tls_context(pki, "wrong-name" if case == "wrong name" else "backend",
                      wants_client=case == "no client certificate")
    with Sink(tls=bad) as sink:
        central = destination(sink, pki)
        if case == "unknown authority":
            central["tls"]["ca_file"] = str(pki / "other-ca.pem")
        gateway = start_gateway({"destinations": {"central": central}}, expect=[r"event=forward\.down"])
        ids = otlp.new_ids(20)
        assert otlp.post(gateway, "logs", otlp.logs(ids)).status_code == 200
        gateway.wait_until(
            lambda: gateway.sqlite("SELECT state FROM destinations WHERE name = 'central'") == [("backing_off",)],
            "the destination backs off")
        reason = gateway.sqlite("SELECT reason FROM destinations WHERE name = 'central'")[0][0]
        assert reason, "it says why"
        assert sink.received == []
        assert sorted(otlp.queued_ids(gateway)) == ids
        if case == "no client certificate":
            central["tls"].update(cert_file=str(pki / "gateway.pem"), key_file=str(pki / "gateway.key"))
        elif case == "wrong name":
            sink.stop()
            sink._tls = tls_context(pki)
            sink.start()
        central["tls"]["ca_file"] = str(pki / "site-ca.pem")
        gateway.write_config({"destinations": {"central": central}})
        gateway.restart()
        gateway.wait_drained()
        assert sink.ids() == ids
        gateway.assert_balanced()


def test_without_verification_any_certificate_will_do(start_gateway, pki):
    with Sink(tls=tls_context(pki, "wrong-name")) as sink:
        central = destination(sink, pki)
        central["tls"] = {"insecure_skip_verify": True}
        gateway = start_gateway({"destinations": {"central": central}})
        ids = otlp.new_ids(5)
        assert otlp.post(gateway, "traces", otlp.traces(ids)).status_code == 200
        gateway.wait_drained()
        assert sink.ids() == ids
