"""Many clients at a time, and clients that vanish at any byte: whoever got a 200 finds its records stored
once, and nobody else's bytes stay behind."""
import random
import threading

import requests

from tests.support import otlp
from tests.support.http_raw import RawClient, chunked, head
from tests.support.patience import DEADLINE_S

CLIENTS = 200
REQUESTS = 5


def run_all(target, count):
    errors = []

    def guarded(i):
        try:
            target(i)
        except Exception as error:  # pylint: disable=broad-except; shown below
            errors.append(f"{i}: {error!r}")

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[:5]


def test_200_clients_at_a_time(start_gateway):
    gateway = start_gateway()
    start = threading.Barrier(CLIENTS)
    acked = [[] for _ in range(CLIENTS)]

    def client(i):
        with requests.Session() as session:
            start.wait(DEADLINE_S)
            for k in range(REQUESTS):
                ids = otlp.new_ids(10, f"c{i}")
                answer = otlp.post(gateway, otlp.SIGNALS[k % 3], otlp.request(otlp.SIGNALS[k % 3], ids),
                                   session=session, timeout=DEADLINE_S, encoding=("none", "gzip", "zstd")[i % 3],
                                   content_type=("application/x-protobuf", "application/json")[i % 2])
                assert answer.status_code == 200
                acked[i] += ids

    run_all(client, CLIENTS)
    want = sorted(i for ids in acked for i in ids)
    assert len(want) == CLIENTS * REQUESTS * 10
    assert sorted(otlp.queued_ids(gateway)) == want
    gateway.assert_balanced()


def test_clients_that_vanish_at_random_points(start_gateway):
    gateway = start_gateway()
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    stop = threading.Event()
    acked = []
    sent_whole = []

    def vanish(i):
        rng = random.Random(seed + i)
        for _ in range(60):
            ids = otlp.new_ids(rng.choice([1, 50, 500]), f"v{i}")
            body = otlp.logs(ids).SerializeToString()
            if rng.random() < 0.5:
                data = head(length=len(body)) + body
            else:
                data = head(headers=["Transfer-Encoding: chunked"]) + chunked(body, 5000)
            cut = rng.choice([len(data), rng.randrange(len(data))])
            client = RawClient(gateway)
            client.send_until_refused(data[:cut])
            if cut == len(data):
                sent_whole.extend(ids)
                if rng.random() < 0.3:
                    assert client.answer().status == 200
                    acked.extend(ids)
            client.reset() if rng.random() < 0.5 else client.close()

    def stay():
        with requests.Session() as session:
            while not stop.is_set():
                ids = otlp.new_ids(5, "s")
                assert otlp.post(gateway, "logs", otlp.logs(ids), session=session, timeout=DEADLINE_S).status_code == 200
                acked.extend(ids)
                sent_whole.extend(ids)

    steady = threading.Thread(target=stay)
    steady.start()
    try:
        run_all(vanish, 8)
    finally:
        stop.set()
        steady.join()
    gateway.wait_until(lambda: gateway.metrics()["tidegate_in_flight_bytes"] == 0, "all bytes are free")
    stored = otlp.queued_ids(gateway)
    assert len(stored) == len(set(stored)), "stored twice"
    assert set(acked) <= set(stored)
    assert set(stored) <= set(sent_whole), "a request was stored that never came whole"
    gateway.assert_balanced()


def test_what_is_in_flight_at_the_stop_is_answered(start_gateway):
    """SIGTERM while clients send: every answer is 200, 503 or none, and a 200 is kept."""
    gateway = start_gateway()
    acked = []
    codes = []
    stop = threading.Event()

    def client(_):
        with requests.Session() as session:
            while not stop.is_set():
                ids = otlp.new_ids(10, "t")
                try:
                    answer = otlp.post(gateway, "logs", otlp.logs(ids), session=session, timeout=DEADLINE_S)
                except requests.RequestException:
                    return
                codes.append(answer.status_code)
                if answer.status_code != 200:
                    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
                    return
                acked.extend(ids)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    gateway.wait_until(lambda: len(acked) > 1000, "the load runs")
    assert gateway.sigterm() == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert set(codes) <= {200, 503}
    stored = otlp.queued_ids(gateway)
    assert set(acked) <= set(stored)
