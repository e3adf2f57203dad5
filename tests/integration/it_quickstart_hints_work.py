"""What deploy/quickstart.sh and the README tell a newcomer to try does what they say."""
import json
import re
import shlex
import subprocess

import pytest

from tests.support.gateway import ROOT, binary
from tests.support.patience import DEADLINE_S


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


def readme_commands():
    """The lines of the README's look at a running gateway, without their comments."""
    block = next(b for b in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S) if "tidegate status" in b)
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.mark.smoke
def test_the_commands_of_the_readme_work_in_their_order(start_gateway, hints):
    gateway = start_gateway({"queue": {"path": "data/queue.db"},
                             "destinations": {"file": {"kind": "file", "path": "data/delivered.jsonl"}}})
    gateway.queue_path = gateway.dir / "data/queue.db"

    def run(*argv):
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=DEADLINE_S, cwd=gateway.dir).stdout

    said = {}
    for argv in readme_commands():
        if argv[0] == "tidegate":
            at = ["--config", gateway.config_path] if argv[1] == "check-destination" else [
                "--endpoint", f"127.0.0.1:{gateway.admin_port}"]
            said[argv[1]] = run(binary(), *argv[1:], *at)
        else:
            said[argv[0]] = run(*(a.replace(":13133/", f":{gateway.admin_port}/") for a in argv))
        if argv[1] == "pause":
            gateway.wait_event("forward.order", order="pause")
            run(*shlex.split(curl_example(hints).replace(":4318/", f":{gateway.http_port}/")))
    assert "hello" in said["queue"] and "first light" in said["show"]
    assert "otelcol_receiver_accepted_log_records" in said["curl"]
    gateway.wait_drained()
