"""The explorer without a browser: packing, frames, controls, workers."""

import json
import re
import subprocess
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcviz.circuit import TensorCircuit
from pcviz.compiler.blockcells import cell_raster
from pcviz.compiler.blockmap import EDGE, LayerBlocks
from pcviz.compiler.compile import circuit_at, circuit_of
from pcviz.compiler.compile import compile as compile_circuit
from pcviz.compiler.counting import plan_summary
from pcviz.ir.distributions import Categorical
from pcviz.ir.nodes import init_params, sum_vectors
from pcviz.pruning import prune_edges
from pcviz.structures.pd import PD
from pcviz.traffic import estimate
from pcviz.widgets import bundle
from pcviz.widgets.circuits import digits_entry, figure_5_entry, legal_sizes, user_entry
from pcviz.widgets.explorer import explore
from pcviz.widgets.frames import Generation, Settings, Task
from pcviz.widgets.outbox import Outbox
from pcviz.widgets.packing import pack, unpack
from pcviz.widgets.session import Session
from pcviz.widgets.settings import changed_settings
from pcviz.widgets.show import show
from pcviz.widgets.state import COMPARED, KEYS, SETTINGS


def pruned_circuit():
    """A small circuit with all three paddings; made without torch."""
    root = PD((4, 4), 8, split_intervals=2, dist=Categorical(num_cats=17), seed=0)
    init_params(root, 0)
    return prune_edges(root, {id(nodes): nodes.params for nodes in sum_vectors(root)}, 0.4, 1)


class Page:
    """Stands in for the browser: keeps what is sent and waits for it."""

    def __init__(self, root, x=None, **settings):
        self.messages = []
        self.outbox = Outbox(lambda content, buffers: self.messages.append((content, buffers)))
        self.session = Session(self.outbox, [user_entry(root, x)], Settings(**settings))

    def send(self, kind, **content):
        self.session.receive({"kind": kind, **content})

    def wait(self, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [message for message in list(self.messages) if condition(message[0])]
            if found:
                return found[-1]
            time.sleep(0.02)
        raise AssertionError(f"no such message within {seconds} s; got {[content for content, _ in self.messages][-5:]}")

    def frame(self, view, size=None, layer=None, tolerance=None):
        wanted = {"kind": "frame", "view": view, "size": size, "layer": layer}
        of = (None, self.session._settings.padding_tolerance if tolerance is None else tolerance)
        return unpack(self.wait(lambda content: wanted.items() <= content.items() and content["tolerance"] in of)[1][0])

    def part(self, name):
        return unpack(self.wait(lambda content: content.get("part") == name)[1][0])


@pytest.fixture
def page():
    made = Page(pruned_circuit())
    yield made
    made.session.close()


def test_closed_explorers_keep_little():
    """A notebook keeps every explorer that was a cell's result; closed ones may not add up."""
    page = Page(pruned_circuit())
    entry, frames = page.session._entry, page.session._frames
    page.send("ready")
    page.frame("headline", 8)
    assert entry._summaries
    page.session.close()
    assert not entry._summaries and frames._generation is None and not frames._tasks | frames._asked


def test_pack_round_trip():
    scene = {"a": 1, "b": [1.5, None, "x"], "cells": bytes(range(256)), "deep": {"more": b"\x00\x01"}, "bad": float("inf")}
    assert unpack(pack(scene)) == {**scene, "bad": None}


def test_pack_says_what_it_cannot_take():
    with pytest.raises(TypeError, match=r"scene\.a\[1\]: expected JSON values or bytes, found object"):
        pack({"a": [0, object()]})


def test_bundle_is_one_module_without_imports():
    text = bundle.esm()
    assert text.count("export default") == 1 and "\nimport " not in text
    for name in ("draw_blocks", "draw_cost", "draw_dag", "draw_training"):
        assert f"function {name}(" in text
    assert ".pcv-view" in bundle.css()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": "abc"}, r"x must be data of this circuit, numbers \[samples, 16\]: x must hold numbers, got dtype <U3"),
        ({"x": np.zeros(16)}, r"got ndarray of float64 \[16\]"),
        ({"x": np.zeros((3, 9))}, r"got ndarray of float64 \[3, 9\]"),
        ({"x": np.zeros((0, 16))}, r"got ndarray of float64 \[0, 16\]"),
        ({"x": np.full((2, 16), "1", object)}, "x must hold numbers, got dtype object"),
        ({"x": [[0], [1, 2]]}, r"x must be data of this circuit, numbers \[samples, 16\]: "),
        ({"x": np.zeros((3, 16), int), "x_test": np.zeros((3, 15))}, r"x_test must be data of this circuit, .*got ndarray of float64 \[3, 15\]"),
        ({"x": np.zeros((3, 16), int), "image_shape": 16}, r"image_shape must be \(height, width\) with .* variables, 16, got 16"),
        ({"x": np.zeros((3, 16), int), "image_shape": (-4, -4)}, r"image_shape must be .* got \(-4, -4\)"),
    ],
)
def test_data_of_another_kind_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        explore(pruned_circuit(), **arguments)


GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from([-1, 0, 2, 10**30, "", "H100-SXM", "yours"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.sampled_from(COMPARED), inner, max_size=3),
    max_leaves=8,
)
STATES = GARBAGE | st.text() | st.dictionaries(st.sampled_from(KEYS), GARBAGE, max_size=3)


def test_a_garbage_state_is_refused_and_changes_nothing(page):
    """As a dictionary and as JSON: either it is taken as it stands, or a message says why not and all is as it was."""
    page.send("ready")
    outcomes = set()

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(STATES, st.booleans())
    def check(state, as_text):
        session = page.session
        before, menu, number = session.state, list(session._entries), session._number
        page.send("restore", state=json.dumps(state) if as_text and not isinstance(state, str) else state)
        taken = session._number > number
        outcomes.add(taken)
        if taken:
            assert isinstance(state, dict) and all(session.state[key] == value for key, value in state.items() if key not in SETTINGS)
        else:
            said = session._outbox._message
            assert (session.state, list(session._entries), said["level"]) == (before, menu, "error")
            assert re.search(r"must (be|have) |is no JSON|has no |There is no |is of |A state is ", said["text"]) and len(said["text"]) < 500

    check()
    assert outcomes == {True, False}


def test_frames_of_every_size_come_once_current_size_first(page):
    page.session.block_size = 4
    page.send("ready")
    sizes = legal_sizes(page.session._entry.root)
    for size in sizes:
        page.frame("headline", size)
    page.frame("cost")
    layers = next(content for content, _ in page.messages if content["kind"] == "session")["layers"]
    for size in sizes:
        for layer in layers:
            page.frame("blocks", size, layer)
    for tolerance in (0.0, 1.0):
        assert page.frame("blocks", 4, page.session.layer, tolerance)["tolerance"] == tolerance
    keys = [(c["view"], c["size"], c["layer"], c["tolerance"]) for c, _ in page.messages if c["kind"] == "frame"]
    assert len(keys) == len(set(keys))
    assert keys[0] == ("headline", 4, None, 0.25) and keys[1][:2] == ("blocks", 4)
    shown = [tolerance in (None, 0.25) for _, _, layer, tolerance in keys if layer in (None, page.session.layer)]
    assert shown == sorted(shown, reverse=True), "frames of the present tolerance come first"


def test_what_opens_on_the_dag_does_not_wait_for_blocks(page):
    page.session.place({"stages": ["dag"]})
    page.send("ready")
    page.frame("blocks", 1, page.session.layer)
    assert [c["view"] for c, _ in page.messages if c["kind"] == "frame"][:3] == ["headline", "dag", "blocks"]
    assert next(c for c, _ in page.messages if c["kind"] == "session")["needs"] == ["headline", "dag"]


def test_the_tolerance_of_the_page_is_the_sessions(page):
    """Moves of its slider are told with the next message, and make no new generation."""
    page.send("ready")
    root, size, layer = page.session._entry.root, 4, page.session.layer
    wide = page.frame("headline", size, tolerance=1.0)
    page.send("want", block_size=size, layer=layer, tolerance=1.0)
    assert page.session.state["padding_tolerance"] == 1.0 and page.session._number == 1
    assert wide["counts"]["groups"] == plan_summary(root, block_size=size, padding_tolerance=1.0).num_groups
    assert wide["counts"]["groups"] < page.frame("headline", size, tolerance=0.0)["counts"]["groups"]
    page.send("part", part="window", block_size=size, layer=layer, tolerance=1.0, packed=True, cells=False, window=[0, 3, 0, 2])
    assert page.part("window")["kinds"] == LayerBlocks(root, layer, size, 1.0).raster(True, (0, 3, 0, 2)).kinds
    page.send("set", name="padding_tolerance", value="0.05", tolerance=1.0)
    session = page.wait(lambda content: content["kind"] == "session" and content["gen"] == 2)[0]
    assert session["padding_tolerance"] == 0.05 and session["tolerances"] == [0.0, 0.05, 0.1, 0.25, 0.5, 1.0]


def test_whoever_leaves_a_scene_has_the_settings_of_before(page):
    def settings():
        return page.session.state["scene"], page.session.state["circuit"], page.session.state["batch_size"], page.session.state["padding_tolerance"]

    page.send("ready")
    page.send("set", name="batch_size", value="128")
    page.send("scene", name="underflow")
    assert settings() == ("underflow", "far apart", 64, 0.25)
    page.send("scene", name="groups")
    assert settings() == ("groups", "pruned", 512, 0.0)
    page.send("scene", name=None)
    assert settings() == (None, "pruned", 128, 0.25)
    page.send("scene", name="underflow")
    page.send("set", name="circuit", value="yours")
    assert settings() == (None, "yours", 128, 0.25)
    page.send("set", name="circuit", value="pruned")  # outside a scene, settings stay
    page.send("set", name="batch_size", value="32")
    page.send("set", name="circuit", value="yours")
    assert settings() == (None, "yours", 32, 0.25)


def test_what_is_compared_with_may_be_under_any_settings(page):
    """A of the Compare view, when a state brings it: its scene is made for the page that asks."""
    page.send("ready")
    place = {"circuit": "yours", "batch_size": 64, "padding_tolerance": 0.0, "device": "cpu"}
    page.send("compared", ask=1, **place)
    scene = unpack(page.wait(lambda content: content["kind"] == "answer" and content["ask"] == 1)[1][0])
    assert scene["place"] == place
    report = estimate(plan_summary(page.session._entry.root, block_size=4, padding_tolerance=0.0), batch_size=64, device="cpu")
    assert scene["values"]["forward"]["time_ms"][scene["sizes"].index(4)] == report.forward.time_ms
    page.outbox.message("3 ms")
    page.send("compared", ask=2, **place | {"circuit": "mine"})
    assert "no circuit called 'mine'" in unpack(page.wait(lambda content: content.get("ask") == 2)[1][0])["error"]
    page.send("ready")  # the page has asked, nobody has acted: the message is there for a page that opens
    assert page.messages.count(({"kind": "status", "role": "message", "of": "", "text": "3 ms", "level": "info"}, None)) == 2


def test_recorded_figures_are_shown_with_the_batch_that_they_are_of():
    for batch_size in (64, 512):
        views = [Generation(1, figure_5_entry(), Settings(batch_size=batch_size)).scene(Task(view, None, None)) for view in ("cost", "compare")]
        lines, sections = views[0]["recorded"], views[1]["seen"]
        assert (len(lines) > 0) == (len(sections) > 0) == (batch_size == 512)
        assert {line["batchSize"] for line in lines} <= {512}


def test_what_stands_for_a_circuit_is_shown_as_it_was_trained():
    """explore and show take a circuit, a plan or a TensorCircuit, whose parameters are in the picture; export_html and draw take the same."""
    root = pruned_circuit()
    pc, x = TensorCircuit(compile_circuit(root, block_size=4, padding_tolerance=0.5)), np.random.default_rng(0).integers(0, 17, (20, 16))
    untrained = [nodes.params.copy() for nodes in sum_vectors(root)]
    pc.accumulate_flows(x)
    pc.em_step()
    for view, circuit in ((explore, pc.plan), (show, pc.plan), (show, pc)):
        assert all(np.array_equal(nodes.params, params) for nodes, params in zip(sum_vectors(root), untrained)), "of the TensorCircuit alone"
        shown = view(circuit, x)
        state = shown.state
        shown.close()
        assert (state["circuit"], state["block_size"], state["padding_tolerance"]) == ("yours", 4, 0.5)
    assert circuit_at(pc, 2, 0.0) == (root, 2, 0.0) and circuit_at(pc.plan, None, None) == (root, 4, 0.5)
    assert circuit_at(root, None, None) == (root, None, 0.25)
    trained = [nodes.params.copy() for nodes in sum_vectors(root)]
    assert not any(np.array_equal(*pair) for pair in zip(trained[:-1], untrained))
    assert circuit_of(pc) == circuit_of(pc.plan) == (root, pc.plan) and circuit_of(root) == (root, None) and circuit_of(3) == (3, None)
    with pytest.raises(ValueError, match="the root must be one sum node, got int"):
        explore(3)


def test_headline_equals_summary_and_estimate(page):
    page.send("ready")
    root = page.session._entry.root
    for size in legal_sizes(root):
        headline = page.frame("headline", size)
        summary = plan_summary(root, block_size=size)
        report = estimate(summary)
        figures = headline["phases"]["forward"]
        assert figures["time_ms"] == report.forward.time_ms
        assert figures["l2_bytes"] == report.forward.l2_to_l1_bytes
        assert figures["hbm_bytes"] == report.forward.hbm_bytes
        assert figures["launches"] == sum(record.direction == "forward" for record in (*report.records, *report.around))
        assert headline["counts"]["pseudo"] == summary.total("pseudo_edges")
        assert headline["counts"]["absent"] == summary.total("absent_edges")
        assert figures["kinds"]["time"].startswith("model")


def test_finer_pictures_come_when_asked_for(page):
    page.send("ready")
    page.frame("blocks", 4, 2)
    root, window = page.session._entry.root, [3, 30, 1, 40]
    page.send("part", part="window", block_size=4, layer=2, packed=False, cells=True, window=window)
    blocks = LayerBlocks(root, 2, 4)
    found, wanted = page.part("window"), cell_raster(blocks, False, tuple(window))
    assert found["kinds"] == wanted.kinds.tobytes() and found["params"] == wanted.params.tobytes() and found["hasFlows"] is False
    assert found["colLabels"]["0"] == blocks.col_labels([0])[0] and found["rowLabels"][1] == blocks.row_labels([1])[0]
    page.messages.clear()
    page.send("part", part="window", block_size=4, layer=2, packed=True, cells=False, window=[0, 5, 0, 2])
    assert page.part("window")["kinds"] == blocks.raster(True, (0, 5, 0, 2)).kinds
    page.send("part", part="launches", block_size=4, layer=2, first=None)
    assert page.part("launches")["rows"][0]["nid"] == compile_circuit(root, block_size=4).layers[1].groups[0].nids[0]
    page.send("part", part="window", block_size=4, layer=2, packed=True, cells=False, window=[0, 5, 0, 2000])
    assert "window must lie in" in page.wait(lambda content: content.get("level") == "error")[0]["text"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("batch_size", "0", "Batch size must be a whole number"),
        ("batch_size", "many", "Batch size must be a whole number"),
        ("padding_tolerance", "-1", "Tolerance must be a share of 0 or more"),
        ("padding_tolerance", "nan", "Tolerance must be a share of 0 or more"),
        ("device", "abacus", "Device must be one of"),
    ],
)
def test_bad_settings_stay_in_the_status_line(page, name, value, text):
    page.send("ready")
    page.frame("headline", 1)
    before = page.session._settings
    page.send("set", name=name, value=value)
    assert text in page.wait(lambda content: content["kind"] == "status" and content["level"] == "error")[0]["text"]
    assert page.session._settings == before
    with pytest.raises(ValueError, match=text):
        changed_settings(before, name, value)


def test_a_new_setting_starts_a_new_generation(page):
    page.send("ready")
    page.frame("headline", 1)
    page.messages.clear()
    page.send("set", name="batch_size", value="64")
    session = page.wait(lambda content: content["kind"] == "session")[0]
    assert session["gen"] == 2 and session["batch_size"] == 64
    report = estimate(plan_summary(page.session._entry.root, block_size=1), 64)
    assert page.frame("headline", 1)["phases"]["forward"]["time_ms"] == report.forward.time_ms


@pytest.mark.parametrize("outcome", ["cancelled", "failed"])
def test_a_circuit_that_does_not_come_is_not_waited_for(page, monkeypatch, outcome):
    """While it is prepared, a state of it and a page that compares with it wait; after that both hear that there is none."""

    def prepare(*_arguments):
        if outcome == "failed":
            raise OSError("no digits")
        return False

    monkeypatch.setattr("pcviz.widgets.session.prepare_digits", prepare)
    entry = page.session._entries["digits"] = digits_entry()
    page.send("ready")
    before, wish = page.session.state, {"circuit": "digits", "batch_size": 64, "padding_tolerance": 0.0, "device": "cpu"}

    def soon(ask: int) -> bool:
        page.send("compared", ask=ask, **wish)
        return unpack(page.wait(lambda content: content.get("ask") == ask)[1][0])["soon"]

    page.send("restore", state={"circuit": "digits"})
    assert page.session.state == before and page.session._outbox._message is None and soon(1)
    with suppress(OSError):
        page.session._prepare(entry)
    page.send("restore", state={"circuit": "digits", "layer": 2})
    assert page.session.state == before and page.session._outbox._message["text"] == entry.why_not and outcome in entry.why_not
    assert not soon(2)


def test_what_a_person_needs_outlives_the_news_of_work():
    said = []
    outbox = Outbox(lambda content, _buffers: said.append((content["role"], content["of"], content["text"])))
    outbox.going("compiling", of="frames")
    outbox.going("measuring", of="device")
    outbox.error("wrong")
    outbox.message("3 ms", of="device")
    outbox.done("frames")
    outbox.done("device")  # nothing of it is left to end
    assert [role for role, *_ in said] == ["going", "going", "message", "message", "done"]
    said.clear()
    outbox.going("training", of="device")
    outbox.replay()  # for a page that opens now
    assert said[1:] == [("going", "device", "training"), ("message", "device", "3 ms")]
    outbox.acted()
    outbox.replay()
    assert said[-1][0] == "going"


def test_unknown_message_is_an_error_not_an_exception(page):
    page.send("dance")
    assert "dance" in page.wait(lambda content: content["kind"] == "status")[0]["text"]
    page.send("ready")
    page.send("train")
    assert "No data" in page.wait(lambda content: content.get("level") == "error" and "No data" in content["text"])[0]["text"]


def test_training_streams_stops_and_measures():
    from pcviz.datasets import digits

    x = digits("train")[:, [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]]
    page = Page(pruned_circuit(), x)
    try:
        page.send("ready")
        page.frame("headline", 8)
        page.send("train", block_size=8, layer=1)
        page.wait(lambda content: content["kind"] == "steps" and content["rows"], 60)
        page.send("measure", block_size=4, layer=1)
        told = page.wait(lambda content: content["kind"] == "status" and " forward on this CPU" in content["text"], 60)[0]
        assert "Block size 4" in told["text"] and "training paused" in told["text"]
        for wish, state in (("pause", "paused"), ("resume", "training")):
            page.messages.clear()
            page.send(wish)
            page.wait(lambda content, state=state: content["kind"] == "run" and content["state"] == state)
        page.send("use_for_training", block_size=4, layer=1)
        page.wait(lambda content: content["kind"] == "run" and content["state"] == "training" and content["block_size"] == 4)
        page.send("pause")
        page.wait(lambda content: content["kind"] == "run" and content["state"] == "paused")
        page.send("use_for_training", block_size=8, layer=1)  # at once, although nothing trains
        page.wait(lambda content: content["kind"] == "run" and content["state"] == "paused" and content["block_size"] == 8)
        started = time.monotonic()
        page.send("stop")
        page.wait(lambda content: content["kind"] == "status" and content["text"].startswith("Training stopped"))
        assert time.monotonic() - started < 2
        page.send("part", part="window", block_size=8, layer=1, packed=True, cells=True, window=[0, 8, 0, 8])
        flows = np.frombuffer(page.part("flows")["flows"], "<f4").reshape(8, 8)
        edges = np.frombuffer(page.part("window")["kinds"], np.uint8).reshape(8, 8) == EDGE
        assert (np.isfinite(flows) == edges).all() and flows[edges].sum() > 0 and page.part("flows")["samples"] == 512
        steps = [row for row in page.session.records if row["kind"] == "step"]
        assert [row["step"] for row in steps] == list(range(1, len(steps) + 1))
        assert {row["block_size"] for row in steps} <= {8, 4}
        page.messages.clear()
        page.send("set", name="auto_measure", value=True, block_size=8, layer=1)
        page.wait(lambda content: content["kind"] == "session" and content["auto_measure"])  # else the page would not tell of its moves
        for size in (8, 2):
            page.wait(lambda content, size=size: content["kind"] == "status" and content["text"].startswith(f"Block size {size}: "), 60)
            page.send("commit", block_size=2, layer=1)
        assert [row["block_size"] for row in page.session.records if row["kind"] == "measurement"][:3] == [4, 8, 2]
    finally:
        page.session.close()


def test_this_cpu_shows_its_model_and_then_its_measurement():
    page = Page(pruned_circuit(), None, device="cpu")
    try:
        page.send("ready")
        figures = page.frame("headline", 4)["phases"]["forward"]
        assert figures["kinds"]["time"] == "model, this CPU" and figures["time_ms"] > 0
        entry = page.session._entry
        times = {"median_ms": 1.5, "p20_ms": 1, "p80_ms": 2, "repeats": 10, "busy": False, "caution": ""}
        measured = SimpleNamespace(block_size=4, batch_size=512, phase="forward", device_name="CPU", date="", **times)
        entry.measured.append((measured, 0.25))
        page.messages.clear()
        page.send("ready")
        figures = page.frame("headline", 4)["phases"]["forward"]
        assert figures["kinds"]["time"] == "measured (10 runs)" and figures["time_ms"] == 1.5
        assert page.frame("headline", 2)["phases"]["forward"]["kinds"]["time"] == "model, this CPU"
    finally:
        page.session.close()


def test_opening_needs_no_torch_and_closing_frees_everything():
    code = """
import sys, threading, ipywidgets
import pcviz
explorer = pcviz.explore()
sent = []
explorer._session._outbox._send = lambda content, buffers: sent.append(content)
explorer._session.receive({"kind": "ready"})
import time
deadline = time.monotonic() + 30
while time.monotonic() < deadline and sum(c["kind"] == "frame" for c in sent) < 12: time.sleep(0.05)
assert {c.get("view") for c in sent} >= {"headline", "blocks", "cost"}, sent
assert "torch" not in sys.modules, "torch was imported before the first picture"
assert len(explorer._static.encode()) < 60_000
explorer.close()
from ipywidgets.widgets.widget import _instances
assert not _instances, _instances
assert not [t.name for t in threading.enumerate() if t.name.startswith("pcviz")]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
