"""One program of the Kernel view, computed in the device's thread: the circuit's values by the torch engine, then numpy."""

from __future__ import annotations

import numpy as np

from .circuits import Entry
from .scenes.kernel import scene_kernel, scene_no_kernel
from .scenes.kernel_flows import scene_em, scene_flows

STEP_SIZE, PSEUDOCOUNT = 0.1, 0.1  # what pcv.fit takes unless it is told otherwise


class KernelJob:
    """Keeps the circuit and the values of the last block size, so that further programs and samples come at once."""

    def __init__(self):
        self._key = None

    def scene(self, entry: Entry, settings, report, block_size: int, layer: int, wish: dict) -> dict:
        """``wish``: phase, group, program, sample, variant and step that the page asks for; numbers beyond the last are cut to it."""
        self._prepare(entry, settings, block_size)
        match wish.get("phase"):
            case "element_flows" | "param_flows" as phase:
                scene = self._flows_scene(phase, settings, report, layer, wish)
            case "em" as phase:
                scene = self._em_scene(settings, report, layer, wish)
            case _:
                phase, scene = "forward", self._forward_scene(settings, report, layer, wish)
        return scene | {"groups": [record.group for record in report.records if (record.phase, record.layer) == (phase, layer)]}

    def _forward_scene(self, settings, report, layer: int, wish: dict) -> dict:
        from ..kernel_steps import forward_program, levels
        from ..tracing import VARIANTS, trace

        variant = wish.get("variant") if wish.get("variant") in VARIANTS else "paper"
        plan, node_logs = self._circuit.plan, self._logs
        launch, num_groups = _launch(report, "forward", layer, wish)
        if report.impl == "triton":  # the report's launches are of the scaled variant
            launches = trace(plan, settings.batch_size, passes=("forward",), impl="triton", variant=variant)
            launch = next(each for each in launches.phase("forward") if (each.layer, each.group) == (layer, launch.group))
            padding = launch.grid[0] * launch.config.tile_b - node_logs.shape[1]
            node_logs = np.pad(node_logs, ((0, 0), (0, padding)), constant_values=-np.inf)  # programs fill their tiles: behind the batch p is 0
        number, sample, column, tile = _place(launch, settings.batch_size, wish)
        one = self._layer(layer)
        params = self._params if variant == "float32" else self._half_params
        done = forward_program(one, launch.group, node_logs, params, launch.config, column, tile, variant)
        sums, entry_bytes, fits = one.sums[launch.group], _entry_bytes(report), _fits(launch, report)
        row = int(sums.nids[tile * launch.config.tile_m // sums.sum_block]) + tile * launch.config.tile_m % sums.sum_block
        exact = node_logs[row : row + launch.config.tile_m, column * launch.config.tile_b : (column + 1) * launch.config.tile_b]
        return scene_kernel(
            done, launch, levels(sums, launch.config, column, tile, done.steps, fits), number=number, sample=sample, variant=variant,
            num_groups=num_groups, num_sms=report.device.num_sms, device=report.device.name, entry=entry_bytes, run=sums.run,
            exact=exact, at_step=int(wish.get("step") or 1),
        )  # fmt: skip

    def _flows_scene(self, phase: str, settings, report, layer: int, wish: dict) -> dict:
        from ..flow_steps import element_flows_program, flow_levels, layer_values, param_flows_program

        launch, num_groups = _launch(report, phase, layer, wish)
        number, sample, column, tile = _place(launch, settings.batch_size, wish)
        if self._flows is None:
            self._flows = self._circuit.node_flows(self._x).numpy()
        one = self._layer(layer)
        if self._values is None or self._values[0] != layer:
            self._values = layer, layer_values(one, self._logs, self._flows)
        values = self._values[1]
        if phase == "element_flows":
            done = element_flows_program(one, launch.group, values, self._half_params, launch.config, column, tile)
        else:
            done = param_flows_program(one, launch.group, values, launch.config, column, tile)
        found = flow_levels(one, phase, launch.group, launch.config, column, tile, done.steps, _fits(launch, report))
        return scene_flows(phase, done, launch, found, number=number, sample=sample, num_groups=num_groups, num_sms=report.device.num_sms,
                           device=report.device.name, entry=_entry_bytes(report), bound=_bound(one, launch),
                           at_step=int(wish.get("step") or 1))  # fmt: skip

    def _em_scene(self, settings, report, layer: int, wish: dict) -> dict:
        from ..flow_steps import em_program, em_stored

        launch, num_groups = _launch(report, "em", layer, wish)
        if launch is None:
            return scene_no_kernel("These parameters are tied to those of a layer nearer the inputs, whose launch updates them.", others=True)
        sums = self._layer(layer).sums[launch.group]
        if self._edge_flows is None:
            self._circuit.clear_flows()
            self._circuit.accumulate_flows(self._x)
            self._edge_flows = self._circuit.engine.edge_flows.float().numpy().copy()
            self._circuit.clear_flows()
        number = _cut(wish.get("program"), launch.programs)
        steps = em_program(sums, self._circuit.engine.params.float().numpy(), self._edge_flows, number, STEP_SIZE, PSEUDOCOUNT)
        return scene_em(
            steps, launch, em_stored(sums), group=launch.group, num_groups=num_groups, number=number,
            num_sms=report.device.num_sms, device=report.device.name, entry=_entry_bytes(report), fits_l2=_fits(launch, report),
            step_size=STEP_SIZE, pseudocount=PSEUDOCOUNT, at_step=int(wish.get("step") or 1),
        )  # fmt: skip

    def _prepare(self, entry: Entry, settings, block_size: int) -> None:
        """Values of all nodes for the data, by the torch engine; flows follow when they are asked for."""
        from .training_run import engine

        key = (id(entry.root), id(entry.root.params), block_size, settings.batch_size, settings.padding_tolerance)
        if key == self._key:
            return
        circuit = engine(entry, block_size, settings)
        self._x = np.resize(np.asarray(entry.x), (settings.batch_size, *np.shape(entry.x)[1:]))  # the data again where they are fewer
        self._logs = (circuit.node_values(self._x) / np.log(2)).float().numpy()
        params = circuit.engine.params.float()
        self._params, self._half_params = params.numpy(), (params * 2.0**15).half().numpy()
        self._of = entry.root, entry.root.params  # kept, so that no other object gets their ids; training writes new parameters
        self._circuit, self._layers, self._flows, self._values, self._edge_flows, self._key = circuit, {}, None, None, None, key

    def _layer(self, layer: int):
        from ..triton_launching import layer_launches

        if layer not in self._layers:
            self._layers[layer] = layer_launches(self._circuit.plan.layers[layer - 1], "cpu")
        return self._layers[layer]


def _launch(report, phase: str, layer: int, wish: dict):
    """(the launch of the group that the page asks for, or of the nearest; launches of the phase in the layer); None where there are none"""
    records = [record for record in report.records if record.phase == phase and record.layer == layer]
    wanted = int(wish.get("group") or 0)
    return (min(records, key=lambda record: abs(record.group - wanted)).launch if records else None), len(records)


def _place(launch, batch_size: int, wish: dict) -> tuple[int, int, int, int]:
    """(program, sample, column and row tile of the program); where the program owns samples, the sample is one of them."""
    number, sample = _cut(wish.get("program"), launch.programs), _cut(wish.get("sample"), batch_size)
    owns = launch.phase != "param_flows"
    if wish.get("follow") and owns:  # the program of the same rows that has the sample
        number = number // launch.grid[0] * launch.grid[0] + sample // launch.config.tile_b
    column, tile = number % launch.grid[0], number // launch.grid[0]
    if owns:
        end = launch.grid[0] * launch.config.tile_b if launch.kernel else batch_size
        sample = min(max(sample, column * launch.config.tile_b), min((column + 1) * launch.config.tile_b, end) - 1)
    return number, sample, column, tile


def _bound(layer, launch) -> float:
    """log2 of a sum, relative to its block's scale, below which the guard has its flows; of element flows that of the widest parents."""
    from pcviz_kernels.triton_launches import lost_log2

    if launch.phase == "param_flows":
        return lost_log2(launch.fan_in * launch.child_block)
    return max(lost_log2(sums.num_runs * sums.run) for sums in layer.sums if sums.sum_block == launch.sum_block)


def _entry_bytes(report) -> int:
    return 4 if report.precision in ("fp32", "tf32") else 2


def _fits(launch, report) -> bool:
    """Whether L2 holds what lies between two loads of the same entry."""
    return max(operand.span_bytes(_entry_bytes(report)) for operand in launch.operands) <= report.device.l2_cache_bytes


def _cut(value, count: int) -> int:
    return min(max(0, int(value or 0)), count - 1)
