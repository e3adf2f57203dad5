"""The stand-ins of Loki and Tempo, from the other side: what the real ones would refuse they refuse, and what is
right they take. A stand-in that takes everything proves nothing."""
import gzip
import json
import struct
import time

import grpc
import pytest
import requests

from tests.support import otlp, snappy_block
from tests.support.loki_standin import PATH, Limits, Loki, parse_labels
from tests.support.patience import DEADLINE_S
from tests.support.tempo_standin import Tempo

NOW = 1_800_000_000.0
NS = 10**9


@pytest.fixture
def loki():
    with Loki(now=lambda: NOW) as server:
        yield server


# ---- pushes, by hand ----

def varint(n):
    out = bytearray()
    while True:
        out.append(n & 0x7F | (0x80 if n > 0x7F else 0))
        n >>= 7
        if not n:
            return bytes(out)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def entry(line, when=None, meta=(), nanos=0):
    when = int(NOW if when is None else when)
    stamp = b"\x08" + varint(when) + (b"\x10" + varint(nanos) if nanos else b"")
    pairs = b"".join(field(3, field(1, k.encode()) + field(2, v.encode())) for k, v in meta)
    return field(2, field(1, stamp) + field(2, line.encode()) + pairs)


def stream(labels, *entries):
    return field(1, field(1, labels.encode()) + b"".join(entries))


def push(loki, *streams, raw=None, headers=None):
    body = raw if raw is not None else snappy_block.encode(b"".join(streams))
    return requests.post(loki.url + PATH, data=body, timeout=DEADLINE_S,
                         headers={"Content-Type": "application/x-protobuf", **(headers or {})})


def labels_of(count):
    return "{" + ", ".join(f'l{i}="v"' for i in range(count)) + "}"


# ---- snappy ----

@pytest.mark.parametrize("data", [b"", b"a", b"abc" * 1000, bytes(range(256)) * 700])
def test_snappy_reads_its_own(data):
    assert snappy_block.decode(snappy_block.encode(data)) == data


def test_snappy_reads_copies_of_every_kind():
    # "abcd", then 4 from 4 back (1 byte of offset), 3 from 1 back (2 bytes, overlapping), 5 from 8 back (4 bytes).
    block = (bytes([16, 3 << 2]) + b"abcd" + bytes([1, 4]) + bytes([2 << 2 | 2]) + struct.pack("<H", 1)
             + bytes([4 << 2 | 3]) + struct.pack("<I", 8))
    assert snappy_block.decode(block) == b"abcdabcdddd" + b"dabcd"


@pytest.mark.parametrize("block", [b"", b"\xff" * 6, bytes([5, 3 << 2]) + b"abcd", bytes([4, 3 << 2]) + b"abc",
                                   bytes([8, 3 << 2]) + b"abcd" + bytes([1, 5]), bytes([4, 1, 4])])
def test_snappy_refuses_what_is_damaged(block):
    with pytest.raises(snappy_block.SnappyError):
        snappy_block.decode(block)


# ---- Loki ----

def test_a_right_push_is_taken(loki):
    assert push(loki, stream('{a="x"}', entry("one", nanos=7, meta=[("k", "v")]), entry("two", NOW + 1))).status_code == 204
    assert [(e.line, e.time_ns, e.meta) for e in loki.entries('{a="x"}')] == [
        ("one", int(NOW) * NS + 7, {"k": "v"}), ("two", int(NOW + 1) * NS, {})]


def test_json_is_taken_plain_and_gzipped(loki):
    body = json.dumps({"streams": [{"stream": {"a": 'x"\n'}, "values": [[str(int(NOW) * NS), "one", {"k": "v"}],
                                                                       [str(int(NOW) * NS), "two"]]}]}).encode()
    assert push(loki, raw=body, headers={"Content-Type": "application/json"}).status_code == 204
    assert [e.line for e in loki.entries('{a="x\\"\\n"}')] == ["one", "two"]
    assert push(loki, raw=gzip.compress(body.replace(b"one", b"six")),
                headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}).status_code == 204
    assert len(loki.entries()) == 3
    for wrong in (b"{", b'{"streams": 1}', b'{"streams": [{"stream": {"a": 1}, "values": []}]}',
                  body.replace(b'"' + str(int(NOW) * NS).encode() + b'"', str(int(NOW) * NS).encode()),
                  body.replace(b'"v"', b"5")):
        assert push(loki, raw=wrong, headers={"Content-Type": "application/json"}).status_code == 400
    assert len(loki.entries()) == 3


@pytest.mark.parametrize("why, streams", [
    ("15 labels", [stream(labels_of(16), entry("x"))]),
    ("label pair", [stream("{}", entry("x"))]),
    ("parse labels", [stream("", entry("x"))]),
    ("parse labels", [stream('{a.b="x"}', entry("x"))]),
    ("parse labels", [stream('{a="x" b="y"}', entry("x"))]),
    ("parse labels", [stream('{0a="x"}', entry("x"))]),
    ("duplicate label", [stream('{a="x", a="x"}', entry("x"))]),
    ("name too long", [stream('{' + "a" * 1025 + '="x"}', entry("x"))]),
    ("value too long", [stream('{a="' + "x" * 2049 + '"}', entry("x"))]),
    ("too old", [stream('{a="x"}', entry("x", NOW - 7 * 86400 - 1))]),
    ("too new", [stream('{a="x"}', entry("x", NOW + 601))]),
    ("Max entry size", [stream('{a="x"}', entry("x" * (256 * 1024 + 1)))]),
    ("too large", [stream('{a="x"}', entry("x", meta=[("k", "v" * 65536)]))]),
    ("too many", [stream('{a="x"}', entry("x", meta=[(f"k{i}", "v") for i in range(129)]))]),
    ("of the name", [stream('{a="x"}', entry("x", meta=[("a.b", "v")]))]),
    ("twice", [stream('{a="x"}', entry("x", meta=[("a", "v"), ("a", "w")]))]),
    ("too far behind", [stream('{a="x"}', entry("new"), entry("x", NOW - 3601))]),
    ("field 4", [stream('{a="x"}', entry("x")) + field(4, b"")]),
    ("nanoseconds", [stream('{a="x"}', entry("x", nanos=NS))]),
    ("cut off", [stream('{a="x"}', entry("x"))[:-1]]),
])
def test_what_loki_refuses_is_answered_with_400_and_a_reason(loki, why, streams):
    reply = push(loki, *streams)
    assert reply.status_code == 400 and (why in reply.text or why == "15 labels" and "limit 15" in reply.text), reply.text
    assert "x" not in loki.lines()


@pytest.mark.parametrize("streams", [
    [stream(labels_of(15), entry("x"))],
    [stream('{a="' + "x" * 2048 + '"}', entry("x" * 256 * 1024))],
    [stream('{a="x"}', entry("x", NOW - 7 * 86400 + 1))],
    [stream('{a="x"}', entry("x", NOW + 599))],
    [stream('{a="x"}', entry("x", meta=[(f"k{i}", "v") for i in range(128)]))],
    [stream('{a="x"}', entry("x", meta=[("k", "v" * 65535)]))],
    [stream('{a="x"}', entry("new"), entry("x", NOW - 3599))],
    [stream('{a="x"}', entry("new")), stream('{a="y"}', entry("x", NOW - 3601))],
])
def test_what_is_just_within_the_limits_is_taken(loki, streams):
    assert push(loki, *streams).status_code == 204


def test_the_valid_entries_of_a_refused_push_are_stored(loki):
    reply = push(loki, stream('{a="x"}', entry("one"), entry("old", NOW - 8 * 86400), entry("two")),
                 stream("{}", entry("nowhere")))
    assert reply.status_code == 400
    assert loki.lines() == ["one", "two"]


def test_an_entry_is_stored_once(loki):
    for _ in range(2):
        assert push(loki, stream('{a="x"}', entry("one"))).status_code == 204
    assert loki.lines() == ["one"]


def test_the_rate_has_a_burst_that_one_push_cannot_exceed():
    with Loki(limits=Limits(rate=1000, burst=500), now=lambda: NOW) as loki:
        big = stream('{a="x"}', entry("x" * 501))
        assert push(loki, big).status_code == 429
        time.sleep(0.6)
        assert push(loki, big).status_code == 429
        assert push(loki, stream('{a="x"}', entry("y" * 400))).status_code == 204
        assert push(loki, stream('{a="x"}', entry("z" * 400))).status_code == 429
        assert [len(line) for line in loki.lines()] == [400]


def test_headers_decide_about_tenant_authorization_and_encoding():
    good = stream('{a="x"}', entry("one"))
    with Loki(multi_tenant=True, auth="Bearer hush", now=lambda: NOW) as loki:
        assert push(loki, good).status_code == 401
        assert push(loki, good, headers={"Authorization": "Bearer hush"}).status_code == 401
        assert push(loki, good, headers={"X-Scope-OrgID": "a"}).status_code == 401
        both = {"X-Scope-OrgID": "a", "Authorization": "Bearer hush"}
        assert push(loki, good, headers=both).status_code == 204
        assert push(loki, good, headers={**both, "Content-Encoding": "gzip"}).status_code == 400
        assert push(loki, good, headers={**both, "Content-Type": "text/plain"}).status_code == 400
        assert push(loki, raw=good, headers=both).status_code == 400
        assert requests.post(loki.url + "/push", timeout=DEADLINE_S).status_code == 404
        assert [e.tenant for e in loki.entries()] == ["a"]


def test_label_texts_are_read_as_go_reads_them():
    assert parse_labels('{a="x, y}", b="\\"\\\\\\n\\x01\u00fc"}') == [("a", "x, y}"), ("b", '"\\\n\x01\u00fc')]


# ---- Tempo ----

def spans(trace_id=bytes(range(1, 17)), span_id=bytes(range(1, 9)), parent=b""):
    message = otlp.request("traces", ["t-1"])
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.trace_id, span.span_id, span.parent_span_id = trace_id, span_id, parent
    return message


def over_http(tempo, message, headers=None):
    reply = requests.post(tempo.url + "/v1/traces", data=message.SerializeToString(), timeout=DEADLINE_S,
                          headers={"Content-Type": "application/x-protobuf", **(headers or {})})
    return reply.status_code


def over_grpc(tempo, message, headers=None):
    with grpc.insecure_channel(f"127.0.0.1:{tempo.grpc_port}") as channel:
        call = channel.unary_unary(otlp.METHOD["traces"], request_serializer=lambda m: m.SerializeToString(),
                                   response_deserializer=otlp.RESPONSE["traces"].FromString)
        try:
            call(message, timeout=DEADLINE_S, metadata=[(k.lower(), v) for k, v in (headers or {}).items()])
            return 200
        except grpc.RpcError as error:
            return error.code()


@pytest.mark.parametrize("send, bad, nobody, limited", [
    (over_http, 400, 503, 429),
    (over_grpc, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)])
def test_tempo_looks_at_ids_tenant_and_rate(send, bad, nobody, limited):
    with Tempo(multi_tenant=True) as tempo:
        tenant = {"X-Scope-OrgID": "a"}
        assert send(tempo, spans()) == nobody
        assert send(tempo, spans(), tenant) == 200
        assert send(tempo, spans(parent=bytes(8)), tenant) == 200
        for wrong in (spans(trace_id=b"short"), spans(trace_id=bytes(16)), spans(trace_id=b""), spans(span_id=b"x" * 9),
                      spans(span_id=bytes(8)), spans(parent=b"x")):
            assert send(tempo, wrong, tenant) == bad
        assert tempo.ids() == ["t-1", "t-1"]
        assert {r.tenant for r in tempo.received} == {"a"}
    with Tempo(burst=10) as tempo:
        assert send(tempo, spans()) == limited
        assert tempo.ids() == []
