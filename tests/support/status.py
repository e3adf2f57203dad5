"""google.rpc.Status: read from the body of an HTTP error, in the request's encoding, and written for gRPC trailers."""

from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2  # noqa: F401 (RetryInfo must be known)


def parse_status(content_type, body):
    """A google.rpc.Status; what is none raises."""
    if content_type == "application/json":
        return json_format.Parse(body, status_pb2.Status())
    assert content_type == "application/x-protobuf", content_type
    status = status_pb2.Status()
    status.ParseFromString(body)
    return status


def retry_seconds(status):
    """RetryInfo's delay, or None."""
    for detail in status.details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return None




def status_details(code, message, retry_after_s=0):
    """The bytes of grpc-status-details-bin."""
    status = status_pb2.Status(code=code, message=message)
    if retry_after_s:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromMilliseconds(int(retry_after_s * 1000))
        status.details.add().Pack(info)
    return status.SerializeToString()
