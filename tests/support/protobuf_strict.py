"""Reads protobuf field by field, and takes nothing that was not announced: for stand-ins that check what they get.

    for number, value in message(data, {1: 2, 2: 0}, "Sample", error=Wrong): ...

A field that is unknown, of another wire type, or cut off raises `error`. No library says so: they skip it.
"""


def varint(data, at, error=ValueError):
    """The value, and where the next one begins."""
    n = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise error("a varint is cut off or too long")
        byte = data[at]
        at += 1
        n |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return n, at


def message(data, known, what, error=ValueError):
    """(number, value) of each field; known: number -> wire type (0 varint, 1 fixed64, 2 bytes)."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at, error)
        number, kind = tag >> 3, tag & 7
        if known.get(number) != kind:
            raise error(f"{what} has a field {number} of wire type {kind}")
        if kind == 1:
            value, at = data[at:at + 8], at + 8
        else:
            value, at = varint(data, at, error)
        if kind == 2:
            value, at = data[at:at + value], at + value
        if at > len(data):
            raise error(f"field {number} of {what} is cut off")
        yield number, value
