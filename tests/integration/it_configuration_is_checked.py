"""Nothing wrong in a configuration starts a gateway: every option of the page, and files of every sort. Each gives one
line with the place and the documented exit code, from check-config and from run alike, and leaves no file behind."""
import os
import re
import subprocess

import pytest
import yaml

from tests.support.gateway import ROOT, Gateway, binary
from tests.support.patience import DEADLINE_S

CONFIG = 3
KINDS = {
    "otlp_http": {"kind": "otlp_http", "endpoint": "https://h.example:1"},
    "otlp_grpc": {"kind": "otlp_grpc", "endpoint": "https://h.example:1"},
    "prometheus": {"kind": "prometheus", "endpoint": "https://h.example/w"},
    "loki": {"kind": "loki", "endpoint": "https://h.example"},
    "file": {"kind": "file", "path": "x"},
}


def options():
    """(part, key, type, default, kind) of every row of docs/configuration.md, which is made from schema/config.def."""
    part = None
    for line in (ROOT / "docs" / "configuration.md").read_text().splitlines():
        part = {"## The gateway": "", "## Destinations": "destinations", "## Uplinks": "uplinks"}.get(line, part)
        row = re.fullmatch(r"\| `([\w.]+)` \| ([\w ]+) \| (?:`(.*?)`)? \|(.*)", line)
        if row and part is not None:
            kind = next((k for k in KINDS if re.search(rf"\| (?:\w+, )*{k}(?:, \w+)*: ", row[4])), "otlp_http")
            yield part, row[1], row[2], row[3] or "", kind


OPTIONS = list(options())


def document(part, key, value, kind):
    """The file with this one option in it."""
    tree = value
    for name in reversed(key.split(".")):
        tree = {name: tree}
    if not part:
        return tree
    return {part: {"one": {**(KINDS[kind] if part == "destinations" else {}), **tree}}}


def tidegate(command, path, env=None):
    return subprocess.run([binary(), command, "--config", str(path)], cwd=path.parent, capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False, env={**os.environ, **(env or {})})


def refused(path, content, says, env=None, commands=("check-config", "run")):
    """The message."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, int):
        path.touch()
        os.truncate(path, content)  # zeros that take no room
    else:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    for command in commands:
        done = tidegate(command, path, env)
        assert done.returncode == CONFIG, f"{command}: exit {done.returncode}: {done.stderr}"
        assert not done.stdout
        assert re.fullmatch(rf"tidegate: {re.escape(str(path))}:\d+:\d+: [^\n]+\n", done.stderr), done.stderr
        assert re.search(says, done.stderr), f"no {says!r} in {done.stderr}"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "a refused start leaves something behind"
    return done.stderr


def refused_later(gateway, says, env=None):
    """The file can be read, and what it comes to is wrong: the log of run says it, with the queue not touched."""
    assert gateway.wait_exit() == CONFIG
    [failed] = gateway.events("gateway.start.failed")
    assert re.search(says, failed["error"]), failed
    assert not gateway.queue_path.exists()
    done = tidegate("check-config", gateway.config_path, env)
    assert (done.returncode, done.stdout, done.stderr) == (CONFIG, "", f"tidegate: {failed['error']}\n")


def test_the_page_has_every_option():
    rows = re.findall(r'^OPT\((\w+), \w+, "([\w.]+)"', (ROOT / "schema" / "config.def").read_text(), re.M)
    parts = {"GLOBAL": "", "DESTINATION": "destinations", "UPLINK": "uplinks"}
    assert [(parts[group], key) for group, key in rows] == [(part, key) for part, key, *_ in OPTIONS]
    assert len(OPTIONS) > 90


@pytest.mark.smoke
def test_each_option_stops_the_start_where_it_is_wrong(tmp_path):
    """One way for each: tests/unit/test_config_options.c has them all."""
    path = tmp_path / "t.yaml"
    for i, (part, key, type_, _, kind) in enumerate(OPTIONS):
        last = key.split(".")[-1]
        ways = [(key[:-1], "x", rf"did you mean .*\b{last}\b"), (key, None, re.escape(key)),
                (key, "text" if type_.startswith("map") else {"a": ["b"]}, re.escape(key))]
        wrong, value, says = ways[i % len(ways)]
        refused(path, document(part, wrong, value, kind), says, commands=["run" if i % 5 else "check-config"])


# ---- files that are no configuration ----

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))

FILES = {
    "tab": ("queue:\n\tpath: x\n", r":2:1: .*indent with blanks, not with tabs"),
    "bomb": (BOMB, r":2:8: aliases \(\*\) are not supported: write the value out"),
    "two documents": ("site: a\n---\nsite: b\n", ":2:1: .*write one"),
    "invalid UTF-8": (b"site: a\nlog: {level: \xff}\n", ":2:14: .*save the file as UTF-8"),
    "latin-1 in a comment": (b"site: a # caf\xe9\n", ":1:14: .*save the file as UTF-8"),
    "after many-byte characters": ("site: \u00e4\u20ac \t\x01\n", ":1:11: .*control characters are not allowed"),
    "deep": ("[" * 100_000, ":1:33: nested too deep"),
    "deep maps": ("{a: " * 5000, ":1:129: nested too deep"),
    "huge": (100 << 20, ":1:1048577: here the file has 1 MiB"),
    "one long line": ("site: " + "x" * (2 << 20), ":1:1048577: here the file has 1 MiB"),
    "binary": (bytes(range(256)) * 8, r":\d+:\d+: .*(control characters|UTF-8)"),
    "ELF": (None, r":1:\d+: .*(control characters|UTF-8)"),
    "NUL": (b"site: a\0b\n", ":1:8: .*control characters"),
    "UTF-16 without a mark": ("site: a\n".encode("utf-16-le"), ":1:2: .*control characters"),
    "open quote": ('site: "a\nlog: {level: info}\n', r":\d:\d+: .*close"),
    "open bracket": ("queue: {path: x\nsite: b\n", r":\d:\d+: .*(comma|close|line of its own)"),
    "two colons": ("site: a: b\n", ":1:8: .*in quotes"),
    "indentation": ("queue:\n  path: x\n   max_size: 1GiB\n", r":3:\d+: .*(in quotes|indentation)"),
    "no colon": ("site a\nlog: {level: info}\n", r":\d:\d+: .*(colon|mapping)"),
    "percent": ("site: %5\nlog: %\n", r":\d:\d+: .*quotes"),
    "at sign": ("site: @home\n", ":1:7: .*quotes"),
    "tag": ("site: !!binary aGk=\n", ":1:7: tags"),
    "merge": ("queue: {path: x}\nlog:\n  <<: {level: info}\n", ":3:3: merge keys"),
    "list": ("- site\n", ":1:1: the file is a mapping"),
    "JSON with a trailing brace": ('{"site": "a"}}\n', r":1:\d+: "),
    "escape": ('site: "C:\\queue"\n', r":1:\d+: .*backslash"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_is_refused_with_the_place_and_what_to_do(tmp_path, name):
    content, says = FILES[name]
    if name == "ELF":
        with open(binary(), "rb") as program:
            content = program.read(100_000)
    refused(tmp_path / "t.yaml", content, says, commands=["check-config"])


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_destination_may_not_be_a_link_to_the_queue(tmp_path, is_there):
    if is_there:
        (tmp_path / "queue.db").write_bytes(b"")
    (tmp_path / "link.jsonl").symlink_to("queue.db")
    config = {"queue": {"path": str(tmp_path / "queue.db")},
              "destinations": {"a": {"kind": "file", "path": str(tmp_path / "link.jsonl")}}}
    (tmp_path / "config").mkdir()
    refused(tmp_path / "config" / "t.yaml", config, "destination a: path is a file of the queue")


@pytest.mark.parametrize("name", ["queue.db-wal", "queue.db.reserve"])
def test_a_file_of_the_queue_is_one_by_any_way_to_its_directory(tmp_path, name):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "queue.db").write_bytes(b"")
    (tmp_path / "way").symlink_to("real")
    (tmp_path / "config").mkdir()
    config = {"queue": {"path": str(tmp_path / "way" / "queue.db")},
              "destinations": {"a": {"kind": "file", "path": str(tmp_path / "way" / name)}}}
    refused(tmp_path / "config" / "t.yaml", config, "destination a: path is a file of the queue")


def test_files_of_windows_are_read(tmp_path):
    path = tmp_path / "t.yaml"
    text = "site: caf\u00e9\r\nqueue:\r\n  path: x\r\n"
    for content in (text.encode("utf-8-sig"), text.encode("utf-16"), text.replace("\r\n", "\r").encode()):
        path.write_bytes(content)
        done = tidegate("check-config", path)
        assert done.returncode == 0 and yaml.safe_load(done.stdout)["site"] == "caf\u00e9", done.stderr
    refused(path, text.replace("path", "paht").encode("utf-8-sig"), r":3:3: queue\.paht is no key; did you mean path\?")


@pytest.mark.parametrize("make,says", [
    (lambda p: None, "No such file or directory"),
    (lambda p: p.mkdir(), "Is a directory"),
    (lambda p: p.symlink_to(p), "Too many levels of symbolic links"),
])
def test_what_cannot_be_opened_is_named(tmp_path, make, says):
    path = tmp_path / "t.yaml"
    make(path)
    for command in ("check-config", "run", "status"):
        done = tidegate(command, path)
        assert done.returncode == CONFIG and str(path) in done.stderr and says in done.stderr, done.stderr


# ---- the environment ----

@pytest.mark.parametrize("text,env,says", [
    ("${MISSING}", {}, "the environment variable MISSING is not set; set it, or write ${MISSING:-default}"),
    ("${A}${MISSING}", {"A": "hush-a"}, "MISSING is not set"),
    ("${MISSING:+x}", {}, "names no environment variable"),
    ("${}", {}, "names no environment variable"),
    ("${A", {"A": "hush-a"}, "${ without its }"),
    ("${A B}", {}, "names no environment variable"),
    ("${A}", {"A": "x" * 100_000}, "it is too long"),
])
def test_what_is_wrong_with_the_environment(tmp_path, text, env, says):
    said = refused(tmp_path / "t.yaml", {"site": "ok", "admin": {"token": text}}, re.escape(says), env)
    assert ":3:10: admin.token: " in said and "hush" not in said


def test_a_value_of_the_environment_is_checked_like_any_other_and_secrets_are_not_shown(tmp_path):
    path = tmp_path / "t.yaml"
    refused(path, "queue: {max_size: '${SIZE}'}\n", r':1:19: queue\.max_size: "big" is no size', {"SIZE": "big"})
    refused(path, "queue: {max_size: '${SIZE}'}\n", r':1:19: queue\.max_size: "" is no size', {"SIZE": ""})
    said = refused(path, "destinations:\n  a: {kind: loki, endpoint: 'https://h', auth: {bearer: {token: '${T}'}}}\n",
                   ":2:65: destination a: auth.bearer.token has a character", {"T": "hush hush"})
    assert "hush" not in said
    said = refused(path, "destinations:\n  a: {kind: loki, endpoint: '${URL}'}\n", ":2:29: destination a: endpoint is no URL",
                   {"URL": "//me:hush@h"})
    assert "hush" not in said


@pytest.mark.parametrize("attributes,says", [
    ("host.name", 'environment variable OTEL_RESOURCE_ATTRIBUTES: "host.name" is not key=value'),
    ("a=%zz", "OTEL_RESOURCE_ATTRIBUTES: .*bad %-escape"),
    ("=a", "OTEL_RESOURCE_ATTRIBUTES: .*empty key"),
    (",".join(f"key.{i}=v" for i in range(65)), "OTEL_RESOURCE_ATTRIBUTES: more than 64 resource attributes"),
])
def test_resource_attributes_of_the_environment(tmp_path, attributes, says):
    env = {"OTEL_RESOURCE_ATTRIBUTES": attributes}
    gateway = Gateway(tmp_path, env=env, expect=["gateway.start.failed"]).launch()
    refused_later(gateway, says, env)


def test_more_resource_attributes_than_there_may_be(tmp_path):
    many = {f"key.{i}": "value" for i in range(65)}
    gateway = Gateway(tmp_path, {"resource": {"attributes": many}}, expect=["gateway.start.failed"]).launch()
    refused_later(gateway, r":\d+:\d+: resource\.attributes: more than 64 resource attributes")


# ---- what belongs together ----

def test_warnings_are_printed_and_logged_and_stop_nobody(start_gateway, tmp_path):
    config = {"uplinks": {"default": {"windows_exempt": ["critical"]}},
              "destinations": {"a": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1"},
                               "b": {"kind": "file", "path": str(tmp_path / "b")}},
              "routes": [{"to": ["a"]}]}
    gateway = start_gateway(config, expect=[r"event=config\.warning"])
    logged = [e["message"] for e in gateway.events("config.warning")]
    done = tidegate("check-config", gateway.config_path)
    assert done.returncode == 0 and yaml.safe_load(done.stdout)
    assert done.stderr.splitlines() == [f"tidegate: warning: {text}" for text in logged]
    assert [text.partition(": ")[2] for text in logged] == [
        "uplink default: windows_exempt does nothing without windows", "destination b gets nothing: no route goes to it"]
    # What it comes to is a configuration again, with the same warnings.
    again = tmp_path / "again.yaml"
    again.write_text(done.stdout)
    said = tidegate("check-config", again)
    assert said.stdout == done.stdout and len(said.stderr.splitlines()) == 2


@pytest.mark.parametrize("config,says", [
    ({"queue": {"path": "/dev/null/queue.db"}}, r":\d+:\d+: queue\.path: .*/dev/null"),
    ({"queue": {"path": "/proc/queue.db"}}, r":\d+:\d+: queue\.path: .*/proc"),
    ({"queue": {"path": "/"}}, r":\d+:\d+: queue\.path: "),
    ({"admin": {"endpoint": "203.0.113.7:0", "token": "t"}}, r":\d+:\d+: admin\.endpoint: .*203\.0\.113\.7"),
    ({"receivers": {"otlp": {"grpc": {"endpoint": "203.0.113.7:0"}}}},
     r":\d+:\d+: receivers\.otlp\.grpc\.endpoint: .*203\.0\.113\.7"),
    ({"receivers": {"otlp": {"http": {"endpoint": "no-such-host.invalid:0"}}}},
     r":\d+:\d+: receivers\.otlp\.http\.endpoint: .*no-such-host"),
])
def test_what_only_the_start_finds_out_has_its_place_too(tmp_path, config, says):
    gateway = Gateway(tmp_path, config)
    gateway.launch()
    assert gateway.wait_exit() == 1
    [fatal] = gateway.events("gateway.start.failed")
    assert re.search(says, fatal["error"]), fatal["error"]


@pytest.mark.parametrize("keys,key,says", [
    ("auth: {bearer: {token_file: MISSING}}", "auth.bearer.token_file", "cannot read MISSING: No such file"),
    ("auth: {bearer: {token_file: EMPTY}}", "auth.bearer.token_file", "EMPTY is empty"),
    ("auth: {bearer: {token_file: .}}", "auth.bearer.token_file", "no regular file"),
    ("auth: {basic: {username: u, password_file: MISSING}}", "auth.basic.password_file", "cannot read MISSING"),
    ("tls: {ca_file: MISSING}", "tls.ca_file", "cannot read MISSING: No such file"),
    ("tls: {ca_file: EMPTY}", "tls.ca_file", "no certificate in EMPTY"),
    ("tls: {cert_file: EMPTY, key_file: MISSING}", "tls.key_file", "cannot read MISSING: No such file"),
    ("tls: {key_file: EMPTY, cert_file: MISSING}", "tls.cert_file", "cannot read MISSING: No such file"),
    ("tls: {cert_file: EMPTY, key_file: EMPTY}", "tls.cert_file", "is no PEM file of a certificate"),
])
@pytest.mark.parametrize("kind", ["otlp_http", "otlp_grpc"])
def test_files_that_are_not_there_or_not_what_they_should_be(tmp_path, kind, keys, key, says):
    if "EMPTY" in keys:
        (tmp_path / "EMPTY").touch()
    path = tmp_path / "t.yaml"
    line = f"  a: {{kind: {kind}, endpoint: https://h, {keys}}}"
    path.write_text(f"destinations:\n{line}\n")
    column = line.index(key.split(".")[-1] + ": ") + len(key.split(".")[-1]) + 3
    for command in ("check-config", "run"):
        done = tidegate(command, path)
        assert done.returncode == CONFIG, done.stderr
        assert re.search(rf"t\.yaml:2:{column}: destinations\.a: {re.escape(key)}\b.*{says}", done.stderr), done.stderr
    assert not (tmp_path / "data").exists(), "the queue was opened before the configuration was known to be right"
