"""Tuned LaunchConfigs: a table in the rule's place, kept in a file; autotune itself runs in interpreted_triton.py and on a GPU."""

import time
from dataclasses import replace

import pytest
import torch
from circuits import random_circuit
from pcviz_kernels.config import PHASES, LaunchConfig, default_config
from pcviz_kernels.tiles import resources, why_not, with_sides
from pcviz_kernels.tuned import UNIT, TunedConfigs, neighbours

import pcviz as pcv
from pcviz.tuning import _fastest, _Run

SHAPES = [(phase, m, k) for phase in PHASES for m, k in ((1, 1), (4, 8), (8, 32), (16, 16), (32, 8), (64, 64), (128, 128), (1, 256))]


def test_a_tuned_shape_replaces_the_rule_there_only():
    tuned = LaunchConfig(32, 32, 64, num_warps=8)
    configs = TunedConfigs({("forward", 64, 64, 1024): tuned})
    assert configs("forward", 64, 64, 512, 1024) == tuned == configs("forward", 64, 64, num_rows=1024)
    for other in (("forward", 64, 64, 512, 2048), ("param_flows", 64, 64, 512, 1024), ("forward", 32, 64, 512, 1024)):
        assert configs(*other) == default_config(*other)


def test_a_file_keeps_what_other_keys_have(tmp_path):
    path, configs = tmp_path / "new" / "configs.json", TunedConfigs({("forward", 64, 64, 1024): LaunchConfig(32, 32, 64, 8, 3)})
    configs.save(path, "one GPU")
    TunedConfigs().save(path, "another GPU")
    assert TunedConfigs.load(path, "one GPU") == configs and TunedConfigs.load(path, "a third") == TunedConfigs()


ROWS = ("5", "[5]", '[{"tile_m": 3}]', *(f'[{{"shape": {shape}, "tile_m": 16, "tile_k": 16, "tile_b": {b}}}]' for shape, b in (
    ('["forward", 16, 16, 16]', '"x"'), ('["forward", 16, 16, 16]', 24), ('["sideways", 16, 16, 16]', 64), ('["forward", [], {}, 16]', 64),
)))  # fmt: skip


@pytest.mark.parametrize("text", ["", "{", "[1]", "\0", "[" * 10**5, *(f'{{"one GPU": {rows}}}' for rows in ROWS)])
def test_a_damaged_file_is_no_table(tmp_path, text):
    (tmp_path / "configs.json").write_text(text, encoding="utf-8")
    assert TunedConfigs.load(tmp_path / "configs.json", "one GPU") == TunedConfigs()


@pytest.mark.parametrize("phase, sum_block, child_block", SHAPES)
def test_neighbours_are_legal_and_differ_in_one_number(phase, sum_block, child_block):
    rule = default_config(phase, sum_block, child_block)
    found = list(neighbours(rule, phase, sum_block, child_block))
    assert len(found) == len(set(found)) >= 3 and rule not in found
    for config in found:
        assert config.uses_tensor_cores == rule.uses_tensor_cores, "another kernel"
        assert sum(getattr(config, name) != getattr(rule, name) for name in ("tile_m", "tile_k", "tile_b", "num_warps", "num_stages")) == 1
        assert config.fit(phase, sum_block, child_block) == config, "an owned tile lies inside its block"
        walked, side = (sum_block, config.tile_m) if phase == "element_flows" else (child_block, config.tile_k)
        assert not rule.uses_tensor_cores or walked < side or side <= UNIT, "a step has one scale"


@pytest.mark.parametrize("phase, sum_block, child_block", SHAPES)
def test_what_runs_is_possible_and_the_rest_says_why(phase, sum_block, child_block):
    rule = default_config(phase, sum_block, child_block)
    assert with_sides(phase, sum_block, child_block, rule.tile_m, rule.tile_k, rule.tile_b) == rule
    for config in (rule, *neighbours(rule, phase, sum_block, child_block)):
        assert not why_not(config, phase, sum_block, child_block)
    assert "256" in why_not(LaunchConfig(rule.tile_m, rule.tile_k, 256), phase, sum_block, child_block)
    own = {"tile_k" if phase == "element_flows" else "tile_m": 2 * (child_block if phase == "element_flows" else sum_block)}
    assert "lies inside one" in why_not(replace(rule, **own), phase, sum_block, child_block)


def test_resources_of_a_tile():
    """Forward, 64 x 64 x 128 with 8 warps and 4 stages: 8,192 sums on 256 threads; P and e of a step in float16, four times."""
    need = resources(LaunchConfig(64, 64, 128, num_warps=8, num_stages=4), "forward")
    assert (need.accumulators, need.in_flight_bytes) == (32, 4 * 2 * (64 * 64 + 64 * 128))
    assert resources(LaunchConfig(64, 64, 128), "forward", entry_bytes=4).in_flight_bytes == 2 * 4 * (64 * 64 + 64 * 128)
    assert resources(LaunchConfig(4, 8, 128), "param_flows").accumulators == 32
    assert "512 registers a thread" in why_not(LaunchConfig(8, 64, 128), "forward", 8, 8)


def test_trace_and_engine_take_the_same_tables():
    plan = pcv.compile(random_circuit(3), block_size=4)
    rows = {group.num_sum_blocks * group.sum_block for layer in plan.summary.layers for group in layer.groups}
    tuned = LaunchConfig(1, 2, 16, num_warps=2)
    configs = TunedConfigs({("forward", 1, k, count): tuned for k in (1, 2, 4) for count in rows})
    launches = pcv.trace(plan, 64, configs).launches
    assert tuned in {launch.config for launch in launches} and launches != pcv.trace(plan, 64).launches


def test_only_the_triton_engine_is_tuned():
    pc = pcv.TensorCircuit(pcv.compile(random_circuit(0), block_size=4))
    assert pc.configs is default_config
    with pytest.raises(ValueError, match="autotune tunes impl='triton'.*runs impl='torch'"):
        pcv.autotune(pc, [[0]])


def test_what_may_be_tried_compiles_together():
    """All neighbours of the best config begin before one of them is waited for, and each is ready before it is run."""
    shape, rule, log = ("forward", 64, 64, 1024), default_config("forward", 64, 64, num_rows=1024), []
    run = _Run(
        on_gpu=False, prepare=lambda: None, launch=lambda config: log.append(("launch", config)), result=lambda: torch.zeros(1), clear=lambda: None,
        begin=lambda configs: log.append(("begin", tuple(configs))), ready=lambda config: log.append(("ready", config)),
    )  # fmt: skip
    record = _fastest(shape, rule, [run], time.monotonic() + 60)
    begun = [configs for what, configs in log if what == "begin"]
    assert begun[0] == tuple(neighbours(rule, *shape[:3])) and record.wrong == 0 and record.tried >= len(begun[0]) > 3
    for config in dict.fromkeys(config for what, config in log if what == "launch"):
        first = log.index(("launch", config))
        assert log[first - 1] == ("ready", config)
        assert config == rule or any(what == "begin" and config in configs for what, configs in log[:first])
