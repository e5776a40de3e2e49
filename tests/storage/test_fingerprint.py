"""A fingerprint is a function of the value alone, and refuses what it would have to guess."""

from __future__ import annotations

import enum
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.storage.errors import InputError
from thickets.storage.fingerprint import canonical_json, fingerprint

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(values)
def test_canonical_json_reads_back_as_the_value(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), values, min_size=2))
def test_order_of_keys_does_not_matter(value):
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)


def test_known_answer():
    assert canonical_json({"b": (1, 2.5), "a": [None, True, "é"]}) == '{"a":[null,true,"\\u00e9"],"b":[1,2.5]}'
    assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_one_and_one_point_zero_and_true_differ():
    assert len({fingerprint(value) for value in (1, 1.0, True, "1")}) == 4


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [{1}, b"x", Path("x"), np.float64(1.0), np.int64(1), Colour.RED, Decimal(1), object(), {1: "x"}, {"a": [b"x"]}],
)
def test_other_types_are_refused(value):
    with pytest.raises(TypeError):
        fingerprint(value)


def test_error_names_the_place():
    with pytest.raises(TypeError, match=r"\$\.a\[1\]\.b is a bytes"):
        fingerprint({"a": [1, {"b": b""}]})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(InputError, match="finite"):
        fingerprint([value])
