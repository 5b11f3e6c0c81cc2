"""What the scene functions share: number texts and the HTML tables of the static fallbacks."""

from __future__ import annotations

from html import escape

from ...traffic_text import LEVELS as LEVELS
from ...traffic_text import milliseconds as milliseconds

# what a person may look at -> the passes that are added up; a training step of a mini-batch ends with EM
PASSES_OF = {
    "forward": ("forward",), "backward": ("backward",), "both": ("forward", "backward"), "em": ("em",), "step": ("forward", "backward", "em"),
}  # fmt: skip
PHASE_NAMES = {"forward": "forward", "element_flows": "element flows", "param_flows": "parameter flows", "em": "EM"}
STATIC_LIMIT = 60_000  # bytes of a static fallback; ui.md


def count(value: int) -> str:
    """12,345"""
    return f"{int(value):,}"


def percent(share: float) -> str:
    """'12.3%'; small shares keep two digits"""
    return f"{100 * share:.1f}%" if share == 0 or share >= 0.001 else f"{100 * share:.2g}%"


def rounded(value, digits: int = 5):
    """``value`` as a float of ``digits`` significant digits, so that it is short as JSON; None stays None."""
    return None if value is None else float(f"{float(value):.{digits}g}")


def si_bytes(value: float | None) -> str:
    """'4.04 GB'; '-' for None"""
    if value is None:
        return "-"
    value = float(f"{value:.3g}")  # so that 999.7 kB are 1 MB, and not 1e+03 kB
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} B"


def html_table(title: str, head: list[str], rows: list[list], caption: str = "", limit: int = STATIC_LIMIT) -> str:
    """An HTML table of at most ``limit`` bytes: rows that do not fit are left out, and the table says how many."""
    start = f"<figure><b>{escape(title)}</b><table><thead><tr>{''.join(f'<th>{escape(str(h))}</th>' for h in head)}</tr></thead><tbody>"
    end = f"</tbody></table><figcaption>{escape(caption)}</figcaption></figure>"
    left = limit - len(start.encode()) - len(end.encode()) - 120
    body: list[str] = []
    for i, row in enumerate(rows):
        cells = "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        left -= len(cells.encode())
        if left < 0:
            body.append(f'<tr><td colspan="{len(head)}">{len(rows) - i} more rows are not shown here.</td></tr>')
            break
        body.append(cells)
    return start + "".join(body) + end
