"""The state of an explorer as a dictionary for JSON: what ``explorer.state`` returns and ``pcv.explore(state=...)`` takes."""

from __future__ import annotations

import json
import keyword
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields

from .frames import Settings
from .scenes.common import PASSES_OF
from .settings import changed_settings
from .teaching import Scene

VERSION = 1
PAGE = {"phase": "forward", "node_range": None, "stages": [], "presenter": False, "compare": None}  # what only the page knows
SETTINGS = tuple(field.name for field in fields(Settings))
COMPARED = ("circuit", "block_size", *SETTINGS)  # of the Compare view's A; what is missing is as in B
KEYS = ("version", "circuit", "scene", "block_size", "layer", *SETTINGS, *PAGE)


def checked_state(state) -> dict:
    """``state``, a dictionary or its JSON, with all or some of KEYS. ValueError says what is wrong with it."""
    if isinstance(state, (str, bytes)):
        try:
            state = json.loads(state)
        except ValueError as error:
            raise ValueError(f"The state is no JSON: {error}.") from None
    if not isinstance(state, Mapping):
        raise ValueError(f"A state is a dictionary such as explorer.state returns, or its JSON; got {type(state).__name__}.")
    unknown = [key for key in state if key not in KEYS]
    if unknown:
        raise ValueError(f"A state has no {', '.join(map(repr, unknown))}; it may have {', '.join(KEYS)}.")
    if state.get("version", VERSION) != VERSION:
        raise ValueError(f"This state is of version {state['version']!r}, this pcviz reads version {VERSION}: update pcviz.")
    for key in ("block_size", "layer"):
        if key in state and (not isinstance(state[key], int) or state[key] < 1):
            raise ValueError(f"{key} of a state must be a whole number of 1 or more, got {state[key]!r}.")
    page_state(state)
    return dict(state)


def page_state(state: Mapping) -> dict:
    """The part that the page alone knows; what is missing has its first value."""
    page = {key: state.get(key, value) for key, value in PAGE.items()}
    if page["phase"] not in PASSES_OF:
        raise ValueError(f"phase of a state must be one of {', '.join(PASSES_OF)}, got {page['phase']!r}.")
    if not isinstance(page["stages"], list) or not all(isinstance(name, str) for name in page["stages"]):
        raise ValueError(f"stages of a state must be a list of names such as ['blocks', 'cost'], got {page['stages']!r}.")
    return page | {"presenter": bool(page["presenter"]), "compare": _compared(page["compare"])}


def _compared(compare) -> dict | None:
    """A of the Compare view, checked: its settings by what the controls take, its block size a whole number of 1 or more."""
    if compare is None:
        return None
    if not isinstance(compare, Mapping) or set(compare) - {*COMPARED}:
        raise ValueError(f"compare of a state must have some of {', '.join(COMPARED)}, got {compare!r}.")
    size = compare.get("block_size", 1)
    if not isinstance(size, int) or size < 1 or not isinstance(compare.get("circuit", ""), str):
        raise ValueError(f"compare of a state must have a circuit's name and a block size of 1 or more, got {compare!r}.")
    for name in SETTINGS:
        if name in compare:
            changed_settings(Settings(), name, compare[name])
    return dict(compare)


def scene_state(scene: Scene) -> dict:
    """The state in which a scene opens."""
    state = {"circuit": scene.circuit, "scene": scene.name, "block_size": scene.block_size, "stages": list(scene.stages)}
    return state | ({} if scene.layer is None else {"layer": scene.layer}) | asdict(scene.settings)


def scene_for_page(scene: Scene | None) -> dict | None:
    if scene is None:
        return None
    return {"name": scene.name, "title": scene.title, "look": scene.look, "task": scene.task, "question": scene.question and asdict(scene.question)}


def _is_variable(name: str) -> bool:
    """Whether code can say ``name``: a notebook may keep objects under any text."""
    return name.isidentifier() and not name.startswith("_") and not keyword.iskeyword(name)


def notebook_names(**objects) -> dict[str, str]:
    """{argument: variable} of the objects that are not None: the notebook's variable with that object, else the argument's own name."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    known = getattr(shell, "user_ns", {})
    found = {}
    for argument, value in objects.items():
        if value is not None:
            names = [name for name, other in list(known.items()) if other is value and _is_variable(name)]
            found[argument] = argument if argument in names or not names else names[0]
    return found


def first_view(page: dict) -> str:
    """What the first picture of a page waits for: one that opens on the DAG has it before the blocks of a large circuit are counted."""
    return "dag" if page["stages"][:1] == ["dag"] else "blocks"
