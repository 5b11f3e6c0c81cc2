"""Calls of Triton kernels as records: the same list is run, recorded as a CUDA graph, traced, and compiled ahead on all cores."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import triton

MOST_THREADS = 16


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
        kinds = (value.dtype if isinstance(value, torch.Tensor) else type(value) for value in self.arguments)
        return self.name, *kinds, *sorted(self.options.items())

    def run(self) -> None:
        self.kernel[self.grid](*self.arguments, **self.options)

    def compiled(self):
        return self.kernel.warmup(*self.arguments, grid=self.grid, **self.options)


def run_all(calls: Iterable[KernelCall]) -> None:
    """One after the other, each before the next is asked for."""
    for call in calls:
        call.run()


def compile_ahead(calls: Iterable[KernelCall]) -> None:
    """Compile what ``calls`` need on the current GPU, each kernel once, on all cores: one after the other takes as long as all together.

    Triton compiles twice: the kernel, and a C function that launches it; both happen here. A Triton that can not do this (before
    3.5) compiles at the first launch, as it does anyway.
    """
    parallel = getattr(triton, "AsyncCompileMode", None)
    if parallel is None:
        return
    device = torch.cuda.current_device()
    different = {call.variant: call for call in calls}.values()

    def load(kernel) -> None:
        with torch.cuda.device(device):  # a thread starts on device 0
            kernel.run  # noqa: B018  (reading it makes the launcher and loads the machine code)

    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as threads:
        with parallel(threads):
            kernels = [call.compiled() for call in different]
        list(threads.map(load, (kernel.result() if hasattr(kernel, "result") else kernel for kernel in kernels)))
