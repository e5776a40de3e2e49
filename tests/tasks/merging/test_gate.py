from __future__ import annotations

import pytest

from thickets.flows.results.sentences import sentence_of_merge
from thickets.tasks.results.intervals import Difference
from thickets.tasks.results.merging import Gate, MergeChoice, MergeTrial
from thickets.tasks.statistics import accuracy


def choice(low: float, value: float, high: float, gate: Gate) -> MergeChoice:
    trial = MergeTrial(id="m", label="merge of 3 best at 1", k=3, radius=1.0, accuracy=accuracy(60, 100))
    gap = Difference(value=value, low=low, high=high, n=100, n_better=9, n_worse=9, p_value=1.0, examples_needed=None)
    return MergeChoice(trials=(trial,), best=0, minus_base=gap, gate=gate)


@pytest.mark.parametrize(
    ("low", "value", "gate", "stands", "told"),
    [
        (0.01, 0.05, "interval", True, "it stands as a model of its own."),
        (-0.01, 0.05, "interval", False, "it is not kept, as that may be luck."),
        (-0.01, 0.05, "better", True, "it stands as a model of its own, though that may be luck."),
        (-0.05, 0.0, "better", False, "it is not kept, as that may be luck."),
    ],
)
def test_the_gate_says_what_stands_and_the_sentence_what_may_be_luck(
    low: float, value: float, gate: Gate, stands: bool, told: str
) -> None:
    found = choice(low, value, 0.1, gate)
    assert found.is_accepted is stands
    assert sentence_of_merge(found).endswith(told)
