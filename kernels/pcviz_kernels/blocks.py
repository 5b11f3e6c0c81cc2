"""BlockIndex: equally long blocks of rows in a buffer, read as a view when they are one run. Sets, slices, scratch memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

SCRATCH = 1 << 22  # entries of one gathered operand


def slices(total: int, entries_each: int) -> Iterator[tuple[int, int]]:
    """(low, high) slices of ``total`` blocks with at most SCRATCH entries each."""
    step = max(1, SCRATCH // max(1, entries_each))
    for low in range(0, total, step):
        yield low, min(low + step, total)



class BlockIndex:
    """``starts`` [n] first rows of blocks of ``width`` rows; every start is a multiple of ``width``, ``numbers`` [n] times.

    Buffers are [rows, ...]. The index decides what is read; a run of consecutive blocks merely saves the copy. ``repeats``:
    some block other than the null block may occur more than once.
    """

    def __init__(self, starts: torch.Tensor, width: int, repeats: bool = False):
        self.width, self.repeats = width, repeats
        self.starts = starts.reshape(-1).to(torch.int64)
        self.numbers = self.starts // width
        first, count = int(self.numbers[0]), len(self.numbers)
        is_run = torch.equal(self.numbers, torch.arange(first, first + count, device=starts.device))
        self.run = first * width if is_run else None

    def __len__(self) -> int:
        return len(self.numbers)

    def view(self, buffer: torch.Tensor, low: int = 0, high: int | None = None) -> torch.Tensor | None:
        """Blocks low .. high - 1 of ``buffer`` in place, [n, width, ...]; None unless they are one run."""
        high = len(self) if high is None else high
        if self.run is None:
            return None
        return buffer[self.run + low * self.width : self.run + high * self.width].view(high - low, self.width, *buffer.shape[1:])

    def gather(self, buffer: torch.Tensor, low: int = 0, high: int | None = None, out: torch.Tensor | None = None) -> torch.Tensor:
        """[n, width, ...] blocks low .. high - 1: a view of ``buffer`` (not to be written to) when they are one run, else a
        copy, in ``out`` if given."""
        high = len(self) if high is None else high
        found = self.view(buffer, low, high)
        if found is not None:
            return found
        blocks, numbers = buffer.view(-1, self.width, *buffer.shape[1:]), self.numbers[low:high]
        return blocks.index_select(0, numbers) if out is None else torch.index_select(blocks, 0, numbers, out=out)

    def set(self, buffer: torch.Tensor, values: torch.Tensor, low: int = 0, high: int | None = None) -> None:
        """Write ``values`` [n, width, ...] to blocks low .. high - 1."""
        high = len(self) if high is None else high
        found = self.view(buffer, low, high)
        if found is not None:
            found.copy_(values.view(found.shape))
        else:
            buffer.view(-1, self.width, *buffer.shape[1:])[self.numbers[low:high]] = values.view(high - low, self.width, *buffer.shape[1:])

    def add(self, buffer: torch.Tensor, values: torch.Tensor, low: int = 0, high: int | None = None) -> None:
        """Add ``values`` to blocks low .. high - 1 (what null blocks get is not used)."""
        high = len(self) if high is None else high
        found = self.view(buffer, low, high)
        if found is not None:
            found.add_(values.view(found.shape))
        else:
            blocks = buffer.view(-1, self.width, *buffer.shape[1:])
            blocks.index_add_(0, self.numbers[low:high], values.view(high - low, *blocks.shape[1:]))


class Sets:
    """n things in disjoint sets: ``set_of`` [n] numbers of sets 0, 1, ...; see ``amax``."""

    def __init__(self, set_of: torch.Tensor):
        self.set_of = set_of
        order = torch.argsort(set_of, stable=True)
        counts = torch.bincount(set_of)
        self.width = int(counts.max())
        slot = torch.arange(self.width, device=set_of.device).minimum(counts[:, None] - 1)  # short sets repeat their last member
        self.members = BlockIndex(order[(counts.cumsum(0) - counts)[:, None] + slot], 1)

    def amax(self, values: torch.Tensor) -> torch.Tensor:
        """[n, B] the largest of ``values`` [n, B] in the set of each."""
        batch = values.shape[1]
        return self.members.gather(values).view(-1, self.width, batch).amax(dim=1).index_select(0, self.set_of)


class Scratch:
    """Memory for what one launch gathers, allocated once and reused: fresh pages cost a CPU more than the arithmetic."""

    def __init__(self, dtype: torch.dtype, device):
        self.dtype, self.device = dtype, device
        self._buffers: dict[str, torch.Tensor] = {}

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """An uninitialised tensor of ``shape``; it is overwritten by the next ``take`` of that name."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = torch.full((size,), torch.nan, dtype=self.dtype, device=self.device)
        return buffer[:size].view(shape)
