"""Where a run of EM stands, apart from the parameters of the circuit; and both in a file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from .circuit import TensorCircuit
from .io import load_with_extra, save
from .ir.nodes import Nodes, ParamNodes, SumNodes, topological


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

    def check_continues(self, start: FitState, patience: int | None) -> None:
        """Raises ValueError unless a run that starts as ``start`` would have come here."""
        for name in ("num_rows", "batch_size", "seed"):
            expected, found = getattr(self, name), getattr(start, name)
            if found != expected:
                what = "the same data" if name == "num_rows" else f"{name}={expected}"
                raise ValueError(f"fit(state=...) continues a run with {name}={expected}, but this call has {found}; pass {what}, or no state.")
        if patience is not None and self.best_epoch is not None and self.best_params is None:
            raise ValueError("fit(state=..., patience=...): the run to be continued had no patience and kept no best parameters; leave patience out.")


def save_fit(training, path) -> None:
    """Write the circuit of a run (what ``pcv.fit`` returned) to the file ``path``, and with it where the run stands.

    It is a circuit file like those of ``pcv.save``. The best parameters of a run with patience are a second one beside it,
    ``path`` + ".best", written first: if the program is stopped between the two, the older state and the newer best
    parameters still continue to the same result. FileNotFoundError: no such folder.
    """
    pc, state = training.pc, training.state
    if state.best_params is not None:
        pc.write_back()
        now = parameters_of(pc.root)
        try:
            _set(pc.root, state.best_params)
            save(pc.root, _best(path), extra={"fit": _json(state)})
        finally:
            _set(pc.root, now)
    save(pc, path, extra={"fit": _json(state)})


def load_fit(path) -> tuple[SumNodes, FitState]:
    """(circuit, state) of a run that ``save_fit`` wrote, for ``fit(..., state=state)``. Raises ValueError when the file is something else,
    or damaged, and FileNotFoundError when it, or its best parameters beside it, are not there."""
    root, state, has_best = _load(path)
    if not has_best:
        return root, state
    if not _best(path).is_file():
        raise FileNotFoundError(f"{path} is a run with patience; expected its best parameters beside it in {_best(path).name}, found nothing.")
    best, of_best, _ = _load(_best(path))
    run = ("num_rows", "batch_size", "seed")
    same = all(getattr(state, name) == getattr(of_best, name) for name in run)
    if not same or any(nodes.params is None for nodes in _vectors(best)) or _shapes(best) != _shapes(root):
        raise ValueError(f"{_best(path)} is of another run than {path}; load the two files that were saved together.")
    return root, replace(state, best_epoch=of_best.best_epoch, best_bpd=of_best.best_bpd, best_params=parameters_of(best))


def parameters_of(root: Nodes) -> tuple[np.ndarray, ...]:
    """Copies of all parameters, in the order of the circuit's vectors."""
    return tuple(nodes.params.copy() for nodes in _vectors(root))


def set_parameters(pc: TensorCircuit, params: tuple[np.ndarray, ...]) -> None:
    """Give ``pc`` and its circuit the parameters that ``parameters_of`` returned."""
    _set(pc.root, params)
    pc.load_params()


def _set(root: Nodes, params: tuple[np.ndarray, ...]) -> None:
    for nodes, values in zip(_vectors(root), params, strict=True):
        nodes.params = values.copy()


def _vectors(root: Nodes) -> list[ParamNodes]:
    return [nodes for nodes in topological(root) if isinstance(nodes, ParamNodes)]


def _shapes(root: Nodes) -> list[tuple[int, ...]]:
    return [np.shape(nodes.params) for nodes in _vectors(root)]


def _best(path) -> Path:
    path = Path(path)
    return path.with_name(path.name + ".best")


def _json(state: FitState) -> dict:
    record = asdict(replace(state, best_params=None))
    return {**record, "best_params": state.best_params is not None}


def _load(path) -> tuple[SumNodes, FitState, bool]:
    root, extra = load_with_extra(path)
    record = extra.get("fit")
    names = [f.name for f in fields(FitState)]
    if not isinstance(record, dict) or sorted(record) != sorted(names):
        raise ValueError(f"{path} is a circuit without a run: expected 'fit' with {', '.join(names)} in its header; load it with pcv.load.")
    has_best = record.pop("best_params")
    for name, value in record.items():
        least = 1 if name in ("num_rows", "batch_size", "best_epoch") else 0 if name == "step" else -math.inf
        kinds = (int, float) if name in ("seconds", "best_bpd") else int
        optional = value is None and name.startswith("best_")
        if not optional and (isinstance(value, bool) or not isinstance(value, kinds) or not least <= value):
            raise ValueError(f"{path}: its run has {name}={value!r}, which is no possible value; save it again.")
    return root, FitState(**record), has_best is True
