"""Whether a time was taken on a busy machine: how long the threads of this process were ready to run and had no core.

Linux counts it for every thread (the second number of /proc/PID/task/TID/schedstat, in ns); elsewhere nothing says it. On an idle
machine it is a few percent of the time that passes, beside as many busy programs as there are cores about half of it.
"""

from __future__ import annotations

from pathlib import Path

THREADS = Path("/proc/self/task")


def waits() -> dict[str, float]:
    """Thread -> seconds that it has waited for a core since it began; empty where the system does not say."""
    found = {}
    for file in THREADS.glob("*/schedstat"):
        try:
            found[file.parent.name] = 1e-9 * int(file.read_text().split()[1])
        except (OSError, IndexError, ValueError):  # the thread has ended, or the kernel was built without
            continue
    return found


def longest_wait(before: dict[str, float]) -> float | None:
    """Seconds since ``before`` = waits() of the thread that waited longest: those that compute together wait for each other. None where
    the system does not say."""
    return max((seconds - before.get(thread, 0.0) for thread, seconds in waits().items()), default=None)
