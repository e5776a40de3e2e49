"""The fields of a config's problem section, with what follows from them alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from thickets.tasks.problems.kind import Kind, find_kind, own_kinds
from thickets.tasks.verifiers.own_code import trainer_of

VERIFIERS = ("exact", "numeric", "math", "choice", "regex", "tests", "molecule", "similarity")
GRADED = ("tests", "similarity")
"""Verifiers that give scores between wrong and right, as a function of the user's own may."""
RIGHT_AT = {"similarity": 0.5}
"""What ``problem.right_at`` is for a verifier if nothing is said: half of the words are the reference's, in its order.
It is 1 for the others. A text that is all of the reference is too rare to count anything by."""
REASONING_GYM_PREFIX = "reasoning_gym:"


def problem_title(name: str, path: str | None = None, label: str | None = None) -> str:
    """Return what people call a problem: its label, else its name, or for problem ``file`` its file or data set.

    ``data/My reviews.jsonl`` gives ``My-reviews``, ``hf:owner/reviews:en@train`` gives ``reviews``.

    Args:
        name: ``problem.name``.
        path: ``problem.path``.
        label: ``problem.label``.
    """
    if label is not None:
        return label
    if name != "file" or path is None:
        return name
    is_hub = path.startswith("hf:")
    last = Path(path.removeprefix("hf:")).name
    stem = re.split("[:@]", last)[0] if is_hub else Path(re.sub(r"\.(gz|zst)$", "", last, flags=re.IGNORECASE)).stem
    return re.sub(r"[^\w.+-]+", "-", stem)[:60].strip("-.+") or name


class WorkedExample(BaseModel):
    """A question and its answer, shown before the question that is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

    question: str = Field(min_length=1, description="The question, without the instruction.")
    answer: str = Field(min_length=1, description="The whole reply, for example with its reasoning.")


class ProblemFields(BaseModel):
    """The problem, the location of its data, its prompt and its verifier; see `ProblemConfig`, which checks them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(
        description="Which problem, such as largest_number, gsm8k, reasoning_gym:TASK or file (your own questions and "
        "answers). `thickets problems` lists them all.",
    )
    label: str | None = Field(
        default=None,
        description="What tables, titles and registered models call it. Left empty: its name, or that of the file. "
        "No answer depends on it, and a run keeps its id.",
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description="The questions, or the training data, of a problem that reads them: a .jsonl, .csv, .tsv, "
        ".json or .parquet file, each also packed (.gz, .zst), or hf:owner/dataset[:config][@split] (hf: also takes a "
        "local folder). The split is train unless given.",
    )
    test_path: str | None = Field(
        default=None,
        min_length=1,
        description="Official test data, in the same forms as path; an hf: split is test unless given. "
        "Left empty, the test split is drawn from path.",
    )
    id_column: str | None = Field(
        default=None,
        min_length=1,
        description="Column with a unique id per row. Left empty, the id is made from the question.",
    )
    question_column: str = Field(
        default="question",
        min_length=1,
        description="Column with the question: text, or chat turns. A name may lead into a nested column, as "
        "extra_info.index, answers[0] and messages[:-1] do.",
    )
    answer_column: str = Field(
        default="answer",
        min_length=1,
        description="Column with the gold answer; of a list, the first is the gold answer and the others are accepted "
        "too.",
    )
    answer_aliases_column: str | None = Field(
        default=None,
        min_length=1,
        description="Column with a list of other accepted answers. Left empty, there are none but those of "
        "answer_column.",
    )
    choices_column: str | None = Field(
        default=None,
        min_length=1,
        description="Column with the options of a multiple-choice question, which are put under it by letters "
        "(verifier choice). The answer is then a letter, a number counted from 0, or the text of an option.",
    )
    image_column: str | None = Field(
        default=None,
        min_length=1,
        description="Column with the image that a question is about, for a model that reads images: a path that leads "
        "from the folder of the data, and not out of it, or the bytes of a data set's image. Left empty: gqa image, "
        "file none.",
    )
    verifier: str | None = Field(
        default=None,
        description="How the answers of file, gsm8k and largest_number are judged: exact (the whole reply), numeric (a "
        "number), math (an expression), choice (a letter), regex (see pattern), tests (a program, see tests_column), "
        "molecule (SMILES), similarity (a text, see metric), module:function (your own code), or a reward function of "
        "TRL or verl: trl:module:function, verl:module:function (see votes). Left empty: file exact, mbpp tests, "
        "rocstories similarity, the others numeric.",
    )
    pattern: str | None = Field(
        default=None,
        description="Regular expression of the regex verifier. Its last match is the answer: group 1 if it has a "
        "group, else the whole match.",
    )
    votes: Literal["text", "exact", "numeric", "math", "choice", "regex"] | None = Field(
        default=None,
        description="What votes where verifier is a reward function of TRL or verl, which is asked about that answer: "
        "text (the whole reply) or what the verifier of that name finds. Left empty: choice with choices_column, regex "
        "with pattern, else text.",
    )
    answer_form: str = Field(
        default="{answer}",
        description=r"How an answer, the gold one too, is written for a reward function, such as \boxed{ {answer} } or "
        "#### {answer}.",
    )
    score_range: tuple[float, float] = Field(
        default=(0.0, 1.0),
        description="The least and the greatest reward of a reward function, which are score 0 and score 1.",
    )
    tests_column: str = Field(
        default="test_list",
        min_length=1,
        description="Column with the tests of verifier tests: a list of Python statements, or one. Columns "
        "test_setup_code and test_imports, where there are any, are run before each.",
    )
    sandbox: Literal["required", "weak"] = Field(
        default="required",
        description="Where programs of verifier tests run: required refuses a machine that cannot shut them in; weak "
        "also takes limits of time and memory alone.",
    )
    metric: Literal["rougeL", "rouge1"] = Field(
        default="rougeL",
        description="Similarity of verifier similarity, to the reference and between answers: rougeL (words in common "
        "in one order) or rouge1 (words in common).",
    )
    right_at: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Score, up to 1, from which on an answer counts as right where verifier tests, similarity, a "
        "module:function or a reward function gives scores. Left out with similarity: 0.5.",
    )
    labels: tuple[str, ...] = Field(
        default=(),
        description="The labels of a classification, in the order in which a prompt names them; rows may also give a "
        "label's number, counted from 0. Left empty, the names in the data set, else all answers of path.",
    )
    scoring: Literal["generate", "loglikelihood"] = Field(
        default="generate",
        description="Whether the answer is generated and read, or is the label, letter or option that the model finds "
        "likeliest (loglikelihood: no text is generated).",
    )
    likelihood_of: Literal["letter", "text"] = Field(
        default="letter",
        description="With loglikelihood, what of an option is compared: its letter, or its text.",
    )
    likelihood_per: Literal["label", "token", "byte"] | None = Field(
        default=None,
        description="With loglikelihood, what a log-likelihood is divided by: label (nothing), token or byte (the "
        "number of a label's tokens or bytes). Left empty: byte for the texts of options, else label.",
    )
    instruction: str | None = Field(
        default=None,
        description="Prompt with {question} where the question goes. Left empty, the problem's own.",
    )
    system: str | None = Field(default=None, description="System message before the prompt. Left empty, there is none.")
    examples: str | tuple[WorkedExample, ...] | None = Field(
        default=None,
        description="Worked examples before every question: a file with the columns of path, or a list of question and "
        "answer. A row of path that asks one of them is not asked. Left empty, there are none.",
    )
    n_examples: int | None = Field(
        default=None, ge=1, description="How many of the examples, the first ones. Left empty, all of them."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of a problem that has some, or the dataset options of a reasoning_gym task; "
        "`thickets problems NAME` lists them.",
    )
    allow_unsafe_verifier: bool = Field(
        default=False,
        description="Let a reasoning_gym task judge answers although its verifier runs parts of the model's answer "
        "as code on this machine.",
    )

    @property
    def title(self) -> str:
        """What people call the problem; see `problem_title`."""
        return problem_title(self.name, self.path, self.label)

    @property
    def runs_programs(self) -> bool:
        """Whether replies are programs, which are run."""
        return (self.verifier or self.kind().default_verifier) == "tests"

    @property
    def votes_by(self) -> str | None:
        """What votes where the verifier is a reward function of a trainer; None where it is not."""
        if trainer_of(self.verifier) is None:
            return None
        return self.votes or ("choice" if self.choices_column else "regex" if self.pattern else "text")

    def with_own_columns(self) -> Self:
        """Return the config with the problem's own columns where it names no others."""
        fields = type(self).model_fields
        own = self.kind().columns
        return self.model_copy(update={name: own[name] for name in own if getattr(self, name) == fields[name].default})

    def kind(self) -> Kind:
        """Return what the problem is.

        Raises:
            ValueError: There is none of that name.
        """
        found = find_kind(self.name)
        if found is None:
            names = ", ".join(kind.name for kind in own_kinds())
            raise ValueError(
                f"problem.name is {self.name!r}; allowed are {names} and reasoning_gym:TASK, for example "
                "reasoning_gym:chain_sum (`thickets problems` lists them)"
            )
        return found
