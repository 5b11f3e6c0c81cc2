"""Where a run of EM stands, apart from the parameters of the circuit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .circuit import TensorCircuit
from .ir.nodes import topological


@dataclass(frozen=True)
class FitState:
    """All that ``fit`` needs to go on, beside the circuit: the order of the samples follows from seed and step, and so does
    the place in a schedule. Flows are not part of it: they are zero between two steps.
    """

    num_rows: int  # samples of the training data
    batch_size: int
    seed: int
    step: int = 0  # mini-batches done
    seconds: float = 0.0  # training time of these
    best_epoch: int | None = None  # with the lowest test_bpd
    best_bpd: float | None = None
    best_params: tuple[np.ndarray, ...] | None = field(default=None, repr=False, compare=False)  # with patience only

    def check_continues(self, start: FitState) -> None:
        """Raises ValueError unless a run that starts as ``start`` would have come here."""
        for name in ("num_rows", "batch_size", "seed"):
            expected, found = getattr(self, name), getattr(start, name)
            if found != expected:
                what = "the same data" if name == "num_rows" else f"{name}={expected}"
                raise ValueError(f"fit(state=...) continues a run with {name}={expected}, but this call has {found}; pass {what}, or no state.")


def parameters_of(pc: TensorCircuit) -> tuple[np.ndarray, ...]:
    """Copies of all parameters, in the order of the circuit's vectors."""
    return tuple(nodes.params.copy() for nodes in _vectors(pc.write_back()))


def set_parameters(pc: TensorCircuit, params: tuple[np.ndarray, ...]) -> None:
    """The inverse of ``parameters_of``."""
    for nodes, values in zip(_vectors(pc.root), params, strict=True):
        nodes.params = values.copy()
    pc.load_params()


def _vectors(root):
    return [nodes for nodes in topological(root) if nodes.kind != "product"]
