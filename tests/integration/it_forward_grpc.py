"""OTLP/gRPC to grpcio's server, which is another implementation than ours: everything that a backend may say."""
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest

from tests.support import grpc_sink, otlp
from tests.support.grpc_sink import GrpcSink
from tests.support.patience import DEADLINE_S, Stopwatch
from tests.support.sink import Sink

QUICK = {"initial_interval": "50ms", "max_interval": "200ms"}
DOWN = r"event=forward\.down"


def destination(url, **more):
    return {"kind": "otlp_grpc", "endpoint": url, "retry_on_failure": QUICK, **more}


def start(start_gateway, url, *, expect=(), **more):
    return start_gateway({"destinations": {"central": destination(url, **more)}}, expect=expect)


def put(gateway, name, count, **more):
    ids = otlp.new_ids(count)
    assert otlp.post(gateway, name, otlp.request(name, ids, **more)).status_code == 200
    return ids


def state_of(gateway):
    return gateway.sqlite("SELECT state, reason FROM destinations WHERE name = 'central'")[0]


@pytest.mark.smoke
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_all_signals_arrive_over_one_connection(start_gateway, compression):
    with GrpcSink() as sink:
        gateway = start(start_gateway, sink.url, compression=compression, timeout="5s",
                        headers={"X-Scope-OrgID": "plant-7"}, auth={"bearer": {"token": "open-sesame"}})
        ids = {}
        for _ in range(3):
            for name in otlp.SIGNALS:
                ids.setdefault(name, []).extend(put(gateway, name, 50))
            gateway.wait_drained()
        for name in otlp.SIGNALS:
            assert sink.ids(name) == ids[name]
        assert len({c.peer for c in sink.calls}) == 1
        for call in sink.calls:
            assert call.metadata["user-agent"].startswith("tidegate/")
            assert call.metadata["x-scope-orgid"] == "plant-7"
            assert call.metadata["authorization"] == "Bearer open-sesame"
            # Our patience as a whole, which is 20 times the silence that we bear.
            assert 20 < call.time_remaining <= 100
        gateway.assert_balanced()


def test_many_exports_are_under_way_on_one_connection(start_gateway):
    with GrpcSink() as sink:
        sink.hold()
        gateway = start(start_gateway, sink.url, max_in_flight=6, max_export_size="64KiB")
        ids = {name: [] for name in otlp.SIGNALS}
        for _ in range(4):
            for name in otlp.SIGNALS:
                ids[name] += put(gateway, name, 1000)
        sink.wait(lambda: len(sink.calls) >= 4, "four calls that are not answered")
        assert len({c.peer for c in sink.calls}) == 1
        sink.release()
        gateway.wait_drained()
        for name in otlp.SIGNALS:
            assert sorted(sink.ids(name)) == sorted(ids[name])
        gateway.assert_balanced()


def test_a_server_that_cannot_read_zstd_gets_gzip(start_gateway):
    with GrpcSink() as sink:
        gateway = start(start_gateway, sink.url, compression="zstd", expect=[r"event=forward\.encoding"])
        ids = put(gateway, "logs", 20)
        gateway.wait_drained()
        ids += put(gateway, "logs", 20)
        gateway.wait_drained()
        assert sink.ids() == ids
        assert gateway.events("forward.encoding")[0]["now"] == "gzip"
        assert len(gateway.events("forward.encoding")) == 1
        gateway.assert_balanced()


def test_another_tidegate_takes_zstd_as_it_is_stored(start_gateway):
    centre = start_gateway({"destinations": {}}, name="centre")
    edge = start_gateway({"destinations": {
        "central": destination(f"http://127.0.0.1:{centre.grpc_port}", compression="zstd")}}, name="edge")
    ids = {name: put(edge, name, 200) for name in otlp.SIGNALS}
    edge.wait_drained()
    assert sorted(otlp.queued_ids(centre)) == sorted(i for name in otlp.SIGNALS for i in ids[name])
    edge.assert_balanced()
    centre.assert_balanced()


def test_unavailable_waits_as_long_as_retry_info_says(start_gateway):
    with GrpcSink() as sink:
        sink.fail(grpc.StatusCode.UNAVAILABLE, times=1, message="come back, 100% later\u00e9", retry_after_s=1.2)
        gateway = start(start_gateway, sink.url, expect=[DOWN])
        began = time.monotonic()
        ids = put(gateway, "traces", 10)
        assert gateway.wait_event("forward.down")["reason"].startswith("grpc UNAVAILABLE: come back, 100% later")
        gateway.wait_drained()
        assert time.monotonic() - began >= 1.2
        assert sink.ids() == ids
        assert gateway.sqlite("SELECT count(*) FROM deliveries WHERE state = 'dead'") == [(0,)]
        gateway.assert_balanced()


def test_a_refusal_is_a_dead_letter_with_its_code_and_reason(start_gateway):
    with GrpcSink() as sink:
        sink.fail(grpc.StatusCode.INVALID_ARGUMENT, message="no such tenant")
        gateway = start(start_gateway, sink.url, expect=[r"event=forward\.dead_letter"])
        put(gateway, "logs", 4)
        gateway.wait_drained()
        assert gateway.sqlite("SELECT DISTINCT last_status, last_error FROM deliveries WHERE state = 'dead'") == [
            (3, "grpc INVALID_ARGUMENT: no such tenant")]
        sink.ok()
        ids = put(gateway, "logs", 5)
        gateway.wait_drained()
        assert sink.ids() == ids
        gateway.assert_balanced()


def test_a_signal_that_the_server_does_not_have_holds_up_no_other(start_gateway):
    with GrpcSink(signals=("traces",)) as sink:
        # Whether the address is right is not known before something is taken there.
        gateway = start(start_gateway, sink.url, expect=[r"event=forward\.dead_letter", DOWN])
        put(gateway, "logs", 10)
        ids = put(gateway, "traces", 10)
        gateway.wait_drained()
        assert sink.ids() == ids
        status, error = gateway.sqlite("SELECT last_status, last_error FROM deliveries WHERE state = 'dead'")[0]
        assert status == 12 and error.startswith("grpc UNIMPLEMENTED")
        gateway.assert_balanced()


def test_an_unauthenticated_destination_keeps_its_data_and_says_no_secret(start_gateway, tmp_path):
    token = tmp_path / "token"
    token.write_text("stale-secret-1")
    with GrpcSink() as sink:
        sink.fail(grpc.StatusCode.UNAUTHENTICATED, message="who is Bearer stale-secret-1?")
        gateway = start(start_gateway, sink.url, auth={"bearer": {"token_file": str(token)}}, expect=[DOWN])
        ids = put(gateway, "logs", 10)
        gateway.wait_until(lambda: state_of(gateway)[0] == "unauthorized", "it is unauthorized")
        assert state_of(gateway)[1].startswith("grpc UNAUTHENTICATED: who is")
        assert "stale-secret-1" not in state_of(gateway)[1] + gateway.log_text()
        assert sorted(otlp.queued_ids(gateway)) == ids
        sink.ok()
        token.write_text("fresh-secret-2")
        gateway.wait_drained()
        assert sink.answered()[-1].metadata["authorization"] == "Bearer fresh-secret-2"
        assert sink.ids() == ids
        gateway.assert_balanced()


def test_a_partial_success_is_counted_and_not_sent_again(start_gateway):
    with GrpcSink() as sink:
        reply = otlp.RESPONSE["logs"]()
        reply.partial_success.rejected_log_records = 3
        reply.partial_success.error_message = "three are too old"
        sink.reply["logs"] = reply
        gateway = start(start_gateway, sink.url, expect=[r"event=forward\.partial_success"])
        ids = put(gateway, "logs", 10)
        gateway.wait_drained()
        assert sink.ids() == ids
        event = gateway.wait_event("forward.partial_success")
        assert event["rejected"] == "3" and "three are too old" in event["reason"]
        gateway.assert_balanced()


def test_connections_that_grow_old_lose_and_repeat_nothing(start_gateway):
    options = (("grpc.max_connection_age_ms", 150), ("grpc.max_connection_age_grace_ms", 2000))
    with GrpcSink(options=options) as sink:
        gateway = start(start_gateway, sink.url)
        ids = []
        end = time.monotonic() + DEADLINE_S
        while len({c.peer for c in list(sink.calls)}) < 4:
            assert time.monotonic() < end, "the server did not move us"
            for name in otlp.SIGNALS:
                ids += put(gateway, name, 5)
        gateway.wait_drained()
        assert sorted(sink.ids()) == sorted(ids)
        assert gateway.sqlite("SELECT count(*) FROM deliveries WHERE state = 'dead'") == [(0,)]
        gateway.assert_balanced()


def test_an_export_over_the_servers_limit_is_sent_smaller(start_gateway):
    with GrpcSink(options=(("grpc.max_receive_message_length", 256 * 1024),)) as sink:
        sink.fail(grpc.StatusCode.UNAVAILABLE)
        gateway = start(start_gateway, sink.url, expect=[DOWN])
        ids = []
        for _ in range(20):
            ids += put(gateway, "logs", 500)
        gateway.wait_until(lambda: state_of(gateway)[0] == "backing_off", "it backs off")
        sink.ok()
        gateway.wait_drained()
        assert sink.ids("logs") == ids
        assert max(c.body_bytes for c in sink.answered()) <= 256 * 1024
        metrics = gateway.metrics()
        assert any("too_large" in k and v > 0 for k, v in metrics.items() if "destination_attempts" in k)
        assert gateway.sqlite("SELECT count(*) FROM deliveries WHERE state = 'dead'") == [(0,)]
        gateway.assert_balanced()


def test_a_server_that_is_stopped_is_noticed_within_the_timeout(start_gateway):
    process = subprocess.Popen([sys.executable, grpc_sink.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        gateway = start(start_gateway, url, timeout="2s", expect=[DOWN])
        ids = put(gateway, "logs", 10)
        gateway.wait_drained()
        process.send_signal(signal.SIGSTOP)
        watch = Stopwatch()
        ids += put(gateway, "logs", 10)
        gateway.wait_event("forward.down")
        # An eighth of it may pass until the acknowledgement of the body is seen.
        assert 1.8 < watch.passed_s() and watch.seconds() < 6
        assert "nothing moved, for 2000 ms: not even a ping" in gateway.events("forward.down")[0]["reason"]
        process.send_signal(signal.SIGCONT)
        gateway.wait_drained()
        got = process.communicate()[0].split()
        assert list(dict.fromkeys(got)) == ids
        gateway.assert_balanced()
    finally:
        process.kill()
        process.wait()


def test_a_call_that_is_not_answered_is_given_up_alone(start_gateway):
    with GrpcSink() as sink:
        gateway = start(start_gateway, sink.url, timeout="2s", expect=[DOWN])
        sink.hold()
        ids = put(gateway, "logs", 10)
        gateway.wait_event("forward.down")
        assert gateway.events("forward.down")[0]["reason"] == "no answer, and nothing moved, for 2000 ms"
        sink.release()
        gateway.wait_drained()
        assert len({c.peer for c in sink.calls}) == 1, "the connection was alive, and stays"
        assert set(sink.ids()) == set(ids)
        gateway.assert_balanced()


def test_a_server_that_goes_and_comes_back_gets_the_rest(start_gateway):
    with GrpcSink() as sink:
        gateway = start(start_gateway, sink.url, expect=[DOWN])
        ids = put(gateway, "traces", 10)
        gateway.wait_drained()
        sink.stop()
        ids += put(gateway, "traces", 10)
        gateway.wait_event("forward.down")
        assert "cannot connect to 127.0.0.1" in gateway.events("forward.down")[0]["reason"]
        sink.start()
        gateway.wait_drained()
        assert sink.ids() == ids
        gateway.assert_balanced()


def test_a_server_that_ends_every_connection_is_not_called_in_circles(start_gateway):
    settings = bytes(3) + b"\x04" + bytes(5)
    goaway = b"\x00\x00\x08\x07" + bytes(5) + bytes(8)
    calls = []

    def serve(listener):
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            with connection:
                calls.append(time.monotonic())
                connection.sendall(settings + goaway)
                connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        gateway = start(start_gateway, f"http://127.0.0.1:{listener.getsockname()[1]}", expect=[DOWN])
        ids = put(gateway, "logs", 3)
        # The second where GOAWAY was read before the end came.
        assert gateway.wait_event("forward.down")["reason"] in (
            "the server closed the connection", "the server ended the connection before it took a call")
        gateway.wait_until(lambda: len(calls) >= 4, "it is tried again")
        # Half of 200 ms on average, and now and then a probe.
        assert len(calls) / (calls[-1] - calls[0]) < 200
        assert sorted(otlp.queued_ids(gateway)) == ids
        listener.shutdown(socket.SHUT_RDWR)


def test_the_port_of_otlp_http_is_told_apart(start_gateway):
    with Sink() as sink:
        gateway = start(start_gateway, sink.url, expect=[DOWN])
        ids = put(gateway, "logs", 3)
        gateway.wait_event("forward.down")
        assert "HTTP/1.1" in gateway.events("forward.down")[0]["reason"]
        assert sorted(otlp.queued_ids(gateway)) == ids
