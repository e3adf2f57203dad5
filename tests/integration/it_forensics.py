"""Every query of docs/forensics.md runs in the stock sqlite3 shell against the file of a live gateway, and
those whose answer is known give it."""
import json
import re
import subprocess

import pytest

from tests.support import otlp
from tests.support.gateway import ROOT, Gateway
from tests.support.patience import DEADLINE_S

PAGE = (ROOT / "docs" / "forensics.md").read_text()
QUERIES = re.findall(r"^### (\d+)\. (.+?)$.*?^```sql\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A destination that nobody listens for, so that everything waits; and requests of every signal."""
    with Gateway(tmp_path_factory.mktemp("gateway"), {
            "destinations": {"central": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"}},
            "routes": [{"match": {"signal": ["traces", "logs"]}, "to": ["central"]}],
    }, expect=[r"level=warn"]) as gw:
        for signal, record_class, service in (("traces", "info", "shop"), ("traces", "critical", "till"),
                                              ("logs", "warning", "till"), ("metrics", "info", "meter")):
            answer = otlp.post(gw, signal, otlp.request(signal, otlp.new_ids(5), service, record_class))
            assert answer.status_code == 200
        yield gw


def ask(gateway, sql):
    """The rows as dicts, from the shell in the way that the page says."""
    done = subprocess.run(["sqlite3", "-readonly", "-json", f"file:{gateway.queue_path}?mode=ro"],
                          input=f".timeout {int(DEADLINE_S * 1000)}\n" + sql, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else []


def query(number):
    return next(sql for n, _, sql in QUERIES if int(n) == number)


def test_the_page_has_its_dozen_and_no_block_is_missed():
    assert len(QUERIES) >= 12
    assert PAGE.count("```sql") == len(QUERIES)
    assert [int(n) for n, _, _ in QUERIES] == list(range(1, len(QUERIES) + 1))


@pytest.mark.parametrize("sql", [q[2] for q in QUERIES], ids=[q[1] for q in QUERIES])
def test_each_query_runs(gateway, sql):
    ask(gateway, sql)


def test_queries_give_what_is_there(gateway):
    shape = ask(gateway, query(1))
    assert sorted((r["destination"], r["signal"], r["class"], r["records"]) for r in shape) == [
        ("(unrouted)", "metrics", "info", 5), ("central", "logs", "warning", 5),
        ("central", "traces", "critical", 5), ("central", "traces", "info", 5)]
    assert ask(gateway, query(2)) == []
    books = {(r["destination"], r["signal"]): r for r in ask(gateway, query(3))}
    assert books["central", "traces"]["accepted"] == books["central", "traces"]["queued"] == 10
    assert [r["name"] for r in ask(gateway, query(4)) if r["kind"] == "otlp_http"] == ["central"]
    # Critical first, then by age.
    assert [r["class"] for r in ask(gateway, query(6))] == ["critical", "warning", "info"]
    assert ask(gateway, query(7)) == []
    assert {(r["service"], r["records"]) for r in ask(gateway, query(9))} == {
        ("shop", 5), ("till", 5), ("meter", 5)}
    assert [r["records"] for r in ask(gateway, query(14))] == [5]
    assert ask(gateway, query(18)) == [{"without_payload": 0, "left_over": 0}]


def test_looking_changes_nothing(gateway):
    """The shell cannot write in the way that the page opens the file."""
    done = subprocess.run(["sqlite3", "-readonly", f"file:{gateway.queue_path}?mode=ro"],
                          input="DELETE FROM losses; PRAGMA user_version = 7;", capture_output=True, text=True,
                          timeout=DEADLINE_S)
    assert "readonly" in done.stderr
    gateway.assert_balanced()
