"""Compressed bodies, in and out. What comes in is bounded after it is unpacked, whatever it claims."""

from __future__ import annotations

import re
import zlib

from serinus.errors import BadInput, TooLarge, Unsupported
from serving.ask import MAX_BODY_BYTES

WORTH_IT_BYTES = 8 << 10
"""Below this an answer is sent as it is: most clients accept gzip without being asked, and packing costs more."""
LEVEL = 1
GZIP, ZLIB, RAW = 31, 15, -15
"""Window bits of zlib, which say the format."""
CODINGS = re.compile(rb"([a-z*]+)\s*(?:;\s*q=([0-9.]+))?\s*(?:,|$)")


def unpacked(body: bytes, coding: bytes) -> bytes:
    """The body without its Content-Encoding. Raises BadInput, TooLarge, Unsupported."""
    match coding.strip().lower():
        case b"" | b"identity":
            return body
        case b"gzip" | b"x-gzip":
            kinds = [GZIP]
        case b"deflate":  # the standard means zlib's format, some clients send it raw
            kinds = [ZLIB, RAW]
        case _:
            raise Unsupported(f"Content-Encoding is {coding[:64]!r}, expected gzip, deflate or none")
    for kind in kinds:
        unpack = zlib.decompressobj(kind)
        try:
            found = unpack.decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error as error:
            why = error
            continue
        if len(found) > MAX_BODY_BYTES:
            raise TooLarge(f"the body has more than {MAX_BODY_BYTES} bytes once it is unpacked")
        if not unpack.eof or unpack.unused_data:
            raise BadInput(f"the {coding.decode('latin-1')} body is cut short, or something follows it")
        return found
    raise BadInput(f"the body is no {coding.decode('latin-1')}: {why}")


def packed(body: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    """(The body, its Content-Encoding: "" when it is sent as it is). `accepted`: the Accept-Encoding header."""
    if len(body) < WORTH_IT_BYTES or not accepted:
        return body, b""
    found = dict(CODINGS.findall(accepted.lower()))
    wanted = {name for name, quality in found.items() if not quality or quality.strip(b"0.")}  # q=0: not that one
    for coding, kind in ((b"gzip", GZIP), (b"deflate", ZLIB)):
        if coding in wanted:
            pack = zlib.compressobj(LEVEL, wbits=kind)
            return pack.compress(body) + pack.flush(), coding
    return body, b""
