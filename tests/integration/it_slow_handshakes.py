"""A link with a long round trip: what it takes to open a connection is longer than the time between two probes, and the
connection comes about all the same after an outage."""
import ssl

import pytest

from tests.support import otlp, pki
from tests.support.bad_link import BadLink
from tests.support.grpc_sink import GrpcSink
from tests.support.sink import Sink

ROUND_TRIP_S = 0.6
FAST = {"initial_interval": "10ms", "max_interval": "50ms", "probe_interval": "100ms"}


def tls_sink(directory):
    pki.make_site(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "backend.pem", directory / "backend.key")
    return Sink(tls=context)


@pytest.mark.parametrize("kind", ["otlp_grpc", "otlp_http"])
def test_probes_do_not_break_off_what_is_being_opened(start_gateway, tmp_path, kind):
    """HTTP/2's settings, or TLS: each takes a round trip or more."""
    with (GrpcSink() if kind == "otlp_grpc" else tls_sink(tmp_path)) as sink, BadLink(sink.port) as link:
        central = {"kind": kind, "endpoint": link.url, "timeout": "20s", "retry_on_failure": FAST}
        if kind == "otlp_http":
            central.update(endpoint=link.url.replace("http:", "https:"), tls={"ca_file": str(tmp_path / "site-ca.pem")})
        gateway = start_gateway({"destinations": {"central": central}}, expect=[r"event=forward\.down"])
        link.down()
        ids = otlp.new_ids(5)
        assert otlp.post(gateway, "logs", otlp.logs(ids)).status_code == 200
        gateway.wait_event("forward.down")
        link.delay(ROUND_TRIP_S / 2)
        link.up()
        gateway.wait_drained()
        assert sink.ids("logs") == ids
        gateway.assert_balanced()
