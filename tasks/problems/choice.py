"""Multiple choice: questions with their options, one of which is right.

Sample (columns question, choices and answer):

    {"question": "Which of these is a fruit?", "choices": ["a carrot", "a pear", "a leek"], "answer": 1}

    user:      Which of these is a fruit?

               A. a carrot
               B. a pear
               C. a leek

               Reply with just the letter.
    assistant: B

Source: the user's, or data of this form such as MMLU (Hendrycks et al. 2020, arXiv 2009.03300, MIT; hf:cais/mmlu:all)
and ARC (Clark et al. 2018, arXiv 1803.05457, CC BY-SA 4.0; hf:allenai/ai2_arc:ARC-Challenge, with ``answer_column:
answerKey``). The answer is a letter, a number counted from 0, the data's own label, or the text of an option.

A generated reply is read as by ``verifier: choice``. With ``scoring: loglikelihood`` nothing is generated: the answer
is the letter that the model finds likeliest, or the option whose text it does (``likelihood_of: text``, per byte unless
``likelihood_per`` says otherwise, so that short texts have no advantage).
"""

from __future__ import annotations

from dataclasses import replace

from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, EXAMPLE_FIELDS, LIKELIHOOD_FIELDS, Kind
from thickets.tasks.types import Example
from thickets.tasks.verifiers import CHOICE

_OF_TEXTS = replace(CHOICE, instruction="{question}\n\nReply with the right option.", max_tokens=256)


class Choice(FileProblem):
    """Questions with options from a file or a Hugging Face data set."""

    summary = "Multiple choice: a question, its options and the right one; by letter or by likelihood."

    def __init__(self, config: ProblemConfig) -> None:
        config = config.with_own_columns()
        super().__init__(config, _OF_TEXTS if config.likelihood_of == "text" else CHOICE)


KIND = Kind(
    name="choice",
    summary=Choice.summary,
    make=Choice,
    origin="your own data",
    fields=(*DATA_FIELDS, "choices_column", "likelihood_of", *LIKELIHOOD_FIELDS, *EXAMPLE_FIELDS),
    columns={"choices_column": "choices"},
    default_verifier="choice",
    sample_config={"path": "questions.jsonl"},
    sample_example=Example(
        "sample",
        "Which of these is a fruit?\n\nA. a carrot\nB. a pear\nC. a leek",
        "B",
        {"options": ["a carrot", "a pear", "a leek"]},
    ),
)
