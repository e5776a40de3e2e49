"""Reads YAML from people: what PyYAML takes silently or dies of is an error in a line that says where it stands."""

from __future__ import annotations

from typing import Any

import yaml

_MOST_NODES = 200_000
"""Of a document with its aliases written out: a few lines of them can stand for more than a machine has memory for."""
_MOST_DEPTH = 50

_TAGS = "tag:yaml.org,2002:"
_PLAIN = frozenset(f"{_TAGS}{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map"))

_KINDS = {dict: "a mapping", list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}


class YamlError(Exception):
    """A text is not usable YAML; its message is one line that says what is wrong, and where."""


def read_yaml(text: str) -> Any:
    """Return what a YAML document holds: nothing, a scalar, a list or a mapping.

    Raises:
        YamlError: It is no YAML; a field stands twice, or is no text; something contains itself; aliases or brackets
            make it larger or deeper than any configuration; or a value has no form in JSON (a date, a set, a zero
            byte).
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        what = error.problem or error.context or "it cannot be read"
        raise YamlError(f"{what}{_line(place)}") from None
    except yaml.YAMLError as error:  # characters that are none
        raise YamlError(" ".join(str(error).split())) from None
    except RecursionError:
        raise YamlError(f"it is nested more than {_MOST_DEPTH} deep") from None


def kind_of_value(value: Any) -> str:
    """Say what a value is, for a message."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _check(root: yaml.Node) -> None:
    """Check a document before anything is made of it."""
    sizes: dict[int, int] = {}  # by node; with its aliases written out
    above: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in above:
            raise YamlError(f"an alias makes something that contains itself{_line(node.start_mark)}")
        if id(node) in sizes:
            return sizes[id(node)]
        if len(above) >= _MOST_DEPTH:
            raise YamlError(f"it is nested more than {_MOST_DEPTH} deep{_line(node.start_mark)}")
        above.add(id(node))
        _check_value(node)
        total = 1
        if isinstance(node, yaml.MappingNode):
            _check_fields(node)
            total += sum(size(value) for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(size(item) for item in node.value)
        above.discard(id(node))
        if total > _MOST_NODES:
            raise YamlError(f"its aliases stand for more than {_MOST_NODES:,} values{_line(node.start_mark)}")
        sizes[id(node)] = total
        return total

    size(root)


def _check_fields(node: yaml.MappingNode) -> None:
    seen: dict[str, yaml.Node] = {}
    for key, _ in node.value:
        if key.tag == f"{_TAGS}merge":
            continue
        if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAGS}str":
            found = f"{key.value!r}" if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
            raise YamlError(f"a field's name is a text, found {found} (quote it){_line(key.start_mark)}")
        _check_value(key)
        if (first := seen.setdefault(key.value, key)) is not key:
            places = [f"line {each.start_mark.line + 1}" for each in (first, key)]
            raise YamlError(f"{key.value!r} stands in {' and in '.join(places)}; each field may stand once")


def _check_value(node: yaml.Node) -> None:
    if node.tag not in _PLAIN:
        kind = node.tag.removeprefix(_TAGS)
        raise YamlError(f"a {kind} is no plain value (a text or a date stands in quotes){_line(node.start_mark)}")
    if not isinstance(node, yaml.ScalarNode):
        return
    if node.tag == f"{_TAGS}str":
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in node.value):
            what = "a zero byte or half of a surrogate pair"
            raise YamlError(f"{node.value[:60]!r} is not text ({what}){_line(node.start_mark)}")
        return
    try:
        yaml.SafeLoader("").construct_document(node)
    except (ValueError, LookupError, yaml.YAMLError):  # without a place: PyYAML leaves `0x_` or `!!int x` to Python
        kind = node.tag.removeprefix(_TAGS)
        raise YamlError(f"{node.value[:60]!r} is no {kind} to be read{_line(node.start_mark)}") from None


def _line(mark: yaml.Mark | None) -> str:
    return "" if mark is None else f", in line {mark.line + 1}"
