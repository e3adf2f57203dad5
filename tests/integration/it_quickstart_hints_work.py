"""What deploy/quickstart.sh tells a newcomer to try does what it says."""
import json
import re
import shlex
import subprocess

import pytest

from tests.support.gateway import ROOT


@pytest.fixture(scope="module")
def hints():
    done = subprocess.run(["sh", ROOT / "deploy/quickstart.sh", "--hints"], capture_output=True, text=True, check=True)
    return done.stdout


def curl_example(hints):
    """The command, from "curl -i" to its closing quote."""
    return re.search(r"curl -i .*?\n.*?'\n\n", hints, re.S).group()


@pytest.mark.smoke
def test_the_curl_example_is_delivered_to_the_file(start_gateway, hints):
    gateway = start_gateway({"destinations": {"file": {"kind": "file", "path": "data/delivered.jsonl"}}})
    command = shlex.split(curl_example(hints).replace(":4318/", f":{gateway.http_port}/"))
    done = subprocess.run([*command, "-s", "--max-time", "10"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("HTTP/1.1 200 ")
    gateway.wait_drained()
    line = json.loads((gateway.dir / "data/delivered.jsonl").read_text())
    resource = line["resourceLogs"][0]
    assert resource["scopeLogs"][0]["logRecords"][0]["body"] == {"stringValue": "first light"}
    assert {"key": "service.name", "value": {"stringValue": "hello"}} in resource["resource"]["attributes"]


def test_the_admin_addresses_answer(start_gateway, hints):
    gateway = start_gateway()
    paths = re.findall(r"curl http://127\.0\.0\.1:13133(\S+)", hints)
    assert paths == ["/healthz", "/metrics", "/api/v1/status"]
    for path in paths:
        assert gateway.admin_get(path).status_code == 200, path


def test_the_sql_query_gives_the_books(start_gateway, hints):
    gateway = start_gateway()
    found = re.search(r"sqlite3 -readonly -header -column data/queue\.db '(.*)'", hints)
    done = subprocess.run(["sqlite3", "-readonly", "-header", "-column", gateway.queue_path, found.group(1)],
                          capture_output=True, text=True, check=True)
    assert done.stderr == ""
