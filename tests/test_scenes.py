"""Scenes: pure, JSON-able, capped, and equal in their numbers to the records they come from; drawn once in a real browser."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from circuits import small_circuits
from hypothesis import given, settings
from pcviz_kernels.config import LaunchConfig
from test_explorer import pruned_circuit

import pcviz as pcv
from pcviz.compiler.blockcells import child_blocks
from pcviz.compiler.blockmap import PSEUDO, LayerBlocks, block_map
from pcviz.compiler.layering import layering
from pcviz.devices import H100_SXM, DeviceSpec
from pcviz.ir.nodes import inputs, multiply, sum_vectors, summate
from pcviz.recorded import figure_5_rows, layer_times, own_launches, steps_of_size
from pcviz.traffic import ModelError
from pcviz.traffic_text import milliseconds
from pcviz.widgets import bundle, scenes
from pcviz.widgets.circuits import figure_5_entry, user_entry
from pcviz.widgets.headline import layer_points, recorded_points, scene_headline, step_points
from pcviz.widgets.packing import pack, unpack
from pcviz.widgets.scenes import blocks as blocks_module
from pcviz.widgets.scenes import memory as memory_module
from pcviz.widgets.scenes import table as table_module
from pcviz.widgets.scenes.blocks_launches import scene_launches
from pcviz.widgets.scenes.blocks_window import scene_window
from pcviz.widgets.scenes.common import STATIC_LIMIT, html_table, si_bytes
from pcviz.widgets.scenes.dag import MAX_COLUMNS, MAX_GLYPHS, MAX_LINKS
from pcviz.widgets.scenes.learned import BYTES, LayerFlow, Pictures, image_counts
from pcviz.widgets.scenes.memory import COLUMNS as POINT
from pcviz.widgets.scenes.memory import roofline_axes
from pcviz.widgets.scenes.training import COLUMNS, MAX_ROWS, TEST, training_row

SIZES = (1, 4, 16, 32)


@pytest.fixture(scope="module")
def pd():
    return pcv.PD((4, 4), num_latents=20, split_intervals=1, dist=pcv.Categorical(num_cats=3), seed=0)


@pytest.fixture(scope="module")
def summaries(pd):
    return {size: pcv.plan_summary(pd, block_size=size) for size in SIZES}


@pytest.fixture(scope="module")
def reports(summaries):
    return {size: pcv.estimate(summary) for size, summary in summaries.items()}


def blocks_scene(root, layer, size, tolerance=0.25):
    return scenes.scene_blocks(pcv.plan_summary(root, block_size=size, padding_tolerance=tolerance), block_map(root, layer, size, tolerance), layer)


def steps(count, block_size=16, first=1, per_epoch=3):
    return [
        SimpleNamespace(epoch=(i - 1) // per_epoch + 1, step=i, num_samples=100 * i, seconds=0.1 * i, train_bpd=3 / i + 1,
                        test_bpd=3 / i + 1.1 if i % per_epoch == 0 else None, block_size=block_size, batch_size=100,
                        num_steps=100 * per_epoch, num_epochs=100)
        for i in range(first, first + count)
    ]  # fmt: skip


def measurement(size, median=5.0, phase="forward", caution=""):
    return SimpleNamespace(device_name="a CPU", phase=phase, batch_size=512, repeats=10, date="2026-11-23", block_size=size,
                           median_ms=median, p20_ms=0.9 * median, p80_ms=1.2 * median, busy=bool(caution), caution=caution)  # fmt: skip


def assert_travels(scene):
    """Only JSON values and bytes, and nothing is lost on the way to the browser."""
    assert unpack(pack(scene)) == scene


# ---- Blocks -------------------------------------------------------------------------------------------------------------


@given(root=small_circuits())
@settings(max_examples=25, deadline=None)
def test_blocks_scene_has_the_counts_of_the_summary(root):
    for size in (1, 4):
        summary = pcv.plan_summary(root, block_size=size)
        for layer in summary.layers:
            scene = blocks_scene(root, layer.index, size)
            counts = scene["counts"]
            assert [counts[key] for key in ("edges", "absent", "missing", "pseudo")] == [
                layer.edges, layer.absent_edges, layer.missing_edges, layer.pseudo_edges]  # fmt: skip
            assert counts["groups"] == len(layer.groups) and counts["launches"] == len(layer.groups) + layer.product_launches
            assert scene["total"]["launches"] == summary.forward_launches and scene["total"]["groups"] == summary.num_groups
            assert sum(scene["rowPseudo"]) == layer.pseudo_blocks == counts["pseudoBlocks"]
            for one in (scene["matrix"], scene["packed"]):
                assert len(one["kinds"]) == len(one["fill"]) == one["rows"] * one["cols"]
            assert len(scene["rowGroup"]) == len(scene["rowPseudo"]) == len(scene["rowLabels"]) == scene["matrix"]["rows"]
            assert sum(group["G"] for group in scene["groups"]) == scene["sumBlocks"]
            assert_travels(scene)


def test_blocks_scene_of_a_huge_layer_is_aggregated_and_says_so():
    root = pcv.figure_5_layer()
    scene = blocks_scene(root, 1, 1)
    assert max(scene[mode][side] for mode in ("matrix", "packed") for side in ("rows", "cols")) <= 256 and scene["sumBlocks"] == 28_928
    assert "Aggregated" in scene["caption"] and "113 sum blocks" in scene["caption"]
    assert len(pack(scene)) < 30_000
    assert blocks_scene(root, 2, 64)["caption"] == ""


def test_blocks_scene_of_an_unknown_layer(summaries, pd):
    with pytest.raises(ValueError, match="layer must be one of 1 to"):
        scenes.scene_blocks(summaries[4], block_map(pd, 1, 4), 99)


def launches_scene(root, layer, size, tolerance=0.25, first=None):
    one = pcv.compile(root, block_size=size, padding_tolerance=tolerance).layers[layer - 1]
    return one, scene_launches(one.groups, one.sections, LayerBlocks(root, layer, size, tolerance), layering(root).numbering, first)


@given(root=small_circuits())
@settings(max_examples=25, deadline=None)
def test_launches_show_the_plans_index_tensors(root):
    for size in (1, 4):
        for layer in range(1, len(pcv.plan_summary(root, block_size=size).layers) + 1):
            one, scene = launches_scene(root, layer, size, 1.0)
            blocks = LayerBlocks(root, layer, size, 1.0)
            children = child_blocks(blocks, True, (0, blocks.sum_blocks, 0, blocks.width(True)))
            plan, numbering = pcv.compile(root, block_size=size, padding_tolerance=1.0), layering(root).numbering
            for row in scene["rows"]:
                vector, place = numbering.locate(row["node"])  # figure 4's rows and the DAG's nodes are the same sums
                assert row["nid"] == plan.starts[id(numbering.vectors[vector])] + place
                group = one.groups[row["launch"] - 1]
                assert row["nid"] == group.nids[row["place"]] and row["width"] == group.cids.shape[1]
                cids, pids, columns, kinds = zip(*row["places"])
                assert list(cids) == group.cids[row["place"]].tolist()[:12] and list(pids) == group.pids[row["place"]].tolist()[:12]
                assert list(columns) == children[row["position"]].tolist()[: len(columns)]
                assert [kind == PSEUDO for kind in kinds] == [pid == 0 for pid in pids]
            elements = {start: nodes for nodes, start in one.elements}
            for column, node in zip(scene["columns"], scene["colNodes"]):
                vector, place = numbering.locate(node)
                cid = next(cid for row in scene["rows"] for cid, _, at, _ in row["places"] if at == column)
                assert elements[cid - place] is numbering.vectors[vector]
            assert_travels(scene)


def test_launches_of_a_large_layer_show_some_of_each(pd):
    scene = launches_scene(pcv.figure_5_layer(num_regions=9), 1, 8)[1]
    assert len(scene["rows"]) == 12 and scene["sumBlocks"] == 288 and "first 12 of up to 128 places" in scene["caption"]
    assert [row["position"] for row in launches_scene(pd, 2, 4, first=5)[1]["rows"]] == list(range(5, 17))
    last = launches_scene(pd, 2, 4, first=10**6)[1]
    assert [row["position"] for row in last["rows"]] == [last["sumBlocks"] - 1]


def test_cuts_are_the_groups_of_the_plan(pd):
    for size, layer in ((1, 2), (4, 3), (32, 1)):
        scene = blocks_scene(pd, layer, size)
        cuts, chosen = scene["cuts"], pcv.plan_summary(pd, block_size=size).layers[layer - 1]
        assert cuts["groups"] == len(chosen.groups) == sum(one["groups"] for one in cuts["classes"])
        assert cuts["least"][cuts["groups"] - 1] == chosen.pseudo_edges and cuts["stored"] == chosen.stored_edges
        for one in cuts["classes"]:
            bounds = [one["counts"][at] for at in one["cuts"]]
            assert bounds == [group.num_child_blocks for group in chosen.groups if [group.sum_block, group.child_block] == one["shape"]]
            assert len(one["costs"]) <= 12 and all(len(row) == len(one["counts"]) <= 24 for row in one["costs"])


def test_deep_circuits_keep_a_short_layer_chooser(monkeypatch, pd, summaries):
    monkeypatch.setattr(blocks_module, "MAX_LAYERS", 3)
    last = len(summaries[4].layers)
    assert [row["index"] for row in blocks_scene(pd, last, 4)["layers"]] == [last - 2, last - 1, last]
    assert [row["index"] for row in blocks_scene(pd, 1, 4)["layers"]] == [1, 2, 3]


# ---- Cost ---------------------------------------------------------------------------------------------------------------


def test_cost_scene_adds_up_the_report(summaries, reports):
    scene = scenes.scene_cost("PD", summaries, reports)
    for i, size in enumerate(SIZES):
        total = reports[size].total
        for key in ("time_ms", "l2_bytes", "hbm_bytes", "l1_bytes"):
            forward, backward, both = (scene["model"][phase][key][i] for phase in ("forward", "backward", "both"))
            assert both == pytest.approx(getattr(total, key), rel=1e-4) and both == pytest.approx(forward + backward, rel=1e-4)
            layers = sum(scene["layers"][str(layer.index)]["forward"][key][i] for layer in summaries[size].layers)
            assert layers == pytest.approx(forward, rel=1e-4)
    assert scene["modelLabel"] == "model (Triton launch), H100-SXM"
    assert "bound by" in " ".join(scene["formulas"]["1"]["16"])
    assert_travels(scene)


def test_naive_parallelization_is_a_line_of_its_own(summaries, reports):
    naive = scenes.scene_cost("PD", summaries, reports)["naive"]
    want = pcv.estimate(summaries[1], precision="fp16", naive=True).forward
    assert naive["total"]["forward"]["l2_bytes"] == pytest.approx(want.l2_bytes, rel=1e-4)
    assert naive["total"]["forward"]["time_ms"] > reports[32].forward.time_ms


def test_loads_of_an_input_fall_from_m_to_m_over_tile_m():
    """One fully connected layer of M = 64 sums: section 3 loads each input M times, a program of tile_m sums M / tile_m times."""
    products = multiply(*(inputs(var, num_nodes=64, dist=pcv.Categorical(num_cats=2)) for var in (0, 1)))
    root = summate(multiply(summate(products, num_nodes=64), inputs(2, num_nodes=64, dist=pcv.Categorical(num_cats=2))), num_nodes=1)
    sizes = {size: pcv.plan_summary(root, block_size=size) for size in (1, 8, 64)}
    models = {size: pcv.estimate(summary, passes=("forward",)) for size, summary in sizes.items()}
    scene = scenes.scene_cost("dense", sizes, models)
    tiles = [next(r.config.tile_m for r in models[size].records if r.layer == 1) for size in sizes]
    assert scene["layers"]["1"]["forward"]["loads"] == [64 / tile for tile in tiles] and tiles[0] == 1 < tiles[-1]
    assert scene["naive"]["layers"]["1"]["forward"]["loads"] == 64 and scene["naive"]["layers"]["2"]["forward"]["loads"] == 1


def test_sizes_without_a_report_are_gaps(summaries, reports):
    scene = scenes.scene_cost("PD", summaries, {16: reports[16]})
    assert [value is None for value in scene["model"]["forward"]["time_ms"]] == [True, True, False, True]
    nothing = scenes.scene_cost("PD", summaries, {})
    assert nothing["naive"]["total"] == {} and "-" in scenes.static_cost(nothing)


def test_recorded_runs_name_gpu_and_date_and_are_no_model_error(summaries, reports):
    lines = scenes.scene_cost("figure 5", summaries, reports, recorded_points(figure_5_rows()))["recorded"]
    forward = next(line for line in lines if line["phase"] == "forward")
    assert forward["label"] == "recorded, PyJuice 2.6.3, H100, 2026-11-23" and forward["layer"] == 1
    assert forward["sizes"] == [1, 2, 4, 8, 16, 32, 64] and forward["time_ms"][0] == pytest.approx(35.2, rel=0.01)


def test_our_recorded_rows_stand_beside_the_model_and_those_of_others_do_not(summaries, reports):
    """A layer's sum kernels; a whole pass, which is compared with all launches; PyJuice's, which the model is not of."""
    points = recorded_points([*figure_5_rows(), *figure_5_rows(own_launches())])
    own = [line for line in scenes.scene_cost("figure 5", summaries, reports, points)["recorded"] if line["own"]]
    assert {line["label"].split(", ")[1].split()[0] for line in own} == {"pcviz"} and {line["phase"] for line in own} == {"forward", "backward"}
    steps = steps_of_size(32_506_880)
    assert {row.circuit for row in steps} == {"HMM-1024"} and steps_of_size(17) == ()
    scene = scenes.scene_cost("HMM", summaries, reports, step_points(steps))
    ours, peer = ([line for line in scene["recorded"] if line["own"] == own and line["phase"] == "forward"] for own in (True, False))
    assert ours[0]["layer"] is None and ours[0]["sizes"] == peer[0]["sizes"] == [64] and ours[0]["time_ms"] < peer[0]["time_ms"]
    everything = sum(record.time_ms for record in (*reports[16].records, *reports[16].around))
    (whole,) = scene["whole"]
    assert whole["both"][SIZES.index(16)] == pytest.approx(everything, rel=1e-4) and everything > reports[16].total.time_ms
    assert scenes.scene_cost("PD", summaries, reports)["whole"] == []
    assert_travels(scene)
    points += layer_points([row for row in layer_times() if row.provenance.circuit == "fig5-dense"])
    scene = scenes.scene_cost("figure 5", summaries, reports, points)
    assert [(line["scope"], line["layer"]) for line in scene["whole"]] == [("layer", 1)]
    layer = sum(r.time_ms for r in (*reports[16].records, *reports[16].around) if (r.layer, r.direction) == (1, "backward"))
    assert scene["whole"][0]["backward"][SIZES.index(16)] == pytest.approx(layer, rel=1e-4)
    times = next(line for line in scene["recorded"] if (line["own"], line["scope"], line["phase"]) == (True, "layer", "forward"))
    assert times["sizes"] == [1, 2, 4, 8, 16, 32, 64] and times["hbm_bytes"] == [None] * 7


def test_measured_points_keep_the_newest_of_a_size(summaries, reports):
    busy = measurement(1, 20, caution="busy: 1 to 2 ms")
    scene = scenes.scene_cost("PD", summaries, reports, (), [measurement(16, 9), busy, measurement(16, 7), measurement(4, 3, "step")])
    forward, step = scene["measured"]
    assert forward["points"] == [[1, 20, 18, 24, "busy: 1 to 2 ms"], [16, 7, 6.3, 8.4, ""]] and step["phase"] == "step"
    assert "6.3 ms to 8.4 ms" in scenes.static_cost(scene) and "busy: 1 to 2 ms" in scenes.static_cost(scene)


# ---- Table --------------------------------------------------------------------------------------------------------------


def column(table, rows, key):
    at = [one[0] for one in table["columns"]].index(key)
    return [row[at] for row in rows]


def test_table_scene_adds_up_to_plan_and_model(summaries, reports):
    for size in (4, 16):
        scene = scenes.scene_table(summaries[size], reports[size], (), [measurement(size, 9)])
        layers, launches = scene["layers"], scene["launches"]
        for name in ("forward", "backward", "both"):
            sums = reports[size].total if name == "both" else reports[size].of_pass(name)
            total = layers["total"][name]
            for key in ("flops", "l1_bytes", "l2_bytes", "hbm_bytes", "time_ms"):
                assert column(layers, [total], key) == [pytest.approx(getattr(sums, key), rel=1e-5)]
                assert sum(column(layers, layers["rows"][name], key)) == pytest.approx(getattr(sums, key), rel=1e-5)
            for key in ("sums", "edges", "absent", "missing", "pseudo"):
                want = {"sums": "num_sums", "edges": "edges"}.get(key, f"{key}_edges")
                assert sum(column(layers, layers["rows"][name], key)) == summaries[size].total(want) == column(layers, [total], key)[0]
        inputs, made = summaries[size].input_launches, len(pcv.trace(summaries[size], 512, passes=("forward",), impl="triton").launches)
        assert sum(column(layers, layers["rows"]["forward"], "launches")) + inputs == made
        assert column(layers, [layers["total"]["forward"]], "launches") == [made]
        assert [column(layers, [layers["total"][name]], "measured_ms") for name in ("forward", "backward")] == [[9], [None]]
        assert sum(column(launches, launches["rows"], "hbm_bytes")) == reports[size].total.hbm_bytes
        assert len(launches["rows"]) == len(reports[size].records)
        assert_travels(scene)


def test_table_of_the_recorded_layer_has_a_column_for_it():
    summary = pcv.plan_summary(pcv.figure_5_layer(), block_size=16)
    scene = scenes.scene_table(summary, pcv.estimate(summary), recorded_points(figure_5_rows()))
    table, want = scene["layers"], {row.phase: row.time_ms for row in figure_5_rows() if row.block_size == 16}
    times = {name: column(table, table["rows"][name], "recorded_0_ms") for name in ("forward", "backward", "both")}
    assert times["forward"] == [pytest.approx(want["forward"], rel=1e-5), None]
    assert times["both"] == [pytest.approx(want["forward"] + want["backward"], rel=1e-5), None]
    assert "H100" in (title := next(one[1] for one in table["columns"] if one[0] == "recorded_0_ms")) and title.endswith("sum kernels")
    assert column(table, [table["total"]["forward"]], "recorded_0_ms") == [None]
    steps = [{"label": "recorded", "scope": "pass", "layer": None, "block_size": 16, "batch_size": 512, "phase": phase, "time_ms": ms}
             for phase, ms in (("forward", 2), ("both", 5))]  # fmt: skip
    table = scenes.scene_table(summary, pcv.estimate(summary), steps)["layers"]
    assert [column(table, [table["total"][name]], "recorded_0_ms")[0] for name in ("forward", "backward", "both")] == [2, None, 5]
    assert column(table, table["rows"]["both"], "recorded_0_ms") == [None, None]


def test_table_lists_the_slowest_launches(monkeypatch, summaries, reports):
    monkeypatch.setattr(table_module, "MAX_LAUNCHES", 3)
    scene = scenes.scene_table(summaries[4], reports[4])
    times = column(scene["launches"], scene["launches"]["rows"], "time_ms")
    assert sorted(times) == pytest.approx(sorted(record.time_ms for record in reports[4].records)[-3:], rel=1e-5)
    assert "The 3 slowest of" in scene["caption"]


def test_em_and_a_training_step_are_the_same_everywhere(summaries):
    """Headline, Table, Cost and Memory: EM, and forward, backward and EM together."""
    passes = ("forward", "backward", "em")
    reports = {size: pcv.estimate(summaries[size], passes=passes) for size in SIZES}
    memory, cost = scenes.scene_memory("PD", reports), scenes.scene_cost("PD", summaries, reports)
    for i, size in enumerate(SIZES):
        table, phases = scenes.scene_table(summaries[size], reports[size])["layers"], scene_headline(summaries[size], reports[size])["phases"]
        assert f" in {reports[size].forward.launches} launches; the largest, " in phases["forward"]["formulas"]["time"]
        for name, parts in (("em", ("em",)), ("step", passes)):
            for key in ("time_ms", "hbm_bytes", "l2_bytes", "l1_bytes"):
                want = sum(getattr(reports[size].of_pass(part), key) for part in parts)
                assert column(table, [table["total"][name]], key) == [pytest.approx(want, rel=1e-5)]
                assert cost["model"][name][key][i] == pytest.approx(want, rel=1e-4)
                assert sum(memory["totals"][str(size)]["all"][part][key] for part in parts) == pytest.approx(want, rel=1e-4)
                if key in ("time_ms", "hbm_bytes"):
                    assert phases[name][key] == pytest.approx(want)
        assert phases["both"]["time_ms"] == pytest.approx(phases["step"]["time_ms"] - phases["em"]["time_ms"])
        for name, parts in scenes.common.PASSES_OF.items():  # every launch of the engine, whose calls the trace is equal to by test
            made = len(pcv.trace(summaries[size], 512, passes=parts, impl="triton").launches)
            assert phases[name]["launches"] == column(table, [table["total"][name]], "launches")[0] == made
            assert phases[name]["formulas"]["launches"].endswith(f" = {made} launches")
        launches = scenes.scene_table(summaries[size], reports[size])["launches"]
        assert column(launches, launches["rows"], "phase").count("EM") == reports[size].of_pass("em").launches
    assert set(cost["naive"]["total"]) == {"forward", "backward", "both"}
    assert "EM" not in str(scenes.scene_tiles(summaries[16], reports[16], 3)["launches"])


# ---- Compare ------------------------------------------------------------------------------------------------------------


def test_compare_scene_has_the_figures_of_plan_and_estimate(pd, summaries, reports):
    scene = scenes.scene_compare("PD", summaries, reports)
    for i, size in enumerate(SIZES):
        forward, both = ({row["key"]: scene["values"][phase][row["key"]][i] for row in scene["rows"]} for phase in ("forward", "both"))
        for key in ("time_ms", "l1_bytes", "l2_to_l1_bytes", "hbm_bytes", "flops"):
            assert forward[key] == getattr(reports[size].forward, key)
            assert both[key] == pytest.approx(getattr(reports[size].total, key))
        made = [len(pcv.trace(summaries[size], 512, passes=passes, impl="triton").launches) for passes in (("forward",), ("forward", "backward"))]
        assert [forward["launches"], both["launches"]] == made and forward["padding_share"] == summaries[size].padding_share
        assert forward["cells"] * (1 - forward["padding_share"]) == pytest.approx(summaries[size].total("edges"))
        assert [forward[name] for name in ("absent", "pseudo", "missing")] == [
            summaries[size].total(f"{name}_edges") for name in ("absent", "pseudo", "missing")]  # fmt: skip
    assert_travels(scene)


def test_compare_scene_keeps_recorded_and_measured_apart_from_the_model(summaries, reports):
    """Of this batch size only; a newer measurement of a size replaces the older one; passes recorded apart add up."""
    rows = [row for row in figure_5_rows() if row.block_size in SIZES]
    points = [*recorded_points(rows), *({**point, "batch_size": 64, "time_ms": 1e9} for point in recorded_points(rows))]
    own = [measurement(4, 9.0), measurement(4, 2.0)]
    scene = scenes.scene_compare("PD", summaries, reports, points, own)
    recorded, own = scene["seen"]
    made = rows[0].provenance
    assert recorded["name"] == f"recorded, PyJuice 2.6.3, H100, {made.date}: sum kernels" and own["name"].startswith("measured, ")
    forward, backward = ({row.block_size: row for row in rows if row.phase == phase} for phase in ("forward", "backward"))
    for key in ("time_ms", "l2_to_l1_bytes", "hbm_bytes", "l1_bytes"):
        assert recorded["values"]["forward"][key] == [getattr(forward[size], key) for size in SIZES]
        assert recorded["values"]["both"][key] == [getattr(forward[size], key) + getattr(backward[size], key) for size in SIZES]
    assert own["values"] == {"forward": {"time_ms": [None, 2.0, None, None]}}
    assert_travels(scene)


# ---- DAG ----------------------------------------------------------------------------------------------------------------


def test_dag_scene_has_the_layers_of_the_summary(pd, summaries, reports):
    scene = scenes.scene_dag(pd, summaries[16], reports[16])
    assert [(c["layer"], c["sums"], c["products"], c["edges"]) for c in scene["columns"]] == [
        (layer.index, layer.num_sums, layer.num_products, layer.edges) for layer in summaries[16].layers]  # fmt: skip
    for key in ("time_ms", "l2_bytes", "hbm_bytes", "flops"):
        assert sum(c[key] for c in scene["columns"]) == pytest.approx(getattr(reports[16].forward, key), rel=1e-3)
    assert sum(c["params"] for c in scene["columns"]) == sum(nodes.num_params for nodes in sum_vectors(pd))
    assert scene["model"] == "model, H100-SXM, forward, batch 512"
    glyphs, links = scene["regions"]["glyphs"], np.frombuffer(scene["regions"]["links"], "<u2").reshape(-1, 2)
    assert len(glyphs) <= MAX_GLYPHS and len(links) <= MAX_LINKS * scene["regions"]["stride"]
    assert all(glyphs[parent]["column"] > glyphs[child]["column"] for parent, child in links)
    assert sum(glyph.get("edges", 0) for glyph in glyphs) == summaries[16].total("edges")
    assert all(0 <= glyph["row"] <= 1 for glyph in glyphs)
    assert_travels(scene)


def test_dag_of_many_regions_shows_layers_and_says_so():
    x = np.random.default_rng(0).integers(0, 3, (200, 800)).astype(np.uint8)
    root = pcv.HCLT(x, 2)
    scene = scenes.scene_dag(root, pcv.plan_summary(root, block_size=2))
    assert scene["regions"] is None and "too many" in scene["caption"]
    assert scene["columns"][0]["time_ms"] is None and "none yet" in scene["timeLabel"]


def test_deep_dag_folds_equal_layers():
    dist, nodes = pcv.Categorical(num_cats=2), None
    for var in range(MAX_COLUMNS + 40):
        leaf = inputs(var, num_nodes=2, dist=dist)
        nodes = summate(leaf if nodes is None else multiply(leaf, nodes), num_nodes=2)
    root = summate(nodes, num_nodes=1)
    scene = scenes.scene_dag(root, pcv.plan_summary(root, block_size=2))
    assert len(scene["columns"]) <= MAX_COLUMNS and max(c["repeats"] for c in scene["columns"]) > 100
    assert any("(x " in c["label"] for c in scene["columns"]) and "are drawn in" in scene["caption"]
    assert scene["columns"][-1]["last"] == scene["numLayers"]


# ---- Memory -------------------------------------------------------------------------------------------------------------

LAPTOP = DeviceSpec("a laptop", "cpu", 4, 8 << 20, 0.01, None, None, 0.2, date="2026-11-25")


def test_memory_scene_adds_up_the_report(summaries, reports):
    scene = scenes.scene_memory("PD", reports)
    for size in SIZES:
        points, totals = scene["points"][str(size)], scene["totals"][str(size)]
        assert len(points) == len(reports[size].records) and scene["hidden"][str(size)] == 0
        for key in ("flops", "hbm_bytes", "l2_bytes", "l1_bytes"):
            want = getattr(reports[size].total, key)
            assert sum(point[POINT.index(key)] for point in points) == want
            assert sum(phase[key] for layer, phases in totals.items() if layer != "all" for phase in phases.values()) == want
        for name, sums in totals["all"].items():
            assert sums["time_ms"] == pytest.approx(sum(sums["bounds"].values()), rel=0.01)
            assert sums["launches"] == reports[size].of_pass(name).launches
    for point in scene["points"]["16"]:
        term = {name: ms for name, ms in zip(scene["terms"], point[POINT.index("terms")]) if ms is not None}
        bound = point[POINT.index("bound")]
        assert bound == "launch" or term[bound] == max(term.values())
        assert len({"tensor cores", "CUDA cores"} & set(term)) == 1
    assert_travels(scene)


def test_the_axes_of_the_roofline_are_the_devices(reports):
    """Every ridge is inside, and neither block size nor circuit moves them."""
    ranges = {str(scenes.scene_memory("PD", {size: reports[size]})["axes"]) for size in SIZES}
    axes = roofline_axes(H100_SXM, "fp16")
    assert ranges == {str(axes)}
    for roof in (3.0, 9.73, 21.9):
        for peak in (51.1, 756.0):
            assert axes["x"][0] < np.log10(peak / roof) < axes["x"][1] and axes["y"][0] < np.log10(peak) < axes["y"][1]
    assert roofline_axes(H100_SXM, "tf32")["y"][1] < axes["y"][1]


def test_a_cpu_has_no_names_of_a_gpu(summaries):
    scene = scenes.scene_memory("PD", {size: pcv.estimate(summaries[size], device=LAPTOP) for size in (1, 16)})
    assert [(link["name"], link["tbPerS"]) for link in scene["links"]] == [("caches", None), ("memory", 0.01)]
    shown = json.dumps(scene)
    assert not any(word in shown for word in ("HBM", "SMs", "CUDA", "tensor")) and "4 threads" in shown and '"memory"' in json.dumps(scene["points"])


def test_the_model_error_is_of_its_block_size_and_pass(reports):
    scene = scenes.scene_memory("PD", reports, [ModelError(16, "forward", 0.7634, 1.8, 1.9, 1.6, "pcviz")], "pcviz, H100")
    assert scene["errors"] == {"16": {"forward": {"time_ms": 0.763, "hbm_bytes": 1.8, "l2_to_l1_bytes": 1.9, "l1_bytes": 1.6}}}
    assert scenes.scene_memory("PD", reports)["errors"] == {}


def test_many_launches_are_cut_to_the_slowest(monkeypatch, reports):
    monkeypatch.setattr(memory_module, "MAX_POINTS", 5)
    scene = scenes.scene_memory("PD", reports)
    slowest = sorted((record.time_ms for record in reports[4].records), reverse=True)
    assert [point[POINT.index("time_ms")] for point in scene["points"]["4"]] == pytest.approx(slowest[:5], rel=1e-4)
    assert scene["hidden"]["4"] == len(slowest) - 5


# ---- Tiles --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_tiles_have_the_models_figures_and_the_rule_is_among_them(summaries, reports, size):
    scene = scenes.scene_tiles(summaries[size], reports[size], 3)
    records = {(record.phase, record.group): record for record in reports[size].records if record.layer == 3}
    assert len(scene["launches"]) == len(records)
    for launch in scene["launches"]:
        record = records[launch["phase"], int(launch["title"].split()[-1]) - 1]
        table = np.frombuffer(launch["table"], "<f4").reshape(len(launch["tiles"]), -1)
        own = dict(zip(scene["metrics"], table[launch["tiles"].index(launch["rule"])]))
        assert launch["rule"] == [record.config.tile_m, record.config.tile_k, record.config.tile_b]
        for name in ("time_ms", "l2_bytes", "hbm_bytes", "programs", "waves"):
            assert own[name] == pytest.approx(getattr(record, name), rel=1e-5)
        assert scene["bounds"][int(own["bound"])] == record.bound and launch["flops"] == record.flops
        why = np.frombuffer(launch["why"], np.uint8)
        assert (why == 0).sum() == len(launch["tiles"]) and why.max() == len(launch["reasons"])
    other = scene["launches"][0]["tiles"][0]
    again = pcv.estimate(summaries[size], config={"forward": LaunchConfig(*other)}).records
    want = next(record for record in again if (record.layer, record.group, record.phase) == (3, 0, "forward"))
    assert scene["roofline"]["axes"] == roofline_axes(H100_SXM, "fp16"), "the device's, not the tile's"
    assert np.frombuffer(scene["launches"][0]["table"], "<f4")[0] == pytest.approx(want.time_ms, rel=1e-5)
    assert_travels(scene)


def test_a_cpu_has_no_tiles(summaries):
    scene = scenes.scene_tiles(summaries[4], pcv.estimate(summaries[4], device=LAPTOP), 1)
    assert scene["launches"] == [] and "torch engine of this CPU has none" in scene["why"]


# ---- Training -----------------------------------------------------------------------------------------------------------


def test_training_scene_keeps_rows_in_order():
    scene = scenes.scene_training(steps(7) + steps(5, block_size=1))
    assert scene["points"] == len(scene["rows"]) == 12 and scene["caption"] == ""
    assert [row[COLUMNS.index("step")] for row in scene["rows"]] == [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5]
    assert scene["rows"][2][TEST] == pytest.approx(2.1)
    assert_travels(scene)


def test_long_training_is_thinned_but_keeps_test_values():
    scene = scenes.scene_training(steps(20_000, per_epoch=50))
    assert scene["points"] == 20_000 and len(scene["rows"]) <= 1.2 * MAX_ROWS and "of 20,000 mini-batches" in scene["caption"]
    assert sum(row[TEST] is not None for row in scene["rows"]) == 400
    assert len(scenes.scene_training(steps(20_000, per_epoch=2))["rows"]) <= MAX_ROWS


def test_a_run_begins_where_the_step_number_falls():
    rows = scenes.scene_training([*steps(3), *steps(2, block_size=1, first=4), *steps(2)])["rows"]
    assert [row[COLUMNS.index("run")] for row in rows] == [1] * 5 + [2] * 2


@pytest.mark.parametrize("side", [8, 28, 64])
def test_learned_scene_is_few_bytes_of_whole_images(side):
    """Even of noise, which gzip can't make smaller: a second's news of 28 x 28 images is 12 kB, so four minutes fit in 3 MB."""
    rng, count = np.random.default_rng(0), image_counts(side * side)
    draw = lambda n: rng.integers(0, 256, (n, side * side))  # noqa: E731
    pictures = Pictures((side, side), 0, 255, draw(count[0]), draw(count[1]), draw(count[1]), np.arange(side * side) >= side * side // 2)
    scene = scenes.scene_learned(1, 6, 16, [LayerFlow(i, rng.random(50)) for i in range(1, 100)], 32, pictures)
    assert_travels(scene)
    assert len(pack(scene)) < max(BYTES, 4 * 2 * side * side) + 3000
    assert np.frombuffer(scene["images"]["completed"], "u1").tolist() == pictures.completed.ravel().tolist()
    assert scene["flow"]["layers"] == list(range(36, 100)) and "The last 64 of 99 layers" in scene["caption"]


def test_carriers_are_the_fewest_sums_with_most_of_the_flow():
    flow = LayerFlow(1, np.array([0.5, 0.0, 3.0, 1.0, 0.5]))
    assert flow.mass == 5 and flow.carriers == 3  # 3 + 1 + 0.5 of 5
    assert LayerFlow(1, np.zeros(4)).carriers == 0 and LayerFlow(1, np.full(10, 0.1)).carriers == 9


# ---- static fallbacks ---------------------------------------------------------------------------------------------------


def test_static_fallbacks_are_small_and_escaped(pd, summaries, reports):
    evil = "<script>alert(1)</script>"
    texts = [
        scenes.static_blocks(blocks_scene(pd, 2, 4)),
        scenes.static_cost(scenes.scene_cost(evil, summaries, reports, (), [measurement(4)])),
        scenes.static_training(scenes.scene_training(steps(5000, per_epoch=1))),
    ]
    for text in texts:
        assert text.startswith("<figure>") and text.endswith("</figure>") and len(text.encode()) <= STATIC_LIMIT and "<script" not in text
    long = html_table("t", ["a"], [["é" * 100]] * 5000)
    assert len(long.encode()) <= STATIC_LIMIT and "more rows are not shown" in long


# ---- drawn --------------------------------------------------------------------------------------------------------------

PAGE_JS = """
const store = { state: { blockSize: 16, layer: 1, nodeRange: null, phase: "forward", theme: "light", circuit: "", presenter: false },
  get() { return this.state; }, set(patch) { this.state = { ...this.state, ...patch }; }, subscribe() {}, send() {} };
const draws = {
  blocks: draw_blocks, cost: draw_cost, dag: draw_dag, memory: draw_memory, table: draw_table, tiles: draw_tiles, training: draw_training,
};
function revive(value) {
  if (Array.isArray(value)) return value.map(revive);
  if (value && value.$u8) return Uint8Array.from(value.$u8);
  return value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, revive(v)])) : value;
}
Object.assign(window, {
  store, draws, revive, blocks_pixels, blocks_picture, extendTraining, table_csv, training_pieces, pv_csv, pv_bytes, pv_ms, pv_short,
  loadPlotly: () => window.plotlyReady,
});
"""


def as_json(scene):
    return json.loads(json.dumps(scene, default=lambda data: {"$u8": list(data)}))


@pytest.fixture(scope="module")
def page(request):
    """A page with the views' JavaScript and CSS, without JupyterLab; ``page.draw(view, scene, **state)``."""
    chromium = request.getfixturevalue("chromium")
    static = Path(bundle.__file__).parent / "static"
    names = ["view_common.js", *sorted(path.name for path in static.glob("view_*.js") if path.name != "view_common.js")]
    source = "\n".join([bundle.SHARED, *((static / name).read_text(encoding="utf-8") for name in names)])
    view = chromium.new_page(viewport={"width": 700, "height": 500})
    errors = []
    view.on("pageerror", lambda error: errors.append(str(error)))
    view.set_content('<body style="margin:0"><div id="el" style="width:600px;height:420px"></div></body>')
    for sheet in sorted(static.glob("view*.css")):
        view.add_style_tag(path=str(sheet))
    view.add_script_tag(content="window.plotlyReady = new Promise(() => {});")
    view.add_script_tag(content=f"{{\nconst loadPlotly = () => window.plotlyReady;\n{source}\n{PAGE_JS}\n}}")

    def draw(name, scene, **state):
        view.evaluate(
            "([name, scene, state]) => { const el = document.getElementById('el'); if (scene) window.scene = revive(scene);"
            "store.set(state); draws[name](el, window.scene, store); }",
            [name, scene and as_json(scene), state],
        )

    view.draw = draw
    yield view
    assert errors == []
    view.close()


def value(page, hook):
    return int(page.get_attribute(f"[data-pcv={hook}]", "data-value"))


@pytest.mark.browser
def test_numbers_read_the_same_in_page_and_text(page):
    """And 999.7 of a unit are one of the next."""
    numbers = [0, 3, 999, 999.4, 999.7, 1000, 85_310, 999_499, 999_600, 1e6, 218.2e9, 999.6e6, 1.5e12]
    assert [si_bytes(n) for n in (999.7, 999_600, 999.6e6)] == ["1 kB", "1 MB", "1 GB"]
    assert page.evaluate("numbers => numbers.map(pv_bytes)", numbers) == [si_bytes(n) for n in numbers]
    times = [0, 0.0005, 0.9993, 0.9997, 1, 35.222, 999.4, 999.7, 1000, 25_400, 1_234_567]
    assert [milliseconds(ms) for ms in (0.9997, 999.7, 1_234_567)] == ["1 ms", "1 s", "1,235 s"]
    assert page.evaluate("times => times.map(pv_ms)", times) == [milliseconds(ms) for ms in times]
    assert page.evaluate("[99999, 123456, 999700, 999.7e6].map(pv_short)") == ["99,999", "123k", "1M", "1G"]


@pytest.mark.browser
def test_blocks_view_shows_the_plan(page):
    root = multiply_widths()
    for size in (2, 16):
        summary = pcv.plan_summary(root, block_size=size, padding_tolerance=1.0)
        for layer in summary.layers:
            page.draw("blocks", blocks_scene(root, layer.index, size, 1.0), blockSize=size, layer=layer.index)
            got = [value(page, f"blocks-{key}") for key in ("groups", "launches", "absent", "missing", "pseudo")]
            want = [len(layer.groups), len(layer.groups) + layer.product_launches, layer.absent_edges, layer.missing_edges, layer.pseudo_edges]
            assert got == want
            assert value(page, "blocks-pseudo-total") == summary.total("pseudo_edges")
            assert page.evaluate(SAME_PIXELS)
    page.click("[data-pcv=blocks-mode-matrix]")
    assert page.evaluate(SAME_PIXELS.replace("'launch'", "'matrix'"))
    page.draw("blocks", blocks_scene(root, 1, 2, 1.0), blockSize=2, layer=1)
    zoom_by_keys(page)
    launches_and_groups(page, root)


@pytest.mark.browser
def test_a_single_cell_uses_the_stage_and_holds_its_parameter(page):
    root = summate(multiply(*(inputs(var, num_nodes=1, dist=pcv.Categorical(num_cats=2)) for var in (0, 1))), num_nodes=1, params=np.ones((1, 1)))
    cells = scene_window(LayerBlocks(root, 1, 1, 0.25), True, [0, 1, 0, 1], True)
    page.draw("blocks", blocks_scene(root, 1, 1, 0.25) | {"window": cells}, blockSize=1, layer=1)
    box = page.locator(CANVAS).bounding_box()
    assert box["width"] > 150 and box["height"] > 60 and page.evaluate(SAME_PIXELS)
    assert "1.000" in page.locator(".pcv-blocks .pcv-overlay text").all_text_contents()


def zoom_by_keys(page):
    """In, along, and out again; a page without a kernel says so."""
    whole, canvas = page.get_attribute(CANVAS, "data-window"), "document.querySelector('[data-pcv=blocks-canvas]').dataset"
    page.focus("[data-pcv=blocks-map]")
    page.keyboard.press("ArrowRight")
    assert "sum block" in page.inner_text("[data-pcv=blocks-map] [role=status]")
    for keys, changes in (("+++", True), ("Shift+ArrowRight", True), ("-", True), ("0", False)):
        before = page.get_attribute(CANVAS, "data-window")
        for key in [keys] if len(keys) > 3 else keys:
            page.keyboard.press(key)
        page.wait_for_function(f"before => {canvas}.window !== before", arg=before)
        assert (page.get_attribute(CANVAS, "data-window") != whole) == changes
        assert page.evaluate(SAME_PIXELS.replace("'launch'", "'matrix'"))
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.pcv-blocks-note').textContent.includes('No kernel answers')")
    page.keyboard.press("0")


def launches_and_groups(page, root):
    """The index tensors of the place that has the focus; the table of the dynamic program."""
    one, launches = launches_scene(root, 1, 2, 1.0)
    page.draw("blocks", blocks_scene(root, 1, 2, 1.0) | {"launches": launches}, blockSize=2, layer=1)
    page.click("[data-pcv=blocks-mode-figure]")
    page.focus(".pcv-figure-slot[tabindex='0']")
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    row = launches["rows"][1]
    cid, pid = one.groups[row["launch"] - 1].cids[row["place"], 1], one.groups[row["launch"] - 1].pids[row["place"], 1]
    told = f"nids[{row['place']}] = {row['nid']}, cids[{row['place']}, 1] = {cid}, pids[{row['place']}, 1] = {pid}."
    assert told in page.inner_text("[data-pcv=blocks-told]")
    assert f"DAG's node {row['node']}" in page.inner_text("[data-pcv=blocks-told]")
    page.click("[data-pcv=blocks-mode-cuts]")
    assert page.locator("[data-pcv=blocks-least] .pcv-current th").inner_text() == str(len(one.groups))
    assert page.locator("[data-pcv=blocks-program] .pcv-chosen").count() == len(one.groups)
    page.click("[data-pcv=blocks-mode-launch]")


CANVAS = "[data-pcv=blocks-canvas]"


@pytest.mark.browser
def test_kinds_of_cells_are_told_apart_by_pattern_alone(page):
    """Ink or no ink, whatever the colours: no two kinds look alike, in either theme."""
    looks = page.evaluate("""() => ['light', 'dark'].map(theme => [1, 2, 4, 8, 16].map(kind => {
        const raster = { rows: 1, cols: 1, r0: 0, r1: 1, c0: 0, c1: 1, pr: 1, pc: 1, m: 1, k: 1, cells: true };
        Object.assign(raster, { kinds: [kind], fill: [kind === 1 ? 255 : 0] });
        const g = { mapWidth: 24, mapHeight: 24, sx: 24, sy: 24, r0: 0, r1: 1, c0: 0, c1: 1, stripWidth: 0, dpr: 1 };
        const { pixels, width } = blocks_pixels({ raster, bounds: [], R: 1, C: 1 }, g, theme);
        const inner = [...pixels].filter((_, i) => i % width < 22 && i / width < 22);
        return inner.map(pixel => Number(pixel === inner[inner.length >> 1])).join('');
    }))""")
    inverse = str.maketrans("01", "10")
    for kinds in looks:
        assert len({min(kind, kind.translate(inverse)) for kind in kinds}) == 5 and all("0" in kind for kind in kinds[1:])


SAME_PIXELS = """() => {
  const el = document.getElementById('el'), canvas = el.querySelector('[data-pcv=blocks-canvas]'), view = el._pcv;
  const want = blocks_pixels(blocks_picture(scene, 'launch'), view.geometry, 'light');
  const got = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return got.length === want.pixels.length && got.length > 100 && got.every((pixel, i) => pixel === want.pixels[i]);
}"""


def multiply_widths():
    """One layer with several widths, child counts and absent edges, under a root."""
    dist = pcv.Categorical(num_cats=2)
    parts = []
    for count in (1, 3, 5):
        leaves = [[inputs(var, num_nodes=20, dist=dist) for var in (0, 1)] for _ in range(count)]
        products = [multiply(*pair) for pair in leaves]
        edges = np.array([[i, j] for i in range(20) for j in range(20 * count) if (i + j) % 3]).T
        parts.append(summate(*products, num_nodes=20, edge_ids=edges, name=f"<b>{count}</b>"))
    return summate(*parts, num_nodes=1)


@pytest.mark.browser
def test_names_from_data_stay_text(page):
    page.draw("blocks", blocks_scene(multiply_widths(), 1, 4), theme="dark", layer=1, blockSize=4)
    page.hover("[data-pcv=blocks-canvas]", position={"x": 5, "y": 5})
    tip = page.locator(".pcv-tip:visible")
    assert "<b>" in tip.inner_text() and tip.locator("b").count() == 0
    page.draw("blocks", None, theme="light")


@pytest.mark.browser
def test_cost_view_marks_the_block_size_and_lists_all_values(page, summaries, reports):
    measured = [measurement(16), measurement(4, caution="busy: 1 to 2 ms")]
    page.draw("cost", scenes.scene_cost("PD", summaries, reports, (), measured), layer=2, blockSize=4)
    assert page.locator("[data-pcv=cost-cpu-measured]").inner_text() == "measured 5 ms, busy"
    for size in (4, 32):
        page.draw("cost", None, blockSize=size)
        assert page.locator("tr[aria-current=true]").get_attribute("data-size") == str(size)
        shown = float(page.get_attribute("[data-pcv=cost-time_ms-model]", "data-value"))
        assert shown == pytest.approx(reports[size].forward.time_ms, rel=1e-4)
    assert page.locator("[data-pcv=cost-table] tr[data-size]").count() == len(SIZES)
    assert "not modelled" in page.locator(".pcv-cost-overlay").inner_text()


@pytest.mark.browser
def test_memory_view_moves_points_and_not_axes(page, reports):
    scene = scenes.scene_memory("PD", reports)
    page.draw("memory", scene, layer=2, blockSize=4, before=None, phase="forward")
    ticks = page.locator("[data-pcv=memory-roofline] text").all_text_contents()
    page.draw("memory", None, blockSize=32, before=4)
    for link, key in (("L1", "l1_bytes"), ("L2", "l2_bytes"), ("HBM", "hbm_bytes")):
        sums = reports[32].of_layer(2, "forward")
        share = getattr(sums, key) / sums.time_ms * 1e-9 / {"L1": 21.9, "L2": 9.73, "HBM": 3.0}[link]
        assert value(page, f"memory-bytes-{link}") == getattr(sums, key)
        assert float(page.get_attribute(f"[data-pcv=memory-percent-{link}]", "data-value")) == pytest.approx(share, rel=1e-3)
        assert value(page, f"memory-whole-{link}") == getattr(reports[32].forward, key)
    assert page.locator("[data-pcv=memory-roofline] text").all_text_contents() == ticks
    assert "faster than at block size 4. Limited by latency." in page.inner_text("[data-pcv=memory-words]")
    page.locator("[data-pcv=memory-roofline]").focus()
    page.keyboard.press("ArrowRight")
    slowest = max(reports[32].records, key=lambda record: record.time_ms * (record.phase == "forward"))
    assert f"forward, layer {slowest.layer}, launch 1" in page.inner_text(".pcv-tip") and f"limited by {slowest.bound}" in page.inner_text(".pcv-tip")
    page.keyboard.press("Enter")
    assert page.evaluate("store.get().layer") == slowest.layer
    page.click("[data-pcv=memory-table-toggle]")
    page.click("[data-pcv=memory-level-L1]")
    assert page.locator("[data-pcv=memory-table] tbody tr").count() == 4 + reports[32].forward.launches


@pytest.mark.browser
def test_a_tile_is_chosen_by_key_and_an_impossible_one_says_why(page, summaries, reports):
    scene = scenes.scene_tiles(summaries[32], reports[32], 3)
    page.draw("tiles", scene, layer=3, blockSize=32, phase="forward")
    grid, rule = page.locator("[data-pcv=tiles-grid]"), scene["launches"][0]["rule"]
    grid.press("ArrowLeft")
    tile = [rule[0], rule[1] // 2, rule[2]]
    assert page.get_attribute("#el", "data-tile") == " ".join(map(str, tile))
    records = pcv.estimate(summaries[32], config={"forward": LaunchConfig(*tile)}).records
    want = next(record for record in records if (record.layer, record.phase) == (3, "forward"))
    assert float(page.get_attribute("[data-pcv=tiles-time]", "data-value")) == pytest.approx(want.time_ms, rel=1e-5)
    page.select_option("[data-pcv=tiles-shows]", "roof")
    seen = [[float(cell) for cell in row.split("\t")[1:]] for row in page.inner_text("[data-pcv=tiles-roof-words]").splitlines()[1:]]
    before = next(record for record in reports[32].records if (record.layer, record.phase) == (3, "forward"))
    for row, record in zip(seen, (want, before), strict=True):  # FLOP per byte of HBM and of L2, TFLOP/s
        wanted = record.flops / record.hbm_bytes, record.flops / record.l2_bytes, record.flops / record.time_ms * 1e-9
        assert row == pytest.approx(wanted, rel=0.006)
    page.click("[data-pcv=tiles-b-16]")
    assert f"before, {'×'.join(map(str, tile))}" in page.inner_text("[data-pcv=tiles-roof-words]"), "the tile before this one"
    page.select_option("[data-pcv=tiles-shows]", "grid")
    page.click(f"[data-pcv=tiles-b-{rule[2]}]")
    grid.press("ArrowDown")
    assert "a tile of sum rows lies inside one sum block, which has 32" in page.inner_text("[data-pcv=tiles-reason]")
    grid.press("Home")
    assert page.locator("[data-pcv=tiles-reason]").count() == 0 and page.locator("[data-pcv=tiles-rule]").is_disabled()


@pytest.mark.browser
def test_dag_click_and_keys_choose_a_layer(page, pd, summaries, reports):
    page.draw("dag", scenes.scene_dag(pd, summaries[16], reports[16]), layer=1)
    page.click("[data-pcv=dag-mode-layers]")
    page.locator("[data-pcv=dag-layer][data-layer='3']").click()
    assert page.evaluate("store.get().layer") == 3
    page.draw("dag", None)
    chosen = page.locator("[data-pcv=dag-layer][aria-pressed=true]")
    assert chosen.get_attribute("data-layer") == "3" and chosen.get_attribute("data-lm-suppress-shortcuts") == "true"
    chosen.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("store.get().layer") == 4


@pytest.mark.browser
def test_dag_zooms_pans_and_colours_with_the_keyboard(page, pd, summaries, reports):
    page.draw("dag", scenes.scene_dag(pd, summaries[16], reports[16]), layer=2)
    page.click("[data-pcv=dag-mode-layers]")
    column = page.locator("[data-pcv=dag-layer][data-layer='2']")
    whole = column.locator("rect").first.bounding_box()
    column.focus()
    for key in ("+", "+", "Shift+ArrowRight"):
        page.keyboard.press(key)
    width = "document.querySelector(\"[data-pcv=dag-layer][data-layer='2'] rect\").getBoundingClientRect().width"
    page.wait_for_function(f"least => document.querySelector('#el').dataset.zoom === '2.25' && {width} > least", arg=2 * whole["width"])
    assert page.evaluate("document.activeElement.dataset.layer") == "2"
    page.keyboard.press("0")
    page.wait_for_function("() => document.querySelector('#el').dataset.zoom === '1.00'")
    assert column.locator("rect").first.bounding_box() == whole
    page.select_option("[data-pcv=dag-quantity]", "hbm_bytes")
    assert page.inner_text("[data-pcv=dag-kind]") == "model" and "B per layer" in page.inner_text(".pcv-dag-legend")
    page.select_option("[data-pcv=dag-quantity]", "edges")


@pytest.mark.browser
def test_table_sorts_filters_saves_and_chooses_a_layer(page, summaries, reports):
    scene = scenes.scene_table(summaries[16], reports[16])
    page.draw("table", scene, layer=1, phase="forward", blockSize=16)
    shown = lambda key: [int(v) for v in page.locator(f"#el tbody td[data-column={key}]").evaluate_all("all => all.map(one => one.dataset.value)")]  # noqa: E731
    edges = [layer.edges for layer in summaries[16].layers]
    assert shown("edges") == edges and page.get_attribute("[data-pcv=table-total] td[data-column=edges]", "data-value") == str(sum(edges))
    page.click("[data-pcv=table-sort-edges]")
    assert shown("edges") == sorted(edges, reverse=True) and page.get_attribute("th:has([data-pcv=table-sort-edges])", "aria-sort") == "descending"
    page.fill("[data-pcv=table-filter]", f"edges>={max(edges)}")
    assert shown("edges") == [max(edges)] and value(page, "table-count") == 1
    page.fill("[data-pcv=table-filter]", "nothing>0")
    assert "no column is called nothing" in page.inner_text("[data-pcv=table-count]")
    page.fill("[data-pcv=table-filter]", "")
    stops = page.locator("#el tbody button[tabindex='0']")
    assert stops.count() == 1
    stops.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    chosen = page.evaluate("store.get().layer")
    assert str(chosen) == page.inner_text("#el tbody tr:last-child button")
    page.click("[data-pcv=table-mode-launches]")
    records = [record for record in reports[16].records if record.phase == "forward"]
    assert shown("programs") == [record.programs for record in records]
    lines = page.evaluate("table_csv(document.getElementById('el')._pcv)").splitlines()
    heads = lines[0].split(",")
    assert heads[:3] == ["launch", "phase", "time_ms (model H100-SXM)"] and len(lines) == len(records) + 1
    assert float(lines[1].split(",")[2]) == pytest.approx(records[0].time_ms, rel=1e-5)
    cells = {"=1+1": "'=1+1", "@a": "'@a", "-2+cmd|'x'!A0": "'-2+cmd|'x'!A0", '"b"\r': '"""b""\r"', "-3.5e-05": "-3.5e-05", "+3 pts": "+3 pts"}
    assert page.evaluate("cells => cells.map(pv_csv)", list(cells)) == list(cells.values())
    page.context.grant_permissions(["clipboard-read"])
    page.locator("#el tbody button[tabindex='0']").focus()
    page.keyboard.press("Control+c")
    page.wait_for_function("() => document.querySelector('[data-pcv=table-count]').textContent.endsWith('copied')")
    page.evaluate("() => { const into = document.createElement('textarea'); into.id = 'into'; document.body.append(into); into.focus(); }")
    page.keyboard.press("Control+v")
    assert page.input_value("#into").splitlines() == [line.replace(",", "\t") for line in lines]
    page.evaluate("document.getElementById('into').remove()")


@pytest.mark.browser
def test_a_launch_chosen_in_the_table_is_chosen_in_the_other_views(page):
    """At this block size: at another one launches are others, and none is chosen."""
    root = pruned_circuit()
    reports = {size: pcv.estimate(pcv.plan_summary(root, block_size=size)) for size in (1, 4)}
    table = scenes.scene_table(pcv.plan_summary(root, block_size=1), reports[1])
    page.draw("table", table, layer=1, phase="backward", blockSize=1)
    page.click("[data-pcv=table-mode-launches]")
    records = [record for record in reports[1].records if record.phase != "forward"]
    at = max(range(len(records)), key=lambda i: records[i].group)
    wanted = records[at]
    assert wanted.group > 0
    page.locator("#el tbody tr").nth(at).click()
    launch = page.evaluate("store.get().launch")
    assert (launch["layer"], launch["phase"], launch["group"]) == (wanted.layer, wanted.phase, wanted.group)
    page.draw("table", table)
    assert page.locator("#el tbody tr[aria-current=true]").count() == 1
    page.draw("tiles", scenes.scene_tiles(pcv.plan_summary(root, block_size=1), reports[1], wanted.layer))
    shown = page.evaluate("() => { const one = document.querySelector('[data-pcv=tiles-launch]'); return one.options[one.value].textContent; }")
    assert shown == f"{wanted.phase.replace('_', ' ').replace('param ', 'parameter ')}, launch {wanted.group + 1}"
    page.draw("blocks", blocks_scene(root, wanted.layer, 1))
    assert page.get_attribute("#el tr[aria-current=true]", "data-launch") == str(wanted.group + 1) and page.is_visible("#el .pcv-mark")
    ring = "[data-pcv=memory-chosen]"
    page.draw("memory", scenes.scene_memory("PD", reports))
    assert page.locator(ring).count() == 1
    page.draw("memory", None, blockSize=4)
    assert page.locator(ring).count() == 0


@pytest.mark.browser
def test_dag_opens_down_to_nodes_and_traces_without_a_kernel(page):
    dist = pcv.Categorical(num_cats=2)
    leaves = [multiply(*(inputs(var, num_nodes=4, dist=dist) for var in (0, 1)), name=f"<i>{i}</i>") for i in range(2)]
    root = summate(summate(*leaves, num_nodes=8, name="sums"), num_nodes=1, name="top")
    page.draw("dag", scenes.scene_dag(root, pcv.plan_summary(root, block_size=4)), layer=1, blockSize=4)
    page.click("[data-pcv=dag-mode-regions]")
    page.locator("[data-pcv=dag-layer][data-layer='1']").focus()
    for key, opened in (("ArrowDown", None), ("Enter", "vector:6"), ("Enter", "rows:6:0-4"), ("Enter", "node:24"), ("Escape", "rows:6:0-4")):
        page.keyboard.press(key)
        assert page.get_attribute("#el", "data-open") == opened
    page.fill("[data-pcv=dag-find]", "node 25")
    page.keyboard.press("Enter")
    assert page.get_attribute("#el", "data-open") == "node:25" and page.inner_text("[data-pcv=dag-crumbs]").endswith("node 25")
    assert page.evaluate("document.activeElement.dataset.main") == ""
    lit = page.evaluate("() => [...document.querySelectorAll('.pcv-dag-on')].map(node => node.getAttribute('aria-label'))")
    assert sum(label.startswith("node") and "product" in label for label in lit) == 8 and any("<i>0</i>" in label for label in lit)
    assert "16–23" in page.text_content("[data-pcv=dag-reads]") or "16–19" in page.text_content("[data-pcv=dag-reads]")
    said = page.inner_text("[data-pcv=dag-said]")  # has the caption's room, so that it is whole, and no more than its words
    assert "reads 8 products (16–19; 20–23) and is read by 1 sum" in said and said in page.text_content("#el .pcv-dag-foot > :last-child")
    page.select_option("[data-pcv=dag-trace]", "up")
    assert page.locator(".pcv-dag-on").count() == 2  # itself and the root's
    page.fill("[data-pcv=dag-find]", "elsewhere")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-pcv=dag-find][aria-invalid=true]")
    assert "no kernel" in page.inner_text("[data-pcv=dag-said]")
    page.click("[data-pcv=dag-mode-layers]")
    assert page.get_attribute("#el", "data-open") is None


@pytest.mark.browser
def test_training_view_counts_points_and_says_how_to_begin(page):
    page.draw("training", scenes.scene_training([]))
    assert value(page, "training-points") == 0 and "press Train" in page.inner_text(".pcv-note").replace("Press", "press")
    page.draw("training", scenes.scene_training(steps(6)))
    assert value(page, "training-points") == 6 and "test 1.600" in page.inner_text(".pcv-keys")
    rows = [training_row(step) for step in steps(9)]  # the first six are there already
    assert page.evaluate("rows => { window.scene = extendTraining(scene, rows); return scene.rows.length; }", rows) == 9
    page.draw("training", None)
    assert value(page, "training-points") == 9
    page.draw("training", scenes.scene_training(steps(9) + steps(6, block_size=1)))
    expected = "At epoch 2 the test values of 2 block sizes differ by less than 0.001 bits; block size 1 took 0.6 s"
    assert expected in page.inner_text(".pcv-training-left .pcv-caption")
    assert page.locator("[data-pcv=training-table] tbody tr").count() == 5 and page.is_hidden("[data-pcv=training-only]")
    page.draw("training", scenes.scene_training(steps(9) + steps(6) + steps(6, block_size=1)))  # a run, then a comparison
    keys = page.locator("#el .pcv-training-left .pcv-key b")
    assert keys.all_inner_texts() == ["run 1, block size 16", "run 2, block size 16", "block size 1"]
    pressed = lambda: [key.get_attribute("aria-pressed") for key in page.locator(".pcv-key-button").all()]  # noqa: E731
    page.click("[data-pcv=training-only]")
    assert pressed() == ["false", "true", "true"] and expected in page.inner_text(".pcv-training-left .pcv-caption")
    page.locator("[data-pcv=training-key-2-1]").press("Enter")
    assert " 1 curve;" in page.get_attribute("#el .pcv-chart", "aria-label") and pressed() == ["false", "false", "true"]
    assert page.evaluate("document.activeElement.dataset.pcv") == "training-key-2-1"
    page.click("[data-pcv=training-key-2-1]")
    page.click("[data-pcv=training-only]")
    assert " 3 curves;" in page.get_attribute("#el .pcv-chart", "aria-label")
    page.draw("training", scenes.scene_training([]))  # another circuit: what was hidden is forgotten
    page.draw("training", scenes.scene_training(steps(27) + steps(6) + steps(6, block_size=1)))  # a long run leaves the comparison its axis
    assert pressed() == ["false", "true", "true"] and "click to show" in page.get_attribute("[data-pcv=training-key-1-1]", "title")
    page.evaluate("el.style.width = '300px'")  # a key a line: names alone, or the chart has no height
    page.draw("training", scenes.scene_training([step for size in (1, 2, 4, 8, 16, 32, 1) for step in steps(3, block_size=size)]))
    assert keys.all_inner_texts() == ["1 (run 1)", "2", "4", "8", "16", "32", "1 (run 7)"]
    page.evaluate("Object.assign(el.style, { width: '600px', height: '500px' })")  # presenter size: four lines are too many, two are not
    for sizes, brief in (((1, 2, 4, 8), True), ((1, 2), False)):
        rows = [step for size in sizes for step in steps(6, block_size=size)]
        page.draw("training", {**scenes.scene_training(rows), "live": True}, presenter=True)
        assert keys.all_inner_texts() == [str(size) if brief else f"block size {size}" for size in sizes]
        assert page.evaluate("document.querySelector('#el .pcv-plot').clientHeight") >= 11 * 18
    page.evaluate("el.style.height = '420px'")
    page.draw("training", None, presenter=False)
    untested = [SimpleNamespace(**{**vars(step), "test_bpd": None}) for step in [*steps(7), *steps(3, block_size=1)]]
    page.draw("training", scenes.scene_training(untested))
    pieces = page.evaluate("training_pieces(scene).map(({ epoch, test }) => [epoch, test.bits])")
    assert "At epoch 1 the training values of 2 block sizes differ by" in page.inner_text(".pcv-training-left .pcv-caption")
    assert [piece[0] for piece in pieces] == [pytest.approx([i / 3 for i in range(1, n + 1)], rel=1e-5) for n in (7, 3)] and not pieces[0][1]
    assert page.locator("[data-pcv=training-table] tbody tr").evaluate_all("all => all.map(row => row.cells[7].textContent)") == ["–"] * 3
    flow = scenes.scene_learned(2, 9, 4, [LayerFlow(1, np.ones(4))], 32, None, "These are no images.", compared=True)
    page.draw("training", {**scenes.scene_training(steps(3)), "learned": flow})
    page.click("[data-pcv=training-page-learned]")
    assert "Flow per layer of the comparison's run at block size 4, epoch 2, mini-batch 9, mean" in page.inner_text("#el .pcv-learned")
    page.click("[data-pcv=training-page-curve]")
    page.draw("training", scenes.scene_training([], why="No data <b>here</b>."))
    assert page.inner_text(".pcv-note") == "No data <b>here</b>."


@pytest.mark.browser
def test_every_control_keeps_jupyterlab_shortcuts_away(page, pd, summaries, reports):
    for name, scene in (("blocks", blocks_scene(pd, 2, 4)), ("cost", scenes.scene_cost("PD", summaries, reports)),
                        ("dag", scenes.scene_dag(pd, summaries[4], reports[4])), ("memory", scenes.scene_memory("PD", reports)),
                        ("tiles", scenes.scene_tiles(summaries[4], reports[4], 1)),
                        ("training", scenes.scene_training(steps(3))), ("table", scenes.scene_table(summaries[4], reports[4]))):  # fmt: skip
        page.draw(name, scene, layer=2)
        controls = page.locator("#el button, #el select, #el [tabindex]")
        guarded = page.locator("#el :is(button, select, [tabindex])[data-lm-suppress-shortcuts=true]")
        assert controls.count() == guarded.count() > 0


def test_headline_says_whose_kernels_were_recorded(summaries):
    rows = {row.phase: row for row in figure_5_rows() if row.block_size == 16}
    kinds = scene_headline(summaries[1], recorded=rows)["phases"]["forward"]["kinds"]
    assert kinds["time"].startswith("PyJuice recorded, H100, 20") and kinds["hbm"] == kinds["l2"] == "PyJuice recorded"


def test_kernel_view_without_data_says_what_to_do(pd):
    assert "pcv.explore(root, x)" in user_entry(pd).why_no_kernel and "Press 5" in figure_5_entry().why_no_kernel
    assert user_entry(pd, np.zeros((2, pd.scope.bit_length()), int)).why_no_kernel == ""
