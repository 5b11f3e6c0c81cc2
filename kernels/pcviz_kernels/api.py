"""Choice of implementation. An explicit request is honoured or refused, never replaced."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

IMPLEMENTATIONS = ("torch", "triton")


def choose(impl: str | None, device: str) -> str:
    """The implementation for ``impl`` on a device type: "triton" on an NVIDIA GPU where it is installed, else "torch"; or what is
    asked for, if it can run there."""
    installed = importlib.util.find_spec("triton") is not None
    if impl is None:
        return "triton" if device == "cuda" and installed else "torch"
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"impl expects one of {', '.join(map(repr, IMPLEMENTATIONS))} or None (by device), got {impl!r}.")
    if impl == "triton" and not installed:
        raise ValueError(
            "impl='triton' needs the package triton, which is not installed (Linux only: pip install triton); impl='torch' runs everywhere."
        )
    if impl == "triton" and device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(
            f"impl='triton' needs an NVIDIA GPU, got device {device!r}; impl='torch' runs everywhere. To try the kernels slowly on a CPU, set "
            "the environment variable TRITON_INTERPRET=1 before Python starts."
        )
    return impl


def kernel_hash() -> str:
    """First 12 digits of the SHA-256 of the Triton kernels' source and of the rule for tiles: figures older than they can be told."""
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(folder.glob("triton_*.py")) + [folder / "config.py"]:
        digest.update(path.read_text(encoding="utf-8").encode())
    return digest.hexdigest()[:12]
