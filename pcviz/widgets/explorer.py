"""``pcv.explore()``: the dashboard as one widget."""

from __future__ import annotations

import uuid

import traitlets

from ..compiler.compile import circuit_at
from ..rows import to_frame
from .bundle import PageWidget
from .circuits import Entry, digits_entry, figure_5_entry, user_entry
from .frames import Settings
from .outbox import Outbox
from .scenes.common import LEVELS, count, html_table, milliseconds, si_bytes
from .session import Session
from .settings import changed_settings
from .state import checked_state, notebook_names, scene_state
from .teaching import scene_named


class Explorer(PageWidget):
    """The explorer. Display it in a notebook; ``records`` has the training and the measurements; ``close()`` frees it."""

    _key = traitlets.Unicode().tag(sync=True)  # by which the page knows views of one explorer

    def __init__(self, entries: list, settings: Settings, block_size: int | None = None, focus: bool = False):
        super().__init__(self._on_message, _key=uuid.uuid4().hex)
        self._static = ""
        self._session = Session(Outbox(self._post), entries, settings, block_size, focus)

    def _post(self, content: dict, buffers: list | None) -> None:
        self.send(content, buffers)

    def _on_message(self, content: dict) -> None:
        self._session.receive(content)

    @property
    def state(self) -> dict:
        """What is shown, as a dictionary for JSON: ``pcv.explore(state=explorer.state)`` shows it again. A slider's move is in it
        within a second."""
        return self._session.state

    @property
    def records(self):
        """A pandas DataFrame, one row per mini-batch and measurement, in order. ImportError without pandas; see ``rows``."""
        return to_frame(self.rows, columns=("kind", "circuit"))

    @property
    def rows(self) -> list[dict]:
        """The same as dictionaries; ``kind`` is "step" (an EMStep, measured here) or "measurement" (a Measurement of this machine)."""
        return list(self._session.records)

    def open_at(self, state: dict, arguments: dict[str, str]) -> None:
        """Where it opens: a checked state, all of it or a part. ``arguments``: names of the call's objects, for "copy as code"."""
        self._session.arguments = arguments
        self._session.place(state)
        self._static = static_explorer(*self._session.shown)

    def close(self) -> None:
        """Stops the workers and frees the widget here and in the page."""
        self._session.close()
        layout = self.layout
        super().close()
        layout.close()

    def _repr_mimebundle_(self, **kwargs):
        found = super()._repr_mimebundle_(**kwargs)
        if found and self._static:
            data = found[0] if isinstance(found, tuple) else found
            data["text/html"] = self._static
        return found


def explore(
    root=None,
    x=None,
    *,
    x_test=None,
    block_size: int | None = None,
    batch_size: int = 512,
    padding_tolerance: float | None = None,
    device: str = "H100-SXM",
    image_shape: tuple[int, int] | None = None,
    scene: str | None = None,
    state=None,
) -> Explorer:
    """The explorer of a circuit: what its block size does to blocks, padding, launches, traffic and time.

    Without arguments it opens on the figure-5 layer with recorded figures, and prepares a circuit on 8x8 digits meanwhile.
    ``root``: a circuit, plan or TensorCircuit, and ``x`` [B, V] its data (without it, Train and Measure stay off). Put it last in a
    cell to see it. ``block_size``, ``padding_tolerance``: None takes those of a plan, else the first size and 0.25.
    ``image_shape``: (height, width) of images, which the circuit is shown to draw and to complete as it trains; None: square
    ones, where the data are whole numbers and V is a square number of at least 49.

    ``scene``: the name of a scene for teaching, with its own circuit: "reloads", "block size 1 to 64", "padding-loses", "groups",
    "underflow", "same epochs, different seconds" or "missing rows"; keys 1 to 9 switch to it inside the explorer. ``state``: what
    ``explorer.state`` returned, or its JSON; all or part of it, and it goes before the other arguments. ValueError: no such
    scene, block size, device ..., or a state that is damaged or newer.
    """
    given, (root, block_size, padding_tolerance) = root, circuit_at(root, block_size, padding_tolerance)
    settings = Settings()
    for name, value in (("batch_size", batch_size), ("padding_tolerance", padding_tolerance), ("device", device)):
        settings = changed_settings(settings, name, value)
    wanted = wanted_state(root, scene, state)
    first = [figure_5_entry(), *([] if wanted.get("scene") else [digits_entry()])]  # a scene does not wait for the digits
    entries = first if root is None else [user_entry(root, x, x_test, image_shape)]
    if block_size is not None and block_size not in entries[0].sizes:
        raise ValueError(f"block_size must be one of {', '.join(map(str, entries[0].sizes))} for this circuit, got {block_size!r}.")
    explorer = Explorer(entries, settings, block_size, focus=root is None)
    try:
        explorer.open_at(wanted, notebook_names(root=given, x=x, x_test=x_test, image_shape=image_shape))
    except BaseException:
        explorer.close()
        raise
    return explorer


def wanted_state(root, scene: str | None, state) -> dict:
    """The state that ``scene`` and ``state`` ask for; empty without them."""
    if scene is not None and root is not None:
        raise ValueError("A scene brings its own circuit: call pcv.explore(scene=...) without one, or pcv.explore(root) without a scene.")
    given = {} if state is None else checked_state(state)
    return {**({} if scene is None else scene_state(scene_named(scene))), **given}


def static_explorer(entry: Entry, settings: Settings, block_size: int | None) -> str:
    """What a reopened or untrusted notebook shows in the explorer's place: a table, at most 60 kB."""
    if entry.recorded:
        rows = [row for row in entry.recorded if row.phase == "forward"]
        body = [[row.block_size, milliseconds(row.time_ms), si_bytes(row.l2_to_l1_bytes), si_bytes(row.hbm_bytes)] for row in rows]
        note = f"Forward pass of the sum layer; {rows[0].provenance.label}. Run the cell to open the explorer."
        return html_table(entry.label, ["block size", "time", LEVELS["l2_to_l1_bytes"], LEVELS["hbm_bytes"]], body, note)
    summary = entry.summary(block_size or entry.first_size, settings.padding_tolerance)
    head = ["layer", "sums", "groups", "edges", "absent", "missing", "pseudo"]
    body = [
        [layer.index, *map(count, (layer.num_sums, len(layer.groups), layer.edges, layer.absent_edges, layer.missing_edges, layer.pseudo_edges))]
        for layer in summary.layers
    ]
    return html_table(entry.label, head, body, f"At block size {summary.block_size}. Run the cell to open the explorer.")
