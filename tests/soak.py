"""A long stay in the explorer, in a real JupyterLab: ten thousand slider moves, then fifty times open, move, close.

    python tests/soak.py                       # --moves 10000 --cycles 50: about a quarter of an hour on two cores
    python tests/soak.py --moves 500 --cycles 10

Prints times of moves and, by cycle, memory of the kernel and of the page after a forced collection. Fails when memory grows by more
than 50 MB from cycle 5 to the last, when a widget outlives close(), or when the page reports an error.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from lab_harness import Lab, open_lab
from test_explorer_browser import READY, ROOT, SIZES, SMALL, WATCH_SLIDER, click_slider, wait_quiet

MOST_GROWTH = 50e6  # bytes
USS = "(lambda: (__import__('gc').collect(), __import__('psutil').Process().memory_full_info().uss)[1])()"
WIDGETS = "len(__import__('ipywidgets').widgets.widget._instances)"
SETUP, OPEN = SMALL.rsplit("explorer = ", 1)


def open_explorer(lab: Lab) -> None:
    lab.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1; }")
    lab.page.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-cell'); }")
    lab.page.wait_for_function(READY, arg=len(SIZES), timeout=60_000)


def move(lab: Lab, count: int, pause_ms: int) -> list[float]:
    """Milliseconds from the input to after the paint, of ``count`` random moves by mouse; each must show in every stage."""
    lab.page.evaluate(WATCH_SLIDER) if not lab.page.evaluate("() => !!window.moves") else lab.page.evaluate("moves.length = 0")
    rng, at = random.Random(0), 0
    for _ in range(count):
        at = rng.choice([index for index in range(len(SIZES)) if abs(index - at) > 1])
        click_slider(lab, at, len(SIZES))
        lab.page.wait_for_timeout(pause_ms)
    lab.page.wait_for_timeout(300)
    seen = lab.page.evaluate("moves")
    shown = sum(one["shown"] for one in seen)
    assert len(seen) >= 0.99 * count and shown >= 0.99 * len(seen), f"{count} moves, {len(seen)} seen, {shown} in every stage"
    return sorted(one["ms"] for one in seen)


def memory(lab: Lab, session) -> tuple[float, float]:
    """Bytes: of the kernel's process alone, and of the page's JavaScript, both after a collection."""
    session.send("HeapProfiler.collectGarbage")
    return lab.kernel_eval(USS), session.send("Runtime.getHeapUsage")["usedSize"]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--moves", type=int, default=10_000)
    parser.add_argument("--cycles", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_lab(Path(folder)) as lab:
        lab.open([SETUP, f"explorer = {OPEN}"])
        lab.run_all()
        lab.page.wait_for_function(READY, arg=len(SIZES), timeout=60_000)
        session = lab.page.context.new_cdp_session(lab.page)
        wait_quiet(lab)
        start, before, sent = time.monotonic(), memory(lab, session), sum(lab.ws_bytes())
        times = move(lab, args.moves, 20)
        grown = [(b - a) / 1e6 for a, b in zip(before, memory(lab, session))]
        median, p95, late = (times[int(share * len(times))] for share in (0.5, 0.95, 0.999))
        print(
            f"{len(times)} moves in {time.monotonic() - start:.0f} s: median {median:.0f} ms, p95 {p95:.0f}, p99.9 {late:.0f}; "
            f"kernel {grown[0]:+.1f} MB, page {grown[1]:+.1f} MB, {(sum(lab.ws_bytes()) - sent) / args.moves:.0f} bytes of websocket a move",
            flush=True,
        )
        found = []
        for cycle in range(1, args.cycles + 1):
            lab.kernel_eval("explorer.close()")
            lab.page.wait_for_selector(ROOT, state="detached")
            left = lab.kernel_eval(WIDGETS)
            assert left == 0, f"cycle {cycle}: {left} widgets are alive after close()"
            found.append(memory(lab, session))
            if cycle % 5 == 0 or cycle == 1:
                print(f"cycle {cycle}: kernel {found[-1][0] / 1e6:.1f} MB, page {found[-1][1] / 1e6:.1f} MB", flush=True)
            open_explorer(lab)
            move(lab, 10, 50)
        lab.assert_clean()
        growth = [b - a for a, b in zip(found[min(4, len(found) - 1)], found[-1])]
        print(f"from cycle 5 to {args.cycles}: kernel {growth[0] / 1e6:+.1f} MB, page {growth[1] / 1e6:+.1f} MB (at most +{MOST_GROWTH / 1e6:.0f})")
        return int(max(growth) > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
