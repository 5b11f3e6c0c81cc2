"""``pcv.show(obj)``: the right view of a circuit, a plan, a report or a training run."""

from __future__ import annotations

from collections.abc import Iterable

import traitlets

from ..compiler.compile import circuit_of
from ..compiler.plan import PlanSummary
from ..ir.nodes import Nodes
from .bundle import PageWidget, send_plotly
from .explorer import explore
from .outbox import Outbox
from .packing import pack
from .scenes.training import scene_training, static_training


class View(PageWidget):
    """One view of one scene, without the explorer's frame."""

    _view = traitlets.Unicode().tag(sync=True)

    def __init__(self, view: str, scene: dict, static: str, block_size: int = 1):
        super().__init__(self._on_message, _view=view)
        self._block_size, self._container, self._static = block_size, pack(scene), static
        self._outbox = Outbox(self.send)

    def _on_message(self, content: dict) -> None:
        if content.get("kind") == "plotly":
            send_plotly(self._outbox)
        elif content.get("kind") == "ready":
            session = {"gen": 1, "circuit": "", "sizes": [self._block_size], "layers": [1], "views": [self._view], "needs": [self._view]}
            self._outbox.send("session", block_size=self._block_size, layer=1, **session)
            self._outbox.send("frame", [self._container], gen=1, view=self._view, size=None, layer=None)

    def close(self) -> None:
        """Frees the widget here and in the page."""
        self._outbox.close()
        layout = self.layout
        super().close()
        layout.close()

    def _repr_mimebundle_(self, **kwargs):
        found = super()._repr_mimebundle_(**kwargs)
        if found:
            (found[0] if isinstance(found, tuple) else found)["text/html"] = self._static
        return found


def show(obj, x=None):
    """A widget that shows ``obj``. Put it last in a cell.

    A circuit, a plan or a TensorCircuit: ``pcv.explore`` of it (``x`` [B, V]: data to train on). A PlanSummary: its
    table. A TrafficReport: its table. EMStep records of ``pcv.fit``: the Training view. ValueError: anything else.
    """
    if isinstance(circuit_of(obj)[0], Nodes):
        return explore(obj, x)
    if isinstance(obj, PlanSummary) or (hasattr(obj, "records") and hasattr(obj, "_repr_html_")):
        return obj
    if isinstance(obj, Iterable):
        steps = list(obj)
        if steps and all(hasattr(step, "train_bpd") for step in steps):
            scene = scene_training(steps)
            return View("training", scene, static_training(scene))
    raise ValueError(f"pcv.show expects a circuit, a plan, a report or the steps of pcv.fit, got {type(obj).__name__}.")

