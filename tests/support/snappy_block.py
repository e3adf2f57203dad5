"""Raw snappy blocks, decoded by the format's description: strict, and slow enough for tests only."""


class SnappyError(ValueError):
    pass


def _length(data):
    n = shift = 0
    for i, byte in enumerate(data[:5]):
        n |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return n, i + 1
    raise SnappyError("no length at the start")


def decode(data, limit=100 << 20):
    """The bytes that the block stands for. SnappyError: it is none, or says that it is longer than limit."""
    want, at = _length(data)
    if want > limit:
        raise SnappyError(f"{want} bytes are more than {limit}")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind = tag & 3
        if kind == 0:
            n = tag >> 2
            if n >= 60:
                extra = n - 59
                n = int.from_bytes(data[at:at + extra], "little")
                at += extra
            n += 1
            if at + n > len(data):
                raise SnappyError("a literal is cut off")
            out += data[at:at + n]
            at += n
            continue
        size = (1, 2, 4)[kind - 1]
        if at + size > len(data):
            raise SnappyError("a copy is cut off")
        offset = int.from_bytes(data[at:at + size], "little")
        at += size
        n = (tag >> 2) + 1
        if kind == 1:
            n = ((tag >> 2) & 7) + 4
            offset |= (tag >> 5) << 8
        if not 0 < offset <= len(out):
            raise SnappyError("a copy from before the start")
        if offset >= n:
            start = len(out) - offset
            out += out[start:start + n]
        else:
            piece = bytes(out[-offset:])
            out += (piece * (n // offset + 1))[:n]
    if len(out) != want:
        raise SnappyError(f"{len(out)} bytes where the length says {want}")
    return bytes(out)


def encode(data):
    """Literals only: valid, and no smaller."""
    n = len(data)
    out = bytearray()
    while True:
        out.append(n & 0x7F | (0x80 if n > 0x7F else 0))
        n >>= 7
        if not n:
            break
    for at in range(0, len(data), 65536):
        piece = data[at:at + 65536]
        out += bytes([61 << 2]) + (len(piece) - 1).to_bytes(2, "little") + piece
    return bytes(out)
