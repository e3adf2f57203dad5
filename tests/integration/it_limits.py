"""A gateway at its limits: it goes on taking data, drops what its configuration says, and says so."""
import os
import random

import pytest

from tests.support import otlp
from tests.support.sink import Sink

MIB = 1 << 20


def size_on_disk(gateway):
    path = str(gateway.queue_path)
    return sum(os.path.getsize(path + suffix) for suffix in ("", "-wal", ".reserve") if os.path.exists(path + suffix))


def send(gateway, record_class, kib, status=200):
    """One record whose text does not compress."""
    message = otlp.logs(otlp.new_ids(1), record_class=record_class)
    record = message.resource_logs[0].scope_logs[0].log_records[0]
    record.body.string_value = random.Random(kib).randbytes(kib * 512).hex()
    assert otlp.post(gateway, "logs", message).status_code == status


def dead_uplink(**more):
    return {"destinations": {"central": {"kind": "otlp_http", "endpoint": "http://127.0.0.1:1", **more}}}


@pytest.mark.smoke
def test_a_full_queue_drops_the_oldest_info_and_keeps_what_is_critical(start_gateway):
    gateway = start_gateway(dead_uplink() | {"queue": {"max_size": "16MiB"}},
                            expect=[r"event=forward\.down", r"event=queue\.full"])
    largest = 0
    for _ in range(8):
        send(gateway, "critical", 200)
    for _ in range(120):
        send(gateway, "info", 300)
        largest = max(largest, size_on_disk(gateway))
    assert largest <= 16 * MIB
    losses = gateway.sqlite("SELECT DISTINCT destination, signal, class, reason FROM loss_ledger")
    assert losses == [("central", "logs", "info", "evicted")]
    assert gateway.sqlite("SELECT count(*) FROM batches WHERE class = 'critical'") == [(8,)]
    kept = gateway.sqlite("SELECT count(*) FROM batches WHERE class = 'info'")[0][0]
    lost = gateway.sqlite("SELECT sum(records) FROM losses")[0][0]
    assert kept + lost == 120 and kept > 10 and lost > 10
    gateway.assert_balanced()


def test_a_full_queue_refuses_where_the_operator_says_so(start_gateway):
    config = dead_uplink() | {"queue": {"max_size": "16MiB", "when_full": {"info": "reject"}}}
    gateway = start_gateway(config, expect=[r"event=forward\.down", r"event=queue\.full",
                                            r"event=config\.warning .*queue\.when_full: warnings are dropped"])
    for _ in range(200):
        message = otlp.logs(otlp.new_ids(1))
        message.resource_logs[0].scope_logs[0].log_records[0].body.string_value = random.randbytes(150 << 10).hex()
        reply = otlp.post(gateway, "logs", message)
        if reply.status_code != 200:
            break
    assert reply.status_code == 503 and int(reply.headers["retry-after"]) > 0
    assert gateway.sqlite("SELECT count(*) FROM losses") == [(0,)]
    assert size_on_disk(gateway) <= 16 * MIB
    gateway.assert_balanced()


def test_data_past_its_age_is_not_sent(start_gateway):
    with Sink() as sink:
        sink.answer(503)
        config = {"destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url,
                                               "retry_on_failure": {"initial_interval": "10ms", "max_interval": "50ms"}}},
                  "queue": {"max_age": {"info": "1500ms"}}}
        gateway = start_gateway(config, expect=[r"event=forward\.down"])
        old = otlp.new_ids(5)
        kept = otlp.new_ids(3)
        assert otlp.post(gateway, "logs", otlp.logs(old)).status_code == 200
        assert otlp.post(gateway, "logs", otlp.logs(kept, record_class="warning")).status_code == 200
        gateway.wait_until(lambda: gateway.sqlite("SELECT sum(expired) FROM balance") == [(5,)], "5 have expired")
        sink.ok()
        gateway.wait_drained()
        assert sink.ids("logs") == kept
        assert gateway.sqlite("SELECT class, reason, sum(records) FROM losses") == [("info", "expired", 5)]
        gateway.assert_balanced()


def test_one_dead_destination_keeps_to_its_quota(start_gateway):
    with Sink() as sink:
        config = dead_uplink(max_queue_size="1MiB")
        config["destinations"]["other"] = {"kind": "otlp_http", "endpoint": sink.url}
        config["routes"] = [{"match": {}, "to": ["central", "other"]}]
        gateway = start_gateway(config, expect=[r"event=forward\.down"])
        for _ in range(20):
            send(gateway, "info", 256)
        held = "SELECT sum(b.stored_bytes) FROM deliveries q JOIN batches b ON b.id = q.batch_id"
        gateway.wait_until(lambda: gateway.sqlite(held)[0][0] <= MIB, "the quota is kept")
        assert gateway.sqlite("SELECT delivered, evicted FROM balance WHERE destination = 'other'") == [(20, 0)]
        assert gateway.sqlite("SELECT DISTINCT detail FROM losses") == [("over the destination's max_queue_size",)]
        gateway.assert_balanced()
