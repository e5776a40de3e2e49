"""Renders reports as HTML pages by filling in templates."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import ClassVar, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from thickets.flows.report.look import report_style
from thickets.flows.report.plots import Plot
from thickets.flows.report.svg import inline_svg
from thickets.storage.files import write_text_atomically
from thickets.tasks.figures import PAGE
from thickets.tasks.results.text import percent, points, short_size

_LONG_CHARACTERS, _LONG_LINES = 420, 8
# Unicode's bidirectional classes of the characters that control the writing direction.
_BIDI = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


class PageValues(Protocol):
    """Everything on a page.

    Attributes:
        template: The name of the template in this package that shows it, as `report`.
    """

    template: ClassVar[str]


def write_page(values: PageValues, target: Path) -> Path:
    """Write a page, which depends only on its values; return the file."""
    write_text_atomically(target, page(values))
    return target


def page(values: PageValues) -> str:
    """Fill in the template of some values; the page is self-contained: no script, no font, no image, no network."""
    environment = Environment(
        loader=PackageLoader("thickets.flows.report", ""),
        autoescape=True,  # questions and completions are anybody's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "points": points, "place": _place, "visible": visible, "svg": _svg}
    environment.filters |= {"breakable": breakable, "size": short_size}
    environment.tests["long"] = _is_long
    return environment.get_template(values.template).render(style=Markup(report_style()), report=values)


def visible(text: str) -> str:
    """Replace characters that HTML forbids, or that hide or reorder text, with visible signs.

    Line breaks and tabs stay. The controls of writing direction are taken too: a completion could otherwise show its
    answer in another order than it was written.
    """
    return "".join(_sign(character) for character in text.replace("\r\n", "\n"))


def breakable(name: str) -> Markup:
    """Return a name that a narrow column may break after its underscores, colons and hyphens."""
    return Markup("").join(
        escape(part) if not part or part[-1] not in "_:-" else escape(part) + Markup("<wbr>")
        for part in re.split(r"(?<=[_:-])", visible(name))
    )


def _sign(character: str) -> str:
    if character in "\n\t":
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # ␀ to ␟
    is_hidden = unicodedata.category(character) in ("Cc", "Cs") or unicodedata.bidirectional(character) in _BIDI
    return "\N{REPLACEMENT CHARACTER}" if is_hidden or code & 0xFFFE == 0xFFFE else character


def _is_long(text: str) -> bool:
    return len(text) > _LONG_CHARACTERS or text.count("\n") >= _LONG_LINES


def _place(value: float, low: float = 0.0, high: float = 1.0) -> str:
    """Return the position of a value on an axis, for a style sheet: ``38.28%``."""
    return f"{100 * (value - low) / (high - low):.2f}%"


def _svg(plot: Plot) -> Markup:
    return inline_svg(plot.draw(PAGE), plot.name, plot.alt, PAGE if plot.is_themed else None)
