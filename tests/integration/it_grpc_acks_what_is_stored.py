"""A gRPC success means that the records are in the queue, whatever the signal, coding or framing."""
import concurrent.futures

import grpc
import pytest

from tests.support import otlp
from tests.support.grpc_raw import RawGrpc, framed
from tests.support.patience import DEADLINE_S


@pytest.mark.smoke
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@pytest.mark.parametrize("signal", otlp.SIGNALS)
def test_what_was_acknowledged_is_in_the_queue(start_gateway, signal, compression):
    gateway = start_gateway()
    ids = otlp.new_ids(50)
    with otlp.GrpcClient(gateway.grpc_port, compression) as client:
        response = client.export(signal, otlp.request(signal, ids))
    assert response.ByteSize() == 0
    assert sorted(otlp.queued_ids(gateway)) == sorted(ids)
    metrics = gateway.metrics()
    noun = {"traces": "spans", "metrics": "metric_points", "logs": "log_records"}[signal]
    assert metrics[f'otelcol_receiver_accepted_{noun}{{receiver="otlp",transport="grpc"}}'] == 50
    assert metrics[f'tidegate_receiver_requests{{receiver="otlp",transport="grpc",signal="{signal}",status="OK"}}'] == 1


@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
def test_each_advertised_encoding_is_understood(start_gateway, encoding):
    gateway = start_gateway()
    ids = otlp.new_ids(10)
    body = otlp.compress(encoding, otlp.logs(ids).SerializeToString())
    with RawGrpc(gateway.grpc_port) as client:
        answer = client.call(otlp.METHOD["logs"], framed(body, flag=int(encoding != "identity")),
                             [("grpc-encoding", encoding)])
        assert answer.code == 0
        # An uncompressed message is fine below any grpc-encoding.
        plain = otlp.logs(otlp.new_ids(1)).SerializeToString()
        assert client.call(otlp.METHOD["logs"], framed(plain), [("grpc-encoding", encoding)]).code == 0
    assert set(ids) <= set(otlp.queued_ids(gateway))


def test_an_empty_request_is_a_success(start_gateway):
    gateway = start_gateway()
    with RawGrpc(gateway.grpc_port) as client:
        answer = client.export("traces", b"")
        assert (answer.http_status, answer.code, answer.body) == (200, 0, framed(b""))
        assert answer.headers["content-type"] == "application/grpc"


@pytest.mark.parametrize("chunk", [1, 3, 5, 6, 100])
def test_a_message_may_be_split_over_data_frames_anywhere(start_gateway, chunk):
    gateway = start_gateway()
    ids = otlp.new_ids(3)
    with RawGrpc(gateway.grpc_port) as client:
        stream = client.begin(otlp.METHOD["traces"])
        client.send(stream, framed(otlp.traces(ids).SerializeToString()), end=True, chunk=chunk)
        assert client.answer(stream).code == 0
    assert sorted(otlp.queued_ids(gateway)) == sorted(ids)


def test_many_streams_of_one_connection_are_interleaved(start_gateway):
    gateway = start_gateway()
    sent = {}
    with RawGrpc(gateway.grpc_port) as client:
        for _ in range(50):
            ids = otlp.new_ids(4)
            sent[client.begin(otlp.METHOD["logs"])] = (ids, framed(otlp.logs(ids).SerializeToString()))
        for at in range(0, 2000, 7):
            for stream, (_, body) in sent.items():
                if at < len(body):
                    client.send(stream, body[at:at + 7], end=at + 7 >= len(body))
        for stream in sent:
            assert client.answer(stream).code == 0
    assert sorted(otlp.queued_ids(gateway)) == sorted(i for ids, _ in sent.values() for i in ids)


def test_many_clients_at_a_time_lose_nothing(start_gateway):
    gateway = start_gateway()

    def work(_):
        acked = []
        with otlp.GrpcClient(gateway.grpc_port) as client:
            for _ in range(20):
                ids = otlp.new_ids(5)
                client.export("traces", otlp.traces(ids), timeout=DEADLINE_S)
                acked += ids
        return acked

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        acked = [i for ids in pool.map(work, range(8)) for i in ids]
    assert sorted(otlp.queued_ids(gateway)) == sorted(acked)
    gateway.assert_balanced()


def test_a_deadline_that_passes_is_said_so_and_the_data_may_still_be_stored(start_gateway):
    gateway = start_gateway({"queue": {"commit_interval": "3s"}})
    ids = otlp.new_ids(3)
    with RawGrpc(gateway.grpc_port) as client:
        stream = client.begin(otlp.METHOD["logs"], [("grpc-timeout", "300m")])
        client.send(stream, framed(otlp.logs(ids).SerializeToString()), end=True)
        answer = client.answer(stream)
        assert answer.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
        assert answer.details is None
        gateway.wait_until(lambda: otlp.queued_ids(gateway) == ids, "the late commit")
        # The connection has outlived it.
        assert client.export("logs", otlp.logs(otlp.new_ids(1)).SerializeToString()).code == 0


def test_a_client_that_goes_while_its_data_commits_harms_nobody(start_gateway):
    gateway = start_gateway({"queue": {"commit_interval": "1s"}})
    ids = otlp.new_ids(20)
    for number, record_id in enumerate(ids):
        with RawGrpc(gateway.grpc_port) as client:
            stream = client.begin(otlp.METHOD["logs"])
            client.send(stream, framed(otlp.logs([record_id]).SerializeToString()), end=True)
            if number % 2:
                client.h2.reset_stream(stream)
                client.flush()
                client.h2.ping(b"12345678")
                client.flush()
                while not client.pongs:
                    assert client.read()
            else:
                client.h2.ping(b"12345678")
                client.flush()
                while not client.pongs:
                    assert client.read()
    gateway.wait_until(lambda: sorted(otlp.queued_ids(gateway)) == sorted(ids), "all of it is stored")
    gateway.assert_balanced()
