"""What data must look like: shape, number type, and the values that each variable of a circuit takes."""

from __future__ import annotations

import torch

from .datasets import as_array


def as_table(x, num_vars: int) -> torch.Tensor:
    """``x`` (tensor, numpy array, lists, pandas DataFrame) as a tensor [B, num_vars]; ValueError when it has another shape."""
    x = x if isinstance(x, torch.Tensor) else torch.as_tensor(as_array(x))
    if x.ndim != 2 or x.shape[1] != num_vars:
        raise ValueError(f"x must have shape [B, {num_vars}] (samples, variables), got {list(x.shape)}.")
    return x


def check_mask(observed, x: torch.Tensor) -> torch.Tensor:
    """``observed`` as a bool tensor [B, V] or [1, V] for data ``x`` [B, V]; ValueError when it is something else."""
    observed = (observed if isinstance(observed, torch.Tensor) else torch.as_tensor(as_array(observed, "observed"))).to(x.device)
    if observed.dtype != torch.bool:
        raise ValueError(f"observed must be a bool mask (True: observed), got dtype {observed.dtype}.")
    if observed.ndim != 2 or observed.shape[1] != x.shape[1] or observed.shape[0] not in (1, len(x)):
        raise ValueError(f"observed must have shape [{len(x)}, {x.shape[1]}] or [1, {x.shape[1]}], got {list(observed.shape)}.")
    return observed


def check_values(x: torch.Tensor, num_cats: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``x`` [B, V] as int64, or as ``dtype`` when some variable is real. ``num_cats`` [V]: categories of each; 0: real numbers.

    Raises ValueError: empty, NaN, a number type or a value that a variable does not take.
    """
    if len(x) == 0:
        raise ValueError("x is an empty batch (0 samples); pass at least one row.")
    if (x.is_floating_point() or x.is_complex()) and torch.isnan(x).any():
        raise ValueError("x contains NaN; to leave values out pass observed= with False at those places, and any category in x.")
    real = num_cats == 0
    if x.is_complex() or (x.is_floating_point() and not real.any()):
        expected, example = ("numbers", "float32") if real.any() else ("integers (categories)", "int64")
        raise ValueError(f"x must hold {expected}, got dtype {x.dtype}; convert it, e.g. x.astype('{example}').")
    if x.is_floating_point():
        _check_finite(x[:, real], real)
        _check_integral(x[:, ~real], ~real)
    _check_categories(x[:, ~real].to(torch.int64), ~real, num_cats)
    return x.to(dtype if real.any() else torch.int64)


def _check_finite(x: torch.Tensor, chosen: torch.Tensor) -> None:
    wrong = (~torch.isfinite(x)).any(dim=0).nonzero().flatten()
    if len(wrong):
        raise ValueError(f"x: variable {_number(chosen, wrong)} has an infinite value, expected finite numbers ({len(wrong)} such variables).")


def _check_integral(x: torch.Tensor, chosen: torch.Tensor) -> None:
    fraction = x != x.round()
    wrong = fraction.any(dim=0).nonzero().flatten()
    if len(wrong):
        found = float(x[:, wrong[0]][fraction[:, wrong[0]]][0])
        raise ValueError(
            f"x: variable {_number(chosen, wrong)} is categorical and has the value {found:g}, expected an integer ({len(wrong)} such variables)."
        )


def _check_categories(x: torch.Tensor, chosen: torch.Tensor, num_cats: torch.Tensor) -> None:
    if x.shape[1] == 0:
        return
    low, high = x.amin(dim=0), x.amax(dim=0)
    wrong = ((low < 0) | (high >= num_cats[chosen])).nonzero().flatten()
    if len(wrong):
        v, first = _number(chosen, wrong), wrong[0]
        found = int(low[first]) if low[first] < 0 else int(high[first])
        raise ValueError(f"x: variable {v} has category {found}, expected 0 to {int(num_cats[v]) - 1} ({len(wrong)} such variables).")


def _number(chosen: torch.Tensor, wrong: torch.Tensor) -> int:
    """The variable that the first wrong one of the ``chosen`` columns belongs to."""
    return int(chosen.nonzero().flatten()[wrong[0]])
