"""Pruning of a trained circuit by the flows of its edges, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from .arguments import checked_integer, is_number
from .circuit import LN2, TensorCircuit, check_circuit
from .compiler.compile import compile as compile_circuit
from .ir.counts import circuit_counts
from .ir.nodes import SumNodes, sum_vectors
from .pruning import prune_edges


@dataclass(frozen=True)
class PruneReport:
    """A pruning: sum edges before and after, and the mean log-likelihood of the data in nats (None when pruned without data)."""

    keep: float  # the share asked for
    granularity: int
    num_edges_before: int
    num_edges_after: int
    num_vars: int
    num_samples: int
    ll_before: float | None
    ll_after: float | None

    @property
    def kept_share(self) -> float:
        return self.num_edges_after / self.num_edges_before

    def __str__(self) -> str:
        edges = f"{self.num_edges_before:,} sum edges pruned to {self.num_edges_after:,} ({self.kept_share:.1%}, asked for {self.keep:.1%})"
        if self.ll_before is None:
            return edges
        bits = [f"{-ll / (LN2 * self.num_vars):.4f}" for ll in (self.ll_before, self.ll_after)]
        lls = f"mean log-likelihood of {self.num_samples:,} samples {self.ll_before:.2f} before, {self.ll_after:.2f} after"
        return f"{edges}; {lls} ({bits[0]} and {bits[1]} bits per dimension)"


def prune(
    pc: TensorCircuit, keep: float = 0.4, granularity: int = 1, x=None, *, observed=None, return_report: bool = False
) -> SumNodes | tuple[SumNodes, PruneReport]:
    """A new circuit with the low-flow edges gone and parameters renormalised (pruning by flow, as in the sparse-PC
    literature: Dang, Liu, Van den Broeck 2022). ``pc`` and its circuit stay as they are.

    keep: share of the sum edges to keep, over the whole circuit. Every sum keeps its strongest edge and nodes that nothing
        reads any more go too; the share is met within a hundredth (relative) unless blocks or these last edges are too coarse.
    granularity: edges go in blocks of that many sums x children.
    x: the data [N, V] whose flows decide; None: parameters alone. ``observed``: bool mask of x, False: missing.
    return_report: return (circuit, PruneReport) with the likelihood of ``x`` before and after.

    Raises ValueError for wrong arguments and data. With ``x``, flows accumulated for ``em_step`` are dropped.
    """
    check_circuit(pc, "prune")
    if not is_number(keep) or not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1], the share of sum edges to keep, got {keep!r}.")
    granularity = checked_integer("granularity", granularity)
    if x is None and observed is not None:
        raise ValueError("observed is a mask of x; pass x too.")
    pc.write_back()
    flows = None if x is None else pc.flows(x, observed)
    scores = {id(nodes): (nodes.params if flows is None else flows.of(nodes)) for nodes in sum_vectors(pc.root)}
    root = prune_edges(pc.root, scores, keep, granularity)
    if not return_report:
        return root
    before = after = None
    if flows is not None:
        plan = compile_circuit(root, block_size=pc.block_size)
        pruned = TensorCircuit(plan, device=str(pc.device), impl=pc.impl, dtype=pc.dtype, variant=pc.variant)
        before, after = (float(circuit(x, observed).double().mean()) for circuit in (pc, pruned))  # not those of the flows: one precision
    counts = [circuit_counts(circuit).sum_edges for circuit in (pc.root, root)]
    samples = 0 if flows is None else len(flows.lls)
    return root, PruneReport(keep, granularity, *counts, pc.plan.num_vars, samples, before, after)
