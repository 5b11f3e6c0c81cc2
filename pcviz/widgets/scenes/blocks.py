"""The Blocks view: how one layer's parameter matrix is cut into blocks, what of it is padding, and which launch reads it."""

from __future__ import annotations

from ...compiler.plan import GroupSummary, LayerSummary, PlanSummary
from .blocks_cuts import scene_cuts
from .common import count, html_table, percent
from .launch_counts import LaunchCounts

MAX_LAYERS = 200  # entries of the layer chooser
MAX_GROUPS = 64  # launches listed


def scene_blocks(summary: PlanSummary, block_map, layer: int, total_zeros: int | None = None, launches: LaunchCounts | None = None) -> dict:
    """Scene of layer ``layer`` (1 is next to the inputs). ``block_map``: a BlockMap of the same layer and block size;
    ``total_zeros``: edges of the whole circuit whose parameter is 0; ``launches``: without them, those of the plan are counted."""
    index = [one.index for one in summary.layers]
    if layer not in index:
        raise ValueError(f"layer must be one of 1 to {max(index)} (1 is next to the inputs), got {layer!r}.")
    chosen, launches = summary.layers[index.index(layer)], launches or LaunchCounts(summary)
    return {
        "view": "blocks",
        "blockSize": summary.block_size,
        "tolerance": summary.padding_tolerance,
        "layer": layer,
        "layers": [_layer_row(one) for one in _shown_layers(summary.layers, layer)],
        "numLayers": len(summary.layers),
        "sumBlocks": int(block_map.sum_blocks),
        "childBlocks": int(block_map.child_blocks),
        "sumBlock": int(block_map.sum_block),
        "childBlock": int(block_map.child_block),
        "mixed": len({(group.sum_block, group.child_block) for group in chosen.groups}) > 1,
        "numSums": chosen.num_sums,
        "numProducts": chosen.num_products,
        "matrix": picture(block_map.matrix),
        "packed": picture(block_map.packed),
        "rowGroup": bytes(min(group, 255) for group in block_map.row_groups),
        "rowPseudo": [int(n) for n in block_map.row_pseudo],
        "rowLabels": list(block_map.row_labels),
        "colLabels": list(block_map.col_labels),
        "groups": [_group_row(i, group) for i, group in enumerate(chosen.groups[:MAX_GROUPS])],
        "counts": _counts(chosen, chosen.stored_edges, len(chosen.groups), launches.total("forward", layer))
        | {"zero": block_map.zero_edges},
        "total": _counts(_Totals(summary), summary.total("stored_edges"), summary.num_groups, launches.total("forward")) | {"zero": total_zeros},
        "cuts": scene_cuts(block_map.grouping, block_map.shapes),
        "caption": _caption(block_map, len(chosen.groups)),
    }


def picture(raster) -> dict:
    """A Raster for the page; windows count blocks."""
    return {
        "window": list(raster.window),
        "per": [raster.per_row, raster.per_col],
        "rows": raster.rows,
        "cols": raster.cols,
        "kinds": raster.kinds,
        "fill": raster.fill,
    }


def static_blocks(scene: dict) -> str:
    """HTML table of the launches of a layer and their paddings."""
    counts = scene["counts"]
    rows = [
        [f"launch {g['launch']}", *(count(g[key]) for key in ("G", "E", "stored", "pseudoBlocks", "cells")), f"{g['sumBlock']} x {g['childBlock']}"]
        for g in scene["groups"]
    ]
    caption = ", ".join(f"{count(counts[key])} {'of them 0' if key == 'zero' else key}" for key in ("edges", "zero", "absent", "missing", "pseudo"))
    title = f"Layer {scene['layer']} of {scene['numLayers']} at block size {scene['blockSize']}"
    head = ["launch", "sum blocks G", "child blocks E", "stored blocks", "pseudo blocks", "cells multiplied", "block"]
    return html_table(title, head, rows, f"{caption}; padding {percent(counts['paddingShare'])}. {scene['caption']}")


class _Totals:
    """The counts of a whole circuit under the names of a LayerSummary."""

    def __init__(self, summary: PlanSummary):
        for name in ("edges", "absent_edges", "missing_edges", "pseudo_edges", "pseudo_blocks", "stored_blocks"):
            setattr(self, name, summary.total(name))


def _counts(source, stored_edges: int, groups: int, launches: int) -> dict:
    cells = stored_edges + source.pseudo_edges
    return {
        "edges": source.edges,
        "absent": source.absent_edges,
        "missing": source.missing_edges,
        "pseudo": source.pseudo_edges,
        "pseudoBlocks": source.pseudo_blocks,
        "storedBlocks": source.stored_blocks,
        "cells": cells,
        "groups": groups,
        "launches": launches,
        "paddingShare": round(1 - source.edges / cells, 6) if cells else 0.0,
    }


def _layer_row(layer: LayerSummary) -> dict:
    return {"index": layer.index, "sums": layer.num_sums, "products": layer.num_products, "groups": len(layer.groups), "edges": layer.edges}


def _group_row(i: int, group: GroupSummary) -> dict:
    return {
        "launch": i + 1,
        "sumBlock": group.sum_block,
        "childBlock": group.child_block,
        "G": group.num_sum_blocks,
        "E": group.num_child_blocks,
        "stored": group.stored_blocks,
        "pseudoBlocks": group.pseudo_blocks,
        "absent": group.absent_edges,
        "missing": group.missing_edges,
        "cells": group.stored_edges + group.pseudo_edges,
    }


def _shown_layers(layers: tuple[LayerSummary, ...], chosen: int) -> list[LayerSummary]:
    """All layers, or of a very deep circuit the ``MAX_LAYERS`` around the chosen one."""
    if len(layers) <= MAX_LAYERS:
        return list(layers)
    start = min(max(0, chosen - MAX_LAYERS // 2), len(layers) - MAX_LAYERS)
    return list(layers[start : start + MAX_LAYERS])


def _caption(block_map, num_groups: int) -> str:
    parts = []
    matrix = block_map.matrix
    if matrix.per_row > 1 or matrix.per_col > 1:
        rows, cols = count(matrix.per_row), count(matrix.per_col)
        parts.append(f"Aggregated: a row stands for {rows} sum blocks, a cell of the matrix for {rows} x {cols} blocks. Zoom in for finer cells.")
    if num_groups > MAX_GROUPS:
        parts.append(f"The first {MAX_GROUPS} of {count(num_groups)} launches are listed.")
    return " ".join(parts)
