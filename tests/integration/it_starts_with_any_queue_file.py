"""The gateway starts with any queue file that is its own, and leaves alone what is not: a damaged one is set aside and
salvaged, one of another gateway, another application or a newer version is refused with what to do."""
import os
import sqlite3

import pytest
import requests

from tests.support import otlp
from tests.support.gateway import Gateway
from tests.support.sink import Sink

UNREACHABLE = {"destinations": {"central": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"}}}
APPLICATION_ID = 1416193095


def refused(tmp_path, *says):
    """A start that must fail: exit code 1, and one line with all of says."""
    gateway = Gateway(tmp_path, expect=[r"level=fatal"]).launch()
    assert gateway.wait_exit() == 1
    line = next(text for text in gateway.log_lines() if "event=gateway.start.failed" in text)
    assert all(word in line for word in says), line


def test_a_second_gateway_on_the_same_file_is_refused(start_gateway):
    first = start_gateway()
    refused(first.dir, "another gateway has the queue", "queue.path")
    assert otlp.post(first, "logs", otlp.logs(otlp.new_ids(1))).ok


def test_a_link_is_the_file_that_it_leads_to(tmp_path):
    """Lock, log and reserve lie beside the file, and who comes by the link is the second."""
    disk, link = tmp_path / "disk", tmp_path / "link"
    disk.mkdir()
    link.mkdir()
    (link / "queue.db").symlink_to(disk / "queue.db")
    refused(link, "is a symbolic link", "No such file", "queue.path")
    with Gateway(disk) as first:
        assert otlp.post(first, "logs", otlp.logs(otlp.new_ids(1))).ok
        refused(link, "another gateway has the queue", "queue.path")
    with Gateway(link) as second:
        assert otlp.post(second, "logs", otlp.logs(otlp.new_ids(1))).ok
        assert {p.name for p in link.glob("queue.db*")} == {"queue.db"}


def test_a_file_with_two_names_is_refused(start_gateway, tmp_path):
    first = start_gateway()
    assert first.sigterm() == 0
    os.link(first.dir / "queue.db", tmp_path / "other.db")
    refused(first.dir, "has 2 names (hard links)", "remove")


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "queue.db").mkdir()
    refused(tmp_path, "is a directory", "set queue.path to a file in it")
    (tmp_path / "queue.db").rmdir()
    os.mkfifo(tmp_path / "queue.db")
    refused(tmp_path, "is a pipe", "set queue.path to a file on a disk")


@pytest.mark.parametrize("application_id, version, says", [
    (7, 1, "another application"), (APPLICATION_ID, 99, "newer tidegate")])
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(tmp_path, application_id, version, says):
    path = tmp_path / "queue.db"
    with sqlite3.connect(path) as db:
        db.executescript(f"PRAGMA application_id={application_id}; PRAGMA user_version={version};"
                         "CREATE TABLE t(x); INSERT INTO t VALUES (1);")
    db.close()
    before = path.read_bytes()
    refused(tmp_path, says, "queue.path")
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.damaged-*"))


def fill(start_gateway, count):
    """A queue with so many batches that wait, and no gateway on it."""
    gateway = start_gateway(UNREACHABLE, expect=[r"event=(destination|forward|queue|salvage)\."])
    ids = otlp.new_ids(count)
    for one in ids:
        assert otlp.post(gateway, "logs", otlp.logs([one])).ok
    assert gateway.sigterm() == 0
    return gateway, ids


def set_aside(gateway):
    return [p for p in gateway.dir.glob("queue.db.damaged-*") if not p.name.endswith(("-wal", "-shm"))]


def wait_salvaged(gateway):
    gateway.wait_until(lambda: gateway.sqlite("SELECT state FROM salvages") == [("done",)], "the salvage is done")


@pytest.mark.smoke
def test_a_damaged_file_is_set_aside_and_what_can_be_read_moves_over(start_gateway):
    gateway, ids = fill(start_gateway, 50)
    with open(gateway.queue_path, "r+b") as file:
        file.write(b"\0" * 100)  # the header: SQLite does not take it for a database any more
    damaged = gateway.queue_path.read_bytes()
    gateway.start()
    late = otlp.new_ids(5)
    assert otlp.post(gateway, "logs", otlp.logs(late)).ok
    wait_salvaged(gateway)
    assert set(otlp.queued_ids(gateway)) == {*ids, *late}
    assert [p.read_bytes() for p in set_aside(gateway)] == [damaged]
    gateway.wait_until(lambda: gateway.admin_get("/healthz").json()["status"] == "ok", "not degraded any more")
    gateway.assert_balanced()


def test_what_was_paused_stays_so_over_a_damaged_file(start_gateway):
    """An operator's order, and what the uplink has carried, before anything is sent."""
    with Sink() as sink:
        destination = {"kind": "otlp_http", "endpoint": sink.url, "uplink": "wan"}
        gateway = start_gateway({"destinations": {"central": destination}, "uplinks": {"wan": {"monthly_budget": "1GiB"}}},
                                expect=[r"event=(queue|salvage)\."])
        assert otlp.post(gateway, "logs", otlp.logs(otlp.new_ids(3))).ok
        gateway.wait_drained()
        used = "SELECT bytes FROM uplink_usage WHERE uplink = 'wan' AND length(period) = 7"
        api = f"http://127.0.0.1:{gateway.admin_port}/api/v1/destinations/central"
        assert requests.post(f"{api}/pause", json={}, timeout=10).ok
        paused = "SELECT state FROM destinations WHERE name = 'central'"
        gateway.wait_until(lambda: gateway.sqlite(paused) == [("paused",)], "the pause is stored")
        ids = otlp.new_ids(5)
        assert otlp.post(gateway, "logs", otlp.logs(ids)).ok
        assert gateway.sigterm() == 0
        carried = gateway.sqlite(used)[0][0]
        assert carried > 0
        with open(gateway.queue_path, "r+b") as file:
            file.write(b"\0" * 100)
        gateway.start()
        assert gateway.wait_event("queue.inherited")["paused"] == "1"
        wait_salvaged(gateway)
        assert gateway.sqlite(paused) == [("paused",)] and gateway.sqlite(used)[0][0] >= carried
        assert gateway.sqlite("SELECT accepted, delivered, queued FROM balance WHERE destination = 'central'") == [(8, 3, 5)]
        assert len(sink.ids("logs")) == 3
        api = f"http://127.0.0.1:{gateway.admin_port}/api/v1/destinations/central"
        assert requests.post(f"{api}/resume", json={}, timeout=10).ok
        gateway.wait_drained()
        assert set(sink.ids("logs")) >= set(ids)
        gateway.assert_balanced()


def test_what_cannot_be_read_stands_in_the_ledger_or_is_never_missed(start_gateway):
    """Nothing is left of the file but its name: the gateway starts, says so, and takes new data."""
    gateway, _ = fill(start_gateway, 3)
    gateway.queue_path.write_bytes(b"this was a queue " * 4096)
    gateway.start()
    ids = otlp.new_ids(5)
    assert otlp.post(gateway, "logs", otlp.logs(ids)).ok
    wait_salvaged(gateway)
    assert otlp.queued_ids(gateway) == ids
    assert len(set_aside(gateway)) == 1
    gateway.assert_balanced()
