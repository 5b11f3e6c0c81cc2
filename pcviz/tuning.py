"""autotune: LaunchConfigs measured on this GPU, for the launches of one circuit. Trace and traffic model read the same object.

Shapes are tuned one after the other, the largest first, until the time is up; what was not reached keeps the rule's config. A
config whose result differs from the rule's is never taken.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import torch
from pcviz_kernels.api import kernel_hash
from pcviz_kernels.config import PHASES, LaunchConfig, default_config
from pcviz_kernels.tiles import why_not
from pcviz_kernels.tuned import Shape, TunedConfigs, neighbours

from .circuit import TensorCircuit, check_circuit

CACHE = Path("~/.cache/pcviz/launch_configs.json")
TUNED_BATCH = 512  # samples: a config serves every batch size
REPEATS = 5
GAIN = 0.97  # a config must take less than this share of the best one's time to replace it
LOGS_TOLERANCE, FLOWS_TOLERANCE = 2e-2, 2e-2  # between two configs: bits of a sum's value; a flow, relative to the largest


@dataclass(frozen=True)
class TunedShape:
    """One shape of launches: what the rule takes and what was fastest. Milliseconds of all its launches in a step, 0 when ``cached``."""

    phase: str
    sum_block: int
    child_block: int
    num_rows: int
    rule: LaunchConfig
    best: LaunchConfig
    rule_ms: float
    best_ms: float
    tried: int
    wrong: int
    cached: bool

    def __str__(self) -> str:
        name = f"{self.phase} {self.sum_block} x {self.child_block}, {self.num_rows:,} rows"
        if self.cached:
            return f"{name}: {_short(self.best)}, tuned before"
        change = "the rule's" if self.best == self.rule else f"{_short(self.best)} instead of {_short(self.rule)}"
        return f"{name}: {self.rule_ms:.3f} -> {self.best_ms:.3f} ms, {change}; {self.tried} tried, {self.wrong} wrong"


def _short(config: LaunchConfig) -> str:
    return f"{config.tile_m} x {config.tile_k} x {config.tile_b}, {config.num_warps} warps, {config.num_stages} stages"


def autotune(pc: TensorCircuit, x, *, seconds: float = 60.0, cache: Path | None = CACHE) -> Iterator[TunedShape]:
    """Tune the launches of ``pc`` (impl="triton", on a GPU) on data ``x`` [B, V]; a record a shape, so that progress shows and a
    caller may stop. The circuit runs what has been found so far (``pc.configs``), also after a stop.

    seconds: for all, compilation included. cache: JSON file of what was tuned before on this GPU with these kernels and
    versions; None keeps none. ``pcv.estimate(plan, config=pc.configs)`` models the tuned launches. What is tuned are training's; launches of
    likelihoods follow their tile_m and tile_b (``config.float32_config``).
    Raises ValueError for another implementation or variant.
    """
    check_circuit(pc, "autotune")
    engine = pc.engine
    if pc.impl != "triton" or engine.variant != "scaled":
        raise ValueError(f"autotune tunes impl='triton', variant='scaled'; this circuit runs impl={pc.impl!r}, variant={pc.variant!r}.")
    if not seconds > 0:
        raise ValueError(f"autotune(seconds=...) expects a number above 0, got {seconds!r}.")
    return _tune(pc, x, time.monotonic() + seconds, None if cache is None else Path(cache).expanduser())


def cache_key(device: torch.device) -> str:
    """GPU, versions and kernels that a tuned config is good for."""
    parts = {"gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none", "torch": torch.__version__, "triton": version("triton")}
    return json.dumps({**parts, "kernels": kernel_hash()})


def _tune(pc: TensorCircuit, x, end: float, cache: Path | None) -> Iterator[TunedShape]:
    engine, key = pc.engine, None if cache is None else cache_key(pc.device)
    known = {} if cache is None else dict(TunedConfigs.load(cache, key).configs)
    found: dict[Shape, LaunchConfig] = {}
    x = x[: min(TUNED_BATCH, engine.micro_batch)]
    pc.clear_flows()
    pc.accumulate_flows(x)  # leaves values and flows of all nodes in the buffers
    try:
        for shape, runs in _runs_by_shape(engine, len(x)):
            rule = default_config(shape[0], *shape[1:3], num_rows=shape[3])
            if shape in known and not why_not(known[shape], *shape[:3]):
                found[shape] = known[shape]
                yield TunedShape(*shape, rule, found[shape], 0.0, 0.0, 0, 0, cached=True)
            elif time.monotonic() < end:
                with torch.cuda.device_of(engine.params):  # Triton launches on the current GPU
                    record = _fastest(shape, rule, runs, end)
                found[shape] = record.best
                yield record
    finally:
        engine.use_configs(TunedConfigs(found))
        pc.clear_flows()
        if cache is not None:
            TunedConfigs({**known, **found}).save(cache, key)


@dataclass(frozen=True)
class _Run:
    """One launch: ``prepare`` fills what it reads, ``launch(config)`` runs it, ``result`` is what it wrote, ``clear`` before each run.
    ``begin(configs)`` starts to compile for several, on all cores, ``ready(config)`` waits for one."""

    on_gpu: bool
    prepare: Callable[[], None]
    launch: Callable[[LaunchConfig], None]
    result: Callable[[], torch.Tensor]
    clear: Callable[[], None]
    begin: Callable[[Iterable[LaunchConfig]], None]
    ready: Callable[[LaunchConfig], None]


def _runs_by_shape(engine, batch: int) -> list[tuple[Shape, list[_Run]]]:
    """Launches of a step by shape, those with the most rows first."""
    shapes: dict[Shape, list[_Run]] = {}
    for layer in engine.layers:
        for phase in PHASES:
            for launch in layer.elements if phase == "element_flows" else layer.sums:
                shapes.setdefault(engine.shape(phase, launch), []).append(_run(engine, layer, phase, launch, batch))
    return sorted(shapes.items(), key=lambda item: -item[0][3] * len(item[1]))


def _run(engine, layer, phase: str, launch, batch: int) -> _Run:
    from pcviz_kernels import ahead  # not at the top: needs triton
    from pcviz_kernels import triton_blocks as kernels
    from pcviz_kernels.calls import run_all

    buffers, on_gpu = engine.buffers, engine.device.type == "cuda"

    def prepare() -> None:
        run_all(kernels.product_forward(layer.products, buffers, batch, layer.level and phase != "forward"))
        if phase != "forward":
            for each in layer.sums:
                run_all(kernels.sum_ratios(each, buffers, batch, layer.level))

    def calls(config: LaunchConfig):
        if phase == "forward":
            return kernels.sum_forward(launch, config, layer.products, engine.params, engine.half_params, buffers, batch, layer.level)
        if phase == "element_flows":
            return kernels.element_flows(launch, config, engine.half_params, buffers, batch, False, layer.level)
        return kernels.param_flows(launch, config, buffers, engine.edge_flows, batch, layer.level)

    results = {"forward": buffers.logs, "element_flows": buffers.element_flows, "param_flows": engine.edge_flows}
    if phase == "forward":
        rows = launch.nids[:, None] + torch.arange(launch.sum_block, device=engine.device)
    elif phase == "element_flows":
        rows = launch.chids[:, None] + torch.arange(launch.child_block, device=engine.device)
    target = results[phase]
    return _Run(
        on_gpu=on_gpu,
        prepare=prepare,
        launch=lambda config: run_all(calls(config)),
        result=(lambda: target.clone()) if phase == "param_flows" else (lambda: target[rows.flatten(), :batch].clone()),
        clear=target.zero_ if phase == "param_flows" else (lambda: None),
        begin=(lambda configs: ahead.begin(chain.from_iterable(map(calls, configs)))) if on_gpu else (lambda configs: None),
        ready=(lambda config: ahead.finish(calls(config))) if on_gpu else (lambda config: None),
    )


def _fastest(shape: Shape, rule: LaunchConfig, runs: list[_Run], end: float) -> TunedShape:
    """Descent: of the configs that differ from the best in one number, the first that is faster becomes the best."""
    run = runs[0]  # the launches of a shape differ in their children only
    run.prepare()
    expected = _result(run, rule)
    rule_ms = best_ms = _milliseconds(run, rule)
    best, seen, wrong, improved = rule, {rule}, 0, True
    while improved and time.monotonic() < end:
        improved, untried = False, [config for config in neighbours(best, *shape[:3]) if config not in seen]
        run.begin(untried)
        _wait(run, untried, end)
        for config in untried:
            if time.monotonic() > end:
                break
            seen.add(config)
            result = _result(run, config)
            if result is None:
                continue  # more shared memory or registers than this GPU has
            if not _equal(shape[0], result, expected):
                wrong += 1
                continue
            took = _milliseconds(run, config)
            if took < GAIN * best_ms:
                best, best_ms, improved = config, took, True
                break
    return TunedShape(*shape, rule, best, len(runs) * rule_ms, len(runs) * best_ms, len(seen) - 1, wrong, cached=False)


def _wait(run: _Run, configs: list[LaunchConfig], end: float) -> None:
    """Until all are compiled, or ``end``: compilers would slow down what is timed beside them."""
    from pcviz_kernels.triton_blocks import OutOfResources  # not at the top: needs triton

    for config in configs:
        if time.monotonic() < end:
            with suppress(OutOfResources):  # it shows again in ``_result``
                run.ready(config)


def _result(run: _Run, config: LaunchConfig) -> torch.Tensor | None:
    from pcviz_kernels.triton_blocks import OutOfResources  # not at the top: needs triton

    run.clear()
    try:
        run.ready(config)
        run.launch(config)
    except OutOfResources:
        return None
    return run.result()


def _equal(phase: str, found: torch.Tensor, expected: torch.Tensor) -> bool:
    if phase == "forward":
        possible = torch.isfinite(expected)
        same = torch.equal(found[~possible], expected[~possible])
        return same and not bool(((found - expected)[possible].abs() > LOGS_TOLERANCE).any())
    error = (found - expected).abs().max()
    return bool(error <= FLOWS_TOLERANCE * expected.abs().max())


def _milliseconds(run: _Run, config: LaunchConfig) -> float:
    """Fastest of ``REPEATS`` runs."""
    if not run.on_gpu:
        start = time.perf_counter()
        run.launch(config)
        return 1e3 * (time.perf_counter() - start)
    times = []
    for _ in range(REPEATS):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run.launch(config)
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return min(times)
