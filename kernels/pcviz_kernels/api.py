"""Choice of implementation. An explicit request is honoured or refused, never replaced."""

from __future__ import annotations

from types import ModuleType

IMPLEMENTATIONS = ("torch",)


def implementation(impl: str | None, device: str) -> tuple[str, ModuleType]:
    """(name, module) of the kernels for ``impl`` on ``device``; None lets the device choose."""
    from . import torch_blocks

    if impl is not None and impl not in IMPLEMENTATIONS:
        raise ValueError(f"impl={impl!r} is not available for device {device!r}; this version has impl='torch' (impl=None picks it).")
    return "torch", torch_blocks
