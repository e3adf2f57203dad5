"""OTLP/HTTP over TLS: an own authority, a client certificate, and nothing sent to a stranger."""
import ssl
import subprocess

import pytest

from tests.support import otlp
from tests.support.sink import Sink


def openssl(directory, *args):
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


def make_key(directory, name):
    openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")


def make_authority(directory, name):
    make_key(directory, name)
    openssl(directory, "req", "-x509", "-new", "-key", f"{name}.key", "-days", "2", "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-out", f"{name}.pem")


def make_certificate(directory, name, authority, extension):
    make_key(directory, name)
    openssl(directory, "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
    (directory / f"{name}.ext").write_text(extension)
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
            f"{authority}.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    make_authority(directory, "site-ca")
    make_authority(directory, "other-ca")
    make_certificate(directory, "backend", "site-ca", "subjectAltName=IP:127.0.0.1\n")
    make_certificate(directory, "wrong-name", "site-ca", "subjectAltName=DNS:elsewhere.example\n")
    make_certificate(directory, "gateway", "site-ca", "extendedKeyUsage=clientAuth\n")
    return directory


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
