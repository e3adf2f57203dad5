"""Unmodified OpenTelemetry SDKs send over every protocol they have, concurrently and over long-lived connections:
all that they were told is stored is in the queue, once."""
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from tests.support import otlp
from tests.support.held_port import held_port
from tests.support.patience import DEADLINE_S

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "interop"
BUILD = ROOT / "build" / "interop"
# Connections of a client stay open over this many exports.
WORKERS, ROUNDS, COUNT = 4, 25, 20

CLIENTS = {
    "python": (["grpc", "http/protobuf"], otlp.SIGNALS),
    "node": (["grpc", "http/protobuf", "http/json"], otlp.SIGNALS),
    "go": (["grpc", "http/protobuf"], ("traces",)),
    "go-metrics": (["grpc"], ("metrics",)),
}
CASES = [(language.split("-")[0], protocol, signal)
         for language, (protocols, signals) in CLIENTS.items() for protocol in protocols for signal in signals]


def command(language):
    """How to run a client, and what it needs in its environment. deploy/install-deps.sh --test makes both folders."""
    if language == "python":
        return [sys.executable, SOURCE / "python" / "client.py"], {}
    if language == "node":
        assert (BUILD / "node" / "node_modules").is_dir(), "run deploy/install-deps.sh --test first"
        return [shutil.which("node"), SOURCE / "node" / "client.js"], {"NODE_PATH": str(BUILD / "node" / "node_modules")}
    assert (BUILD / "go" / "client").exists(), "run deploy/install-deps.sh --test first"
    return [BUILD / "go" / "client"], {}


def launch(gateway, language, protocol, signal, workers=WORKERS, rounds=ROUNDS, count=COUNT):
    argv, env = command(language)
    port = gateway.grpc_port if protocol == "grpc" else gateway.http_port
    prefix = f"{language}-{protocol.replace('/', '-')}"
    # An SDK reads these, and would go elsewhere or call itself something else.
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_") and not k.lower().endswith("_proxy")}
    process = subprocess.Popen(
        [*map(str, argv), protocol, f"127.0.0.1:{port}", signal, prefix, *map(str, (workers, rounds, count))],
        env={**clean, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return process, [f"{prefix}-{signal}-{i}" for i in range(workers * rounds * count)]


def finish(process):
    said, _ = process.communicate(timeout=4 * DEADLINE_S)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("language, protocol, signal", CASES)
def test_every_record_of_an_sdk_is_stored_once(start_gateway, language, protocol, signal):
    gateway = start_gateway()
    process, ids = launch(gateway, language, protocol, signal)
    finish(process)
    assert sorted(otlp.queued_ids(gateway)) == sorted(ids)
    gateway.assert_balanced()


def test_all_sdks_at_the_same_time(start_gateway):
    gateway = start_gateway()
    running = [launch(gateway, *case, workers=2, rounds=10) for case in CASES]
    want = []
    for process, ids in running:
        finish(process)
        want += ids
    assert sorted(otlp.queued_ids(gateway)) == sorted(want)
    gateway.assert_balanced()


@pytest.mark.parametrize("language", ["python", "go"])
def test_grpc_exporters_come_back_after_a_restart(start_gateway, language):
    """GOAWAY at the stop, UNAVAILABLE while it is away, and the same address again: the exporters retry by
    themselves, and what they were told is stored is stored. (The one for Node.js gives up at a refused connection.)"""
    gateway = start_gateway()
    port = gateway.grpc_port
    process, ids = launch(gateway, language, "grpc", "traces", workers=2, rounds=400, count=10)
    gateway.wait_until(lambda: len(otlp.queued_ids(gateway)) > 100, "data flows")
    assert gateway.sigterm() == 0
    holder = held_port(port)
    time.sleep(0.2)  # long enough for an export to fail, short enough for its retries
    gateway.write_config({"receivers": {"otlp": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}})
    gateway.start()
    holder.close()
    finish(process)
    # At least once: a reply that the stop cut off is sent again.
    assert set(otlp.queued_ids(gateway)) == set(ids)
