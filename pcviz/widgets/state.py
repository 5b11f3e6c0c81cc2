"""The state of an explorer as a dictionary for JSON: what ``explorer.state`` returns and ``pcv.explore(state=...)`` takes."""

from __future__ import annotations

import json
import keyword
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields

from .frames import VIEWS, Settings
from .scenes.common import PASSES_OF, PHASE_NAMES
from .settings import brief, changed_settings
from .teaching import Scene

VERSION = 1
MAX_JSON = 1 << 20  # characters
PAGE = {"phase": "forward", "node_range": None, "stages": [], "presenter": False, "compare": None, "launch": None}  # what only the page knows
STAGES = (*VIEWS, "kernel")
SETTINGS = tuple(field.name for field in fields(Settings))
COMPARED = ("circuit", "block_size", *SETTINGS)  # of the Compare view's A; what is missing is as in B
KEYS = ("version", "circuit", "scene", "block_size", "layer", *SETTINGS, *PAGE)


def checked_state(state) -> dict:
    """``state``, a dictionary or its JSON, with all or some of KEYS. ValueError says what is wrong with it."""
    if isinstance(state, (str, bytes)):
        if len(state) > MAX_JSON:
            raise ValueError(f"A state is JSON of at most {MAX_JSON:,} characters, got {len(state):,}: copy it again.")
        try:
            state = json.loads(state)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"The state is no JSON: {error}. Copy it again.") from None
    if not isinstance(state, Mapping):
        raise ValueError(f"A state is a dictionary such as explorer.state returns, or its JSON; got {type(state).__name__}.")
    unknown = [key for key in state if key not in KEYS]
    if unknown:
        raise ValueError(f"A state has no {', '.join(map(brief, unknown[:5]))}; it may have {', '.join(KEYS)}.")
    version = state.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"This state is of version {brief(version)}, this pcviz reads version {VERSION}: update pcviz.")
    for key in ("block_size", "layer"):
        if key in state and not _is_count(state[key]):
            raise ValueError(f"{key} of a state must be a whole number of 1 or more, got {brief(state[key])}.")
    for key, others in (("circuit", ()), ("scene", (None,))):
        if key in state and not isinstance(state[key], str) and state[key] not in others:
            raise ValueError(f"{key} of a state must be a name, got {brief(state[key])}.")
    return {**state, **{key: value for key, value in page_state(state).items() if key in state}}


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def page_state(state: Mapping) -> dict:
    """The part that the page alone knows; what is missing has its first value."""
    page = {key: state.get(key, value) for key, value in PAGE.items()}
    if page["phase"] not in [*PASSES_OF]:
        raise ValueError(f"phase of a state must be one of {', '.join(PASSES_OF)}, got {brief(page['phase'])}.")
    if not isinstance(page["stages"], list) or not all(name in STAGES for name in page["stages"]):
        raise ValueError(f"stages of a state must be a list of some of {', '.join(STAGES)}, got {brief(page['stages'])}.")
    if not isinstance(page["presenter"], bool):
        raise ValueError(f"presenter of a state must be true or false, got {brief(page['presenter'])}.")
    nodes = page["node_range"]
    if nodes is not None and not (isinstance(nodes, list) and len(nodes) == 2 and _is_count(nodes[1]) and (nodes[0] == 0 or _is_count(nodes[0]))):
        raise ValueError(f"node_range of a state must be null or two node numbers, the first and the one after the last, got {brief(nodes)}.")
    return page | {"compare": _compared(page["compare"]), "launch": _launch(page["launch"])}


def _launch(launch) -> dict | None:
    """The chosen launch of the layer, or None. A group that the layer has not is no launch of any view."""
    if launch is None:
        return None
    wanted = isinstance(launch, Mapping) and launch.keys() == {"phase", "group"} and launch["phase"] in [*PHASE_NAMES]
    if not wanted or not (launch["group"] == 0 or _is_count(launch["group"])):
        raise ValueError(f"launch of a state must have a phase, one of {', '.join(PHASE_NAMES)}, and a group from 0 on, got {brief(launch)}.")
    return dict(launch)


def _compared(compare) -> dict | None:
    """A of the Compare view, checked: its settings by what the controls take, its block size a whole number of 1 or more."""
    if compare is None:
        return None
    if not isinstance(compare, Mapping) or set(compare) - {*COMPARED}:
        raise ValueError(f"compare of a state must have some of {', '.join(COMPARED)}, got {brief(compare)}.")
    if not _is_count(compare.get("block_size", 1)) or not isinstance(compare.get("circuit", ""), str):
        raise ValueError(f"compare of a state must have a circuit's name and a block size of 1 or more, got {brief(compare)}.")
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
