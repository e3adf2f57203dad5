"""Metrics requests of every kind.

    message = Metrics(service="shop").gauge("temperature", [(T0, 21.5)], unit="Cel").request

Times are in milliseconds. Points are (time, value) or (time, value, start).
"""
from tests.support import otlp

DELTA, CUMULATIVE = 1, 2
NO_RECORDED_VALUE = 1


def set_value(item, key, value):
    item.key = key
    kind = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value", bytes: "bytes_value"}
    setattr(item.value, kind[type(value)], value)


def set_attributes(attributes, pairs):
    for key, value in dict(pairs or {}).items():
        set_value(attributes.add(), key, value)


class Metrics:
    """service, instance and resource make the resource; scope is its (name, version)."""

    def __init__(self, service="shop", instance=None, resource=None, scope=("test", "1.0"), request=None):
        self.request = request or otlp.REQUEST["metrics"]()
        entry = self.request.resource_metrics.add()
        pairs = {"service.name": service, "service.instance.id": instance, **(resource or {})}
        set_attributes(entry.resource.attributes, {k: v for k, v in pairs.items() if v is not None})
        self._scope = entry.scope_metrics.add()
        self._scope.scope.name, self._scope.scope.version = scope

    def _metric(self, name, unit, help_text):
        metric = self._scope.metrics.add()
        metric.name, metric.unit, metric.description = name, unit, help_text
        return metric

    def _point(self, points, time_ms, start_ms, attributes, flags=0):
        point = points.add()
        point.time_unix_nano = time_ms * 1_000_000
        point.start_time_unix_nano = start_ms * 1_000_000
        point.flags = flags
        set_attributes(point.attributes, attributes)
        return point

    def _numbers(self, points, values, attributes):
        for time_ms, value, *start in values:
            flags = NO_RECORDED_VALUE if value is None else 0
            point = self._point(points, time_ms, start[0] if start else 0, attributes, flags)
            if isinstance(value, int):
                point.as_int = value
            elif value is not None:
                point.as_double = value
            yield point

    def gauge(self, name, values, unit="", attributes=None, help_text=""):
        list(self._numbers(self._metric(name, unit, help_text).gauge.data_points, values, attributes))
        return self

    def sum(self, name, values, unit="", attributes=None, monotonic=True, temporality=CUMULATIVE, help_text="",
            exemplars=()):
        data = self._metric(name, unit, help_text).sum
        data.is_monotonic, data.aggregation_temporality = monotonic, temporality
        for point in self._numbers(data.data_points, values, attributes):
            self._exemplars(point, exemplars)
        return self

    def _exemplars(self, point, exemplars):
        """(time, value, trace id, span id)"""
        for time_ms, value, trace_id, span_id in exemplars:
            exemplar = point.exemplars.add()
            exemplar.time_unix_nano = time_ms * 1_000_000
            exemplar.as_double = value
            exemplar.trace_id, exemplar.span_id = trace_id, span_id

    def histogram(self, name, values, bounds=(1.0, 5.0), unit="", attributes=None, temporality=CUMULATIVE,
                  exemplars=(), start=0):
        """values: (time, counts, sum)"""
        data = self._metric(name, unit, "").histogram
        data.aggregation_temporality = temporality
        for time_ms, counts, total in values:
            point = self._point(data.data_points, time_ms, start, attributes)
            point.explicit_bounds.extend(bounds)
            point.bucket_counts.extend(counts)
            point.count, point.sum = sum(counts), total
            self._exemplars(point, exemplars)
        return self

    def exponential(self, name, time_ms, *, scale, positive=(0, []), negative=(0, []), zero=0, total=0.0, unit="",
                    attributes=None, temporality=CUMULATIVE, start=0, zero_threshold=0.0, count=None):
        data = self._metric(name, unit, "").exponential_histogram
        data.aggregation_temporality = temporality
        point = self._point(data.data_points, time_ms, start, attributes)
        point.scale, point.zero_count, point.zero_threshold, point.sum = scale, zero, zero_threshold, total
        point.positive.offset, point.negative.offset = positive[0], negative[0]
        point.positive.bucket_counts.extend(positive[1])
        point.negative.bucket_counts.extend(negative[1])
        point.count = zero + sum(positive[1]) + sum(negative[1]) if count is None else count
        return self

    def summary(self, name, time_ms, quantiles, count, total, unit="", attributes=None):
        point = self._point(self._metric(name, unit, "").summary.data_points, time_ms, 0, attributes)
        point.count, point.sum = count, total
        for quantile, value in quantiles.items():
            item = point.quantile_values.add()
            item.quantile, item.value = quantile, value
        return self


def send(gateway, metrics):
    reply = otlp.post(gateway, "metrics", getattr(metrics, "request", metrics))
    assert reply.status_code == 200, reply.text
