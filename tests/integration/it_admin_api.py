"""The admin API on a live gateway: health, readiness, metrics, and every view of the queue."""
import re
import socket
import subprocess

import pytest
import requests

from tests.support import otlp
from tests.support.gateway import ROOT, Gateway, binary
from tests.support.patience import DEADLINE_S


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """Two destinations: one takes all, nobody listens for the other."""
    directory = tmp_path_factory.mktemp("gateway")
    with Gateway(directory, {
            "destinations": {
                "archive": {"kind": "file", "path": str(directory / "delivered.jsonl")},
                "central": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"}},
            "routes": [{"match": {}, "to": ["archive", "central"]}],
    }, expect=[r"level=warn"]) as gw:
        for signal, record_class, service in (("traces", "info", "shop"), ("traces", "critical", "till"),
                                              ("logs", "critical", "till"), ("logs", "warning", "a b&c"),
                                              ("metrics", "info", "meter")):
            answer = otlp.post(gw, signal, otlp.request(signal, otlp.new_ids(4), service, record_class))
            assert answer.status_code == 200
        gw.wait_until(lambda: gw.sqlite(
            "SELECT coalesce(sum(records), 0) FROM totals WHERE outcome = 'delivered'") == [(20,)],
            "the archive has all")
        yield gw


def get(gateway, path, status=200, **kwargs):
    answer = gateway.admin_get(path, **kwargs)
    assert answer.status_code == status, answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in answer.headers
    return answer.json()


@pytest.mark.smoke
@pytest.mark.parametrize("path", ["/", "/healthz", "/livez", "/-/healthy"])
def test_health(gateway, path):
    health = get(gateway, path)
    assert health["status"] == "ok"
    assert health["queue"] == "ok"


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/status", "/api/v1/batches?page=nonsense", "/nowhere"])
def test_an_answer_ends_its_line_for_who_reads_it_in_a_terminal(gateway, path):
    assert gateway.admin_get(path).text.endswith("}\n")


@pytest.mark.parametrize("path", ["/readyz", "/-/ready"])
def test_ready_although_an_uplink_is_down(gateway, path):
    assert get(gateway, path) == {"status": "ready", "reason": None}


@pytest.mark.smoke
def test_status(gateway):
    status = get(gateway, "/api/v1/status")
    assert status["gateway"]["is_ready"] and not status["gateway"]["is_degraded"]
    assert status["queue"]["path"] == str(gateway.queue_path)
    assert status["balance"] == {"is_balanced": True, "difference": 0}
    by_name = {d["name"]: d for d in status["destinations"]}
    assert by_name["archive"]["ready"]["records"] == 0
    assert by_name["archive"]["oldest_at"] is None
    central = by_name["central"]
    assert central["ready"]["records"] == 20
    assert {s: c["records"] for s, c in central["ready"]["signals"].items()} == {
        "traces": 8, "logs": 8, "metrics": 4}
    assert central["ready"]["bytes"] > 0
    assert central["oldest_age_s"] >= 0


def test_a_destination_that_is_down_says_since_when_and_why(gateway):
    def backing_off():
        central = next(d for d in get(gateway, "/api/v1/status")["destinations"] if d["name"] == "central")
        return central if central["state"] == "backing_off" else None

    central = gateway.wait_until(backing_off, "central is backing off")
    assert central["reason"] and central["state_since"]


@pytest.mark.smoke
def test_metrics(gateway):
    gateway.wait_until(
        lambda: gateway.metrics().get('tidegate_destination_queued_records{destination="central",signal="logs"}') == 8,
        "the gauges are fresh")
    metrics = gateway.metrics()
    assert metrics['otelcol_exporter_queue_size{exporter="central"}'] > 0
    assert metrics['otelcol_exporter_queue_size{exporter="archive"}'] == 0
    assert metrics['otelcol_exporter_queue_capacity{exporter="central"}'] == 8 << 30
    assert metrics['tidegate_balance_records{destination="central"}'] == 0
    assert metrics['tidegate_destination_oldest_age_seconds{destination="central"}'] > 0
    assert metrics["otelcol_process_memory_rss"] > 1 << 20
    assert metrics["otelcol_process_uptime"] > 0
    assert metrics["tidegate_in_flight_bytes"] == 0
    assert any(m.startswith("tidegate_build_info{version=") for m in metrics)
    answer = gateway.admin_get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("query,records", [
    ("", 20), ("state=ready", 20), ("state=dead", 0), ("destination=central", 20), ("destination=archive", 0),
    ("signal=logs", 8), ("class=critical", 8), ("signal=logs&class=critical", 4), ("service=a+b%26c", 4),
    ("min_age=1h", 0), ("max_age=1h", 20), ("service=nobody", 0),
])
def test_batches_are_filtered(gateway, query, records):
    page = get(gateway, f"/api/v1/batches?{query}")
    assert sum(b["records"] for b in page["batches"]) == records
    assert page["next_cursor"] is None


def test_pages_meet(gateway):
    whole = [b["id"] for b in get(gateway, "/api/v1/batches")["batches"]]
    paged, cursor = [], None
    while True:
        page = get(gateway, "/api/v1/batches?limit=1" + (f"&cursor={cursor}" if cursor else ""))
        paged += [b["id"] for b in page["batches"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == whole == sorted(whole)


@pytest.mark.smoke
@pytest.mark.parametrize("signal,count", [("traces", 8), ("logs", 8), ("metrics", 4)])
def test_a_batch_shows_every_record_decoded(gateway, signal, count):
    batches = get(gateway, f"/api/v1/batches?signal={signal}")["batches"]
    shown, raw = [], []
    for batch in batches:
        whole = get(gateway, f"/api/v1/batches/{batch['id']}")
        assert whole["data_error"] is None
        assert [d["destination"] for d in whole["deliveries"]] == ["central"]
        shown += otlp.ids_in_json(whole["data"])
        answer = gateway.admin_get(f"/api/v1/batches/{batch['id']}?format=otlp")
        assert answer.headers["Content-Type"] == "application/x-protobuf"
        raw += otlp.record_ids(otlp.parse(signal, answer.content))
    assert len(shown) == count
    assert shown == raw


@pytest.mark.parametrize("path,status,says", [
    ("/api/v1/batches?stat=dead", 400, 'unknown parameter "stat"; this call takes state, destination'),
    ("/api/v1/batches?state=gone", 400, "allowed is ready or dead"),
    ("/api/v1/batches?state", 400, "state"),
    ("/api/v1/batches?limit=501", 400, "from 1 to 500"),
    ("/api/v1/batches?limit=1&limit=2", 400, "limit is given twice"),
    ("/api/v1/batches?service=a%00b", 400, "NUL"),
    ("/api/v1/batches?destination=nowhere", 404, 'no destination "nowhere"'),
    ("/api/v1/status?x=1", 400, "takes none"),
    ("/api/v1/batches/999999", 404, "no batch 999999"),
    ("/api/v1/batches/1e3", 400, "is not the id"),
    ("/api/v1/batches/1?format=xml", 400, "json or otlp"),
    ("/api/v2/status", 404, "nothing at /api/v2/status"),
    ("/api/v1/status%00x", 404, "nothing at /api/v1/status%00x"),
])
def test_mistakes_are_named(gateway, path, status, says):
    error = get(gateway, path, status)
    assert says in error["error"]


@pytest.mark.parametrize("path, hint", [
    ("/api/v2/status", "lists the paths"), ("/api/v1/batches/999999", "last delivery"),
    ("/api/v1/batches?destination=nowhere", "/api/v1/status")])
def test_the_hint_fits_what_was_not_found(gateway, path, hint):
    assert hint in get(gateway, path, 404)["hint"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading(gateway, method):
    answer = requests.request(method, f"http://127.0.0.1:{gateway.admin_port}/api/v1/batches",
                              data=b"x" * 100000 if method in ("POST", "PUT") else None, timeout=DEADLINE_S)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_head_has_no_body(gateway):
    answer = requests.head(f"http://127.0.0.1:{gateway.admin_port}/api/v1/status", timeout=DEADLINE_S)
    assert answer.status_code == 200
    assert answer.content == b""


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/dead-letters/export?destination=central", "/metrics"])
def test_behind_a_head_comes_the_next_answer(gateway, path):
    host = f"127.0.0.1:{gateway.admin_port}"
    with socket.create_connection(("127.0.0.1", gateway.admin_port), DEADLINE_S) as client:
        client.sendall(f"HEAD {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
                       f"GET http://{host}/healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        said = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, rest = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and rest.startswith(b"HTTP/1.1 200 "), said


def test_a_web_page_cannot_read_through_a_name_of_its_own(gateway):
    answer = gateway.admin_get("/api/v1/status", headers={"Host": "evil.example:13133"})
    assert answer.status_code == 421
    assert "admin.token" in answer.json()["hint"] and "WWW-Authenticate" not in answer.headers
    assert gateway.admin_get("/healthz", headers={"Host": "evil.example"}).status_code == 200


def test_books_and_ledger(gateway):
    balance = get(gateway, "/api/v1/balance")
    assert balance["is_balanced"]
    rows = {(r["destination"], r["signal"]): r for r in balance["balance"]}
    assert rows["archive", "logs"]["delivered"] == rows["archive", "logs"]["accepted"] == 8
    assert rows["central", "logs"]["queued"] == 8
    assert get(gateway, "/api/v1/losses") == {"losses": [], "next_cursor": None}


def test_the_page_documents_the_routes_and_their_parameters_and_no_others():
    source = (ROOT / "admin" / "routes.c").read_text()
    page = (ROOT / "docs" / "admin-api.md").read_text()
    routes = set(re.findall(r'ROUTE\("(/[^"]*)"', source, re.M))
    assert len(routes) >= 12
    assert set(re.findall(r"^\| `(/[^`]*)` \|", page, re.M)) == routes
    table = (ROOT / "admin" / "parameters.c").read_text()
    parameters = set(re.findall(r'^\t\{ "(\w+)", [A-Z]', table, re.M))
    assert len(parameters) >= 18
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.M)) == parameters
    found = re.findall(r'EXIT_CODE\([\s\\]*\w+, (\d),((?:[\s\\]+"[^"]+")+)\)', (ROOT / "admin" / "command.h").read_text())
    codes = [(code, "".join(re.findall('"([^"]+)"', text))) for code, text in found]
    assert re.findall(r"^\| (\d) \| (.+?) \|$", page, re.M) == codes


def test_a_token_guards_all_but_health(start_gateway):
    gateway = start_gateway({"admin": {"endpoint": "127.0.0.1:0", "token": "sesame"}})
    for path in ("/", "/healthz", "/livez", "/-/healthy", "/readyz", "/-/ready"):
        assert gateway.admin_get(path).status_code == 200
    for path in ("/metrics", "/api/v1/status", "/api/v1/batches/1", "/nothing"):
        answer = gateway.admin_get(path)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert gateway.admin_get(path, headers={"Authorization": "Bearer sesam"}).status_code == 401
    good = {"Authorization": "Bearer sesame", "Host": "gateway.example"}
    assert gateway.admin_get("/metrics", headers=good).status_code == 200
    assert gateway.admin_get("/api/v1/status", headers=good).status_code == 200
    assert gateway.admin_get("/nothing", headers=good).status_code == 404


def test_an_open_endpoint_without_a_token_is_refused(tmp_path):
    gateway = Gateway(tmp_path, {"admin": {"endpoint": "0.0.0.0:0"}}, expect=[r"level=(error|fatal)"]).launch()
    assert gateway.wait_exit() != 0
    assert "admin.token" in gateway.log_text()


def test_a_full_queue_is_not_ready_but_alive(start_gateway):
    """No disk has so much room to leave free."""
    gateway = start_gateway({"queue": {"min_free_disk": "16TiB"}}, expect=[r"level=(warn|error)"])
    answer = gateway.admin_get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json() == {"status": "not_ready", "reason": "no space left on the device"}
    health = get(gateway, "/healthz")
    assert (health["status"], health["queue"]) == ("ok", "full")
    status = get(gateway, "/api/v1/status")["gateway"]
    assert (status["state"], status["is_ready"], status["reason"]) == ("full", False, "no space left on the device")
    done = subprocess.run([binary(), "status", "--endpoint", f"127.0.0.1:{gateway.admin_port}"],
                          capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 6
    assert "not ready: no space left on the device" in done.stdout
