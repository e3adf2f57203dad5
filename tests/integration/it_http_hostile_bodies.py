"""Bodies made to hurt a decoder get their clear error over OTLP/HTTP, cost bounded memory and time, and hurt
no other client."""
import json
import threading

import pytest

from tests.support import otlp
from tests.support.gateway import Gateway
from tests.support.patience import Stopwatch
from tests.support.status import parse_status

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MIB = 1 << 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("gateway")) as gw:
        yield gw


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def nested_protobuf(depth):
    """AnyValue.array_value.values[0].array_value ... in the body of a log record."""
    value = field(1, b"x")
    for _ in range(depth):
        value = field(5, field(1, value))
    record = field(5, value)
    return field(1, field(2, field(2, record)))


def nested_json(depth):
    value = '{"arrayValue":{"values":[' * depth + '{"stringValue":"x"}' + "]}}" * depth
    return ('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":' + value + "}]}]}]}").encode()


def log_with(body_bytes):
    """A log record whose body's string is these bytes."""
    return field(1, field(2, field(2, field(5, field(1, body_bytes)))))


def log_json(text):
    return b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"' + text + b'"}}]}]}]}'


WHOLE = otlp.logs(["hostile"]).SerializeToString()

HOSTILE = [
    # what, content type, body, words that the message must have
    ("nested 10,000 deep", PROTOBUF, nested_protobuf(10_000), ["deep"]),
    ("nested 10,000 deep in JSON", JSON, nested_json(10_000), []),
    ("brackets 1,000,000 deep", JSON, b"[" * MIB, []),
    ("no UTF-8", PROTOBUF, log_with(b"ab\xff\xfe"), ["UTF-8", "body", "byte"]),
    ("an overlong character", PROTOBUF, log_with(b"\xc0\xaf"), ["UTF-8"]),
    ("a surrogate", PROTOBUF, log_with(b"\xed\xa0\x80"), ["UTF-8"]),
    ("half a character", PROTOBUF, log_with(b"\xe2\x82"), ["UTF-8"]),
    ("no UTF-8 in JSON", JSON, log_json(b"ab\xff\xfe"), []),
    ("a length that lies", PROTOBUF, WHOLE[:1] + varint(len(WHOLE) + 1000) + WHOLE[3:], ["byte"]),
    ("a length of 2^63", PROTOBUF, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", ["byte"]),
    ("a varint without end", PROTOBUF, b"\x0a" + b"\xff" * 20, ["byte"]),
    ("field number 0", PROTOBUF, b"\x02\x00", ["byte"]),
    ("a wire type that is none", PROTOBUF, b"\x0f\x00", ["byte"]),
    ("an open group", PROTOBUF, b"\x0b" * 1000, ["byte"]),
    ("the wrong wire type", PROTOBUF, b"\x08\x01", []),
    ("a message that is cut off", PROTOBUF, WHOLE[:-1], ["byte"]),
    ("JSON that is cut off", JSON, otlp.to_json(otlp.logs(["x"]))[:-1], []),
    ("JSON instead of protobuf", PROTOBUF, otlp.to_json(otlp.logs(["x"])), []),
    ("protobuf instead of JSON", JSON, WHOLE, []),
    ("a JSON array", JSON, b"[]", []),
    ("a JSON number", JSON, b"5", []),
    ("two JSON documents", JSON, b"{}{}", []),
    ("nothing as JSON", JSON, b"", []),
    ("a trace id that is no hex", JSON,
     b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"zz"}]}]}]}', ["traceId"]),
    ("an integer that is no integer", JSON,
     b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"12x"}]}]}]}', ["timeUnixNano"]),
    ("an integer over 64 bits", JSON,
     b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"99999999999999999999"}]}]}]}',
     ["timeUnixNano"]),
]


def rss_peak(gateway):
    with open(f"/proc/{gateway.process.pid}/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@pytest.mark.parametrize("encoding", ["none", "gzip"])
@pytest.mark.parametrize("what, content_type, body, words", HOSTILE, ids=[h[0] for h in HOSTILE])
def test_it_is_400_with_a_message_that_says_where(gateway, what, content_type, body, words, encoding):
    watch = Stopwatch()
    answer = otlp.post(gateway, "logs", body, content_type=content_type, encoding=encoding)
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == content_type
    status = parse_status(content_type, answer.content)
    assert status.code == 3
    assert status.message
    missing = [word for word in words if word not in status.message]
    assert not missing, status.message
    assert "Retry-After" not in answer.headers
    assert watch.seconds() < 5
    good = otlp.new_ids(1)
    assert otlp.post(gateway, "logs", otlp.logs(good)).status_code == 200
    assert good[0] in otlp.queued_ids(gateway)


# Field numbers from the outermost message down to the one that is empty.
EMPTY = {
    "resource_spans": [1],
    "scope_spans": [1, 2],
    "spans": [1, 2, 2],
    "attributes": [1, 2, 2, 9],
    "links": [1, 2, 2, 13],
}


@pytest.mark.parametrize("path", EMPTY)
def test_4_mb_of_empty_submessages_are_refused_in_bounded_memory(start_gateway, path):
    """4 MB that protobuf-c would unpack to nearly 500 MB."""
    gateway = start_gateway()
    numbers = EMPTY[path]
    body = field(numbers[-1], b"") * (2 * MIB)
    for number in reversed(numbers[:-1]):
        body = field(number, body)
    before = rss_peak(gateway)
    watch = Stopwatch()
    answer = otlp.post(gateway, "traces", body)
    took_s = watch.seconds()
    assert answer.status_code == 400, answer.content[:200]
    message = parse_status(PROTOBUF, answer.content).message
    assert path in message and "empty messages" in message and "byte" in message
    assert took_s < 10
    assert rss_peak(gateway) - before < 200 * MIB


def test_others_are_served_while_hostile_bodies_come(gateway):
    stop = threading.Event()
    codes = []

    def attack():
        rows = [h for h in HOSTILE if "deep" in h[0]]
        while not stop.is_set():
            for _, content_type, body, _ in rows:
                codes.append(otlp.post(gateway, "logs", body, content_type=content_type, encoding="gzip").status_code)

    attackers = [threading.Thread(target=attack) for _ in range(3)]
    for thread in attackers:
        thread.start()
    ids = otlp.new_ids(50)
    slowest = 0.0
    try:
        for record_id in ids:
            watch = Stopwatch()
            assert otlp.post(gateway, "logs", otlp.logs([record_id])).status_code == 200
            slowest = max(slowest, watch.seconds())
    finally:
        stop.set()
        for thread in attackers:
            thread.join()
    assert set(codes) == {400}
    assert slowest < 5
    stored = otlp.queued_ids(gateway)
    assert all(i in stored for i in ids)


def test_unknown_fields_in_json_are_ignored(gateway):
    ids = otlp.new_ids(1)
    node = json.loads(otlp.to_json(otlp.logs(ids)))
    node["future"] = {"a": [1, {"b": None}]}
    node["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["alsoFuture"] = "x"
    answer = otlp.post(gateway, "logs", json.dumps(node).encode(), content_type=JSON)
    assert answer.status_code == 200
    assert ids[0] in otlp.queued_ids(gateway)
