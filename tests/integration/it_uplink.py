"""Uplinks and orders on a live gateway: rates, budgets, windows, pauses; what the API and the command line say of them."""
import json
import subprocess
import time

import pytest
import requests

from tests.support import otlp
from tests.support.gateway import binary
from tests.support.patience import DEADLINE_S, Stopwatch
from tests.support.sink import Sink

JSON = {"Content-Type": "application/json"}


def order(gateway, path, body="{}", status=200, headers=None):
    answer = requests.post(f"http://127.0.0.1:{gateway.admin_port}/api/v1/{path}", data=body,
                           headers={**JSON, **(headers or {})}, timeout=DEADLINE_S)
    assert answer.status_code == status, answer.text
    return answer.json()


def tidegate(gateway, *args, code=0):
    done = subprocess.run([binary(), *args, "--endpoint", f"127.0.0.1:{gateway.admin_port}"], capture_output=True,
                          text=True, timeout=DEADLINE_S)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def central(gateway):
    return next(d for d in gateway.admin_get("/api/v1/status").json()["destinations"] if d["name"] == "central")


def uplink(gateway, name="default"):
    return next(u for u in gateway.admin_get("/api/v1/uplinks").json()["uplinks"] if u["name"] == name)


def config(sink, uplinks=None, **options):
    return {"uplinks": uplinks or {}, "destinations": {"central": {
        "kind": "otlp_http", "endpoint": sink.url, "compression": "none", **options}}}


def send(gateway, count, record_class="info", signal="logs"):
    ids = otlp.new_ids(count)
    assert otlp.post(gateway, signal, otlp.request(signal, ids, record_class=record_class)).status_code == 200
    return ids


@pytest.mark.smoke
def test_a_pause_holds_until_it_is_ended_also_across_a_kill(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink))
        first = send(gateway, 5)
        gateway.wait_drained()
        assert order(gateway, "destinations/central/pause") == {
            "destination": "central", "order": "pause", "is_given": True}
        gateway.wait_until(lambda: central(gateway)["state"] == "paused", "central is paused")
        waiting = send(gateway, 5)
        assert "paused by an operator" in central(gateway)["reason"] and central(gateway)["state_since"]
        assert gateway.metrics()['tidegate_destination_state{destination="central",state="paused"}'] == 1
        assert "paused" in tidegate(gateway, "status")
        order(gateway, "destinations/central/flush")  # does not end a pause
        gateway.sigkill()
        gateway.start()
        assert central(gateway)["state"] == "paused"
        waiting += send(gateway, 5)
        assert sink.ids() == first and sorted(otlp.queued_ids(gateway)) == sorted(waiting)
        assert "central is resumed" in tidegate(gateway, "resume", "central")
        gateway.wait_drained()
        assert sink.ids() == first + waiting
        gateway.wait_until(lambda: central(gateway)["state"] == "up" and not central(gateway)["reason"], "it is up")
        assert {(e["order"], e["from"]) for e in gateway.events("admin.order")} == {
            ("pause", "127.0.0.1"), ("flush", "127.0.0.1"), ("resume", "127.0.0.1")}
        gateway.assert_balanced()


def test_a_flush_ends_a_back_off(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink, retry_on_failure={"initial_interval": "1h", "max_interval": "1h"}),
                                expect=[r"event=forward\.down"])
        sink.answer(503, times=1)
        ids = send(gateway, 5)
        gateway.wait_until(lambda: central(gateway)["state"] == "backing_off", "it backs off")
        assert central(gateway)["next_attempt_at"] and "503" in central(gateway)["reason"]
        tidegate(gateway, "flush", "central")
        gateway.wait_drained()
        assert sink.ids() == ids


def window_from_now(minutes):
    """Closed now, opens in so many minutes, in UTC."""
    at = time.gmtime(time.time() + 60 * minutes)
    end = time.gmtime(time.time() + 60 * minutes + 3600)
    return f"{at.tm_hour:02}:{at.tm_min:02}-{end.tm_hour:02}:{end.tm_min:02}"


def test_outside_its_windows_only_the_exempt_goes_until_a_flush(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink, {"satellite": {
            "windows": [window_from_now(120)], "windows_exempt": ["critical"]}}, uplink="satellite"), env={"TZ": "UTC"})
        held = send(gateway, 5)
        urgent = send(gateway, 5, "critical")
        sink.wait_ids(urgent)
        gateway.wait_until(lambda: central(gateway)["reason"], "the reason is shown")
        shown = central(gateway)
        assert shown["state"] == "up" and "window of uplink satellite" in shown["reason"]
        assert shown["next_attempt_at"] == uplink(gateway, "satellite")["next_window_at"]
        gateway.wait_until(lambda: otlp.queued_ids(gateway) == held, "what is urgent is settled")
        assert sink.ids() == urgent
        said = tidegate(gateway, "uplink", "satellite")
        assert "opens 2" in said and "window" in said
        waiting = gateway.wait_event("uplink.waiting")
        assert waiting["for"] == "window" and waiting["class"] == "info"
        assert gateway.metrics()['tidegate_uplink_waiting{uplink="satellite",reason="window"}'] == 1
        # While nothing may go, nothing knocks at the link either.
        tidegate(gateway, "uplink", "flush", "satellite")
        gateway.wait_drained()
        assert sink.ids() == urgent + held
        gateway.wait_until(lambda: not central(gateway)["reason"], "it waits for nothing")
        # The flush has ended with the queue.
        held = send(gateway, 5)
        gateway.wait_until(lambda: central(gateway)["reason"], "it waits again")
        assert otlp.queued_ids(gateway) == held
        gateway.assert_balanced()


def test_a_rate_is_kept_what_is_urgent_passes_and_a_temporary_rate_frees_it(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink, {"default": {"rate": "40KiB/s"}}))
        began = time.monotonic()
        backlog = []
        for _ in range(90):
            backlog += send(gateway, 200)
        size = otlp.request("logs", backlog[:200]).ByteSize() * 90
        assert size > 1_200_000  # 30 s at that rate
        pause = time.monotonic() + 1.5
        gateway.wait_until(lambda: time.monotonic() > pause, "a while passes")
        urgent = send(gateway, 1, "critical")
        watch = Stopwatch()
        sink.wait_ids(urgent)
        assert watch.seconds() < 4  # one export of info, of two seconds at most
        got = sum(r.body_bytes for r in list(sink.received))
        passed = time.monotonic() - began
        assert got <= 40 * 1024 * (passed + 1 + 2.5), "more than the rate, a burst and an export"
        assert max(r.body_bytes for r in sink.received) <= 90 * 1024
        assert set(sink.ids()) != set(backlog + urgent)
        gateway.wait_until(lambda: uplink(gateway)["waiting"]["rate"] == 1, "info waits for the rate")
        assert "for now" not in tidegate(gateway, "uplink")
        rest_s = (size - sum(r.body_bytes for r in list(sink.received))) / (40 * 1024)
        watch = Stopwatch()
        tidegate(gateway, "uplink", "default", "--rate", "100Mbit/s", "--for", "1h")
        gateway.wait_drained()
        assert rest_s > 5 and watch.seconds() < rest_s / 2
        assert set(sink.ids()) == set(backlog + urgent)
        shown = uplink(gateway)
        assert shown["rate"] == 12_500_000 and shown["configured_rate"] == 40 * 1024 and shown["rate_until"]
        tidegate(gateway, "uplink", "reset", "default")
        assert uplink(gateway)["rate"] == 40 * 1024 and not uplink(gateway)["rate_until"]
        gateway.assert_balanced()


def test_a_budget_holds_across_a_kill_and_critical_data_has_the_last_of_it(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink, {"sim": {"daily_budget": "1MiB", "monthly_budget": "100MiB"}},
                                       uplink="sim", max_export_size="64KiB"),
                                expect=[r"event=uplink\.waiting.*for=daily_budget"])
        sent = []
        for _ in range(75):
            sent += send(gateway, 200)
        assert otlp.request("logs", sent[:200]).ByteSize() * 75 > 1_100_000
        gateway.wait_event("uplink.waiting", **{"for": "daily_budget", "class": "info"})
        gateway.wait_until(lambda: central(gateway)["reason"], "the reason is shown")
        shown = central(gateway)
        assert shown["state"] == "up" and "daily budget of uplink sim is used up" in shown["reason"]
        assert shown["next_attempt_at"].endswith("T00:00:00.000Z")
        day = uplink(gateway, "sim")["day"]
        bodies = sum(r.body_bytes for r in sink.received)
        assert 0.8 * 2**20 < day["used_bytes"] <= 0.91 * 2**20
        # Headers, packets and TLS are estimated on top of the bodies.
        assert 1.03 < day["used_bytes"] / bodies < 1.2
        urgent = send(gateway, 100, "critical")
        sink.wait_ids(urgent)
        gateway.wait_until(lambda: gateway.sqlite("SELECT max(bytes) > 920000 FROM uplink_usage") == [(1,)], "stored")
        count = len(sink.received)
        used = uplink(gateway, "sim")["day"]["used_bytes"]
        gateway.sigkill()
        gateway.start()
        gateway.wait_until(lambda: uplink(gateway, "sim")["is_usage_known"], "it remembers")
        # At most a 64th of the budget is forgotten, which may go once more.
        assert used - 2**14 <= uplink(gateway, "sim")["day"]["used_bytes"] <= used + 2**14
        gateway.wait_until(lambda: central(gateway)["reason"], "it waits again")
        assert sum(r.body_bytes for r in sink.received[count:]) <= 2**14
        metrics = gateway.metrics()
        assert metrics['tidegate_uplink_budget_left_bytes{uplink="sim",period="day"}'] < 130_000
        assert metrics['tidegate_uplink_waiting{uplink="sim",reason="daily_budget"}'] == 1
        # Where there is no budget, nothing is left of none: an alert on a small rest must not see a 0.
        assert not [k for k in metrics if "budget_left" in k and 'uplink="default"' in k]
        assert "of 1.0 MiB" in tidegate(gateway, "uplink", "sim")
        said = tidegate(gateway, "status")
        assert "of 1.0 MiB" in said and "daily_budget" in said
        assert metrics['tidegate_destination_next_attempt_timestamp_seconds{destination="central"}'] % 86400 == 0
        assert metrics['tidegate_destination_state_since_timestamp_seconds{destination="central"}'] > 1.7e9
        gateway.assert_balanced()


def test_an_order_for_an_uplink_is_for_all_on_it_and_no_others(start_gateway, tmp_path):
    with Sink() as sink:
        on = {"kind": "otlp_http", "endpoint": sink.url, "uplink": "satellite"}
        gateway = start_gateway({"uplinks": {"satellite": {}}, "destinations": {
            "one": on, "two": {**on, "headers": {"X-Scope-OrgID": "two"}},
            "three": {**on, "headers": {"X-Scope-OrgID": "three"}, "uplink": "default"},
            "disk": {"kind": "file", "path": str(tmp_path / "out.jsonl")}}})

        def states():
            return {d["name"]: d["state"] for d in gateway.admin_get("/api/v1/status").json()["destinations"]}

        assert uplink(gateway, "satellite")["destinations"] == 2 and uplink(gateway)["destinations"] == 1
        tidegate(gateway, "uplink", "pause", "satellite")
        gateway.wait_until(lambda: states()["one"] == states()["two"] == "paused", "both are paused")
        assert states()["three"] == states()["disk"] == "up"
        order(gateway, "destinations/disk/pause")
        gateway.wait_until(lambda: states()["disk"] == "paused", "a file can be paused too")
        ids = send(gateway, 5)
        sink.wait_ids(ids)
        assert otlp.queued_ids(gateway, "one") == otlp.queued_ids(gateway, "disk") == ids
        tidegate(gateway, "uplink", "resume", "satellite")
        tidegate(gateway, "resume", "disk")
        gateway.wait_drained()
        assert sorted(sink.ids()) == sorted(ids * 3)
        gateway.assert_balanced()


def test_orders_are_checked(start_gateway):
    with Sink() as sink:
        gateway = start_gateway({**config(sink), "admin": {"endpoint": "127.0.0.1:0", "token": "sesame"}})
        token = {"Authorization": "Bearer sesame"}
        order(gateway, "destinations/central/pause", status=401)
        order(gateway, "destinations/nobody/pause", status=404, headers=token)
        order(gateway, "uplinks/nobody/rate", '{"rate": "1MiB/s", "for": "1h"}', status=404, headers=token)
        order(gateway, "destinations/central/stop", status=404, headers=token)
        order(gateway, "destinations//pause", status=404, headers=token)
        order(gateway, "destinations/central/pause", "{}", status=415,
              headers={**token, "Content-Type": "application/x-www-form-urlencoded"})
        assert gateway.admin_get("/api/v1/destinations/central/pause", headers=token).status_code == 405
        for body in ('{"rate": "1MiB/s"}', '{"for": "1h"}', '{"rate": "256", "for": "1h"}', '{"rate": 5, "for": "1h"}',
                     '{"rate": "1MiB/s", "for": "1ms"}', '{"rate": "1MiB/s", "for": "100d"}', '{"speed": "1"}', "[]", "{"):
            said = order(gateway, "uplinks/default/rate", body, status=400, headers=token)
            assert said["error"] and said["hint"]
        assert not gateway.events("admin.order")
        assert gateway.admin_get("/api/v1/uplinks", headers=token).json()["uplinks"][0]["rate"] is None
        ids = send(gateway, 5)
        sink.wait_ids(ids)
        assert json.loads(requests.get(f"http://127.0.0.1:{gateway.admin_port}/api/v1/status", headers=token,
                                       timeout=DEADLINE_S).text)["uplinks"][0]["day"]["used_bytes"] > 0


def test_the_command_line_says_what_is_wrong(start_gateway):
    gateway = start_gateway({"destinations": {}})
    assert "wants a name" in tidegate(gateway, "pause", code=2)
    assert "no destination nobody" in tidegate(gateway, "pause", "nobody", code=4)
    assert "no uplink nobody" in tidegate(gateway, "uplink", "nobody", code=4)
    assert "name the uplink" in tidegate(gateway, "uplink", "--rate", "1MiB/s", "--for", "1h", code=2)
    assert "belong together" in tidegate(gateway, "uplink", "default", "--rate", "1MiB/s", code=2)
    assert "512B/s" in tidegate(gateway, "uplink", "default", "--rate", "fast", "--for", "1h", code=2)
