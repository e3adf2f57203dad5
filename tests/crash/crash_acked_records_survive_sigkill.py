"""SIGKILL at random moments under load: what was acknowledged is in the queue, at the backend, or a dead letter.

The oracle knows the ids of all records whose request was answered with success. Clients over HTTP (protobuf
and JSON, plain, gzip and zstd) and gRPC keep sending, to destinations of three kinds by routes; the backends go away,
are overloaded (503, 429, UNAVAILABLE) and come back, and some records they never take: one in a few hundred makes its
backend refuse the whole export, so that batches are taken apart and what is at fault dies alone, and some are refused
by partial success. The gateway is killed, now and then while it is still starting. After each restart, for each
destination:

    every acknowledged id is owed to it in the queue file (waiting or as a dead letter) or was decided by its backend,
    PRAGMA integrity_check is ok, and the books balance;

and at the end everything acknowledged has been delivered, but for the records that were refused. (The queue is read
before the backend is asked: a delivery between the two shows up at the backend, so that none can hide between them.)

TIDEGATE_CRASH_CYCLES and TIDEGATE_CRASH_SEED choose how many and which; what the seed cannot choose is when threads run.
"""
import json
import os
import random
import threading
import zlib

import grpc
import pytest
import requests

from tests.support import otlp
from tests.support.gateway import Gateway
from tests.support.grpc_sink import GrpcSink
from tests.support.patience import DEADLINE_S
from tests.support.sink import Sink

CYCLES = int(os.environ.get("TIDEGATE_CRASH_CYCLES", "200"))
SEED = int(os.environ.get("TIDEGATE_CRASH_SEED", "1"))
HTTP_CLIENTS = 3
GRPC_CLIENTS = 1
ROUTES = {"traces": ("central",), "metrics": ("central", "mirror"), "logs": ("central", "archive")}
STATES = ("ready", "dead", "dead in company")
RETRY = {"initial_interval": "10ms", "max_interval": "100ms", "probe_interval": "100ms"}


def kind_of(record_id):
    """What the backends think of a record: it is the same in every life. Most are fine."""
    return {0: "bad for central", 1: "bad for mirror", 2: "rejected by central"}.get(
        zlib.crc32(record_id.encode()) % 400)


class Load:
    """Clients that send for as long as there is a gateway, and note what was acknowledged."""

    def __init__(self, seed):
        self.acked = 0
        self.failed = 0
        self._fresh = []
        self._errors = []
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._gateway = None
        self._busy = 0
        self._is_over = False
        send = [self._send_http] * HTTP_CLIENTS + [self._send_grpc] * GRPC_CLIENTS
        self._threads = [
            threading.Thread(target=self._run, args=(one, random.Random(seed * 1000 + i)), daemon=True)
            for i, one in enumerate(send)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, send, rng):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._gateway or self._is_over)
                if self._is_over:
                    return
                gateway = self._gateway
                self._busy += 1
            try:
                send(gateway, rng)
            except Exception as error:  # noqa: BLE001 - stop() raises it where the test sees it
                with self._lock:
                    self._errors.append(error)
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _keeps(self, gateway):
        with self._lock:
            return self._gateway is gateway

    def _note(self, is_acked, ids):
        with self._lock:
            if is_acked:
                self.acked += len(ids)
                self._fresh += ids
            else:
                self.failed += 1

    @staticmethod
    def _request(rng):
        signal = rng.choice(otlp.SIGNALS)
        ids = otlp.new_ids(rng.choice((1, 5, 20, 100)), prefix=signal)
        return signal, ids, otlp.request(signal, ids, record_class=rng.choice(("info", "warning", "critical")))

    def _send_http(self, gateway, rng):
        with requests.Session() as session:
            while self._keeps(gateway):
                signal, ids, message = self._request(rng)
                try:
                    reply = otlp.post(gateway, signal, message, session=session,
                                      content_type=rng.choice(("application/x-protobuf", "application/json")),
                                      encoding=rng.choice(("none", "gzip", "zstd")))
                except requests.RequestException:
                    self._note(False, ids)
                    return
                assert reply.status_code in (200, 503), (reply.status_code, reply.content)
                self._note(reply.status_code == 200, ids)

    def _send_grpc(self, gateway, rng):
        with otlp.GrpcClient(gateway.grpc_port) as client:
            while self._keeps(gateway):
                signal, ids, message = self._request(rng)
                try:
                    client.export(signal, message)
                except grpc.RpcError as error:
                    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
                                            grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL), error
                    self._note(False, ids)
                    return
                self._note(True, ids)

    def start(self, gateway):
        """A new object for each life of the gateway: clients of the one before see that it is over."""
        with self._changed:
            self._gateway = gateway
            self._changed.notify_all()

    def stop(self):
        """Returns when no request is under way."""
        with self._changed:
            self._gateway = None
            assert self._changed.wait_for(lambda: self._busy == 0, DEADLINE_S), "a client hangs"
            if self._errors:
                raise self._errors[0]

    def take(self):
        """The ids that were acknowledged since it was asked last."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            return fresh

    def close(self):
        self.stop()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()


class Life:
    """The addresses of one life of the gateway."""

    def __init__(self, gateway):
        self.grpc_port = gateway.grpc_port
        self.http_url = lambda signal, port=gateway.http_port: f"http://127.0.0.1:{port}/v1/{signal}"


class QueueReader:
    """The ids that each destination is owed in the queue file. A batch never changes, so each is decoded once."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._known = {}

    def owed(self):
        """{destination: {"ready": ids, "dead": ids, "dead in company": ids}}; the last where splitting met its bound"""
        rows = self._gateway.sqlite(
            "SELECT d.name, iif(q.last_error LIKE '%; %' AND q.state = 'dead', 'dead in company', q.state),"
            " b.id, b.signal, b.encoding, CASE WHEN b.id > ? THEN p.body END FROM deliveries q"
            " JOIN destinations d ON d.id = q.destination_id JOIN batches b ON b.id = q.batch_id"
            " JOIN payloads p ON p.batch_id = b.id", max(self._known, default=0))
        present = {}
        owed = {}
        for name, state, batch, signal, encoding, body in rows:
            if batch not in present:
                present[batch] = self._known.get(batch) or otlp.record_ids(
                    otlp.parse(signal, otlp.decompress(encoding, body)))
            owed.setdefault(name, {s: set() for s in STATES})[state].update(present[batch])
        self._known = present
        return owed


class Archive:
    """The ids in the file destination's lines. What is a whole line once stays so."""

    def __init__(self, path):
        self.path = path
        self._offset = 0
        self._ids = set()

    def ids(self):
        if self.path.exists():
            with open(self.path, "rb") as lines:
                lines.seek(self._offset)
                whole, newline, _ = lines.read().rpartition(b"\n")
            self._offset += len(whole) + len(newline)
            for line in whole.splitlines():
                self._ids.update(otlp.ids_in_json(json.loads(line)))
        return self._ids


class Backends:
    """Three kinds: OTLP/HTTP takes all signals, OTLP/gRPC metrics, a file logs."""

    def __init__(self, directory, rng):
        self._rng = rng
        self._is_up = True
        self.central = Sink()
        self.central.is_bad = lambda i: kind_of(i) == "bad for central"
        self.central.bad_words = b"cannot take this record"
        self.central.is_rejected = lambda i: kind_of(i) == "rejected by central"
        self.mirror = GrpcSink()
        self.mirror.is_bad = lambda i: kind_of(i) == "bad for mirror"
        self.archive = Archive(directory / "archive.jsonl")
        self._decided = {"central": set(), "mirror": set()}
        self._looked_at = {"central": 0, "mirror": 0}

    def __enter__(self):
        self.central.start()
        self.mirror.start()
        return self

    def __exit__(self, *_):
        self.central.__exit__()
        self.mirror.__exit__()

    def config(self):
        return {
            "destinations": {
                "central": {"kind": "otlp_http", "endpoint": self.central.url, "retry_on_failure": dict(RETRY)},
                "mirror": {"kind": "otlp_grpc", "endpoint": self.mirror.url, "retry_on_failure": dict(RETRY)},
                "archive": {"kind": "file", "path": str(self.archive.path)},
            },
            "routes": [{"match": {"signal": signal}, "to": list(names)} for signal, names in ROUTES.items()],
        }

    def decided(self):
        """{destination: ids that it took or refused in a success}"""
        for name, exports in (("central", self.central.received), ("mirror", self.mirror.answered())):
            for export in exports[self._looked_at[name]:]:
                self._decided[name].update(export.ids)
                self._looked_at[name] += 1
        self._decided["central"] |= self.central.rejected
        return {**self._decided, "archive": self.archive.ids()}

    def disturb(self):
        """Their next state."""
        rng = self._rng
        choice = rng.random()
        if choice < 0.3:
            self.mirror.fail(grpc.StatusCode.UNAVAILABLE, times=rng.randint(1, 5))
        choice = rng.random()
        if not self._is_up:
            if choice < 0.5:
                return
            self.central.start()
            self._is_up = True
        if choice < 0.65:
            self.central.ok()
        elif choice < 0.85:
            self.central.answer(rng.choice((429, 503)), times=rng.randint(1, 5))
        else:
            self.central.stop()
            self._is_up = False

    def mend(self):
        if not self._is_up:
            self.central.start()
        self.central.ok()
        self.mirror.ok()


class Oracle:
    """What was acknowledged and is not decided yet, by destination."""

    def __init__(self, backends):
        self._backends = backends
        self._open = {name: set() for names in ROUTES.values() for name in names}
        self.acked = {name: set() for name in self._open}

    def learn(self, ids):
        for record_id in ids:
            for name in ROUTES[record_id.partition("-")[0]]:
                self._open[name].add(record_id)
                self.acked[name].add(record_id)

    def check(self, owed, when):
        """owed is of before: a delivery meanwhile shows up at the backend."""
        for name, decided in self._backends.decided().items():
            self._open[name] -= decided
            missing = self._open[name].difference(*owed.get(name, {}).values())
            assert not missing, f"{when}: {len(missing)} acknowledged records for {name} are gone: {sorted(missing)[:10]}"


def assert_only_bad_ones_died(oracle, owed, gateway):
    """Nothing left by a rule. Returns how many died, by destination and whether it was alone."""
    for name, states in owed.items():
        bad = {i for i in oracle.acked[name] if kind_of(i) == f"bad for {name}"}
        dead = states["dead"] | states["dead in company"]
        # Others died too, whose acknowledgement the client did not see.
        assert bad <= dead, f"not all bad records died at {name}: {sorted(bad - dead)[:10]}"
        innocent = {i for i in states["dead"] if kind_of(i) != f"bad for {name}"}
        assert not innocent or gateway.events("forward.refuses_everything"), f"{name}: {sorted(innocent)[:10]}"
    reasons = {reason for reason, in gateway.sqlite("SELECT DISTINCT reason FROM losses")}
    assert reasons <= {"rejected"}, reasons
    return {name: {state: len(states[state]) for state in STATES[1:]} for name, states in owed.items()}


@pytest.mark.timeout(3500)
def test_acknowledged_records_survive_sigkill(tmp_path):
    print(f"cycles={CYCLES} seed={SEED}")
    rng = random.Random(SEED)
    wait = threading.Event()  # never set: waiting on it is waiting for the moment of the kill
    with Backends(tmp_path, rng) as backends:
        gateway = Gateway(tmp_path, backends.config(), expect=[r"event=destination\.", r"event=forward\."])
        load = Load(SEED)
        oracle = Oracle(backends)
        queue = QueueReader(gateway)
        with_backlog = 0
        for cycle in range(CYCLES):
            if rng.random() < 0.1:
                gateway.launch()
                wait.wait(rng.uniform(0, 0.06))
                gateway.sigkill()
            gateway.start()
            oracle.learn(load.take())
            owed = queue.owed()
            oracle.check(owed, f"cycle {cycle}")
            gateway.assert_balanced()
            with_backlog += any(states["ready"] for states in owed.values())
            load.start(Life(gateway))
            backends.disturb()
            wait.wait(rng.uniform(0.02, 0.6))
            gateway.sigkill()
            load.stop()
        load.close()
        backends.mend()
        gateway.start()
        gateway.wait_drained(max(60, DEADLINE_S))
        gateway.assert_balanced()
        owed = queue.owed()
        oracle.learn(load.take())
        oracle.check(owed, "at the end")
        dead = assert_only_bad_ones_died(oracle, owed, gateway)
        delivered = backends.central.ids()
        gateway.close()
    print(f"acked={load.acked} failed_requests={load.failed} cycles_with_backlog={with_backlog}"
          f" repeated={len(delivered) - len(set(delivered))} dead={dead} rejected={len(backends.central.rejected)}")
    # The test proves nothing where nothing happened.
    assert load.acked >= 20 * CYCLES
    assert load.failed >= CYCLES / 4
    assert with_backlog >= CYCLES / 4
    assert CYCLES < 50 or (dead["central"]["dead"] and dead["mirror"]["dead"] and backends.central.rejected)
