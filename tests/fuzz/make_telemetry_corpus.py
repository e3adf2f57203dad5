"""Writes the seed corpora of fuzz_scan, fuzz_sort, fuzz_select, fuzz_json_read and fuzz_json_write.

    python3 tests/fuzz/make_telemetry_corpus.py

Each seed is one byte for the signal (0 traces, 1 metrics, 2 logs) and a small request: protobuf, or JSON for
fuzz_json_read; fuzz_select has two more bytes behind the first. The protobuf is written here by hand, field by field, so that the seeds do not depend on the code
that they test.
"""
import pathlib
import struct

HERE = pathlib.Path(__file__).parent / "corpus"
TRACES, METRICS, LOGS = range(3)


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def num(field, n):
    return varint(field << 3) + varint(n)


def fix64(field, n):
    return varint(field << 3 | 1) + struct.pack("<Q", n)


def dbl(field, d):
    return varint(field << 3 | 1) + struct.pack("<d", d)


def fix32(field, n):
    return varint(field << 3 | 5) + struct.pack("<I", n)


def sub(field, *parts):
    body = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def attr(field, key, value):
    return sub(field, sub(1, key), sub(2, value))


ANY = {
    "string": sub(1, "text"), "bool": num(2, 1), "int": num(3, -5), "double": dbl(4, 0.5),
    "array": sub(5, sub(1, num(3, 1)), sub(1)), "kvlist": sub(6, attr(1, "k", sub(1, "v"))), "bytes": sub(7, b"\xff\x00"),
}
ATTRS = b"".join(attr(9, k, v) for k, v in ANY.items())
RESOURCE = sub(1, attr(1, "service.name", sub(1, "pump")), attr(1, "site", sub(1, "north")), num(2, 1),
               sub(3, sub(1, "u"), sub(2, "t"), sub(3, "id"), sub(4, "d")))
SCOPE = sub(1, sub(1, "lib"), sub(2, "1.0"), attr(3, "k", sub(1, "v")), num(4, 1))


def request(records, resource=RESOURCE, more=b""):
    return sub(1, resource, sub(2, SCOPE, records, sub(3, "schema")), sub(3, "schema"), more)


SPAN = sub(2, sub(1, b"\1" * 16), sub(2, b"\2" * 8), sub(3, "a=b"), sub(4, b"\3" * 8), sub(5, "GET /"), num(6, 2),
           fix64(7, 1767225600000000000), fix64(8, 1767225600000000001), ATTRS, num(10, 1),
           sub(11, fix64(1, 5), sub(2, "event"), attr(3, "k", num(2, 0))), num(12, 2),
           sub(13, sub(1, b"\1" * 16), sub(2, b"\2" * 8), sub(3, "c"), fix32(6, 1)), num(14, 3), sub(15), fix32(16, 257))
BAD_SPAN = sub(2, sub(5, "POST /"), sub(15, sub(2, "failed"), num(3, 2)))
LOG = sub(2, fix64(1, 1767225600000000000), num(2, 9), sub(3, "INFO"), sub(5, sub(1, "pump started: 21 \u00b0C")),
          attr(6, "k", sub(1, "v")), num(7, 1), fix32(8, 1), sub(9, b"\1" * 16), sub(10, b"\2" * 8), fix64(11, 7), sub(12, "start"))
POINT = sub(1, fix64(2, 1), fix64(3, 2), dbl(4, 21.5), sub(5, fix64(2, 3), dbl(3, 1.5), sub(4, b"\2" * 8), sub(5, b"\1" * 16)),
            attr(7, "k", sub(1, "v")), num(8, 1))
INT_POINT = sub(1, fix64(3, 2), fix64(6, (1 << 64) - 4))
HISTOGRAM_POINT = sub(1, fix64(3, 2), fix64(4, 3), dbl(5, 4.5), sub(6, struct.pack("<3Q", 1, 1, 1)),
                      sub(7, struct.pack("<2d", 0.5, 2)), attr(9, "k", sub(1, "v")), dbl(11, 0.1), dbl(12, 3))
EXPONENTIAL_POINT = sub(1, fix64(3, 2), fix64(4, 3), dbl(5, 4.5), num(6, 3), fix64(7, 1), sub(8, num(1, 5), sub(2, varint(1), varint(300))),
                        sub(9, num(1, 1), num(2, 4)), dbl(12, 0.1), dbl(13, 3), dbl(14, 1e-9))
SUMMARY_POINT = sub(1, fix64(3, 2), fix64(4, 3), dbl(5, 4.5), sub(6, dbl(1, 0.99), dbl(2, 7)), attr(7, "k", sub(1, "v")))


def metric(field, *data):
    return sub(2, sub(1, "plant.temperature"), sub(2, "how warm"), sub(3, "Cel"), sub(field, *data), attr(12, "m", sub(1, "v")))


UNKNOWN = num(100, 1) + fix64(101, 2) + sub(102, b"\xff") + fix32(103, 3)

PROTOBUF = {
    "empty": (TRACES, b""),
    "span": (TRACES, request(SPAN)),
    "two_classes": (TRACES, request(SPAN + BAD_SPAN) + request(BAD_SPAN, b"")),
    "unknown": (TRACES, request(SPAN + UNKNOWN, more=UNKNOWN) + UNKNOWN),
    "two_resources": (TRACES, sub(1, sub(1, attr(1, "s", sub(1))), sub(2, SPAN), sub(1, attr(1, "site", sub(1, "x"))))),
    "log": (LOGS, request(LOG)),
    "three_classes": (LOGS, request(LOG + sub(2, num(2, 13)) + sub(2, num(2, 17))) + request(sub(2, num(2, 21)), b"")),
    "nested": (LOGS, request(sub(2, sub(5, sub(5, sub(1, sub(6, attr(1, "k", sub(5, sub(1, sub(1, "deep"))))))))))),
    "empties": (LOGS, sub(1) + sub(1, sub(2)) + sub(1, sub(2, sub(2)))),
    "gauge": (METRICS, request(metric(5, POINT, INT_POINT))),
    "sum": (METRICS, request(metric(7, POINT, num(2, 2), num(3, 1)))),
    "histogram": (METRICS, request(metric(9, HISTOGRAM_POINT, num(2, 1)))),
    "exponential": (METRICS, request(metric(10, EXPONENTIAL_POINT, num(2, 2)))),
    "summary": (METRICS, request(metric(11, SUMMARY_POINT))),
    "two_data": (METRICS, request(sub(2, sub(5, POINT), sub(7, POINT)))),
}

JSON = {
    "empty": (TRACES, "{}"),
    "span": (TRACES, '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"pump"}}],'
             '"droppedAttributesCount":1},"scopeSpans":[{"scope":{"name":"lib","version":"1"},"spans":[{"traceId":'
             '"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":'
             '"I\'m a server span","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1.7e18,"kind":2,"events":[{'
             '"timeUnixNano":1,"name":"e"}],"links":[{"traceId":"00","flags":257}],"status":{"code":2,"message":"m"}}]}]}]}'),
    "values": (LOGS, '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","severityNumber":17,"body":{'
               '"arrayValue":{"values":[{"intValue":"-1"},{"intValue":5},{"doubleValue":"NaN"},{"doubleValue":1.5e300},{'
               '"boolValue":true},{"bytesValue":"AP8="},{"kvlistValue":{"values":[{"key":"k","value":null}]}},{},null]}},'
               '"traceId":"aa"}]}]}]}'),
    "metrics": (METRICS, '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"n","gauge":{"dataPoints":[{"asInt":"5"},{'
                '"asDouble":-0.0,"exemplars":[{"spanId":"01","asInt":1}]}]}},{"histogram":{"aggregationTemporality":1,'
                '"dataPoints":[{"count":3,"sum":1,"bucketCounts":["1",2],"explicitBounds":[0.5,"Infinity"],"min":0}]}},{'
                '"exponentialHistogram":{"dataPoints":[{"scale":-3,"positive":{"offset":-1,"bucketCounts":["1"]}}]}},{'
                '"summary":{"dataPoints":[{"quantileValues":[{"quantile":0.5,"value":1}]}]}}]}]}]}'),
    "odd": (LOGS, ' {"x":[1,-2.5e-3,true,false,null,{"y":{}},"\\u20ac\\ud83c\\udf0a\\n"],"resource\\u004cogs":[ { "schemaUrl" : "\\u0000" } ]} '),
}


def write(target, seeds, more=b""):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, (signal, body) in seeds.items():
        (folder / name).write_bytes(bytes([signal]) + more + (body.encode() if isinstance(body, str) else body))


for protobuf_target in ("fuzz_scan", "fuzz_sort", "fuzz_json_write"):
    write(protobuf_target, PROTOBUF)
write("fuzz_select", PROTOBUF, b"\x60\x80")
write("fuzz_json_read", JSON)
