"""The DAG view's scene of a generation, and its answers: parts that are opened, what a search finds, flows."""

from __future__ import annotations

from collections.abc import Callable

from ..compiler.compile import first_rows
from .circuits import FIGURE_5
from .scenes.dag import scene_dag
from .scenes.dag_costs import Costs
from .scenes.dag_flow import overview_flows
from .scenes.dag_parts import scene_dag_part
from .scenes.dag_search import find_part, row_text
from .scenes.dag_times import Times, measured_times, recorded_times


class DagJob:
    """Of one ``generation``; costs of a block size are laid out when they are first asked for, and anew after a measurement."""

    def __init__(self, generation):
        self._generation = generation
        self._costs: dict[tuple[int, int], Costs] = {}
        self._rows_of: tuple[int, dict[int, int]] = (0, {})

    def scene(self, size: int) -> dict:
        of = self._generation
        return scene_dag(of.layering, of.summary(size), of.report(size), self._times(size))

    def answer(self, wish: dict, size: int, flows_of: Callable) -> dict:
        """The part ``wish["open"]`` of the circuit, or the one that ``wish["find"]`` finds, or several names that fit.

        ``wish["flow"]``: "data" or the number of a sample, whose flows come with it; ``flows_of`` has them. With "regions" instead
        of a part, the flows of layers and of the glyphs of these keys. ``wish["costs"]``: padding, the model's figures and times too.
        """
        numbering, flow = self._generation.layering.numbering, wish.get("flow")
        flows, samples = (None, 0) if flow is None else flows_of(None if flow == "data" else int(flow))
        if "regions" in wish:
            return overview_flows(numbering, flows, wish["regions"]) | {"samples": samples}
        found = {"key": wish["open"]} if "open" in wish else find_part(numbering, wish["find"], self._rows(size), size)
        if "key" not in found:
            return found
        costs = self.costs(size) if wish.get("costs") else None
        part = scene_dag_part(numbering, found["key"], size, flows, costs)
        part["caption"] = row_text(numbering, part, self._rows(size), self._generation.settings.padding_tolerance) + part["caption"]
        return found | {"part": part, "samples": samples}

    def _rows(self, size: int) -> dict[int, int]:
        """First row of every vector in the buffer of values, as figure 4 of Blocks has them; of the last block size that was asked for."""
        if self._rows_of[0] != size:
            of = self._generation
            self._rows_of = size, first_rows(of.layering, block_size=size, padding_tolerance=of.settings.padding_tolerance)
        return self._rows_of[1]

    def _times(self, size: int) -> dict[str, Times]:
        from ..recorded import layer_times

        of, rows = self._generation, []
        if of.entry.name == FIGURE_5 and not of.settings.cpu:
            rows = [row for row in layer_times() if row.provenance.circuit == "fig5-dense" and row.provenance.is_own]
            rows = [row for row in rows if row.batch_size == of.settings.batch_size]
        why_not = "" if of.entry.can_train else of.entry.why_not
        return {"recorded_ms": recorded_times(rows, size), "measured_ms": measured_times(of.measured(), size, why_not)}

    def costs(self, size: int) -> Costs:
        of, times = self._generation, self._times(size)
        key = size, times["measured_ms"].number
        if key not in self._costs:
            self._costs[key] = Costs(of.layering, size, of.settings.padding_tolerance, of.report(size), times)
        return self._costs[key]
