"""Progress in a terminal, of a run of EM, of a page that is saved, of measurements: one line that is written anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # it needs torch
    from .training import EMStep

INTERVAL_S = 0.2


def progress(steps: Iterable[EMStep], file: TextIO | None = None) -> Iterator[EMStep]:
    """The same records, each told in a line on ``file`` (standard error): ``for step in pcv.progress(pcv.fit(...))``.

    On a terminal the line is overwritten a few times a second; elsewhere (a log) there is one line an epoch.
    """
    file = sys.stderr if file is None else file
    overwrite, told = file.isatty(), -INTERVAL_S
    step = None
    for step in steps:
        if overwrite and time.monotonic() - told >= INTERVAL_S:
            told = time.monotonic()
            file.write(f"\r{progress_line(step)}\x1b[K")
            file.flush()
        elif not overwrite and step.ends_epoch:
            print(progress_line(step), file=file, flush=True)
        yield step
    if overwrite and step is not None:
        print(f"\r{progress_line(step)}\x1b[K", file=file, flush=True)


def one_line(file: TextIO | None = None) -> Callable[[int, int, str], None]:
    """What ``tell`` takes of functions that tell (done, most, text): a line on ``file`` (standard error) that is gone at the end.

    On a terminal or in a notebook; nothing in a log.
    """
    file = sys.stderr if file is None else file
    shown = file.isatty() or type(file).__module__.startswith("ipykernel")
    told, width = -INTERVAL_S, 0

    def tell(done: int, most: int, text: str) -> None:
        nonlocal told, width
        if shown and (done == most or time.monotonic() - told >= INTERVAL_S):
            told, line = time.monotonic(), "" if done == most else f"{100 * done // most:3d}%  {text}"
            file.write(f"\r{line:{width}}" + "\r" * (not line))  # spaces over what was there: a notebook knows no other way
            file.flush()
            width = len(line)

    return tell


def progress_line(step: EMStep) -> str:
    """'epoch 3 of 10, 28%: 2.4123 bits per dimension (test 2.5010), 12.3 s, about 31 s left'."""
    test = "" if step.test_bpd is None else f" (test {step.test_bpd:.4f})"
    left = f", about {_duration(step.seconds_left)} left" if step.step < step.num_steps else ""
    share = 100 * step.step // step.num_steps
    return f"epoch {step.epoch} of {step.num_epochs}, {share}%: {step.train_bpd:.4f} bits per dimension{test}, {_duration(step.seconds)}{left}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
