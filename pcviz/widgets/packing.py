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
    fields = _Fields()
    try:
        text = _json(scene, fields.put)
    except (TypeError, ValueError):  # numbers that are not finite, keys that are no text, or what is no JSON: looked at one by one
        fields = _Fields()
        text = _json(_plain(scene, fields, "scene"))
    return gzip.compress(struct.pack("<I", len(text)) + text + b"".join(fields), 5, mtime=0)


def unpack(container: bytes) -> dict:
    """The scene of a container, as the page reads it (store.js); for tests."""
    raw = gzip.decompress(container)
    (length,) = struct.unpack_from("<I", raw)
    body = raw[4 + length :]

    def revive(item: dict):
        where = item.get("$bytes")
        return item if where is None else body[where[0] : where[0] + where[1]]

    return json.loads(raw[4 : 4 + length], object_hook=revive)


def _json(scene, default=None) -> bytes:
    return json.dumps(scene, separators=(",", ":"), allow_nan=False, default=default).encode()


class _Fields(list):
    """Byte fields, one after another."""

    size = 0

    def put(self, value):
        """What stands in the JSON for bytes, which are kept, and for a numpy scalar; TypeError for all else."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
            self.append(data)
            self.size += len(data)
            return {"$bytes": [self.size - len(data), len(data)]}
        if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            return value.item()
        raise TypeError(f"expected JSON values or bytes, found {type(value).__name__}.")


def _plain(value, fields: _Fields, path: str):
    match value:
        case dict():
            return {str(key): _plain(item, fields, f"{path}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, fields, f"{path}[{i}]") for i, item in enumerate(value)]
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
    try:
        return _plain(put, fields, path) if isinstance(put := fields.put(value), float) else put
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from None
