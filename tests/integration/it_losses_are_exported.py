"""What is let go reaches the centre as log records, once, in bounded numbers, and with the right time."""
import pathlib
import time

import pytest
import requests

from tests.support import otlp
from tests.support.gateway import Gateway, binary
from tests.support.patience import DEADLINE_S
from tests.support.sink import Sink


def config(sink, losses=True, routes=None):
    return {"site": "plant-7", "telemetry": {"losses": losses},
            "destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url,
                                         "retry_on_failure": {"initial_interval": "50ms", "max_interval": "200ms"}},
                             "gone": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"}},
            "routes": routes or [{"match": {"signal": "logs"}, "to": ["central"]},
                                 {"match": {"signal": "traces"}, "to": ["gone"]}]}


@pytest.fixture
def sink():
    with Sink() as s:
        s.losses = []
        s.keep = lambda signal, message: s.losses.extend(losses_of(message)) if signal == "logs" else None
        yield s


def value_of(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def losses_of(message):
    found = []
    for rl in message.resource_logs:
        resource = {a.key: value_of(a.value) for a in rl.resource.attributes}
        for sl in rl.scope_logs:
            for r in sl.log_records:
                if r.event_name == "tidegate.loss":
                    found.append({"resource": resource, "severity": r.severity_number, "body": r.body.string_value,
                                  "at": r.time_unix_nano, "observed": r.observed_time_unix_nano,
                                  **{a.key.removeprefix("tidegate.loss."): value_of(a.value) for a in r.attributes}})
    return found


def purge(gateway):
    answer = requests.post(f"http://127.0.0.1:{gateway.admin_port}/api/v1/queue/purge",
                           json={"destination": "gone", "all": True, "why": "tést"}, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    return answer.json()["records"]


def lose(gateway, count):
    """So many spans for the destination that is not there are purged."""
    assert otlp.post(gateway, "traces", otlp.traces(otlp.new_ids(count))).status_code == 200
    assert purge(gateway) == count


@pytest.mark.smoke
def test_a_purge_is_told_to_the_centre(tmp_path, sink):
    with Gateway(tmp_path, config(sink), expect=[r"destination=gone"]) as gateway:
        lose(gateway, 7)
        sink.wait(lambda s: s.losses, "the loss is told")
        loss = sink.losses[0]
        assert (loss["destination"], loss["signal"], loss["class"], loss["reason"], loss["records"]) == (
            "gone", "traces", "info", "purged", 7)
        assert loss["bytes"] > 0 and loss["severity"] == 13
        assert loss["first_time_unix_nano"] <= loss["last_time_unix_nano"]
        assert loss["resource"]["tidegate.site"] == "plant-7" and loss["resource"]["service.name"] == "tidegate"
        assert "7 records of traces (info) for gone were let go: purged" in loss["body"]
        assert "why: tést" in loss["detail"]
        assert [(loss["at"],)] == gateway.sqlite(
            "SELECT t.offset_ns + l.mono FROM losses l JOIN boots t ON t.id = l.boot")
        gateway.wait_until(lambda: gateway.sqlite("SELECT value FROM settings WHERE name = 'losses_reported'") == [(1,)],
                           "the cursor is saved")
        # A second loss waits for the minute to be over; a restart tells it, and the first one not again.
        lose(gateway, 3)
        lose(gateway, 2)
        gateway.restart()
        sink.wait(lambda s: len(s.losses) >= 2, "the other losses are told")
        assert [loss["records"] for loss in sink.losses] == [7, 5]
        assert (sink.losses[1]["first_id"], sink.losses[1]["last_id"]) == (2, 3)
        gateway.wait_drained()
        gateway.assert_balanced()


@pytest.mark.parametrize("losses,routes", [
    (False, None),
    (True, [{"match": {"signal": "traces"}, "to": ["gone"]}]),                        # no route for logs
    (True, [{"match": {"signal": "logs", "class": "critical"}, "to": ["central"]},
            {"match": {"signal": "traces"}, "to": ["gone"]}]),                         # none for warnings
])
def test_it_is_off_where_it_is_not_wanted_or_goes_nowhere(tmp_path, sink, losses, routes):
    with Gateway(tmp_path, config(sink, losses, routes),
                 expect=[r"destination=gone", r"event=config\.warning .*destination central gets nothing"]) as gateway:
        lose(gateway, 1)
        assert gateway.sqlite("SELECT count(*) FROM losses") == [(1,)]
        gateway.restart()
        assert not gateway.events("losses.reported")
        assert gateway.sqlite("SELECT count(*) FROM batches") == [(0,)]


def test_a_crash_loses_no_report(tmp_path, sink):
    """It may repeat one: the ids of the rows tell."""
    sink.stop()
    with Gateway(tmp_path, config(sink), expect=[r"level=warn"]) as gateway:
        lose(gateway, 4)
        gateway.wait_event("losses.reported")
        gateway.sigkill()
        gateway.start()
        sink.start()
        sink.wait(lambda s: s.losses, "the loss is told")
        gateway.wait_drained()
        assert {(loss["first_id"], loss["records"]) for loss in sink.losses} == {(1, 4)}
        assert len(sink.losses) <= 2
        gateway.assert_balanced()


def test_a_loss_before_the_clock_was_set_is_told_with_its_time(tmp_path, sink):
    """A device without a battery starts in 1970, and meets the time later."""
    clock = tmp_path / "clock"
    clock.write_text(str(3600 - int(time.time())))
    preload = pathlib.Path(binary()).parent / "tests" / "libwall_clock.so"
    with Gateway(tmp_path / "gateway", config(sink, losses=False), expect=[r"destination=gone"],
                 env={"LD_PRELOAD": str(preload), "TIDEGATE_CLOCK": str(clock)}) as gateway:
        begin = time.time_ns()
        lose(gateway, 4)
        end = time.time_ns()
        assert gateway.sqlite("SELECT at < '1971' FROM loss_ledger") == [(1,)]
        clock.write_text("0")
        gateway.wait_until(lambda: gateway.sqlite("SELECT at > '2025' FROM loss_ledger") == [(1,)], "the time is known",
                           deadline_s=2 * DEADLINE_S)
        gateway.write_config(config(sink))
        gateway.restart()
        sink.wait(lambda s: s.losses, "the loss is told")
        # The file of the clock has whole seconds.
        assert begin - 2 * 10**9 <= sink.losses[0]["at"] <= end + 2 * 10**9
        assert sink.losses[0]["observed"] > sink.losses[0]["at"]
        gateway.wait_drained()
        gateway.assert_balanced()
