"""Tempo is a destination of kind otlp_http or otlp_grpc: every acknowledged span comes there once, for its tenant,
through an outage too."""
import pytest

from tests.support import otlp
from tests.support.tempo_standin import Tempo

FAST = {"initial_interval": "20ms", "max_interval": "200ms", "probe_interval": "100ms"}


def config(tempo, kind, **more):
    return {"destinations": {"tempo": {"kind": kind, "endpoint": tempo.url if kind == "otlp_http" else tempo.grpc_url,
                                       "retry_on_failure": FAST, **more}},
            "routes": [{"match": {"signal": "traces"}, "to": ["tempo"]}]}


def send(gateway, count=20, requests=1):
    ids = []
    for _ in range(requests):
        new = otlp.new_ids(count)
        assert otlp.post(gateway, "traces", otlp.request("traces", new)).status_code == 200
        ids += new
    return ids


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["otlp_http", "otlp_grpc"])
def test_a_backlog_arrives_whole_for_its_tenant(start_gateway, kind):
    with Tempo(multi_tenant=True, auth="Basic MTIzOmh1c2g=") as tempo:
        gateway = start_gateway(config(tempo, kind, headers={"X-Scope-OrgID": "plant-7"},
                                       auth={"basic": {"username": "123", "password": "hush"}}),
                                expect=[r"event=forward\.down"])
        ids = send(gateway)
        gateway.wait_drained()
        tempo.stop()
        ids += send(gateway, requests=30)
        tempo.start()
        ids += send(gateway, requests=5)
        gateway.wait_drained()
        # Several exports are under way together: what is live may overtake the backlog's last.
        assert sorted(tempo.ids()) == sorted(ids)
        assert {r.tenant for r in tempo.received} == {"plant-7"}
        gateway.assert_balanced()


@pytest.mark.parametrize("kind", ["otlp_http", "otlp_grpc"])
def test_a_span_that_tempo_cannot_have_becomes_a_dead_letter(start_gateway, kind):
    with Tempo() as tempo:
        gateway = start_gateway(config(tempo, kind), expect=[r"event=forward\.dead_letter"])
        message = otlp.request("traces", otlp.new_ids(1))
        message.resource_spans[0].scope_spans[0].spans[0].trace_id = bytes(16)
        assert otlp.post(gateway, "traces", message).status_code == 200
        gateway.wait_drained()
        good = send(gateway)
        gateway.wait_drained()
        assert tempo.ids() == good
        [(reason,)] = gateway.sqlite("SELECT last_error FROM deliveries WHERE state = 'dead'")
        assert "trace ids must be 128 bit and not zero" in reason
        gateway.assert_balanced()


@pytest.mark.parametrize("kind", ["otlp_http", "otlp_grpc"])
def test_without_its_tenant_the_data_waits(start_gateway, kind):
    with Tempo(multi_tenant=True) as tempo:
        gateway = start_gateway(config(tempo, kind), expect=[r"event=forward\.down.*state=unauthorized"])
        ids = send(gateway)
        gateway.wait_event("forward.down", state="unauthorized")
        assert otlp.queued_ids(gateway) == ids and tempo.ids() == []


@pytest.mark.parametrize("kind", ["otlp_http", "otlp_grpc"])
def test_what_is_above_the_burst_goes_in_parts(start_gateway, kind):
    """Tempo answers 429 to it whenever it comes: waiting would be for ever."""
    with Tempo(burst=20_000) as tempo:
        gateway = start_gateway(config(tempo, kind))
        ids = send(gateway, count=1000)
        gateway.wait_drained()
        assert sorted(tempo.ids()) == sorted(ids)
        gateway.assert_balanced()
