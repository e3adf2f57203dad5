"""A disk that is too small, and one that others fill: some of it is always left, and what is stored goes out."""
import errno
import os
import random
import shutil
import subprocess

import pytest

from tests.support import otlp
from tests.support.gateway import binary
from tests.support.patience import DEADLINE_S
from tests.support.sink import Sink

MIB = 1 << 20
DISK, LEFT = 32 * MIB, 8 * MIB
# A file system of its own that only the gateway sees; others look through /proc/PID/root.
WRAPPER = """#!/bin/sh
exec unshare -rm sh -c 'mount -t tmpfs -o size={size} small "{disk}" && exec "$0" "$@"' "{binary}" "$@"
"""


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    if not shutil.which("unshare"):
        pytest.skip("waits for unshare (util-linux), to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    wrapper = tmp_path / "tidegate"
    wrapper.write_text(WRAPPER.format(size=DISK, disk=disk, binary=binary()))
    wrapper.chmod(0o755)
    probe = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "-o", f"size={DISK}", "small", disk],
                           capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if probe.returncode:
        pytest.skip(f"waits for a machine that may mount a small disk: {probe.stderr.strip()}")
    monkeypatch.setenv("TIDEGATE_BIN", str(wrapper))
    return disk


def post(gateway, record_class="info"):
    message = otlp.logs(otlp.new_ids(1), record_class=record_class)
    message.resource_logs[0].scope_logs[0].log_records[0].body.string_value = random.randbytes(150 << 10).hex()
    return otlp.post(gateway, "logs", message).status_code


def fill(path):
    with open(path, "wb", buffering=0) as ballast:
        block = b"x" * 4096
        try:
            while True:
                ballast.write(block)
        except OSError as e:
            assert e.errno == errno.ENOSPC


def test_some_of_the_disk_is_left_and_a_full_one_still_delivers(small_disk, start_gateway):
    with Sink() as sink:
        sink.answer(503)
        gateway = start_gateway(
            {"queue": {"path": str(small_disk / "queue.db"), "max_size": "1GiB", "min_free_disk": f"{LEFT // MIB}MiB"},
             "destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url,
                                          "retry_on_failure": {"initial_interval": "100ms", "max_interval": "200ms"}}}},
            expect=[r"level=(warn|error) event=(forward|queue|writer|store|gateway)\."])
        seen = f"/proc/{gateway.process.pid}/root{small_disk}"

        def free():
            disk = os.statvfs(seen)
            return disk.f_bavail * disk.f_frsize
        def wait_drained():
            # SQLite does not open a file through /proc/PID/root: the API is asked.
            gateway.wait_until(lambda: sum(b["queued"] for b in gateway.admin_get("/api/v1/balance").json()["balance"]) == 0,
                               "the queue is empty")

        least = DISK
        for _ in range(220):
            assert post(gateway) == 200
            least = min(least, free())
        assert LEFT <= least < LEFT + 8 * MIB
        assert gateway.metrics()['tidegate_lost_records{destination="central",signal="logs",reason="evicted"}'] > 20

        fill(f"{seen}/ballast")
        gateway.wait_until(lambda: post(gateway, "critical") == 503, "a full disk is told to clients")
        sink.answer(200)
        wait_drained()
        os.remove(f"{seen}/ballast")
        gateway.wait_until(lambda: post(gateway, "critical") == 200, "it takes data again")
        wait_drained()
        assert gateway.admin_get("/api/v1/balance").json()["is_balanced"]
