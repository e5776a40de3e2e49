"""The style sheets of reports, which the pages of `thickets view` build on: colours, what both have, and the rest."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def colors() -> str:
    """Return the variables with colours and fonts, light and dark."""
    return _sheet("colors")


@cache
def common_style() -> str:
    """Return them, and the rules that reports and the pages of `thickets view` have in common."""
    return f"{colors()}\n{_sheet('common')}"


@cache
def report_style() -> str:
    """Return all of a report's style."""
    return f"{common_style()}\n{_sheet('style')}"


def _sheet(name: str) -> str:
    return resources.files("thickets.flows.report").joinpath(f"{name}.css").read_text(encoding="utf-8")
