"""BlockIndex: equally long blocks of rows in a buffer, read as a view when they are one run."""

from __future__ import annotations

import torch


class BlockIndex:
    """``starts`` [n] first rows of blocks of ``width`` rows; every start is a multiple of ``width``.

    Buffers are [rows, ...]. The index decides what is read; a run of consecutive blocks merely saves the copy.
    """

    def __init__(self, starts: torch.Tensor, width: int):
        self.width = width
        self.numbers = (starts.reshape(-1) // width).to(torch.int64)
        first, count = int(self.numbers[0]), len(self.numbers)
        is_run = torch.equal(self.numbers, torch.arange(first, first + count, device=starts.device))
        self.run = first * width if is_run else None

    def __len__(self) -> int:
        return len(self.numbers)

    def gather(self, buffer: torch.Tensor, low: int = 0, high: int | None = None) -> torch.Tensor:
        """[n, width, ...] blocks low .. high - 1; a view of ``buffer`` when they are one run: do not write to it."""
        high = len(self) if high is None else high
        shape = (high - low, self.width, *buffer.shape[1:])
        if self.run is not None:
            return buffer[self.run + low * self.width : self.run + high * self.width].view(shape)
        return buffer.view(-1, self.width, *buffer.shape[1:]).index_select(0, self.numbers[low:high])

    def set(self, buffer: torch.Tensor, values: torch.Tensor, low: int = 0, high: int | None = None) -> None:
        """Write ``values`` [n, width, ...] to blocks low .. high - 1."""
        high = len(self) if high is None else high
        if self.run is not None:
            self.gather(buffer, low, high).copy_(values.view(high - low, self.width, *buffer.shape[1:]))
        else:
            buffer.view(-1, self.width, *buffer.shape[1:])[self.numbers[low:high]] = values.view(high - low, self.width, *buffer.shape[1:])

    def add(self, buffer: torch.Tensor, values: torch.Tensor, low: int = 0, high: int | None = None) -> None:
        """Add ``values`` to blocks low .. high - 1, which are distinct but for null blocks (whose sum is not used)."""
        high = len(self) if high is None else high
        if self.run is not None:
            self.gather(buffer, low, high).add_(values.view(high - low, self.width, *buffer.shape[1:]))
        else:
            self.set(buffer, self.gather(buffer, low, high).add_(values.view(high - low, self.width, *buffer.shape[1:])), low, high)
