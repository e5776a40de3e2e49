"""Matplotlib figures as SVG inside a page: no names that clash, colours from the style sheet, text as text."""

from __future__ import annotations

import io
import re
import threading
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from thickets.tasks.figures import Theme

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# The page's own type takes the place of Matplotlib's; sizes stay.
_FONT = re.compile(r"font: *([\d.]+px)[^;]*")
_FAMILY = re.compile(r"font-family: *[^;]+(;|$)")
# Matplotlib has its settings in one place for all threads.
_SETTINGS_LOCK = threading.Lock()


def inline_svg(figure: Figure, name: str, label: str, theme: Theme | None) -> Markup:
    """Return a figure as an SVG element.

    Args:
        figure: What is shown.
        name: Prefix of every id in it; unique within the page.
        label: Description of the figure for screen readers.
        theme: Whose colours become variables of the page's style sheet; None leaves all colours as they are.
    """
    root = ElementTree.fromstring(_saved(figure))
    # A style sheet inside would be the whole page's; the metadata name Matplotlib and where its vocabulary is found.
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style")]:
            parent.remove(child)
    for element in root.iter():
        _make_own(element, name)
    for attribute in ("width", "height", "version"):  # the page decides how large it is
        root.attrib.pop(attribute, None)
    root.attrib |= {"role": "img", "aria-label": label, "class": "themed" if theme else "sheet"}
    text = ElementTree.tostring(root, encoding="unicode")
    for color, variable in (theme.variables() if theme else {}).items():
        text = text.replace(color, f"var(--{variable})")
    return Markup(text)


def _saved(figure: Figure) -> bytes:
    out = io.BytesIO()
    # A fixed salt and no date: the same figure gives the same bytes.
    with _SETTINGS_LOCK, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "thickets"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _make_own(element: ElementTree.Element, name: str) -> None:
    # HTML knows SVG's elements and `href` without namespaces.
    element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
    target = element.attrib.pop(f"{{{_XLINK}}}href", None)
    if target is not None:
        element.set("href", target.replace("#", f"#{name}-", 1))
    for key, value in element.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        else:
            own = _REFERENCE.sub(rf"url(#{name}-\1)", value)
            element.set(key, _FAMILY.sub("", _FONT.sub(r"font-size: \1", own)) if key == "style" else own)
