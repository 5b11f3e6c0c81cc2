"""Calls of Triton kernels as records: the same list is run, recorded as a CUDA graph, traced, and compiled ahead (``ahead.py``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import triton


@dataclass(frozen=True, eq=False)
class KernelCall:
    """One launch: ``options`` are constants of the kernel by name, and num_warps and num_stages."""

    kernel: triton.JITFunction
    grid: tuple[int, ...]
    arguments: tuple
    options: dict[str, int | bool]

    @classmethod
    def of(cls, kernel, grid: tuple[int, ...], *arguments, **options) -> KernelCall:
        return cls(kernel, grid, arguments, options)

    @property
    def name(self) -> str:
        return self.kernel.__name__

    @property
    def variant(self) -> tuple:
        """Equal for two calls that need the same machine code, and hardly ever otherwise."""
        return self.name, *self.kinds, *sorted(self.options.items())

    @property
    def kinds(self) -> tuple:
        """Types of the arguments, of tensors their dtypes: what the function that launches the machine code depends on."""
        return tuple(value.dtype if isinstance(value, torch.Tensor) else type(value) for value in self.arguments)

    def run(self) -> None:
        self.kernel[self.grid](*self.arguments, **self.options)

    def compiled(self):
        return self.kernel.warmup(*self.arguments, grid=self.grid, **self.options)


def run_all(calls: Iterable[KernelCall]) -> None:
    """One after the other, each before the next is asked for."""
    for call in calls:
        call.run()
