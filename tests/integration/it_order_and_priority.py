"""Who goes first: classes by their shares, what is fresh before a backlog where that is wanted, nothing that is too
old; and what an operator paused stays paused."""
import sqlite3
import time

import pytest

from tests.support import otlp
from tests.support.patience import DEADLINE_S, Stopwatch
from tests.support.sink import Sink

FAST = {"initial_interval": "20ms", "max_interval": "100ms"}
DOWN = r"event=forward\.down"


def config(sink, **more):
    return {"destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url, "retry_on_failure": FAST,
                                         "max_in_flight": 1, "max_export_size": "64KiB", **more}}}


def send(gateway, signal, ids, record_class="info", at_ns=None):
    request = otlp.request(signal, ids, record_class=record_class)
    if at_ns:
        for i, record in enumerate(request.resource_logs[0].scope_logs[0].log_records):
            record.time_unix_nano = at_ns + i
    assert otlp.post(gateway, signal, request).status_code == 200


def send_backlog(gateway, signal, count, prefix, record_class="info", size=200):
    """So many batches of their own, each of about half an export."""
    ids = []
    for _ in range(count):
        new = otlp.new_ids(size, prefix)
        send(gateway, signal, new, record_class)
        ids += new
    return ids


def execute(gateway, sql):
    db = sqlite3.connect(gateway.queue_path, timeout=DEADLINE_S)
    try:
        with db:
            db.execute(sql)
    finally:
        db.close()


@pytest.mark.smoke
def test_info_gets_its_share_of_a_backlog_and_critical_the_most(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink), expect=[DOWN])
        sink.answer(503)
        info = send_backlog(gateway, "logs", 45, "info")
        critical = send_backlog(gateway, "logs", 45, "crit", "critical")
        sink.delay_s = 0.03
        sink.ok()
        gateway.wait_drained()
        got = sink.ids("logs")
        assert sorted(got) == sorted(info + critical)
        last_critical = max(i for i, r in enumerate(got) if r.startswith("crit"))
        beside = sum(r.startswith("info") for r in got[:last_critical])
        # 70 to 10, and each export is one of about fifteen.
        assert len(critical) // 20 < beside < len(critical) // 3
        assert [i for i in got if i.startswith("info")] == info
        assert [i for i in got if i.startswith("crit")] == critical


def test_what_is_fresh_passes_a_backlog_and_all_of_it_arrives_once(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink, order="fresh_first", backfill_share=30), expect=[DOWN])
        sink.answer(503)
        backlog = send_backlog(gateway, "logs", 60, "old")
        sink.delay_s = 0.15
        sink.ok()
        sink.wait(lambda s: len(s.received) > 2, "the backlog to drain")
        fresh = []
        for _ in range(4):
            new = otlp.new_ids(1, "fresh")
            sent = Stopwatch()
            send(gateway, "logs", new)
            sink.wait_ids(new)
            assert sent.seconds() < 1.5
            fresh += new
        assert not set(backlog) <= set(sink.ids("logs")), "the backlog was gone already: nothing was shown"
        sink.delay_s = 0
        gateway.wait_drained()
        assert sorted(sink.ids("logs")) == sorted(backlog + fresh)
        # The oldest end had its share all the time.
        assert sink.ids("logs").index(backlog[0]) < len(backlog) // 2
        gateway.assert_balanced()


@pytest.mark.parametrize("order", ["fifo", "fresh_first"])
def test_a_signal_that_is_not_taken_holds_up_no_other(start_gateway, order):
    """Far more of it than is looked at ahead (decision 0006), and then all of it in its order."""
    with Sink() as sink:
        gateway = start_gateway(config(sink, order=order), expect=[DOWN, r"event=forward\.lane"])
        sink.busy_signals = {"logs"}
        held = send_backlog(gateway, "logs", 60, "held")
        others = send_backlog(gateway, "traces", 3, "trace", size=5) + send_backlog(gateway, "metrics", 3, "point", size=5)
        sink.wait_ids(others)
        assert not sink.ids("logs")
        sink.busy_signals = frozenset()
        gateway.wait_drained()
        assert sorted(sink.ids("logs")) == sorted(held)
        if order == "fifo":
            assert sink.ids("logs") == held
        gateway.assert_balanced()


def test_what_is_too_old_is_not_sent_and_becomes_a_dead_letter(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink, too_old={"after": "1h"}), expect=[r"event=forward\.too_old"])
        old, new = otlp.new_ids(3), otlp.new_ids(3)
        send(gateway, "logs", old, at_ns=time.time_ns() - 7200 * 10**9)
        send(gateway, "logs", new, at_ns=time.time_ns())
        gateway.wait_drained()
        assert sink.ids("logs") == new
        rows = gateway.sqlite("SELECT records, last_status, last_error FROM dead_letters")
        assert rows == [(3, None, "too old: past what the destination takes (too_old.after)")]
        gateway.assert_balanced()


def test_what_is_too_old_goes_where_it_is_taken(start_gateway):
    with Sink() as sink, Sink() as archive:
        both = config(sink, too_old={"after": "1h", "send_to": "archive"})
        both["destinations"]["archive"] = {"kind": "otlp_http", "endpoint": archive.url}
        both["routes"] = [{"to": ["central"]}]
        gateway = start_gateway(both, expect=[r"event=forward\.too_old"])
        old, new = otlp.new_ids(3), otlp.new_ids(3)
        send(gateway, "logs", old, at_ns=time.time_ns() - 7200 * 10**9)
        send(gateway, "logs", new, at_ns=time.time_ns())
        gateway.wait_drained()
        assert (sink.ids("logs"), archive.ids("logs")) == (new, old)
        accepted = dict(gateway.sqlite("SELECT destination, accepted FROM balance"))
        assert accepted == {"central": 3, "archive": 3}
        gateway.assert_balanced()


def test_a_pause_holds_across_restarts_and_keeps_when_data_last_went(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink))
        send(gateway, "logs", otlp.new_ids(1))
        gateway.wait_drained()
        gateway.sigterm()
        execute(gateway, "UPDATE destinations SET state = 'paused', state_since = 5, last_success_at = 77, reason = 'the link is paid by the byte' "
                         "WHERE name = 'central'")
        before = gateway.sqlite("SELECT state, state_since, reason, last_success_at FROM destinations WHERE name = 'central'")
        for _ in range(2):
            gateway.start()
            send(gateway, "logs", otlp.new_ids(1))
            gateway.sigterm()
            assert gateway.sqlite("SELECT state, state_since, reason, last_success_at FROM destinations "
                                  "WHERE name = 'central'") == before
        assert len(sink.ids("logs")) == 1
        execute(gateway, "UPDATE destinations SET state = 'up' WHERE name = 'central'")
        gateway.start()
        gateway.wait_drained()
        assert len(sink.ids("logs")) == 3
        gateway.assert_balanced()


def test_a_payload_that_is_missing_is_written_off_as_damaged(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink), expect=[DOWN])
        sink.answer(503)
        lost, kept = otlp.new_ids(4), otlp.new_ids(3)
        send(gateway, "logs", lost)
        send(gateway, "logs", kept)
        gateway.sigterm()
        execute(gateway, "DELETE FROM payloads WHERE batch_id = (SELECT min(batch_id) FROM payloads)")
        sink.ok()
        gateway.start()
        gateway.wait_drained()
        assert sink.ids("logs") == kept
        assert gateway.sqlite("SELECT reason, records FROM losses") == [("damaged", 4)]
        assert gateway.sqlite("SELECT damaged, queued, difference FROM balance") == [(4, 0, 0)]
        gateway.assert_balanced()
