"""BlockIndex: equally long blocks of rows in a buffer, read as a view when they are one run. Sets, slices, scratch memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import torch

SCRATCH = 1 << 22  # entries of one gathered operand


def slices(total: int, entries_each: int) -> Iterator[tuple[int, int]]:
    """(low, high) slices of ``total`` blocks with at most SCRATCH entries each."""
    step = max(1, SCRATCH // max(1, entries_each))
    for low in range(0, total, step):
        yield low, min(low + step, total)


def part(index: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """``index[low:high]``."""
    return index if high - low == index.shape[0] else index[low:high]


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

    @cached_property
    def repeated(self) -> tuple[int, BlockIndex]:
        """(times, index of a run): the blocks of a run, each so many times in a row. (1, itself) where it is not so."""
        first, count = int(self.numbers[0]), len(self.numbers)
        times = int((self.numbers != first).int().argmax()) or count
        expected = first + torch.arange(count, device=self.numbers.device).div(times, rounding_mode="floor")
        if count % times or not torch.equal(self.numbers, expected):
            return 1, self
        return times, BlockIndex(self.starts[::times], self.width)

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
        members = order[(counts.cumsum(0) - counts)[:, None] + slot].view(-1)
        self.members = None if torch.equal(members, torch.arange(len(set_of), device=set_of.device)) else members

    def amax(self, values: torch.Tensor) -> torch.Tensor:
        """[n, B] the largest of ``values`` [n, B] in the set of each."""
        members = values if self.members is None else values.index_select(0, self.members)
        return members.view(-1, self.width, values.shape[1]).amax(dim=1).index_select(0, self.set_of)


class Scratch:
    """What launches need besides their buffers: memory for what they gather, and the views that they cut out of buffers.

    Both are made once and kept. Fresh pages cost a CPU more than arithmetic does, and so does cutting a view of a small
    block. Views are kept with the tensor that they were cut out of, so callers pass the same tensors again and again;
    ``forget`` drops them.
    """

    def __init__(self, dtype: torch.dtype, device):
        self.dtype, self.device = dtype, device
        self._buffers: dict[str, torch.Tensor] = {}
        self._taken: dict[tuple, torch.Tensor] = {}
        self._views: dict[tuple, tuple[torch.Tensor, torch.Tensor]] = {}

    def forget(self) -> None:
        self._taken.clear()
        self._views.clear()

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """An uninitialised tensor of ``shape``; it is overwritten by the next ``take`` of that name."""
        found = self._taken.get((name, shape))
        if found is None:
            size = math.prod(shape)
            buffer = self._buffers.get(name)
            if buffer is None or len(buffer) < size:
                buffer = self._buffers[name] = torch.full((size,), torch.nan, dtype=self.dtype, device=self.device)
                self._taken = {key: view for key, view in self._taken.items() if key[0] != name}
            found = self._taken[name, shape] = buffer[:size].view(shape)
        return found

    def rows(self, buffer: torch.Tensor, *shape: int) -> torch.Tensor:
        """``buffer.view(shape)``."""
        key = (id(buffer), shape)
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = (buffer.view(shape), buffer)
        return found[0]

    def view(self, index: BlockIndex, buffer: torch.Tensor, low: int, high: int, *shape: int) -> torch.Tensor | None:
        """Blocks low .. high - 1 of ``buffer`` in place, as ``shape``; None unless they are one run."""
        if index.run is None:
            return None
        key = (index, id(buffer), low, shape)
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = (index.view(buffer, low, high).view(shape), buffer)
        return found[0]

    def write(self, index: BlockIndex, buffer: torch.Tensor, values: torch.Tensor) -> None:
        """Copy ``values`` to all blocks of ``index``."""
        found = self.view(index, buffer, 0, len(index), *values.shape)
        if found is None:
            index.set(buffer, values)
        else:
            found.copy_(values)

    def read(self, name: str, index: BlockIndex, buffer: torch.Tensor, low: int, high: int, *shape: int) -> torch.Tensor:
        """The same, not to be written to; a copy in the memory ``name`` when they are no run."""
        found = self.view(index, buffer, low, high, *shape)
        if found is None:
            blocks = self.rows(buffer, -1, index.width, *buffer.shape[1:])
            found = self.take(name, *shape)
            torch.index_select(blocks, 0, index.numbers[low:high], out=found.view(high - low, *blocks.shape[1:]))
        return found
