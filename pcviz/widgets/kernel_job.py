"""One program of the Kernel view, computed in the device's thread: the circuit's values by the torch engine, then numpy."""

from __future__ import annotations

import numpy as np

from .circuits import Entry
from .scenes.kernel import scene_kernel


class KernelJob:
    """Keeps the circuit and the values of the last block size, so that further programs and samples come at once."""

    def __init__(self):
        self._key, self._kept = None, None

    def scene(self, entry: Entry, settings, report, block_size: int, layer: int, wish: dict) -> dict:
        """``wish``: group, program, sample and variant that the page asks for; numbers beyond the last are cut to it."""
        from ..kernel_steps import VARIANTS, forward_program, levels
        from ..tracing import trace

        variant = wish.get("variant") if wish.get("variant") in VARIANTS else VARIANTS[0]
        plan, node_logs, half_params = self._values(entry, settings, block_size)
        records = [record for record in report.records if record.phase == "forward" and record.layer == layer]
        record = records[_cut(wish.get("group"), len(records))]
        launch, one = record.launch, self._layer(plan, layer)
        if report.impl == "triton":  # the report's are of the other variant
            launches = trace(plan, settings.batch_size, passes=("forward",), impl="triton", variant=variant)
            launch = next(each for each in launches.phase("forward") if (each.layer, each.group) == (layer, launch.group))
        if report.impl == "triton":  # its programs fill their tiles: behind the batch p is 0
            padding = launch.grid[0] * launch.config.tile_b - node_logs.shape[1]
            node_logs = np.pad(node_logs, ((0, 0), (0, padding)), constant_values=-np.inf)
        number, sample = _cut(wish.get("program"), launch.programs), _cut(wish.get("sample"), settings.batch_size)
        if wish.get("follow"):  # the program of the same sums that has the sample
            number = number // launch.grid[0] * launch.grid[0] + sample // launch.config.tile_b
        column, tile = number % launch.grid[0], number // launch.grid[0]
        sample = min(max(sample, column * launch.config.tile_b), min((column + 1) * launch.config.tile_b, node_logs.shape[1]) - 1)
        done = forward_program(one, launch.group, node_logs, half_params, launch.config, column, tile, variant)
        sums, entry_bytes = one.sums[launch.group], 4 if report.precision in ("fp32", "tf32") else 2
        fits = max(operand.span_bytes(entry_bytes) for operand in launch.operands) <= report.device.l2_cache_bytes
        return scene_kernel(
            done, launch, levels(sums, launch.config, column, tile, done.steps, fits), number=number, sample=sample, variant=variant,
            num_groups=len(records), num_sms=report.device.num_sms, device=report.device.name, entry=entry_bytes, run=sums.run,
        )  # fmt: skip

    def _values(self, entry: Entry, settings, block_size: int):
        from .training_run import engine

        key = (id(entry.root), id(entry.root.params), block_size, settings.batch_size, settings.padding_tolerance)
        if key != self._key:
            circuit = engine(entry, block_size, settings)
            x = np.resize(np.asarray(entry.x), (settings.batch_size, *np.shape(entry.x)[1:]))  # the data again where they are fewer
            logs = (circuit.node_values(x) / np.log(2)).float().numpy()
            self._of = entry.root, entry.root.params  # kept, so that no other object gets their ids; training writes new parameters
            self._kept, self._layers, self._key = (circuit.plan, logs, (circuit.engine.params.float() * 2.0**15).half().numpy()), {}, key
        return self._kept

    def _layer(self, plan, layer: int):
        from ..triton_launching import layer_launches

        if layer not in self._layers:
            self._layers[layer] = layer_launches(plan.layers[layer - 1], "cpu")
        return self._layers[layer]


def _cut(value, count: int) -> int:
    return min(max(0, int(value or 0)), count - 1)
