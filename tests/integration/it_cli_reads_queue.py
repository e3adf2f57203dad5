"""status, queue and show: from a running gateway, from the file of one that is stopped, and what they say when
there is neither."""
import contextlib
import json
import os
import re
import sqlite3
import subprocess

import pytest

from tests.support import otlp
from tests.support.gateway import Gateway, binary
from tests.support.held_port import held_port
from tests.support.patience import DEADLINE_S

COMMANDS = ("run", "check-config", "status", "queue", "show")


def tidegate(*args, env=None, code=0):
    done = subprocess.run([binary(), *map(str, args)], capture_output=True, text=True, timeout=DEADLINE_S,
                          env={**os.environ, **(env or {})})
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["status", "--help"], ["queue"], ["status"], ["losses"]])
def test_what_could_not_be_printed_was_not_done(gateway, words):
    options = [] if len(words) == 2 or words[0][0] == "-" else ["--queue", gateway.queue_path]
    with open("/dev/full", "w") as full:
        done = subprocess.run([binary(), *words, *options], stdout=full, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
    assert done.returncode == 1 and "stdout cannot be written" in done.stderr, done.stderr


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("gateway"), {
            "admin": {"endpoint": "127.0.0.1:0", "token": "sesame"},
            "destinations": {"central": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"}},
            "routes": [{"match": {}, "to": ["central"]}],
    }, expect=[r"level=warn"]) as gw:
        for signal, record_class in (("traces", "info"), ("logs", "critical")):
            answer = otlp.post(gw, signal, otlp.request(signal, otlp.new_ids(3), "shop\x1b[31m", record_class))
            assert answer.status_code == 200
        yield gw


def source_of(gateway, kind):
    """Options that make the commands read from there."""
    if kind == "gateway":
        return ["--endpoint", f"127.0.0.1:{gateway.admin_port}", "--token", "sesame"]
    return ["--queue", gateway.queue_path]


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["gateway", "file"])
def test_status(gateway, kind):
    said = tidegate("status", *source_of(gateway, kind)).stdout
    assert f"source       {kind}" in said
    assert "balance      ok" in said
    assert all(len(line) <= 100 for line in said.splitlines() if str(gateway.dir) not in line)
    document = json.loads(tidegate("status", "-o", "json", *source_of(gateway, kind)).stdout)
    assert document["source"]["kind"] == kind
    central = next(d for d in document["destinations"] if d["name"] == "central")
    assert central["ready"]["records"] == 6
    assert (document["gateway"] is not None) == (kind == "gateway")


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["gateway", "file"])
def test_queue_and_show(gateway, kind):
    said = tidegate("queue", "--class", "critical", *source_of(gateway, kind)).stdout
    assert "ready:central" in said and "logs" in said and "traces" not in said
    assert "\x1b" not in said
    assert all(len(line) <= 100 for line in said.splitlines() if str(gateway.dir) not in line)
    page = json.loads(tidegate("queue", "-o", "json", "--signal", "traces", *source_of(gateway, kind)).stdout)
    batch = page["batches"][0]["id"]
    shown = json.loads(tidegate("show", "-o", "json", batch, *source_of(gateway, kind)).stdout)
    assert len(otlp.ids_in_json(shown["data"])) == 3
    said = tidegate("show", batch, *source_of(gateway, kind)).stdout
    assert "GET /things" in said and "\x1b" not in said


def test_what_no_route_matches_is_told_where_there_is_any(gateway, start_gateway):
    assert "(unrouted)" not in tidegate("status", *source_of(gateway, "gateway")).stdout
    gw = start_gateway({"destinations": {"central": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"}},
                        "routes": [{"match": {"signal": "logs"}, "to": ["central"]}]}, expect=[r"level=warn"])
    assert otlp.post(gw, "traces", otlp.request("traces", otlp.new_ids(2))).status_code == 200
    said = tidegate("status", "--endpoint", f"127.0.0.1:{gw.admin_port}").stdout
    assert re.search(r"^\(unrouted\) +- .* traces +2 ", said, re.M)
    assert "(unrouted): no route matches this data" in said


def test_both_sources_give_the_same_document(gateway):
    documents = [json.loads(tidegate("queue", "-o", "json", *source_of(gateway, k)).stdout) for k in ("gateway", "file")]
    for d in documents:
        del d["source"]
        for batch in d["batches"]:
            del batch["age_s"]
            for delivery in batch["deliveries"]:
                # The gateway goes on trying between the two looks.
                for key in ("attempts", "last_attempt_at", "last_error", "last_status"):
                    del delivery[key]
    assert documents[0] == documents[1]


def test_the_token_may_come_from_the_environment(gateway):
    endpoint = ["--endpoint", f"127.0.0.1:{gateway.admin_port}"]
    tidegate("status", *endpoint, env={"TIDEGATE_ADMIN_TOKEN": "sesame"})
    # An empty variable says nothing.
    tidegate("status", "--config", gateway.config_path, *endpoint, env={"TIDEGATE_ADMIN_TOKEN": ""})
    tidegate("status", "--endpoint", f"http://127.0.0.1:{gateway.admin_port}/", "--token", "sesame")
    done = tidegate("status", *endpoint, env={"TIDEGATE_ADMIN_TOKEN": "wrong"}, code=5)
    assert "token" in done.stderr and not done.stdout
    tidegate("queue", *endpoint, code=5)


def test_what_is_not_there_is_told(gateway):
    for kind in ("gateway", "file"):
        assert "no batch 999999" in tidegate("show", 999999, *source_of(gateway, kind), code=4).stderr
        assert 'no destination "x"' in tidegate("queue", "--destination", "x", *source_of(gateway, kind),
                                                code=4).stderr


@pytest.mark.parametrize("end", ["sigterm", "sigkill"])
def test_with_the_gateway_stopped_its_file_is_read(start_gateway, end):
    """Also where it was killed, and the write-ahead log holds what the file does not yet."""
    holder = held_port(0)  # nobody else is to be asked there while the gateway is gone
    port = holder.getsockname()[1]
    gateway = start_gateway({"admin": {"endpoint": f"127.0.0.1:{port}"}})
    assert otlp.post(gateway, "logs", otlp.request("logs", otlp.new_ids(2))).status_code == 200
    said = tidegate("status", "--config", gateway.config_path).stdout
    assert f"source       gateway at 127.0.0.1:{port}" in said
    getattr(gateway, end)()
    done = tidegate("status", "--config", gateway.config_path, code=6)
    assert f"(no gateway listens on 127.0.0.1:{port})" in done.stdout
    page = json.loads(tidegate("queue", "-o", "json", "--config", gateway.config_path).stdout)
    assert [b["records"] for b in page["batches"]] == [2]
    gateway.start()
    assert otlp.post(gateway, "logs", otlp.request("logs", otlp.new_ids(2))).status_code == 200
    gateway.assert_balanced()
    holder.close()


def test_nothing_to_ask_and_nothing_to_read(tmp_path):
    done = tidegate("status", "--endpoint", "127.0.0.1:1", code=4)
    assert "no gateway listens on 127.0.0.1:1" in done.stderr
    done = tidegate("status", "--endpoint", "127.0.0.1:1", "--queue", tmp_path / "none.db", code=4)
    assert "there is no queue file at" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert "is a directory: name the queue file" in tidegate("status", "--queue", tmp_path, code=1).stderr
    other = tmp_path / "text.db"
    other.write_text("this is no database\n" * 100)
    assert "not a SQLite file" in tidegate("status", "--queue", other, code=1).stderr


def test_a_damaged_file_is_said_to_be_so_and_what_will_become_of_it(tmp_path):
    with Gateway(tmp_path, {"destinations": {}}) as gateway:
        path = gateway.queue_path
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xee" * 50)  # the root of the schema
    before = path.read_bytes()
    said = tidegate("status", "--queue", path, code=1).stderr
    assert "the file is damaged" in said and "sets it aside" in said
    assert path.read_bytes() == before


@pytest.mark.parametrize("pragma,says,gateway_says", [
    ("application_id = 7", "this is not a tidegate queue", "of another application"),
    ("user_version = 99", "written by a newer tidegate", "newer")])
def test_a_file_of_another_program_or_of_a_newer_version(tmp_path, pragma, says, gateway_says):
    """The commands that read, and the gateway itself: it changes neither."""
    with Gateway(tmp_path, {"destinations": {}}) as gateway:
        path = gateway.queue_path
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA " + pragma)
    before = path.read_bytes()
    for command in (["status"], ["queue"], ["show", 1], ["dead-letters"], ["dead-letters", "show", "--destination", "a"]):
        done = tidegate(*command, "--queue", path, code=1)
        assert says in done.stderr and str(path) in done.stderr and not done.stdout
    gateway.launch()
    assert gateway.wait_exit() == 1
    [fatal] = gateway.events("gateway.start.failed")
    assert gateway_says in fatal["error"] and re.search(r"tidegate\.yaml:\d+:\d+: queue\.path: ", fatal["error"])
    assert path.read_bytes() == before


def test_a_port_of_another_program_is_told(gateway):
    done = tidegate("status", "--endpoint", f"127.0.0.1:{gateway.http_port}", code=1)
    assert "is it another program's port?" in done.stderr and not done.stdout


def test_every_command_has_help():
    """As the overview lists them."""
    said = tidegate("--help").stdout
    commands = re.findall(r"^  ([a-z-]+(?: [a-z]+)?) {2,}\S", said.partition("Exit codes:")[0], re.M)
    assert len(commands) >= 21 and set(COMMANDS) < set(commands)
    for command in commands:
        for flag in ("--help", "-h"):
            done = tidegate(*command.split(), flag)
            assert done.stdout.startswith(f"Usage: tidegate {command}") and "Exit codes:" in done.stdout
            assert not done.stderr


@pytest.mark.parametrize("command", [[], *[[c] for c in COMMANDS]])
def test_help_everywhere(command):
    done = tidegate(*command, "--help")
    assert "Usage: tidegate" in done.stdout and "Exit codes:" in done.stdout and not done.stderr
    # Codes of one command only are shown there, and in the overview.
    assert ("check-destination: the credentials" in done.stdout) == (command in ([], ["check-destination"]))
    if not command:
        assert all(f"  {c} " in done.stdout for c in COMMANDS)


def test_help_tells_options_with_a_value_from_those_without():
    said = tidegate("dead-letters", "purge", "--help").stdout
    assert "--destination VALUE " in said and "--batch N " in said and re.search(r"--dry-run +change nothing", said)


def test_version():
    assert tidegate("--version").stdout.startswith("tidegate ")


@pytest.mark.parametrize("args,says", [
    ([], "no command"), (["fly"], "unknown command fly"),
    (["dead-letter"], "did you mean dead-letters?"), (["status", "--nope"], "unknown option --nope"),
    (["statsu"], "did you mean status?"), (["--config", "x"], "options stand behind it"),
    (["status", "--otput=json"], "unknown option --otput\n  did you mean --output?"),
    (["queue", "--stats", "ready"], "did you mean --state?"), (["queue", "--min_age", "1h"], "did you mean --min-age?"),
    (["queue", "--min-age", "5x"], '--min-age: "5x" is wrong; allowed is a number with'),
    (["queue", "--limit", "501"], "--limit"), (["queue", "--limit", "0"], "--limit"), (["queue", "--cursor", "x"], "--cursor"),
    (["queue", "--limit"], "a value is missing after --limit"), (["status", "-o"], "a value is missing after -o"),
    (["queue", "pruge"], "did you mean tidegate queue purge?"), (["queue", "purge"], "--destination is missing"),
    (["queue", "purge", "--destination", "a"], "any of --batch, --signal, --class and --older-than, or --all alone"),
    (["queue", "move", "--from", "a"], "--to is missing"), (["queue", "move", "--from", "a", "--to", "a"], "the same"),
    (["dead-letters", "shwo"], "did you mean tidegate dead-letters show?"),
    *[(["dead-letters", c], "--destination is missing") for c in ("show", "replay", "purge", "export")],
    (["dead-letters", "purge", "--destination", "a"], "one of --batch, --reason and --all"),
    (["dead-letters", "replay", "--destination", "a", "--first", "0"], "--first wants a number from 1"),
    (["uplink", "pase", "a"], "did you mean tidegate uplink pause?"), (["uplink", "reset"], "wants a name"),
    (["uplink", "a", "--rate", "1MiB"], "--rate and --for belong together"), (["pause"], "wants a name: pause"),
    (["resume", "a", "b"], "not also b"), (["flush", "A"], "a name has the characters"), (["run", "x"], "unexpected argument x"),
    (["check-config", "--queue", "x"], "unknown option --queue"), (["check-destination"], "wants a name"),
    (["show", "1", "2"], "wants the id of one batch"), (["show", "99999999999999999999"], "is a number"),
    (["queue", "--state", "gone"], "allowed is ready or dead"), (["show"], "wants the id"),
    (["show", "abc"], "is a number, not abc"), (["status", "-o", "xml"], "json or table"),
    (["status", "--endpoint", "nonsense"], "is not host:port"),
    (["dead-letters", "export", "--destination", "a", "-e", "nonsense"], '--endpoint: "nonsense" is not host:port'),
    (["status", "-xyz"], "unknown option -x"), (["status", "--no-send=1"], "unknown option --no-send"),
    *[([c, *more, flag, ""], f"an empty value for {name}")
      for c, *more in (["status"], ["queue"], ["show", "1"], ["pause", "a"], ["dead-letters", "replay", "--destination", "a"])
      for flag, name in (("-e", "--endpoint"), ("--queue", "--queue")) if name == "--endpoint" or c in ("status", "queue", "show")],
])
def test_wrong_command_lines(args, says):
    done = tidegate(*args, code=2)
    assert says in done.stderr and not done.stdout


def test_check_config(tmp_path):
    good = tmp_path / "good.yaml"
    good.write_text("site: plant-7\nadmin: {endpoint: '0.0.0.0:0', token: sesame}\n")
    said = tidegate("check-config", "--config", good).stdout
    assert "plant-7" in said and "sesame" not in said
    bad = tmp_path / "bad.yaml"
    bad.write_text("queue:\n  max_sise: 8GiB\n")
    done = tidegate("check-config", "--config", bad, code=3)
    assert "bad.yaml:2:3" in done.stderr and "max_size" in done.stderr and not done.stdout
    bad.write_text("admin: {endpoint: '0.0.0.0:0'}\n")
    assert "admin.token" in tidegate("check-config", "--config", bad, code=3).stderr
    tidegate("check-config", "--config", tmp_path / "none.yaml", code=3)
    tidegate("check-config")
