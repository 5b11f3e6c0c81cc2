"""The Training view: bits per dimension per mini-batch. One row per step; the browser appends further rows to a scene."""

from __future__ import annotations

from collections.abc import Iterable

from .common import html_table, rounded

COLUMNS = ("epoch", "step", "num_samples", "seconds", "train_bpd", "test_bpd", "block_size", "batch_size", "run", "start", "epochs_done")
TEST, STEP, RUN = COLUMNS.index("test_bpd"), COLUMNS.index("step"), COLUMNS.index("run")
MAX_ROWS = 3000


def scene_training(steps: Iterable, live: bool = False, why: str = "") -> dict:
    """Scene of EMStep records of one or several runs, in order. A run ends where the step number falls. ``live``: there is a
    kernel that can train on; ``why`` there is none."""
    rows: list[list] = []
    for step in steps:
        falls = bool(rows) and step.step <= rows[-1][STEP]
        rows.append(training_row(step, rows[-1][RUN] + falls if rows else 1))
    kept = thinned(rows)
    caption = f"{len(kept):,} of {len(rows):,} mini-batches are drawn; every test value is." if len(kept) < len(rows) else ""
    return {"view": "training", "columns": list(COLUMNS), "rows": kept, "points": len(rows), "live": live, "why": why, "caption": caption}


def static_training(scene: dict) -> str:
    """HTML table of the last test value of each epoch."""
    rows = [row for row in scene["rows"] if row[TEST] is not None] or scene["rows"][-1:]
    body = [[row[0], row[1], f"{row[3]:.2f} s", _bits(row[4]), _bits(row[TEST]), row[6], row[7]] for row in rows]
    head = ["epoch", "step", "time", "train (mini-batch)", "test", "block size", "batch"]
    return html_table("Training, bits per dimension", head, body, scene["caption"])


def training_row(step, run: int = 1, start: str = "") -> list:
    """One step as values in the order of ``COLUMNS``. ``start``: the parameters that its run started from, "own" or "random"."""
    values = [getattr(step, name) for name in COLUMNS[:RUN]]
    done = rounded(step.step * step.num_epochs / step.num_steps, 6)  # with the part of the present one
    return [*(rounded(value, 6) if isinstance(value, float) else value for value in values), run, start, done]


def thinned(rows: list[list]) -> list[list]:
    """At most about ``MAX_ROWS`` rows: every n-th, the first and last, and each one with a test value."""
    if len(rows) <= MAX_ROWS:
        return rows
    stride = -(-len(rows) // MAX_ROWS)
    tests = sum(row[TEST] is not None for row in rows)
    if tests > MAX_ROWS:
        return rows[:: stride][:-1] + rows[-1:]
    return [row for i, row in enumerate(rows) if i % stride == 0 or row[TEST] is not None or i == len(rows) - 1]


def _bits(value) -> str:
    return "-" if value is None else f"{value:.4f}"
