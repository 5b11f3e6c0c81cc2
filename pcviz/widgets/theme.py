"""Colours of the Python-made fallbacks (static tables and pictures); the live views take theirs from the page's theme."""

from __future__ import annotations

INK = "#1c2430"
MUTED = "#57606f"
LINE = "#d5dae1"

STATIC_STYLE = f"font:13px system-ui,sans-serif;color:{INK};border-collapse:collapse"


def static_block(inner: str) -> str:
    """A fallback fragment in the house style."""
    return f'<div class="pcv-static" style="{STATIC_STYLE}">{inner}</div>'
