"""Machine code before it is needed: kernels compile on all cores while parameters are laid out and copied.

Triton compiles each kernel and, with a C compiler, a function that launches it. Forked processes do both, into Triton's cache of
files: threads wait for each other, because much of the compiler is Python. What they can not do, this process does at the end.
"""

from __future__ import annotations

import gc
import math
import os
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from types import SimpleNamespace
from typing import NoReturn

import torch
import triton
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from . import triton_primitives
from .calls import KernelCall

MOST_CORES = 16
MOST_SECONDS = 60  # for compiling in other processes
SIDES = ("TILE_M", "TILE_K", "TILE_B", "ROWS", "CATS")
REPORT = Struct("<Hff")  # number in the queue, seconds for kernel and launcher

# Triton puts the constants of a function into the keys of its callers only once it knows the function's own key. Known from here on, those of
# shared functions give every kernel the same key in any order, here and in the processes that compile.
for _shared in vars(triton_primitives).values():
    if isinstance(_shared, JITFunction):
        _shared.cache_key  # noqa: B018  (reading it makes it)

_kernels: dict[tuple, Future] = {}  # by device and variant: the compiled kernel, or None where other processes could not make it
_alone = threading.Lock()  # a fork must not copy a lock that the compiler holds in another thread


@dataclass(frozen=True)
class CompileTime:
    """What another process took for a kernel; ``launcher_s`` is 0 where another variant's launcher serves."""

    kernel: str
    options: dict[str, int | bool]
    kernel_s: float
    launcher_s: float


times: list[CompileTime] = []  # of this process, in order of completion


def begin(*passes: Iterable[KernelCall]) -> None:
    """Start to compile what the calls of some passes need on the current GPU, each kernel once, those of the first pass first, the others
    behind all other work; returns at once. Arguments may be on the device "meta"."""
    device, cores = driver.active.get_current_device(), _cores()
    found: dict[tuple, KernelCall] = {}
    sizes = []
    for calls in passes:
        new = {call.variant: call for call in calls if (device, call.variant) not in _kernels and call.variant not in found}
        found |= dict(sorted(new.items(), key=lambda item: -_effort(item[1])))
        sizes.append(len(found))
    queue = list(found.values())
    if not hasattr(triton, "AsyncCompileMode") or min(cores, len(queue)) < 2:
        return
    try:
        with _alone:
            child, reports = _fork(queue, sizes[0], cores)
    except OSError:  # no memory, or no more processes: compiled in ``finish``
        return
    futures = [_kernels.setdefault((device, call.variant), Future()) for call in queue]
    threading.Thread(target=_collect, args=(queue, futures, device, child, reports), name="pcviz kernels").start()


def finish(calls: Iterable[KernelCall]) -> None:
    """Have all that ``calls`` need compiled and loaded on the current GPU: nothing is left to do at a launch.

    A Triton that can not compile beside other work (before 3.5) compiles at the first launch, as it does anyway.
    """
    if not hasattr(triton, "AsyncCompileMode"):
        return
    device, different = driver.active.get_current_device(), {call.variant: call for call in calls}
    begin(different.values())
    known = {variant: _kernels[device, variant].result() for variant in different if (device, variant) in _kernels}

    def load(kernel) -> None:
        with torch.cuda.device(device):  # a thread starts on device 0
            kernel.run  # noqa: B018  (reading it makes the launcher and loads the machine code)

    with _alone, ThreadPoolExecutor(_cores()) as threads:
        with triton.AsyncCompileMode(threads):
            kernels = {variant: known.get(variant) or call.compiled() for variant, call in different.items()}
        kernels = {variant: kernel.result() if hasattr(kernel, "result") else kernel for variant, kernel in kernels.items()}
        list(threads.map(load, kernels.values()))
    for variant, kernel in kernels.items():
        if known.get(variant) is None:
            _kernels[device, variant] = Future()
            _kernels[device, variant].set_result(kernel)


def _cores() -> int:
    """Of this process, for compiling; 1 where processes can not be forked."""
    return min(MOST_CORES, len(os.sched_getaffinity(0)) if hasattr(os, "fork") else 1)


def _effort(call: KernelCall) -> int:
    """Values of a tile, about as long as the code for it is: the longest are begun first, so that none is left at the end."""
    return math.prod(value for name, value in call.options.items() if name in SIDES)


def _collect(queue: list[KernelCall], futures: list[Future], device, child: int, reports: int) -> None:
    """Take each kernel out of the cache when it is reported. A process that fails or hangs leaves its kernels to ``finish``."""
    deadline = time.monotonic() + MOST_SECONDS
    try:
        with torch.cuda.device(device):
            while time.monotonic() < deadline and threading.main_thread().is_alive():
                if not select.select([reports], [], [], 0.1)[0]:
                    continue
                if not (found := os.read(reports, 64 * REPORT.size)):
                    break  # all have ended
                for number, *seconds in REPORT.iter_unpack(found):
                    times.append(CompileTime(queue[number].name, queue[number].options, *seconds))
                    with _alone, suppress(Exception):  # what is wrong shows in ``finish``
                        futures[number].set_result(queue[number].compiled())
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reports)
        for future in futures:
            with suppress(InvalidStateError):  # it has a result
                future.set_result(None)


def _fork(queue: list[KernelCall], needed: int, cores: int) -> tuple[int, int]:
    """(process that has its own helpers compile, where to read reports). ``needed``: calls of the first pass. One fork: copying this process's
    tables of pages takes time."""
    target, launcher = driver.active.get_current_target(), getattr(driver.active, "launcher_cls", None)
    reports, report = os.pipe()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads: a child uses none of them
            child = os.fork()
    except OSError:
        os.close(reports)
        os.close(report)
        raise
    if child == 0:
        _compile_as_child(queue, needed, cores, target, launcher, report)
    os.close(report)
    return child, reports


def _with_launcher(queue: list[KernelCall], needed: int) -> set[int]:
    """The calls with which a launcher is made. It serves all variants of a kernel with arguments of the same types: the last of them that the
    first pass needs, or, if it needs none, the first."""
    chosen: dict[tuple, int] = {}
    for number, call in enumerate(queue):
        key = call.name, *call.kinds
        if number < needed or key not in chosen:
            chosen[key] = number
    return set(chosen.values())


def _compiler(queue: list[KernelCall], needed: int, target, launcher, report: int) -> Callable[[int], None]:
    """What compiles a numbered call and reports it."""
    with_launcher = _with_launcher(queue, needed)

    def compile_one(number: int) -> None:
        if number >= needed:
            os.nice(19)  # the first step does not wait for it
        call, clock = queue[number], [time.perf_counter()]
        kernel = call.compiled()
        clock.append(time.perf_counter())
        if launcher is not None and number in with_launcher:
            launcher(kernel.src, kernel.metadata)
        clock.append(time.perf_counter())
        os.write(report, REPORT.pack(number, clock[1] - clock[0], clock[2] - clock[1]))

    driver_of_child = SimpleNamespace(get_current_target=lambda: target, get_current_device=lambda: 0, get_current_stream=lambda device: 0)
    driver.set_active(driver_of_child)  # CUDA can not be used after a fork: this is all that the compiler asks
    return compile_one


def _compile_as_child(queue: list[KernelCall], needed: int, cores: int, target, launcher, report: int) -> NoReturn:
    """Compile the queue with helpers. Ends without any clean-up."""
    status = 1
    try:
        os.setpgid(0, 0)  # to be ended together
        gc.disable()  # nothing on the GPU may be given back from here
        compile_one = _compiler(queue, needed, target, launcher, report)
        if not _kernels:  # the first of this process: what Triton does once, half a second, with the shortest kernel and for all helpers
            queue[max(0, needed - 1)].compiled()
        take, give = os.pipe()
        os.write(give, b"".join(number.to_bytes(2, "little") for number in range(len(queue))))
        os.close(give)
        helpers = min(cores, len(queue))
        while helpers > 1:  # each forks for half of those it stands for: one after the other, the last of 16 would begin 0.25 s later
            helpers = helpers // 2 if os.fork() == 0 else helpers - helpers // 2
        while number := os.read(take, 2):
            compile_one(int.from_bytes(number, "little"))
        with suppress(ChildProcessError):
            while True:
                os.wait()
        status = 0
    finally:
        os._exit(status)
