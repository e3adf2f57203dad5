"""SIGKILL at random moments under load: what was acknowledged is in the queue or at the backend.

The oracle is `acked`: the ids of all records whose request was answered with success. Clients over HTTP (protobuf
and JSON, plain, gzip and zstd) and gRPC keep sending; the backend goes away, refuses and comes back; the gateway is
killed, now and then while it is still starting. After each restart:

    every acknowledged id is in the queue file or was received by the backend,
    PRAGMA integrity_check is ok, and the books balance;

and at the end everything acknowledged has been delivered. (The queue is read before the backend is asked: a delivery
between the two shows up at the backend, so that none can hide between them.)

TIDEGATE_CRASH_CYCLES and TIDEGATE_CRASH_SEED choose how many and which; what the seed cannot choose is when threads run.
"""
import os
import random
import threading

import grpc
import pytest
import requests

from tests.support import otlp
from tests.support.gateway import Gateway
from tests.support.patience import DEADLINE_S
from tests.support.sink import Sink

CYCLES = int(os.environ.get("TIDEGATE_CRASH_CYCLES", "200"))
SEED = int(os.environ.get("TIDEGATE_CRASH_SEED", "1"))
HTTP_CLIENTS = 3
GRPC_CLIENTS = 1


class Load:
    """Clients that send for as long as there is a gateway, and note what was acknowledged."""

    def __init__(self, seed):
        self.acked = set()
        self.failed = 0
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
                self.acked.update(ids)
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

    def count(self):
        with self._lock:
            return len(self.acked)

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
    """The ids in the queue file. A batch never changes, so each is decoded once."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._known = {}

    def ids(self):
        rows = self._gateway.sqlite("SELECT b.id, b.signal, b.encoding, CASE WHEN b.id > ? THEN p.body END FROM batches b"
                                    " JOIN payloads p ON p.batch_id = b.id", max(self._known, default=0))
        present = {}
        for batch, signal, encoding, body in rows:
            present[batch] = self._known.get(batch) or otlp.record_ids(
                otlp.parse(signal, otlp.decompress(encoding, body)))
        self._known = present
        return {record_id for ids in present.values() for record_id in ids}


def disturb(sink, is_up, rng):
    """The backend's next state."""
    choice = rng.random()
    if not is_up:
        if choice < 0.5:
            return False
        sink.start()
    if choice < 0.7:
        sink.ok()
    elif choice < 0.85:
        sink.answer(503, times=rng.randint(1, 5))
    else:
        sink.stop()
        return False
    return True


@pytest.mark.timeout(3500)
def test_acknowledged_records_survive_sigkill(tmp_path):
    print(f"cycles={CYCLES} seed={SEED}")
    rng = random.Random(SEED)
    wait = threading.Event()  # never set: waiting on it is waiting for the moment of the kill
    with Sink() as sink:
        gateway = Gateway(tmp_path, {
            "destinations": {"central": {
                "kind": "otlp_http", "endpoint": sink.url,
                "retry_on_failure": {"initial_interval": "10ms", "max_interval": "100ms", "probe_interval": "100ms"},
            }},
        }, expect=[r"event=destination\.", r"event=forward\."])
        load = Load(SEED)
        queue = QueueReader(gateway)
        is_up = True
        with_backlog = 0
        for cycle in range(CYCLES):
            if rng.random() < 0.1:
                gateway.launch()
                wait.wait(rng.uniform(0, 0.06))
                gateway.sigkill()
            gateway.start()
            queued = queue.ids()
            missing = load.acked - queued - set(sink.ids())
            assert not missing, f"cycle {cycle}: {len(missing)} acknowledged records are gone: {sorted(missing)[:10]}"
            gateway.assert_balanced()
            with_backlog += bool(queued)
            load.start(Life(gateway))
            is_up = disturb(sink, is_up, rng)
            wait.wait(rng.uniform(0.02, 0.6))
            gateway.sigkill()
            load.stop()
        load.close()
        if not is_up:
            sink.start()
        sink.ok()
        gateway.start()
        gateway.wait_drained()
        gateway.assert_balanced()
        delivered = sink.ids()
        missing = load.acked - set(delivered)
        assert not missing, f"{len(missing)} acknowledged records were not delivered: {sorted(missing)[:10]}"
        gateway.close()
    print(f"acked={len(load.acked)} failed_requests={load.failed} cycles_with_backlog={with_backlog}"
          f" repeated={len(delivered) - len(set(delivered))}")
    # The test proves nothing where nothing happened.
    assert len(load.acked) >= 20 * CYCLES
    assert load.failed >= CYCLES / 4
    assert with_backlog >= CYCLES / 4
