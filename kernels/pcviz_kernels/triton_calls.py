"""Calls of Triton kernels as records: the same list is run, recorded as a CUDA graph, traced, and compiled ahead on all cores."""

from __future__ import annotations

import gc
import os
import signal
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NoReturn

import torch
import triton
from triton.runtime import driver

MOST_CORES = 16
MOST_SECONDS = 60  # for compiling in other processes


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
    different = list({call.variant: call for call in calls}.values())
    cores = min(MOST_CORES, len(os.sched_getaffinity(0)) if hasattr(os, "fork") else 1)  # of this process
    if min(cores, len(different)) > 1:
        _fill_cache(different, cores)

    def load(kernel) -> None:
        with torch.cuda.device(device):  # a thread starts on device 0
            kernel.run  # noqa: B018  (reading it makes the launcher and loads the machine code)

    with ThreadPoolExecutor(cores) as threads:
        with parallel(threads):
            kernels = [call.compiled() for call in different]
        list(threads.map(load, (kernel.result() if hasattr(kernel, "result") else kernel for kernel in kernels)))


def _fill_cache(calls: list[KernelCall], cores: int) -> None:
    """Compile in forked processes, into Triton's cache of files: threads wait for each other, because much of the compiler is Python.

    A process that fails or hangs leaves its kernels to be compiled by this one.
    """
    target, launcher = driver.active.get_current_target(), getattr(driver.active, "launcher_cls", None)
    children = set()
    try:
        for first in range(min(cores, len(calls))):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads: a child uses none of them
                pid = os.fork()
            if pid == 0:
                _compile_as_child(calls[first::cores], target, launcher)
            children.add(pid)
        deadline = time.monotonic() + MOST_SECONDS
        while children and time.monotonic() < deadline:
            children -= {pid for pid in children if os.waitpid(pid, os.WNOHANG)[0]}
            time.sleep(0.005)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _compile_as_child(calls: list[KernelCall], target, launcher) -> NoReturn:
    """CUDA can not be used after a fork: the driver is replaced by what the compiler asks it. Ends without any clean-up."""
    status = 1
    try:
        gc.disable()  # nothing on the GPU may be given back from here
        driver.set_active(SimpleNamespace(get_current_target=lambda: target, get_current_device=lambda: 0, get_current_stream=lambda device: 0))
        for call in calls:
            kernel = call.compiled()
            if launcher is not None:
                launcher(kernel.src, kernel.metadata)
        status = 0
    finally:
        os._exit(status)
