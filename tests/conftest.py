"""Fixtures of all Python tests (tests/pytest.ini names them)."""
import pytest

from tests.support.gateway import Gateway


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
