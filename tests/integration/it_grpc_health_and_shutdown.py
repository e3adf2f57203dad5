"""Health checks say whether the queue takes data; a stop answers what is in flight before it goes."""
import concurrent.futures
import threading

import grpc
import pytest

from tests.support import otlp
from tests.support.grpc_raw import HEALTH, RawGrpc, framed
from tests.support.patience import DEADLINE_S

SERVING = framed(b"\x08\x01")


def asks_for(service):
    return framed(b"\x0a" + bytes([len(service)]) + service.encode())


@pytest.mark.smoke
def test_health_is_serving_for_the_server_and_each_service(start_gateway):
    gateway = start_gateway()
    with RawGrpc(gateway.grpc_port) as client:
        assert client.call(HEALTH, framed(b"")).body == SERVING
        for method in otlp.METHOD.values():
            answer = client.call(HEALTH, asks_for(method.split("/")[1]))
            assert (answer.code, answer.body) == (0, SERVING)
        answer = client.call("/grpc.health.v1.Health/Watch", framed(b""))
        assert answer.code == 12


def test_keepalive_pings_are_answered(start_gateway):
    gateway = start_gateway()
    with RawGrpc(gateway.grpc_port) as client:
        for number in range(1, 200):
            client.h2.ping(number.to_bytes(8, "big"))
            client.flush()
            while client.pongs < number:
                assert client.read()


def test_sigterm_answers_what_is_in_flight(start_gateway):
    gateway = start_gateway({"queue": {"commit_interval": "1s"}})
    ids = otlp.new_ids(10)
    with RawGrpc(gateway.grpc_port) as client:
        streams = []
        for record_id in ids:
            streams.append(client.begin(otlp.METHOD["logs"]))
            client.send(streams[-1], framed(otlp.logs([record_id]).SerializeToString()), end=True)
        client.h2.ping(b"12345678")
        client.flush()
        while not client.pongs:
            assert client.read()
        reaper = threading.Thread(target=gateway.sigterm)
        reaper.start()
        for stream in streams:
            assert client.answer(stream).code == 0
        client.read_to_end()
        reaper.join()
        # First the notice, with the largest id; then the last stream that was served.
        assert client.goaways[0] == (0, 2**31 - 1)
        assert client.goaways[-1] == (0, streams[-1])
    assert sorted(otlp.queued_ids(gateway)) == sorted(ids)


def test_a_stop_under_load_loses_no_acknowledged_record(start_gateway):
    gateway = start_gateway()
    is_going = threading.Event()

    def work(_):
        acked = []
        with otlp.GrpcClient(gateway.grpc_port) as client:
            while True:
                ids = otlp.new_ids(3)
                try:
                    client.export("traces", otlp.traces(ids), timeout=DEADLINE_S)
                except grpc.RpcError as error:
                    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
                    return acked
                acked += ids
                is_going.set()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work, i) for i in range(4)]
        assert is_going.wait(DEADLINE_S)
        assert gateway.sigterm() == 0
        acked = [i for w in workers for i in w.result()]
    assert acked
    assert set(acked) <= set(otlp.queued_ids(gateway))
    gateway.start()
    gateway.assert_balanced()
