"""The table of a plan: print(plan) and its HTML form, as a teacher would show it."""

from __future__ import annotations

from html import escape

from ..text_tables import html_table, text_table
from .plan import PlanSummary

COLUMNS = ("layer", "launch", "sum blocks", "block", "child blocks", "edges stored", "absent", "missing", "pseudo", "pseudo %")


def table_rows(summary: PlanSummary) -> list[tuple[str, ...]]:
    """One row per group (launch), and the whole plan last."""
    rows = []
    for layer in summary.layers:
        for number, group in enumerate(layer.groups, start=1):
            first = number == 1
            rows.append(
                (
                    str(layer.index) if first else "",
                    str(number),
                    f"{group.num_sum_blocks:,}",
                    f"{group.sum_block} x {group.child_block}",
                    f"{group.num_child_blocks:,}",
                    f"{group.stored_edges:,}",
                    f"{group.absent_edges:,}",
                    f"{group.missing_edges:,}",
                    f"{group.pseudo_edges:,}",
                    f"{100 * group.pseudo_edges / group.stored_edges:.1f}",
                )
            )
    total = summary.total
    share = 100 * total("pseudo_edges") / total("stored_edges")
    counts = (f"{total(name):,}" for name in ("stored_edges", "absent_edges", "missing_edges", "pseudo_edges"))
    rows.append(("all", str(summary.num_groups), "", "", "", *counts, f"{share:.1f}"))
    return rows


def headline(summary: PlanSummary) -> str:
    return (
        f"block size {summary.block_size}, padding tolerance {summary.padding_tolerance:g}: {summary.total('edges'):,} edges in "
        f"{len(summary.layers)} layers, {summary.num_groups} groups, {summary.forward_launches} launches forward "
        f"({summary.input_launches} input, {summary.total('product_launches')} product, {summary.sum_launches} sum); "
        f"{100 * summary.padding_share:.1f}% of the multiplied cells are padding"
    )


def report_text(summary: PlanSummary) -> str:
    return f"{headline(summary)}\n{text_table([COLUMNS, *table_rows(summary)])}"


def report_html(summary: PlanSummary) -> str:
    return f"<p>{escape(headline(summary))}</p>{html_table([COLUMNS, *table_rows(summary)])}"
