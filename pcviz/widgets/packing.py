"""Scenes on their way to the browser: one gzipped container of JSON and bytes.

Layout: the length of the JSON as a little-endian 32-bit number, the JSON, then the byte fields one after another. In the
JSON a byte field reads ``{"$bytes": [offset, length]}``, counted from the end of the JSON. store.js unpacks it.
"""

from __future__ import annotations

import gzip
import json
import math
import struct


def pack(scene: dict) -> bytes:
    """The container of a scene."""
    fields: list[bytes] = []
    text = json.dumps(_plain(scene, fields, [0], "scene"), separators=(",", ":"), allow_nan=False).encode()
    return gzip.compress(struct.pack("<I", len(text)) + text + b"".join(fields), 5, mtime=0)


def unpack(container: bytes) -> dict:
    """The scene of a container; for tests and exports."""
    raw = gzip.decompress(container)
    (length,) = struct.unpack_from("<I", raw)
    body = raw[4 + length :]

    def revive(item: dict):
        where = item.get("$bytes")
        return item if where is None else body[where[0] : where[0] + where[1]]

    return json.loads(raw[4 : 4 + length], object_hook=revive)


def _plain(value, fields: list[bytes], offset: list[int], path: str):
    match value:
        case bytes() | bytearray() | memoryview():
            data = bytes(value)
            fields.append(data)
            start, offset[0] = offset[0], offset[0] + len(data)
            return {"$bytes": [start, len(data)]}
        case dict():
            return {str(key): _plain(item, fields, offset, f"{path}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, fields, offset, f"{path}[{i}]") for i, item in enumerate(value)]
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a numpy scalar
        return _plain(value.item(), fields, offset, path)
    raise TypeError(f"{path}: expected JSON values or bytes, found {type(value).__name__}.")
