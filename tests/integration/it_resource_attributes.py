"""Resource attributes of the configuration, of OTEL_RESOURCE_ATTRIBUTES and of the site reach the backend, in this order
of precedence, and never replace what the client has set."""
import pytest

from tests.support import otlp

CONFIG = {"site": "plant-7",
          "resource": {"attributes": {"deployment.environment.name": "production", "service.name": "never"}}}
ENV = {"OTEL_RESOURCE_ATTRIBUTES": "host.name=edge%2D7,deployment.environment.name=staging"}
WANT = {"service.name": "shop", "tidegate.site": "plant-7", "deployment.environment.name": "production",
        "host.name": "edge-7"}


def queued_resources(gateway):
    rows = gateway.sqlite("SELECT b.signal, b.encoding, p.body FROM batches b JOIN payloads p ON p.batch_id = b.id")
    return [r for signal, encoding, body in rows
            for r in otlp.resource_attributes(otlp.parse(signal, otlp.decompress(encoding, body)))]


def post_json(gateway, signal):
    assert otlp.post(gateway, signal, otlp.request(signal, otlp.new_ids(2)), content_type="application/json").ok


def export_grpc(gateway, signal):
    with otlp.GrpcClient(gateway.grpc_port) as client:
        client.export(signal, otlp.request(signal, otlp.new_ids(2)))


@pytest.mark.smoke
@pytest.mark.parametrize("send", [post_json, export_grpc])
@pytest.mark.parametrize("signal", otlp.SIGNALS)
def test_what_the_client_has_not_set_is_inserted(start_gateway, send, signal):
    gateway = start_gateway(CONFIG, env=ENV)
    send(gateway, signal)
    assert queued_resources(gateway) == [WANT]


def test_what_the_client_has_set_stays(start_gateway):
    gateway = start_gateway(CONFIG, env=ENV)
    request = otlp.logs(otlp.new_ids(1))
    site = request.resource_logs[0].resource.attributes.add()
    site.key, site.value.string_value = "tidegate.site", "elsewhere"
    assert otlp.post(gateway, "logs", request).ok
    assert queued_resources(gateway) == [{**WANT, "tidegate.site": "elsewhere"}]
