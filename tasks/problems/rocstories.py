"""ROCStories: everyday stories of five sentences, of which the last is to be written; 98,161 stories, English.

Sample (columns of the authors' .csv: storyid, storytitle and the five sentences, of which the story alone is read):

    sentence1: Mira planted a sunflower seed in a cracked blue pot.
    sentence2: Every morning she gave it water before school.
    sentence3: For three weeks nothing came out of the soil.
    sentence4: Her brother told her to throw the pot away.
    sentence5: The next day a green shoot stood in the pot.

Source: Mostafazadeh et al. 2016, arXiv 1604.01696; https://cs.rochester.edu/nlp/rocstories (on request). Other texts
to be continued load as well, with the columns prompt and continuation, or as ``question_column`` and
``answer_column`` name them.

A reply is compared with the sentence that was left out, as by ``verifier: similarity``. The vote goes to the reply
that is closest to all others. (The released code of the paper makes another task of these stories: five shuffled
sentences to be put in order.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, EXAMPLE_FIELDS, TEXT_FIELDS, Kind
from thickets.tasks.types import Example

INSTRUCTION = "{question}\n\nWrite the sentence that comes next and ends the story. Reply with just that sentence."
PROMPT, CONTINUATION = "prompt", "continuation"
_SENTENCES = tuple(f"sentence{number}" for number in range(1, 6))


class RocStories(FileProblem):
    """ROCStories from its authors' file, or texts with their continuations."""

    summary = "The last sentence of a short story (path: the authors' .csv, or texts with their continuations)."

    def __init__(self, config: ProblemConfig) -> None:
        config = config.with_own_columns().model_copy(update={"verifier": "similarity"})
        super().__init__(config, replace(make_verifier(config), instruction=INSTRUCTION, max_tokens=64))

    def _prepare(self, place: str, row: Mapping[str, Any]) -> Mapping[str, Any] | str:
        return super()._prepare(place, as_prompt(row))


def as_prompt(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add a story's columns ``prompt`` and ``continuation`` to a row that has it in sentences; leave others alone.

    Raises:
        ValueError: One of the sentences is missing or empty.
    """
    if not any(name in values for name in _SENTENCES):
        return values
    sentences = [values.get(name) for name in _SENTENCES]
    for name, sentence in zip(_SENTENCES, sentences, strict=True):
        if not isinstance(sentence, str) or not sentence.strip():
            found = "missing" if name not in values else f"{sentence!r}"
            raise ValueError(f"column {name!r} is {found}; a story has five sentences, in {', '.join(_SENTENCES)}")
    *before, last = (str(sentence).strip() for sentence in sentences)
    return {PROMPT: " ".join(before), CONTINUATION: last, **values}


KIND = Kind(
    name="rocstories",
    summary=RocStories.summary,
    make=RocStories,
    origin="Mostafazadeh et al. 2016, arXiv 1604.01696; on request",
    fields=(*DATA_FIELDS, "answer_aliases_column", "verifier", "right_at", *TEXT_FIELDS, *EXAMPLE_FIELDS),
    columns={"question_column": PROMPT, "answer_column": CONTINUATION},
    verifiers=("similarity",),
    default_verifier="similarity",
    sample_config={"path": "ROCStories_winter2017.csv"},
    sample_example=Example(
        id="sample",
        question="Mira planted a sunflower seed in a cracked blue pot. Every morning she gave it water before school. "
        "For three weeks nothing came out of the soil. Her brother told her to throw the pot away.",
        answer="The next day a green shoot stood in the pot.",
    ),
)
