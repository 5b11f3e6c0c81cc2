"""What data must look like: shape, number type, and the values that each variable of a circuit takes."""

from __future__ import annotations

import math

import torch

from .compiler.plan import CircuitPlan
from .datasets import as_array

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch has hardly any operation for them: int64 stands in


class Domain:
    """The values that a circuit's variables take, on a device. ``dtype``: of its data where some variable is Gaussian."""

    def __init__(self, plan: CircuitPlan, dtype: torch.dtype, device: torch.device):
        self.dtype, self.device = dtype, device
        num_cats = torch.zeros(plan.num_vars, dtype=torch.int64)  # 0: real numbers
        for group in plan.inputs:
            num_cats[[nodes.var for nodes in group.vectors]] = 0 if group.is_gaussian else group.dist.num_cats
        self.has_reals = bool((num_cats == 0).any())
        highest = num_cats - 1
        if self.has_reals:
            real, limit = num_cats == 0, torch.finfo(dtype).max
            highest = highest.to(dtype).masked_fill(real, limit)
            self._real, self._lowest = real.to(device), torch.zeros_like(highest).masked_fill(real, -limit).to(device)
        else:
            self._lowest = torch.zeros_like(highest).to(device)
        self._highest, self.num_cats = highest.to(device), num_cats.to(device)

    def checked(self, x, observed=None) -> Evidence:
        """Data and mask, checked at once; a value that is not observed may be anything, and is read as 0."""
        x, observed = self._hidden(x, observed)
        return Evidence(check_values(x, self.num_cats, self.dtype), observed)

    def deferred(self, x, observed=None) -> Evidence:
        """The same without waiting for the device: data brought to values that variables take, and a check whose result
        ``Evidence.confirm`` reads. What can be told without the values is checked at once."""
        x, observed = self._hidden(x, observed)
        if len(x) == 0 or x.is_complex() or (x.is_floating_point() and not self.has_reals):
            check_values(x, self.num_cats, self.dtype)  # raises
        given = x if x.is_floating_point() else x.to(self.dtype if self.has_reals else torch.int64)
        near = given.clamp(self._lowest, self._highest)  # NaN stays, and is not equal to itself
        if self.has_reals:
            near = torch.where(self._real, near, near.round()).nan_to_num_(0.0)
        fits = (near == given).all()
        return Evidence(near.to(self.dtype) if self.has_reals else near, observed, fits, lambda: self._complain(x))

    def _hidden(self, x, observed) -> tuple[torch.Tensor, torch.Tensor | None]:
        x = as_table(x, len(self.num_cats)).to(self.device)
        if observed is None:
            return x, None
        observed = check_mask(observed, x)
        return x.masked_fill(~observed, 0), observed

    def _complain(self, x: torch.Tensor) -> None:
        check_values(x, self.num_cats, self.dtype)
        raise RuntimeError("x was refused on the device, and nothing is found wrong with it here.")


class Evidence:
    """Data ``x`` [B, V], int64 or of the circuit's dtype, and their mask ``observed`` (bool [B, V] or [1, V], or None).

    ``fits``: None where the data are checked already; else a bool on the device, False: ``x`` is not what was given, and nothing
    that was computed from it may be used. ``confirm`` then raises. It waits for the check alone, not for what was queued after it.
    """

    def __init__(self, x: torch.Tensor, observed: torch.Tensor | None, fits: torch.Tensor | None = None, complain=None):
        self.x, self.observed, self.fits, self._complain = x, observed, fits, complain
        if fits is not None and fits.is_cuda:
            self._answer = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(fits, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(fits.device))
        else:
            self._answer, self._arrived = fits, None

    def confirm(self) -> None:
        """Raise ValueError where the data are not what the circuit's variables take."""
        if self.fits is None:
            return
        if self._arrived is not None:
            self._arrived.synchronize()
        if not self._answer.item():
            self._complain()


def as_table(x, num_vars: int) -> torch.Tensor:
    """``x`` (tensor, numpy array, lists, pandas DataFrame) as a tensor [B, num_vars]; ValueError when it has another shape."""
    x = x if isinstance(x, torch.Tensor) else torch.as_tensor(as_array(x))
    if x.ndim != 2 or x.shape[1] != num_vars:
        raise ValueError(f"x must have shape [B, {num_vars}] (samples, variables), got {list(x.shape)}.")
    return x.to(torch.int64) if x.dtype in UNSIGNED else x


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
        _check_finite(x[:, real], real, dtype)
        _check_integral(x[:, ~real], ~real)
    _check_categories(x[:, ~real].to(torch.int64), ~real, num_cats)
    return x.to(dtype if real.any() else torch.int64)


def _check_finite(x: torch.Tensor, chosen: torch.Tensor, dtype: torch.dtype) -> None:
    infinite = x.double().abs() > torch.finfo(dtype).max
    wrong = infinite.any(dim=0).nonzero().flatten()
    if len(wrong):
        found = float(x[:, wrong[0]][infinite[:, wrong[0]]][0])
        what = "an infinite value" if math.isinf(found) else f"the value {found:g}, beyond the largest {dtype}"
        raise ValueError(f"x: variable {_number(chosen, wrong)} has {what}, expected finite numbers ({len(wrong)} such variables).")


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
