"""Canonical numbers, phrases and final answers: what means the same votes the same."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.tasks.verifiers.marks import boxed, final_answer
from thickets.tasks.verifiers.numbers import find_numbers
from thickets.tasks.verifiers.numerals import canonical_number
from thickets.tasks.verifiers.numeric import numeric_answer
from thickets.tasks.verifiers.phrases import normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.50", "1234.5"),
        ("The total is $1,234.50.", "1234.5"),
        ("-$3", "-3"),
        ("$-3.", "-3"),
        ("\N{MINUS SIGN}7", "-7"),
        ("x = -3", "-3"),
        ("5-3", None),
        ("between 10-12", None),
        ("60%", "60"),
        ("1e3", "1000"),
        ("1.5e-4", "0.00015"),
        ("100e-2", "1"),
        (".5", "0.5"),
        ("007", "7"),
        ("-0.00", "0"),
        ("0.00120", "0.0012"),
        ("12000000", "12000000"),
        (r"1{,}234", "1234"),
        (r"\$18", "18"),
        ("164,341,27", None),
        ("version 1.2.3", None),
        ("USD5", "5"),
        ("12cm", "12"),
        ("**42**", "42"),
        ("none at all", None),
        ("", None),
    ],
)
def test_last_number_reads_every_common_spelling(text: str, expected: str | None) -> None:
    assert numeric_answer(text) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_every_spelling_of_a_value_is_one_vote(value: Decimal) -> None:
    spellings = {f"{value:f}", f"{value:,f}", f"{value:e}", f"{value:f}000", f"${value:f}", f"{value:f}."}
    votes = {numeric_answer(text) for text in spellings}
    assert len(votes) == 1
    assert Decimal(str(votes.pop())) == value


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_canonical_numbers_are_equal_exactly_when_the_values_are(left: Decimal, right: Decimal) -> None:
    assert (canonical_number(str(left)) == canonical_number(str(right))) == (left == right)


@given(st.from_regex(r"\A-?[0-9]{1,80}(\.[0-9]{1,80})?(e[-+]?[0-9]{1,6})?\Z"))
def test_canonical_form_is_its_own_canonical_form_and_short(number: str) -> None:
    canonical = canonical_number(number)
    assert canonical is not None
    assert canonical_number(canonical) == canonical
    assert numeric_answer(canonical) == canonical
    assert len(canonical) < len(number) + 80


def test_huge_exponents_stay_small() -> None:
    assert numeric_answer("1e999999") == "1.0e999999"
    assert numeric_answer("1e" + "9" * 5000) is None


@given(st.text())
def test_no_text_breaks_the_extractors(text: str) -> None:
    numeric_answer(text)
    boxed(text)
    final_answer(text)
    assert all(0 <= number.start < number.end <= len(text) for number in find_numbers(text))
    canonical = normalise(text)
    assert canonical is None or normalise(canonical) == canonical


def test_normalise_drops_what_does_not_change_the_meaning() -> None:
    assert normalise("  San\n Francisco. ") == "san francisco"
    assert normalise("...") is None


def test_boxed_takes_the_last_complete_box_with_its_braces() -> None:
    assert boxed(r"\boxed{1} and so \boxed{\frac{1}{2}}.") == r"\frac{1}{2}"
    assert boxed(r"\boxed{1} then \boxed{3") is None
    assert boxed(r"\boxed{1} or \boxed{3}") is None
    assert boxed("no box") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<answer>7</answer>", "7"),
        ("first <answer>6</answer>, no: <answer> 7 </answer> done", "7"),
        ("thinking <answer>7", "7"),  # the stop string </answer> is cut off by the engine
        ("<answer>\n1 2\n3 4\n</answer>", "1 2\n3 4"),
        ("<answer></answer>", None),
        ("The answer is 7.", "7"),
        ("**Answer:** 7", "7"),
        ("Final answer: **yes**\nThank you", "yes"),
        ("Answer:\n1 2\n3 4", "1 2\n3 4"),
        ("so 3 + 4\n\n7\n", "7"),
        (r"so \boxed{7} it is", "7"),
        (r"<answer>\boxed{7}</answer>", "7"),
        ("  \n ", None),
        ("", None),
    ],
)
def test_final_answer_takes_the_tag_then_the_phrase_then_the_last_line(text: str, expected: str | None) -> None:
    assert final_answer(text) == expected
