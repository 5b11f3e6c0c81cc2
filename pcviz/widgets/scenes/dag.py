"""The DAG view: layers from the inputs to the root, and the regions (sum vectors) within them while they are few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...compiler.layering import Layering, factors_of, layering
from ...compiler.plan import LayerSummary, PlanSummary
from ...ir.nodes import InputNodes, Nodes, SumNodes, describe_scope
from .common import count, rounded
from .dag_costs import ESTIMATES, Costs
from .dag_search import kept_parts
from .dag_times import Times

MAX_GLYPHS = 300
MAX_COLUMNS = (MAX_GLYPHS - 1) // 2  # a column has two glyphs: products and sums
MAX_LINKS = 2500


def scene_dag(root: Nodes | Layering, summary: PlanSummary, report=None, times: dict[str, Times] | None = None) -> dict:
    """Scene of the circuit under ``root`` (or of its Layering). ``report``: a TrafficReport, for the estimated time; ``times``:
    "recorded_ms" and "measured_ms", where there are any."""
    cut = root if isinstance(root, Layering) else layering(root)
    times = times or {}
    columns = _columns(summary.layers, _estimates(report), _parameters(cut))
    for column in columns:
        column |= {kind: _known(found, column) for kind, found in times.items()}
    costs = Costs(cut, summary.block_size, summary.padding_tolerance, report, times)
    regions, caption = _regions(cut, costs) if len(summary.layers) <= MAX_COLUMNS else (None, "")
    return {
        "view": "dag",
        "blockSize": summary.block_size,
        "numLayers": len(summary.layers),
        "inputs": {"vectors": summary.num_input_vectors, "nodes": summary.num_input_nodes, "variables": summary.num_vars},
        "columns": columns,
        "regions": regions,
        "parts": kept_parts(cut, summary.block_size, summary.padding_tolerance, costs),
        "timeLabel": f"estimated time, forward (model, {report.device.name})" if report is not None else "estimated time (none yet)",
        "times": {kind: found.for_page() for kind, found in times.items()},
        "model": f"model, {report.device.name}, forward, batch {report.batch_size}" if report is not None else "",
        "key": f"{summary.num_input_nodes}|{summary.total('edges')}|{summary.total('num_products')}|{len(columns)}",
        "caption": " ".join(filter(None, [caption, _fold_caption(summary, columns)])),
    }


def _estimates(report) -> dict[int, dict[str, float]]:
    """Layer -> the model's figures of its forward launches, added up."""
    layers: dict[int, dict[str, float]] = {}
    for record in report.records if report is not None else ():
        if record.phase == "forward":
            sums = layers.setdefault(record.layer, dict.fromkeys(ESTIMATES, 0))
            for key in ESTIMATES:
                sums[key] += getattr(record, key)
    return layers


def _known(times: Times, column: dict) -> float | None:
    """Sum over the layers of a column; equal layers that are drawn once count as the others do, by their mean."""
    known = [times.layers[layer] for layer in range(column["layer"], column["last"] + 1) if layer in times.layers]
    return rounded(sum(known) / column["repeats"]) if known else None


def _parameters(cut: Layering) -> dict[int, int]:
    """Layer -> its parameters; those that tied vectors share count where they occur first."""
    seen: set[int] = set()
    counts = {}
    for layer in cut.layers:
        own = {id(nodes.storage): nodes.num_params for nodes in layer.sums}
        counts[layer.index] = sum(number for key, number in own.items() if key not in seen)
        seen |= own.keys()
    return counts


def _columns(layers: Sequence[LayerSummary], estimates: dict[int, dict], params: dict[int, int]) -> list[dict]:
    """One column per layer. Of a circuit with too many layers, equal neighbours fold to "x n", then any neighbours."""
    runs = [[layer] for layer in layers]
    if len(runs) > MAX_COLUMNS:
        runs = _fold_equal(layers)
    if len(runs) > MAX_COLUMNS:
        size = -(-len(layers) // MAX_COLUMNS)
        runs = [list(layers[i : i + size]) for i in range(0, len(layers), size)]
    return [_column(run, estimates, params) for run in runs]


def _fold_equal(layers: Sequence[LayerSummary]) -> list[list[LayerSummary]]:
    runs: list[list[LayerSummary]] = []
    for layer in layers:
        if runs and _shape(runs[-1][0]) == _shape(layer):
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return runs


def _shape(layer: LayerSummary) -> tuple[int, int, int]:
    return layer.num_products, layer.num_sums, layer.edges


def _column(run: list[LayerSummary], estimates: dict[int, dict], params: dict[int, int]) -> dict:
    """Counts are those of one layer where all of a run are equal, else of the run together."""
    first, last = run[0], run[-1]
    same = all(_shape(layer) == _shape(first) for layer in run)
    of = [first] if same else run
    edges = sum(layer.edges for layer in of)
    cells = sum(layer.stored_edges + layer.pseudo_edges for layer in of)
    known = [estimates[layer.index] for layer in of if layer.index in estimates]
    label = f"layer {first.index}" if len(run) == 1 else f"layers {first.index}-{last.index}" + (f" (x {len(run)})" if same else "")
    return {
        "label": label,
        "layer": first.index,
        "last": last.index,
        "repeats": len(run) if same else 1,
        "products": sum(layer.num_products for layer in of),
        "productVectors": sum(layer.num_product_vectors for layer in of),
        "sums": sum(layer.num_sums for layer in of),
        "sumVectors": sum(layer.num_sum_vectors for layer in of),
        "groups": sum(len(layer.groups) for layer in of),
        "edges": edges,
        "padding": round(1 - edges / cells, 6) if cells else 0.0,
        "params": sum(params[layer.index] for layer in of),
        **{key: rounded(sum(each[key] for each in known)) if known else None for key in ESTIMATES},
    }


def _fold_caption(summary: PlanSummary, columns: list[dict]) -> str:
    if len(columns) == len(summary.layers):
        return ""
    return f"{len(summary.layers)} layers are drawn in {len(columns)} columns: equal neighbours once, as x n, others together."


def _regions(cut: Layering, costs: Costs) -> tuple[dict | None, str]:
    """Glyphs (sum vectors, and input vectors or one glyph for all of them), their rows in each column, and links."""
    num_sums = sum(len(layer.sums) for layer in cut.layers)
    if num_sums + 1 > MAX_GLYPHS:
        return None, f"{count(num_sums)} regions are too many to draw one by one: the layers are drawn."
    fold_inputs = num_sums + len(cut.inputs) > MAX_GLYPHS
    number = cut.numbering.number
    glyphs = [] if fold_inputs else [_input_glyph(nodes, number[id(nodes)]) for nodes in cut.inputs]
    where = {id(nodes): 0 if fold_inputs else i for i, nodes in enumerate(cut.inputs)}
    if fold_inputs:
        nodes = sum(nodes.num_nodes for nodes in cut.inputs)
        name = f"{count(len(cut.inputs))} input vectors"
        glyphs.append({"name": name, "column": 0, "sums": nodes, "repeats": len(cut.inputs), "key": "layer:0"})
    links: list[tuple[int, int]] = []
    for column, layer in enumerate(cut.layers, 1):
        for nodes in layer.sums:
            where[id(nodes)] = len(glyphs)
            below = dict.fromkeys(where[id(factor)] for element in nodes.children for factor in factors_of(element))
            links += [(len(glyphs), child) for child in below]
            glyphs.append(_region_glyph(nodes, column, number[id(nodes)]) | costs.figures([nodes], [layer.index], nodes.num_edges))
    rows = _rows(glyphs, links)
    for glyph, row in zip(glyphs, rows, strict=True):
        glyph["row"] = row
    caption = f"Inputs are one glyph for {count(len(cut.inputs))} vectors." if fold_inputs else ""
    stride = -(-len(links) // MAX_LINKS)
    if stride > 1:
        caption = f"{caption} One of {stride} links is drawn.".strip()
    return {"glyphs": glyphs, "links": np.asarray(links, dtype="<u2").tobytes(), "stride": stride, "caption": caption}, ""


def _rows(glyphs: list[dict], links: list[tuple[int, int]]) -> list[float]:
    """Row of each glyph within its column, 0 to 1, ordered by the mean row of what it reads, to have fewer crossings."""
    below: dict[int, list[int]] = {}
    for parent, child in links:
        below.setdefault(parent, []).append(child)
    rows = [0.5] * len(glyphs)
    for column in range(max(glyph["column"] for glyph in glyphs) + 1):
        members = [i for i, glyph in enumerate(glyphs) if glyph["column"] == column]
        if column:
            members.sort(key=lambda i: sum(rows[j] for j in below[i]) / len(below[i]))
        for place, i in enumerate(members):
            rows[i] = round((place + 0.5) / len(members), 4)
    return rows


def _input_glyph(nodes: InputNodes, number: int) -> dict:
    name = f"{nodes.label}{':' if nodes.name else ','} variable {nodes.var}"
    return {"name": name, "column": 0, "sums": nodes.num_nodes, "repeats": 1, "key": f"vector:{number}"}


def _region_glyph(nodes: SumNodes, column: int, number: int) -> dict:
    counts = {"sums": nodes.num_nodes, "edges": nodes.num_edges, "params": nodes.num_params, "key": f"vector:{number}"}
    return {"name": _region_name(nodes), "column": column, **counts, "repeats": 1}


def _region_name(nodes: Nodes) -> str:
    name = f"{nodes.label}: " if nodes.name else ""
    return f"{name}variables {describe_scope(nodes.scope, 4)}"
