"""An uplink that goes and comes, and backends that misbehave: nothing is lost, nothing is sent twice
without need, and order holds."""
import pytest

from tests.support import otlp
from tests.support.patience import Stopwatch
from tests.support.sink import Sink


def config(sink, **more):
    return {"destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url, **more}}}


def send(gateway, signal, count, requests=1, record_class="info"):
    ids = []
    for _ in range(requests):
        new = otlp.new_ids(count)
        reply = otlp.post(gateway, signal, otlp.request(signal, new, record_class=record_class))
        assert reply.status_code == 200
        ids += new
    return ids


def state(gateway, name="central"):
    return gateway.sqlite("SELECT state FROM destinations WHERE name = ?", name)[0][0]


def wait_state(gateway, want):
    gateway.wait_until(lambda: state(gateway) == want, f"central is {want}")


def test_a_returned_uplink_is_used_within_two_seconds_and_in_order(start_gateway):
    with Sink() as sink:
        # Back-off alone would wait for an hour.
        gateway = start_gateway(config(sink, retry_on_failure={"initial_interval": "1h", "max_interval": "1h"}),
                                expect=[r"event=forward\.down"])
        first = send(gateway, "traces", 10)
        gateway.wait_drained()
        sink.stop()
        backlog = send(gateway, "traces", 20, requests=50)
        wait_state(gateway, "backing_off")
        assert sorted(otlp.queued_ids(gateway)) == sorted(backlog)
        back = Stopwatch()
        sink.start()
        sink.wait(lambda s: len(s.received) > 1, "the first export after the outage")
        assert back.seconds() < 2
        gateway.wait_drained()
        assert sink.ids("traces") == first + backlog
        wait_state(gateway, "up")
        gateway.assert_balanced()


@pytest.mark.parametrize("fault", ["503", "500", "429", "drop", "hang"])
def test_a_failed_export_is_sent_again_and_what_follows_waits(start_gateway, fault):
    with Sink() as sink:
        gateway = start_gateway(
            config(sink, timeout="500ms" if fault == "hang" else "1h",
                   retry_on_failure={"initial_interval": "20ms", "max_interval": "100ms"}),
            expect=[r"event=forward\.down"])
        if fault in ("drop", "hang"):
            getattr(sink, fault)(times=3)
        else:
            sink.answer(int(fault), times=3)
        ids = send(gateway, "logs", 5, requests=20)
        gateway.wait_drained()
        got = sink.ids("logs")
        # An answer may come too late for so short a time-out.
        assert (list(dict.fromkeys(got)) if fault == "hang" else got) == ids
        gateway.assert_balanced()


def test_an_expired_token_parks_the_destination_until_it_is_renewed(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(
            config(sink, headers={"authorization": "Bearer very-secret-token"},
                   retry_on_failure={"initial_interval": "20ms", "max_interval": "100ms"}),
            expect=[r"event=forward\.down.*state=unauthorized"])
        sink.answer(401)
        ids = send(gateway, "traces", 5)
        wait_state(gateway, "unauthorized")
        assert otlp.queued_ids(gateway) == ids
        sink.ok()
        gateway.wait_drained()
        assert sink.ids() == ids
        assert sink.received[0].headers["authorization"] == "Bearer very-secret-token"
        assert "very-secret-token" not in gateway.log_text()
        gateway.assert_balanced()


def test_a_refusal_keeps_the_batch_as_a_dead_letter_with_its_reason(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink), expect=[r"event=forward\.dead_letter"])
        sink.answer(400, body=b"\x08\x03\x12\x0atoo clumsy")  # google.rpc.Status
        ids = send(gateway, "logs", 5)
        gateway.wait_until(lambda: gateway.sqlite("SELECT count(*) FROM dead_letters") == [(1,)], "a dead letter")
        assert gateway.sqlite("SELECT last_status, last_error FROM dead_letters") == [(400, "HTTP 400: too clumsy")]
        assert otlp.queued_ids(gateway) == ids
        sink.ok()
        more = send(gateway, "logs", 5)
        gateway.wait_drained()
        assert sink.ids() == more
        gateway.assert_balanced()


def test_a_partial_success_is_recorded_and_not_sent_again(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink), expect=[r"event=forward\.partial_success"])
        response = otlp.RESPONSE["logs"]()
        response.partial_success.rejected_log_records = 2
        response.partial_success.error_message = "too old"
        sink.answer(200, times=1, body=response.SerializeToString())
        ids = send(gateway, "logs", 5)
        gateway.wait_drained()
        assert gateway.sqlite("SELECT delivered, rejected FROM balance WHERE destination = 'central'") == [(3, 2)]
        assert sink.ids() == ids
        metrics = gateway.metrics()
        assert metrics['otelcol_exporter_sent_log_records{exporter="central"}'] == 3
        assert metrics['otelcol_exporter_send_failed_log_records{exporter="central"}'] == 2
        gateway.assert_balanced()


def test_a_backend_without_zstd_gets_gzip_and_is_warned_of_once(start_gateway):
    with Sink(encodings=("none", "gzip")) as sink:
        gateway = start_gateway(config(sink, compression="zstd"), expect=[r"event=forward\.encoding"])
        ids = send(gateway, "metrics", 10, requests=5)
        gateway.wait_drained()
        assert sink.ids("metrics") == ids
        assert {r.headers["Content-Encoding"] for r in sink.received} == {"gzip"}
        assert len(gateway.events("forward.encoding")) == 1


def test_killed_while_exports_hang_and_started_again_everything_arrives(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink))
        sink.hang()
        ids = send(gateway, "traces", 10, requests=5) + send(gateway, "logs", 10, requests=5)
        gateway.wait_until(lambda: len(gateway.sqlite("SELECT 1 FROM deliveries")) > 0, "something is queued")
        gateway.sigkill()
        sink.ok()
        gateway.start()
        gateway.wait_drained()
        assert sorted(sink.ids()) == sorted(ids)
        gateway.assert_balanced()


def test_a_dead_destination_does_not_slow_another(start_gateway):
    with Sink() as dead, Sink() as alive:
        dead.hang()
        gateway = start_gateway({"destinations": {
            "dead": {"kind": "otlp_http", "endpoint": dead.url},
            "alive": {"kind": "otlp_http", "endpoint": alive.url}}, "shutdown_timeout": "1s"})
        ids = send(gateway, "logs", 10, requests=30)
        alive.wait_ids(ids)
        assert alive.ids() == ids
        assert dead.ids() == []
        assert otlp.queued_ids(gateway, "dead") == ids
        gateway.sigterm()
        assert otlp.queued_ids(gateway, "dead") == ids
        gateway.assert_balanced()
        dead.ok()


def test_urgent_records_pass_a_backlog(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(
            config(sink, max_export_size="64KiB", retry_on_failure={"initial_interval": "1h", "max_interval": "1h"}),
            expect=[r"event=forward\.down"])
        sink.stop()
        backlog = send(gateway, "logs", 500, requests=20)
        wait_state(gateway, "backing_off")
        urgent = send(gateway, "logs", 1, record_class="critical")
        sink.start()
        gateway.wait_drained()
        got = sink.ids("logs")
        assert [i for i in got if i not in urgent] == backlog
        assert got.index(urgent[0]) < len(backlog) / 2
