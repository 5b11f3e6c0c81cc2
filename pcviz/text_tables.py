"""Rows of texts, the first one headings, as a table: in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape


def text_table(rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> str:
    """Lines whose columns end alike; those at the places ``left`` begin alike."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows
    )


def html_table(rows: Sequence[Sequence[str]], left: Collection[int] = (), caption: str = "") -> str:
    """The same as HTML."""

    def line(row: Sequence[str], tag: str) -> str:
        cells = (f'<{tag} style="text-align:{"left" if i in left else "right"}">{escape(cell)}</{tag}>' for i, cell in enumerate(row))
        return f"<tr>{''.join(cells)}</tr>"

    head, *body = rows
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead>{line(head, 'th')}</thead><tbody>{''.join(line(row, 'td') for row in body)}</tbody></table>"
