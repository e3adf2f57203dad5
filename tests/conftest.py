"""Fixtures of all Python tests (tests/pytest.ini names them)."""
import os

import pytest

from tests.support.gateway import ROOT, Gateway


def pytest_configure():
    """Queues of tests lie on a disk: /tmp is often memory, where fsync means nothing."""
    scratch = ROOT / "build" / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(scratch))


@pytest.fixture
def start_gateway(tmp_path):
    """start_gateway(config, expect=[...]) runs a gateway below the test's directory; at the end each one
    must stop with exit code 0 and have logged nothing unexpected."""
    started = []

    def start(config=None, *, name=None, **kwargs):
        directory = tmp_path / (name or f"gateway{len(started) or ''}")
        gateway = Gateway(directory, config, **kwargs)
        started.append(gateway)
        return gateway.start()

    yield start
    errors = []
    for gateway in reversed(started):
        try:
            gateway.close()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)
