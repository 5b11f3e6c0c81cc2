"""The Compare view's scene of a generation, for its own frames or for a page that compares with settings that it does not show."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict

from .circuits import Entry
from .outbox import Outbox
from .packing import pack
from .scenes.compare import scene_compare


def compared(generation, recorded: list[dict], default_tolerance: float) -> dict:
    """``recorded``: points, all made under the default tolerance; those of launches that are others under this one are left out."""
    entry, then = generation.entry, generation.of(default_tolerance)

    def launched(of, size: int) -> tuple[int, int]:
        return of.summary(size).num_groups, of.summary(size).total("pseudo_edges")

    points = [point for point in recorded if launched(generation, point["block_size"]) == launched(then, point["block_size"])]
    summaries, reports = ({size: of(size) for size in entry.sizes} for of in (generation.summary, generation.report))
    scene = scene_compare(entry.label, summaries, reports, points, generation.measured())
    return scene | {"place": {"circuit": entry.name, **asdict(generation.settings)}}


class NotYet(ValueError):
    """A circuit that is still being prepared: the page may ask again."""


def prepared(entry: Entry) -> Entry:
    if entry.root is None:
        raise (NotYet if entry.coming else ValueError)(entry.why_not)
    return entry


def send_compared(outbox: Outbox, scene: Callable[[], dict], ask: int) -> None:
    """The answer to a page that asked for ``scene()``, without holding up other messages."""

    def work() -> None:
        try:
            answer = scene()
        except ValueError as error:
            answer = {"error": str(error), "soon": isinstance(error, NotYet)}
        except Exception as error:  # the page waits for an answer
            answer = {"error": f"This could not be computed: {type(error).__name__}: {error}"}
        outbox.send("answer", [pack(answer)], ask=ask)

    threading.Thread(target=work, name="pcviz-compared", daemon=True).start()
