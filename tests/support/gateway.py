"""Runs the real gateway for a test, and reads what it says.

    with Gateway(tmp_path, {"destinations": {...}, "routes": [...]}) as gw:
        requests.post(gw.http_url("logs"), ...)
        gw.sigkill()
        gw.restart()
        assert gw.sqlite("SELECT sum(difference) FROM balance") == [(0,)]

Every port is 0, every file is below the test's directory, nothing waits by sleeping: a thread reads
stderr, and waiting means waiting for a log line until a deadline. On the way out the gateway is
stopped by SIGTERM and must exit with 0, and every line at level warn or above that the test did not
expect fails the test, as does every line that is no log line (a sanitizer's report).
"""
import copy
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import threading
import time

import requests
import yaml

from tests.support.patience import DEADLINE_S

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Warnings that tell of the machine that the tests run on (a queue on tmpfs), and not of the gateway.
ABOUT_THE_MACHINE = (r"event=queue\.file_system ",)

_PAIR = re.compile(r'([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S*)')


def binary():
    """$TIDEGATE_BIN, or the release build, or the dev build."""
    given = os.environ.get("TIDEGATE_BIN")
    candidates = [given] if given else [ROOT / "build" / p / "tidegate" for p in ("release", "dev")]
    for path in candidates:
        if os.access(path, os.X_OK):
            return str(path)
    raise RuntimeError(f"no gateway to test: none of {[str(c) for c in candidates]} is there")


def parse_line(line):
    """A logfmt line as a dict; what is no log line gives {'text': line}."""
    if not re.match(r"(ts=\S+ )?level=", line):
        return {"text": line}
    pairs = {}
    for key, value in _PAIR.findall(line):
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        pairs.setdefault(key, value)
    return pairs


def merged(base, extra):
    """extra laid over base; mappings are merged, everything else is replaced."""
    out = copy.deepcopy(base)
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = copy.deepcopy(value)
    return out


class LogReader(threading.Thread):
    """Collects the lines of a pipe; wait() blocks until one matches."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self._pipe = pipe
        self._lines = []
        self._changed = threading.Condition()
        self._is_closed = False
        self.start()

    def run(self):
        for raw in self._pipe:
            with self._changed:
                self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def lines(self):
        with self._changed:
            return list(self._lines)

    def wait(self, matches, deadline_s, start=0):
        """The first parsed line, from index start on, for which matches(pairs) is true; None at the
        deadline, or when the pipe ends without one."""
        end = time.monotonic() + deadline_s
        seen = start
        with self._changed:
            while True:
                while seen < len(self._lines):
                    pairs = parse_line(self._lines[seen])
                    seen += 1
                    if matches(pairs):
                        return pairs
                left = end - time.monotonic()
                if self._is_closed or left <= 0:
                    return None
                self._changed.wait(left)


class Gateway:
    """One gateway in its own directory.

    config: laid over DEFAULTS (a dict), or the whole file (a str).
    expect: regular expressions of log lines at warn or above that belong to the test.
    """

    DEFAULTS = {
        "receivers": {
            "otlp": {"grpc": {"endpoint": "127.0.0.1:0"}, "http": {"endpoint": "127.0.0.1:0"}}
        },
        "admin": {"endpoint": "127.0.0.1:0"},
        "queue": {"min_free_disk": 0},
        # Tests count what they sent themselves; it_losses_are_exported.py turns it on.
        "telemetry": {"losses": False},
    }

    def __init__(self, directory, config=None, *, expect=(), env=None, args=()):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.config_path = self.dir / "tidegate.yaml"
        self.queue_path = self.dir / "queue.db"
        self.expected = [re.compile(e) for e in (*ABOUT_THE_MACHINE, *expect)]
        self._env = {**os.environ, **(env or {})}
        self._env.pop("OTEL_RESOURCE_ATTRIBUTES", None)
        self._env.update(env or {})
        self._args = list(args)
        self._old_lines = []
        self._log = None
        self.process = None
        self.ports = {}
        self.write_config(config or {})

    # Life

    def write_config(self, config):
        """Takes effect at the next (re)start."""
        if isinstance(config, str):
            self.config_path.write_text(config)
            return
        base = merged(self.DEFAULTS, {"queue": {"path": str(self.queue_path)}})
        self.config_path.write_text(yaml.safe_dump(merged(base, config), sort_keys=False))

    def launch(self):
        """Starts the process without waiting for it to be ready."""
        assert self.process is None, "it runs already"
        self.ports = {}
        self.process = subprocess.Popen(
            [binary(), "run", "--config", str(self.config_path), *self._args],
            cwd=self.dir, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        self._log = LogReader(self.process.stderr)
        return self

    def start(self):
        """Starts it and returns once it takes requests."""
        self.launch()
        ready = self._log.wait(lambda p: p.get("event") == "gateway.ready", DEADLINE_S)
        if not ready:
            code = self.process.poll()
            raise AssertionError(f"the gateway did not get ready (exit {code}):\n{self.log_text()}")
        for line in self._log.lines():
            pairs = parse_line(line)
            if pairs.get("event") == "receiver.listen":
                self.ports[pairs["transport"]] = int(pairs["port"])
            elif pairs.get("event") == "admin.listen":
                self.ports["admin"] = int(pairs["port"])
        return self

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, kind, value, trace):
        self.close(check=kind is None)

    def close(self, check=True):
        """Stops it. check: it must exit with 0, and have said nothing unexpected."""
        code = self.sigterm() if self.process else 0
        if check:
            assert code == 0, f"SIGTERM gave exit code {code}:\n{self.log_text()}"
            self.assert_quiet_log()

    def _reap(self, deadline_s):
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not stop within {deadline_s} s:\n{self.log_text()}")
        finally:
            self._log.join(DEADLINE_S)
            self._old_lines += self._log.lines()
            self._log = None
            self.process.stderr.close()
            self.process = None
        return code

    def sigterm(self, deadline_s=DEADLINE_S):
        """Asks it to stop, and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap(deadline_s)

    def sigkill(self):
        """As the OOM killer would."""
        self.process.kill()
        return self._reap(DEADLINE_S)

    def wait_exit(self, deadline_s=DEADLINE_S):
        """For a start that is meant to fail: the exit code."""
        return self._reap(deadline_s)

    def restart(self):
        """Stops it by SIGTERM where it runs, and starts it again on the same files."""
        if self.process:
            code = self.sigterm()
            assert code == 0, f"SIGTERM gave exit code {code}:\n{self.log_text()}"
        return self.start()

    # Addresses

    @property
    def grpc_port(self):
        return self.ports["grpc"]

    @property
    def http_port(self):
        return self.ports["http"]

    @property
    def admin_port(self):
        return self.ports["admin"]

    def http_url(self, signal_name):
        return f"http://127.0.0.1:{self.http_port}/v1/{signal_name}"

    # What it says

    def log_lines(self):
        """All lines since the first start, as text."""
        return self._old_lines + (self._log.lines() if self._log else [])

    def log_text(self):
        return "\n".join(self.log_lines())

    def events(self, name):
        """The parsed lines of one event, since the first start."""
        return [p for p in map(parse_line, self.log_lines()) if p.get("event") == name]

    def wait_event(self, name, deadline_s=DEADLINE_S, **pairs):
        """The first line of this event with these pairs since the last start."""
        want = {k: str(v) for k, v in pairs.items()}

        def matches(p):
            return p.get("event") == name and all(p.get(k) == v for k, v in want.items())

        found = self._log.wait(matches, deadline_s)
        assert found, f"no event={name} {want} within {deadline_s} s:\n{self.log_text()}"
        return found

    def expect_log(self, *patterns):
        self.expected += [re.compile(p) for p in patterns]

    def unexpected_lines(self):
        bad = []
        for line in self.log_lines():
            pairs = parse_line(line)
            if pairs.get("level") in ("debug", "info") or not line:
                continue
            if not any(e.search(line) for e in self.expected):
                bad.append(line)
        return bad

    def assert_quiet_log(self):
        bad = self.unexpected_lines()
        assert not bad, "unexpected log lines:\n" + "\n".join(bad)

    def admin_get(self, path, **kwargs):
        kwargs.setdefault("timeout", DEADLINE_S)
        return requests.get(f"http://127.0.0.1:{self.admin_port}{path}", **kwargs)

    def metrics(self):
        """{'name{labels}': value} of /metrics."""
        out = {}
        for line in self.admin_get("/metrics").text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                out[name] = float(value)
        return out

    def sqlite(self, query, *params):
        """Rows of a query on the queue file, read-only, whether or not the gateway runs."""
        db = sqlite3.connect(f"file:{self.queue_path}?mode=ro", uri=True, timeout=DEADLINE_S)
        try:
            return db.execute(query, params).fetchall()
        finally:
            db.close()

    def wait_until(self, condition, what, deadline_s=DEADLINE_S):
        """Asks condition() again until it is true. For states that have no log line of their own."""
        end = time.monotonic() + deadline_s
        pause = threading.Event()
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < end, f"not within {deadline_s} s: {what}\n{self.log_text()}"
            assert self.process.poll() is None, f"the gateway is gone:\n{self.log_text()}"
            pause.wait(0.02)

    def wait_drained(self, deadline_s=DEADLINE_S):
        """Until no delivery is owed to anybody any more."""
        self.wait_until(lambda: self.sqlite("SELECT count(*) FROM deliveries WHERE state = 'ready'") == [(0,)],
                        "the queue is empty", deadline_s)

    def assert_balanced(self):
        """The books balance, and the file is sound."""
        rows = self.sqlite("SELECT * FROM balance WHERE difference <> 0")
        assert rows == [], f"the books do not balance: {rows}"
        assert self.sqlite("PRAGMA integrity_check") == [("ok",)]
