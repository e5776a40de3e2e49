"""Renders pages from templates; everything that comes from a run is escaped, hidden characters are made visible."""

from __future__ import annotations

from functools import cache
from importlib import resources
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from thickets.flows.report.look import colors, common_style
from thickets.flows.report.render import visible
from thickets.flows.view.reply_text import snippet
from thickets.tasks.results.text import amount, percent, points


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("thickets.flows.view", "templates"),
        autoescape=True,  # questions and completions are anybody's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "amount": amount,
        "visible": visible,
        "snippet": snippet,
        "part_of_url": lambda text: quote(str(text), safe=""),
        "share": _share,
        "answer": _answer,
    }
    environment.globals["bar"] = bar
    return environment


def page(template: str, **values: object) -> str:
    """Fill in a template."""
    return _environment().get_template(f"{template}.html.jinja").render(**values)


@cache
def static(name: str) -> bytes:
    """Return a file of ours that pages load: ``common.css``, ``style.css`` or ``view.js``."""
    if name == "common.css":
        return common_style().encode()
    return resources.files("thickets.flows.view").joinpath("static", name).read_bytes()


def bar(share: float | None, kind: str = "", low: float | None = None, high: float | None = None) -> Markup:
    """Return a bar from 0 to 1, with an interval if it has one; a picture, as the policy allows no styles inside."""
    if share is None:
        return Markup("")
    width = 100 * min(max(share, 0.0), 1.0)
    whisker = ""
    if low is not None and high is not None:
        whisker = f'<rect class="whisker" x="{100 * low:.2f}" y="4" width="{100 * (high - low):.2f}" height="2"/>'
    return Markup(
        f'<svg class="bar {kind}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" width="100" height="10"/>'
        f'<rect class="value" width="{width:.2f}" height="10"/>{whisker}</svg>'
    )


def picture(svg: str) -> str:
    """Return a plot as a picture of its own, in the colours of the page, light or dark."""
    head, _, rest = svg.partition(">")
    namespace = "" if "xmlns=" in head else ' xmlns="http://www.w3.org/2000/svg"'
    return f"{head}{namespace}><style>{colors()} text {{ font-family: var(--sans); }}</style>{rest}"


def _share(value: float | None, decimals: int = 1) -> str:
    return "" if value is None else percent(value, decimals)


def _answer(text: str | None, most: int = 60) -> str:
    return "no answer" if text is None else snippet(text, most) or "(empty)"
