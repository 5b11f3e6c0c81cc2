"""Memory of a circuit on its device, known before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class MemoryUse:
    """Bytes that likelihoods, flows and EM of ``batch_size`` samples take, ``micro_batch`` of them at a time. ``buffers``: values and flows of
    one micro-batch; ``flows``: of parameters. Beside them stand the data, results, what single operations need for a moment, and CUDA's own."""

    parameters: int
    flows: int
    indices: int
    buffers: int
    batch_size: int
    micro_batch: int

    @property
    def total(self) -> int:
        return self.parameters + self.flows + self.indices + self.buffers

    def __str__(self) -> str:
        parts = ("parameters", "flows", "indices", "buffers", "total")
        sizes = ", ".join(f"{part} {readable_bytes(getattr(self, part))}" for part in parts)
        return f"{sizes}; {self.micro_batch:,} of {self.batch_size:,} samples at a time"


def readable_bytes(size: int) -> str:
    """'1.53 GiB', '320.0 MiB', '12.5 KiB'; from half a GiB on in GiB, so that sizes which are compared have one unit."""
    for least, unit, bytes_each in ((2**29, "GiB", 2**30), (2**20, "MiB", 2**20)):
        if size >= least:
            return f"{size / bytes_each:.{2 if unit == 'GiB' else 1}f} {unit}"
    return f"{size / 1024:.1f} KiB"


def tensor_bytes(*records) -> int:
    """Bytes of the memory behind all tensors in ``records``: tensors, containers, and objects of this package; each counts once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(records, set())}
    return sum(storages.values())


def _tensors(found, seen: set[int]) -> Iterator[torch.Tensor]:
    import torch  # only here: what is modelled needs none

    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, (list, tuple, set)):
        for each in found:
            yield from _tensors(each, seen)
    elif isinstance(found, dict):
        yield from _tensors(list(found.values()), seen)
    elif type(found).__module__.startswith("pcviz") and id(found) not in seen:
        seen.add(id(found))
        slots = [getattr(found, name) for name in getattr(found, "__slots__", ())]
        yield from _tensors([*getattr(found, "__dict__", {}).values(), *slots], seen)
