"""Dead letters: grouped by why, listed, exported, replayed and purged, through the API and the command line; and a
backlog purged or moved. Each request is one record and so one batch, whatever a refusal is split into."""
import http.server
import json
import sqlite3
import subprocess
import threading

import pytest
import requests

from tests.support import otlp
from tests.support.gateway import Gateway, binary
from tests.support.patience import DEADLINE_S, Stopwatch
from tests.support.sink import Sink
from tests.support.status import status_details

REFUSED = [r"event=forward\.(dead_letter|partial_success)"]


def status_message(text):
    """google.rpc.Status with this message."""
    return status_details(0, text)


def config(sink, **more):
    return {"destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url,
                                         "retry_on_failure": {"initial_interval": "50ms", "max_interval": "200ms"}},
                             **more},
            "routes": [{"match": {}, "to": ["central"]}]}


@pytest.fixture
def sink():
    with Sink() as s:
        yield s


def put(gateway, count, signal="logs", record_class="info"):
    ids = []
    for _ in range(count):
        one = otlp.new_ids(1)
        assert otlp.post(gateway, signal, otlp.request(signal, one, record_class=record_class)).status_code == 200
        ids += one
    return ids


def dead_records(gateway):
    return gateway.sqlite("SELECT coalesce(sum(records), 0) FROM deliveries WHERE state = 'dead'")[0][0]


def wait_dead(gateway, records):
    gateway.wait_until(lambda: dead_records(gateway) == records, f"{records} records are dead")


def kill(gateway, sink, count, why, status=400, signal="logs"):
    """These records become dead letters."""
    before = dead_records(gateway)
    sink.answer(status, body=status_message(why))
    ids = put(gateway, count, signal)
    wait_dead(gateway, before + count)
    return ids


def call(gateway, path, status=200, **body):
    answer = requests.post(f"http://127.0.0.1:{gateway.admin_port}/api/v1/{path}", json=body, timeout=DEADLINE_S)
    assert answer.status_code == status, answer.text
    return answer.json()


def tidegate(gateway, *args, code=0):
    done = subprocess.run([binary(), *map(str, args), "--endpoint", f"127.0.0.1:{gateway.admin_port}"],
                          capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.smoke
def test_dead_letters_are_grouped_listed_exported_replayed_and_purged(start_gateway, sink):
    gateway = start_gateway(config(sink), expect=REFUSED)
    old = kill(gateway, sink, 3, "entry 17 at 2026-11-23T09:00:00Z is too old")
    bad = kill(gateway, sink, 2, "bad label", 422, "traces")

    groups = gateway.admin_get("/api/v1/dead-letters").json()
    assert groups["is_complete"] and groups["records"] == 5
    assert [(g["destination"], g["reason"], g["status"], g["signal"], g["records"]) for g in groups["groups"]] == [
        ("central", "HTTP 400: entry # at # is too old", 400, "logs", 3),
        ("central", "HTTP 422: bad label", 422, "traces", 2)]
    first = groups["groups"][0]
    assert first["bytes"] > 0 and first["first_died_at"] <= first["last_died_at"]
    assert otlp.ids_in_json(gateway.admin_get(f"/api/v1/batches/{first['example_batch']}").json()["data"])[0] in old

    rows, cursor = [], ""
    while cursor is not None:
        page = gateway.admin_get(f"/api/v1/dead-letters/list?destination=central&status=400&limit=2{cursor}").json()
        rows += page["dead_letters"]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert [r["error"] for r in rows] == ["HTTP 400: entry 17 at 2026-11-23T09:00:00Z is too old"] * len(rows)
    assert sum(r["records"] for r in rows) == 3

    answer = gateway.admin_get("/api/v1/dead-letters/export?destination=central")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert sorted(i for line in lines for i in otlp.ids_in_json(line["data"])) == sorted(old + bad)
    assert {(line["reason"], line["status"]) for line in lines} == {
        ("HTTP 400: entry # at # is too old", 400), ("HTTP 422: bad label", 422)}

    sink.ok()
    watch = Stopwatch()
    done = call(gateway, "dead-letters/replay", destination="central", reason="HTTP 400: entry 99 at 1 is too old")
    assert (done["records"], done["is_complete"], done["next_cursor"]) == (3, True, None)
    sink.wait_ids(old)
    assert watch.seconds() < 5  # promptly: nobody waits for the next look from the front
    assert not set(bad) & set(sink.ids())

    dry = call(gateway, "dead-letters/purge", destination="central", all=True, dry_run=True)
    assert (dry["records"], dry["is_dry_run"]) == (2, True)
    assert dead_records(gateway) == 2
    assert call(gateway, "dead-letters/purge", destination="central", all=True, why="nobody needs them")["records"] == 2
    gateway.wait_drained()
    assert gateway.sqlite("SELECT count(*) FROM payloads") == [(0,)]
    rows = gateway.sqlite("SELECT reason, signal, sum(records), max(detail) FROM losses")
    assert rows == [("purged", "traces", 2, "dead batches purged through the admin API from 127.0.0.1, all, "
                                            "why: nobody needs them")]
    gateway.assert_balanced()


class Uncountable(http.server.BaseHTTPRequestHandler):
    """An admin API with more dead letters than can be read in the time: what it counts is a part, each time another."""
    def log_message(self, *_):
        pass

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.counted -= 1000
        self.answer({"batches": []} if "/batches" in self.path else {"records": self.server.counted, "is_complete": False})

    def do_POST(self):
        self.server.replays += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"batches": 5, "records": 5, "bytes": 5, "batch_ids": [1, 2, 3, 4, 5], "is_complete": False, "next_cursor": 5})


def test_a_trial_that_cannot_be_judged_is_no_success():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Uncountable)
    server.counted, server.replays = 500_000, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = subprocess.run([binary(), "dead-letters", "replay", "--destination", "central", "--endpoint",
                               f"127.0.0.1:{server.server_port}"], capture_output=True, text=True, timeout=DEADLINE_S)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 6 and "what became of them is not known" in done.stdout and "delivered" not in done.stdout
    assert server.replays == 1, "the rest was replayed"


def test_replay_on_the_command_line_tries_a_few_first(start_gateway, sink):
    gateway = start_gateway(config(sink), expect=REFUSED)
    ids = kill(gateway, sink, 8, "bad label")
    said = tidegate(gateway, "dead-letters", "replay", "--destination", "central", "--reason", "HTTP 400: bad label",
                    "--first", "2", code=6)
    assert "died again" in said and "the rest stays" in said
    wait_dead(gateway, 8)
    done = subprocess.run([binary(), "dead-letters", "replay", "--destination", "central", "--first", "2", "-o", "json",
                           "--endpoint", f"127.0.0.1:{gateway.admin_port}"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 6
    assert json.loads(done.stdout) == {"destination": "central", "is_fine": False, "trial": {"batches": 2, "records": 2},
                                       "rest": {"batches": 0, "records": 0}}
    wait_dead(gateway, 8)
    sink.ok()
    said = tidegate(gateway, "dead-letters", "replay", "--destination", "central", "--reason", "HTTP 400: bad label",
                    "--first", "2")
    assert "delivered" in said
    sink.wait_ids(ids)
    gateway.wait_drained()
    gateway.assert_balanced()


def test_the_command_line_shows_exports_and_purges(start_gateway, sink, tmp_path):
    gateway = start_gateway(config(sink), expect=REFUSED)
    why = "line 5 is bad, " + "and it takes a while to say why, " * 5 + "as is seen here"
    ids = kill(gateway, sink, 3, why)
    sources = (["--endpoint", f"127.0.0.1:{gateway.admin_port}"], ["--queue", gateway.queue_path])
    for source in sources:
        def run(*args):
            done = subprocess.run([binary(), "dead-letters", *map(str, args), *source], capture_output=True, text=True,
                                  timeout=DEADLINE_S)
            assert done.returncode == 0, done.stderr
            return done.stdout
        assert "HTTP 400: line # is bad" in run()
        assert "HTTP 400: line # is bad" in run("list")
        assert "3 records of logs: HTTP 400: line # is bad" in run()
        assert run("show", "--destination", "central").count(f"HTTP 400: {why}\n") == 3  # whole
        assert json.loads(run("-o", "json"))["records"] == 3
        lines = [json.loads(line) for line in run("export", "--destination", "central").splitlines()]
        assert sorted(i for line in lines for i in otlp.ids_in_json(line["data"])) == sorted(ids)
    said = tidegate(gateway, "dead-letters", "purge", "--destination", "central", "--all", "--dry-run")
    assert "3 records" in said and "would" in said
    assert dead_records(gateway) == 3
    said = tidegate(gateway, "dead-letters", "purge", "--destination", "central", "--batch",
                    gateway.sqlite("SELECT min(batch_id) FROM deliveries")[0][0])
    assert dead_records(gateway) < 3
    tidegate(gateway, "dead-letters", "purge", "--destination", "central", "--all", "--why", "ticket 4711")
    assert dead_records(gateway) == 0
    gateway.assert_balanced()
    for source in sources:
        done = subprocess.run([binary(), "losses", *map(str, source)], capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        newest = done.stdout.splitlines()[3].split()
        assert newest[2:7] == ["central", "logs", "info", "purged", "2"] and "why: ticket 4711" in done.stdout


def test_a_backlog_is_purged_and_what_is_left_is_delivered(start_gateway, sink):
    sink.stop()
    gateway = start_gateway(config(sink), expect=[r"level=warn"])
    info = put(gateway, 20)
    kept = put(gateway, 5, record_class="critical")
    said = tidegate(gateway, "queue", "purge", "--destination", "central", "--class", "info", "--signal", "logs",
                    "--dry-run")
    assert "20 records" in said
    assert call(gateway, "queue/purge", destination="central", older_than="1h")["records"] == 0
    tidegate(gateway, "queue", "purge", "--destination", "central", "--class", "info", "--signal", "logs")
    sink.start()
    sink.wait_ids(kept)
    gateway.wait_drained()
    assert not set(info) & set(sink.ids())
    assert gateway.sqlite("SELECT sum(records) FROM totals WHERE outcome = 'purged'") == [(20,)]
    gateway.assert_balanced()


def test_the_queue_of_a_renamed_destination_is_moved(tmp_path, sink):
    sink.stop()
    with Gateway(tmp_path, config(sink), expect=[r"level=warn"]) as gateway:
        ids = put(gateway, 10)
        new = config(sink)
        new["destinations"]["centre"] = new["destinations"].pop("central")
        new["routes"] = [{"match": {}, "to": ["centre"]}]
        gateway.write_config(new)
        gateway.restart()
        sink.start()
        assert "10 records" in tidegate(gateway, "queue", "move", "--from", "central", "--to", "centre")
        sink.wait_ids(ids)
        gateway.wait_drained()
        call(gateway, "queue/move", 409, **{"from": "centre", "to": "central"})
        gateway.assert_balanced()


@pytest.mark.parametrize("kind,takes", [("loki", "logs"), ("prometheus", "metrics")])
def test_a_move_to_a_kind_that_does_not_take_it_is_refused(tmp_path, kind, takes):
    nowhere = "http://127.0.0.1:1/push"
    others = [s for s in otlp.SIGNALS if s != takes]
    with Gateway(tmp_path, {
            "destinations": {"central": {"kind": "otlp_http", "endpoint": nowhere}, "new": {"kind": kind, "endpoint": nowhere}},
            "routes": [{"match": {}, "to": ["central"]}]}, expect=[r"level=warn"]) as gateway:
        for signal_name in otlp.SIGNALS:
            assert otlp.post(gateway, signal_name, otlp.request(signal_name, otlp.new_ids(5))).status_code == 200
        for more in ({}, {"signal": others[0]}, {"dry_run": True}):
            error = call(gateway, "queue/move", 409, **{"from": "central", "to": "new"}, **more)["error"]
            assert f"kind {kind}, which takes {takes} and not {others[0]}" in error
            assert "kind otlp_http, otlp_grpc, file" in error
        said = tidegate(gateway, "queue", "move", "--from", "central", "--to", "new", code=1)
        assert f"which takes {takes}" in said
        assert gateway.sqlite("SELECT count(*) FROM queue WHERE destination = 'new'") == [(0,)]
        # Nor is it refused where nothing else is meant, or nothing else is there.
        assert call(gateway, "queue/move", **{"from": "central", "to": "new"}, signal=takes)["records"] == 5
        for signal_name in others:
            call(gateway, "queue/purge", destination="central", signal=signal_name)
        assert call(gateway, "queue/move", **{"from": "central", "to": "new"})["records"] == 0
        gateway.assert_balanced()


@pytest.mark.parametrize("kind,takes", [("loki", "logs"), ("prometheus", "metrics")])
def test_what_a_new_kind_of_the_destination_does_not_take_dies_and_is_not_lost(tmp_path, sink, kind, takes):
    sink.stop()
    with Gateway(tmp_path, {"destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url}}},
                 expect=[r"level=warn"]) as gateway:
        for signal_name in otlp.SIGNALS:
            for _ in range(2):
                message = otlp.request(signal_name, otlp.new_ids(5))
                assert otlp.post(gateway, signal_name, message).status_code == 200
        gateway.write_config({"destinations": {"central": {
            "kind": kind, "endpoint": sink.url + "/push",
            "retry_on_failure": {"initial_interval": "10ms", "max_interval": "50ms", "probe_interval": "100ms"}}}})
        gateway.restart()
        others = [s for s in otlp.SIGNALS if s != takes]

        def dead():
            return dict(gateway.sqlite("SELECT signal, sum(deliveries.records) FROM deliveries JOIN batches ON batches.id = batch_id "
                                       "WHERE state = 'dead' GROUP BY signal"))
        gateway.wait_until(lambda: dead() == {s: 10 for s in others}, "the others are dead letters")
        groups = json.loads(tidegate(gateway, "dead-letters", "-o", "json"))["groups"]
        assert {g["reason"] for g in groups} == {
            f"destinations of this kind do not take {s}: change the routes" for s in others}
        assert gateway.sqlite("SELECT count(*) FROM losses") == [(0,)]
        gateway.assert_balanced()


def test_a_purge_of_many_slices_stalls_no_commit(start_gateway, sink):
    """Clients are answered while it runs, and none of theirs is purged by accident."""
    sink.stop()
    gateway = start_gateway(config(sink), expect=[r"level=warn"])
    gateway.sigterm()
    # 20,000 batches, made by SQL: what a long outage leaves behind.
    db = sqlite3.connect(gateway.queue_path)
    db.executescript("""
        BEGIN;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO batches (received_at, signal, class, priority, requests, records, raw_bytes, stored_bytes, encoding, crc)
          SELECT i, 'logs', 'info', 2, 1, 1, 0, 0, 'none', 0 FROM n;
        INSERT INTO payloads SELECT id, x'' FROM batches;
        INSERT INTO deliveries (batch_id, destination_id, priority, state, records)
          SELECT id, (SELECT id FROM destinations WHERE name = 'central'), 2, 'ready', 1 FROM batches;
        INSERT INTO totals SELECT destination_id, 'logs', 'accepted', count(*) FROM deliveries GROUP BY 1;
        COMMIT;""")
    db.close()
    gateway.start()
    stop = threading.Event()
    late = []

    def send():
        while not stop.is_set():
            late.extend(put(gateway, 1))

    sender = threading.Thread(target=send)
    sender.start()
    gateway.wait_until(lambda: late, "the client sends")
    try:
        said = tidegate(gateway, "queue", "purge", "--destination", "central", "--older-than", "1h")
    finally:
        stop.set()
        sender.join()
    assert "20000 records" in said
    assert len(late) > 5
    sink.start()
    sink.wait_ids(late)
    gateway.assert_balanced()


@pytest.mark.parametrize("path,body,status,says", [
    ("dead-letters/replay", {}, 400, "destination is missing"),
    ("dead-letters/replay", {"destination": "central"}, 400, "one of batch, reason and all"),
    ("dead-letters/replay", {"destination": "central", "all": True, "batch": 1}, 400, "only one"),
    ("dead-letters/replay", {"destination": "central", "all": False}, 400, "one of batch"),
    ("dead-letters/replay", {"destination": "central", "batch": 999}, 404, "batch 999 is not dead"),
    ("dead-letters/replay", {"destination": "nowhere", "all": True}, 404, 'no destination "nowhere"'),
    ("dead-letters/replay", {"destination": 5, "all": True}, 400, "destination: this must be a text"),
    ("dead-letters/replay", {"destination": "central", "all": "yes"}, 400, "all: this must be true or false"),
    ("dead-letters/replay", {"destination": "central", "batch": "1"}, 400, "batch: this must be a whole number"),
    ("dead-letters/replay", {"destination": "central", "batch": -1}, 400, "batch"),
    ("dead-letters/replay", {"destination": "central", "batch": 1.5}, 400, "whole number"),
    ("dead-letters/replay", {"destination": None, "all": True}, 400, "must be a text"),
    ("dead-letters/replay", {"destination": ["central"], "all": True}, 400, "must be a text"),
    ("dead-letters/replay", {"destination": "central", "all": True, "limit": 0}, 400, "limit"),
    ("dead-letters/replay", {"destination": "central", "al": True}, 400, 'unknown parameter "al"'),
    ("dead-letters/purge", {"destination": "central", "reason": ""}, 400, "reason"),
    ("queue/purge", {"destination": "central"}, 400, "say what is to go"),
    ("queue/purge", {"destination": "central", "all": True, "class": "info"}, 400, "all alone"),
    ("queue/purge", {"destination": "central", "older_than": "soon"}, 400, "as in 10m"),
    ("queue/purge", {"destination": "central", "class": "urgent"}, 400, "critical, warning or info"),
    ("queue/move", {"from": "central"}, 400, "to is missing"),
    ("queue/move", {"from": "central", "to": "central"}, 400, "the same"),
    ("queue/move", {"from": "central", "to": "nowhere"}, 404, "nowhere"),
    ("queue/move", {"destination": "central", "to": "central"}, 400, "unknown"),
])
def test_mistakes_are_named_and_change_nothing(idle_gateway, path, body, status, says):
    error = call(idle_gateway, path, status, **body)
    assert says in error["error"]
    assert error["hint"] or status == 409


@pytest.fixture(scope="module")
def idle_gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("idle"), {
            "destinations": {"central": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"}},
            "routes": [{"match": {}, "to": ["central"]}]}, expect=[r"level=warn"]) as gateway:
        put(gateway, 1)
        yield gateway


@pytest.mark.parametrize("body,headers,status,says", [
    (b"{", {}, 400, "no JSON"),
    (b"", {}, 400, "no JSON"),
    (b"[]", {}, 400, "JSON object"),
    (b"7", {}, 400, "JSON"),
    (b'{"all": true, "all": true}', {}, 400, "no JSON: duplicate"),
    (b'{"destination": "a\\u0000b", "all": true}', {}, 400, "no JSON"),
    (b'{"destination": "\xff", "all": true}', {}, 400, "no JSON"),
    (b"[" * 60000, {}, 400, "no JSON"),
    (b'{"destination": "' + b"x" * 70000 + b'"}', {}, 413, "64 KiB"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "application/json"),
    (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    (b"{}", {"Host": "evil.example"}, 421, "Host"),
])
def test_hostile_bodies(idle_gateway, body, headers, status, says):
    url = f"http://127.0.0.1:{idle_gateway.admin_port}/api/v1/dead-letters/replay"
    answer = requests.post(url, data=body, headers={"Content-Type": "application/json", **headers}, timeout=DEADLINE_S)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]


def test_a_body_without_an_end_is_not_read_for_ever(idle_gateway):
    def pieces():
        while True:
            yield b" " * 65536
    url = f"http://127.0.0.1:{idle_gateway.admin_port}/api/v1/dead-letters/replay"
    with pytest.raises(requests.RequestException):
        requests.post(url, data=pieces(), headers={"Content-Type": "application/json"}, timeout=DEADLINE_S)
    assert idle_gateway.admin_get("/healthz").status_code == 200


def test_changes_are_posted_and_nothing_else_is(idle_gateway):
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        url = f"http://127.0.0.1:{idle_gateway.admin_port}/api/v1/dead-letters/purge"
        answer = requests.request(method, url, timeout=DEADLINE_S)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "POST"
    answer = requests.post(f"http://127.0.0.1:{idle_gateway.admin_port}/api/v1/dead-letters/purge?all=true", json={},
                           timeout=DEADLINE_S)
    assert answer.status_code == 400


def test_changes_need_the_token(start_gateway):
    gateway = start_gateway({"admin": {"token": "sesame"}, "destinations": {}})
    url = f"http://127.0.0.1:{gateway.admin_port}/api/v1/queue/purge"
    assert requests.post(url, json={"destination": "(unrouted)", "all": True}, timeout=DEADLINE_S).status_code == 401
    answer = requests.post(url, json={"destination": "(unrouted)", "all": True}, timeout=DEADLINE_S,
                           headers={"Authorization": "Bearer sesame"})
    assert answer.status_code == 200
    assert gateway.admin_get("/api/v1/dead-letters/export?destination=x").status_code == 401
