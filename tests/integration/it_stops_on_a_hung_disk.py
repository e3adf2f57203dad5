"""A stop ends in bounded time, also when the queue's disk does not answer any more; nothing that was
acknowledged is lost by it."""
import os
import pathlib
import threading

import pytest
import requests

from tests.support import otlp
from tests.support.gateway import Gateway, binary
from tests.support.patience import DEADLINE_S

PRELOAD = pathlib.Path(binary()).parent / "tests" / "libhang_sync.so"


def test_a_stop_with_a_hung_disk_ends(tmp_path):
    hang = tmp_path / "hang"
    env = {"LD_PRELOAD": str(PRELOAD), "TIDEGATE_HANG": str(hang)}
    with Gateway(tmp_path / "gateway", {"shutdown_timeout": "1s"}, env=env,
                 expect=[r"event=gateway\.stop reason=\"the stop hangs"]) as gateway:
        acked = otlp.new_ids(5)
        assert otlp.post(gateway, "logs", otlp.logs(acked)).status_code == 200
        hang.touch()

        def send_in_vain():
            with pytest.raises(requests.ConnectionError):
                otlp.post(gateway, "logs", otlp.logs(otlp.new_ids(1)), timeout=DEADLINE_S)

        client = threading.Thread(target=send_in_vain)
        client.start()
        gateway.wait_until(lambda: gateway.metrics()["tidegate_in_flight_bytes"] > 0, "the request is taken")
        assert gateway.sigterm() == 1
        client.join()
        os.unlink(hang)
        gateway.start()
        assert set(acked) <= set(otlp.queued_ids(gateway))
