"""Circuit -> plan: layers, groups, index tensors; and plan_summary, the counts alone."""

from .compile import compile  # noqa: A004 (the field's name)
from .counting import plan_summary

__all__ = ["compile", "plan_summary"]
