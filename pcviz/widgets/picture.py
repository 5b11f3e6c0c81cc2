"""A block map as a small PNG, for readers that run no script."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode

import numpy as np

from ..compiler.blockmap import ABSENT, MISSING

NOTHING, EDGES = (244, 245, 247), (36, 92, 168)
PADDINGS = ((MISSING, (150, 156, 166)), (ABSENT, (250, 205, 135)))  # a cell with both has the colour of the last
LEGEND = "blue: blocks of edges; orange: with absent edges; grey: with missing rows or columns"


def block_map_picture(scene: dict, pixels: int = 420) -> str:
    """An HTML figure of the block matrix of a Blocks scene; rows are sum blocks, columns child blocks."""
    matrix = scene["matrix"]
    kinds = np.frombuffer(matrix["kinds"], np.uint8).reshape(matrix["rows"], matrix["cols"])
    image = np.where((kinds > 0)[..., None], np.uint8(EDGES), np.uint8(NOTHING))
    for bit, colour in PADDINGS:
        image[(kinds & bit) > 0] = colour
    data = b64encode(png(image)).decode()
    text = f"Block matrix of layer {scene['layer']} at block size {scene['blockSize']}"
    height = max(8, round(pixels * kinds.shape[0] / max(kinds.shape)))
    width = max(8, round(pixels * kinds.shape[1] / max(kinds.shape)))
    picture = f'<img alt="{text}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{text} ({LEGEND})</figcaption></figure>"


def png(image: np.ndarray) -> bytes:
    """PNG file of an RGB image, uint8 [height, width, 3]."""
    height, width, _ = image.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)  # filter 0 before each row

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b"")
