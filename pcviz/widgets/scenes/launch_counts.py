"""How many launches a pass of a circuit has, and what each of them is for.

On a GPU they are those that impl="triton" makes, traced with the model and equal to the engine's calls by test; elsewhere those that the
plan needs, with products computed again in the backward pass. Their sum is the circuit's number wherever a view shows launches.
"""

from __future__ import annotations

from collections import Counter

from ...compiler.plan import PlanSummary
from ...em_trace import updated_groups
from ...traffic import TrafficReport
from .common import PASSES_OF, count

KINDS = {  # a launch's phase -> what its launches are called, in the order in which a training step needs them
    "input": "inputs", "product": "products", "forward": "sums", "sum_guard": "guards of sums", "fill": "clearing flows",
    "root_flows": "flow of the root", "ratios": "ratios", "param_flows": "parameter flows", "element_flows": "element flows",
    "flow_guard": "guards of flows", "product_flows": "product flows", "input_flows": "input flows", "em": "EM of sums", "em_inputs": "EM of inputs",
}  # fmt: skip


class LaunchCounts:
    """Launches of one block size by pass, layer (0: of no layer) and phase."""

    def __init__(self, summary: PlanSummary, report: TrafficReport | None = None):
        traced = report is not None and report.impl == "triton"
        if traced:
            self._counts = Counter((r.direction, r.layer, r.phase) for records in (report.records, report.around) for r in records)
        else:
            self._counts = _planned(summary)
        self.kind = "all, by trace" if traced else "all, of the plan"

    def total(self, phase: str, layer: int | None = None) -> int:
        """Of a pass, or of passes together as in ``PASSES_OF``; of one layer or of the circuit."""
        return sum(self._by_kind(phase, layer).values())

    def text(self, phase: str) -> str:
        """`inputs 2 + products 7 + sums 9 + guards of sums 9 = 27 launches`."""
        found = self._by_kind(phase)
        return f"{' + '.join(f'{name} {count(found[key])}' for key, name in KINDS.items() if found[key])} = {count(sum(found.values()))} launches"

    def _by_kind(self, phase: str, layer: int | None = None) -> Counter:
        found = Counter()
        for (name, of, kind), number in self._counts.items():
            if name in PASSES_OF[phase] and layer in (None, of):
                found[kind] += number
        return found


def _planned(summary: PlanSummary) -> Counter:
    inputs = summary.input_launches
    counts = Counter({("forward", 0, "input"): inputs, ("backward", 0, "input_flows"): inputs, ("em", 0, "em_inputs"): inputs})
    for layer in summary.layers:
        groups, products = len(layer.groups), layer.product_launches
        kinds = {
            ("forward", "product"): products, ("forward", "forward"): groups,
            ("backward", "product"): products, ("backward", "param_flows"): groups, ("backward", "element_flows"): len(layer.backward_groups),
            ("backward", "product_flows"): products, ("em", "em"): len(updated_groups(layer)),
        }  # fmt: skip
        counts.update({(name, layer.index, kind): number for (name, kind), number in kinds.items()})
    return counts
