"""The config of a problem, checked before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thickets.tasks.verifiers.regex import PatternError, compile_pattern

VERIFIERS = ("exact", "numeric", "math", "choice", "regex", "tests")
OF_FILES = ("gsm8k", "mbpp", "file")
"""Problems whose questions come from data."""
_GRADED = (None, "tests")
REASONING_GYM_PREFIX = "reasoning_gym:"
_OF_VERIFIER = ("verifier", "pattern", "right_at")
_OF_TESTS = ("tests_column", "sandbox")
_OF_DATA = (
    *("path", "test_path", "id_column", "question_column", "answer_column", "answer_aliases_column", "choices_column"),
    *("examples", "n_examples"),
    *_OF_VERIFIER,
    *_OF_TESTS,
)
_LABEL = re.compile(r"\w[\w .+-]{0,59}")  # goes into titles, table cells and names of models
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


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


class ProblemConfig(BaseModel):
    """The problem, the location of its data, its prompt and its verifier.

    A bare string stands for the name alone: ``problem: largest_number``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(
        description="Which problem: largest_number, countdown, signals, gsm8k, mbpp, reasoning_gym:TASK or file (your "
        "own questions and answers). `thickets problems` lists them.",
    )
    label: str | None = Field(
        default=None,
        description="What tables, titles and registered models call it. Left empty: its name, or that of the file. "
        "No answer depends on it, and a run keeps its id.",
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description="Training data of gsm8k, mbpp and file: a .jsonl, .csv, .tsv, .json or .parquet file, each also "
        "packed (.gz, .zst), or hf:owner/dataset[:config][@split] (hf: also takes a local folder). The split is train "
        "unless given.",
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
    verifier: str | None = Field(
        default=None,
        description="How the answers of file, gsm8k and largest_number are judged: exact (the whole reply), numeric (a "
        "number), math (an expression), choice (a letter), regex (see pattern), tests (a program, see tests_column) or "
        "module:function (your own code). Left empty: file exact, mbpp tests, the others numeric.",
    )
    pattern: str | None = Field(
        default=None,
        description="Regular expression of the regex verifier. Its last match is the answer: group 1 if it has a "
        "group, else the whole match.",
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
    right_at: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Score, up to 1, from which on an answer counts as right where verifier tests or a module:function "
        "gives scores.",
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
        description="Options of a generated problem: count and below of largest_number, numbers, largest and "
        "largest_target of countdown, family and horizon of signals, or the dataset options of a reasoning_gym task.",
    )
    allow_unsafe_verifier: bool = Field(
        default=False,
        description="Let a reasoning_gym task judge answers although its verifier runs parts of the model's answer "
        "as code on this machine.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name in OF_FILES:
            self._check_file()
        elif self.name in ("largest_number", "countdown", "signals") or (
            self.name.startswith(REASONING_GYM_PREFIX) and self.name != REASONING_GYM_PREFIX
        ):
            self._check_generated()
        else:
            raise ValueError(
                f"problem.name is {self.name!r}; allowed are largest_number, countdown, signals, gsm8k, mbpp, file and "
                "reasoning_gym:<task>, for example reasoning_gym:chain_sum (`thickets problems` lists them)"
            )
        if self.label is not None and not _LABEL.fullmatch(self.label):
            raise ValueError(
                f"problem.label is {self.label!r}; it must be 1 to 60 letters, digits, spaces, '.', '_', '+' and "
                "'-', and begin with a letter or digit"
            )
        if self.allow_unsafe_verifier and not self.name.startswith(REASONING_GYM_PREFIX):
            raise ValueError(
                f"problem.allow_unsafe_verifier is true, but {self.name} runs no code of the model; "
                "remove it (it is for reasoning_gym tasks)"
            )
        if self.instruction is not None and (found := self.instruction.count("{question}")) != 1:
            raise ValueError(
                f"problem.instruction contains {{question}} {found} times: {self.instruction!r}; "
                "write {question} exactly once, where the question goes"
            )
        return self

    @property
    def title(self) -> str:
        """What people call the problem; see `problem_title`."""
        return problem_title(self.name, self.path, self.label)

    @property
    def runs_programs(self) -> bool:
        """Whether replies are programs, which are run."""
        return self.verifier == "tests" or (self.name == "mbpp" and self.verifier is None)

    def _check_file(self) -> None:
        if self.path is None:
            raise ValueError(
                f"problem.path is missing; {self.name} needs its data: a .jsonl, .csv, .tsv, .json or .parquet file "
                "or hf:owner/dataset[:config][@split]"
            )
        if self.options:
            raise ValueError(
                f"problem.options has {', '.join(map(repr, self.options))}, but {self.name} reads its questions from "
                "problem.path; remove the options (they are for largest_number and reasoning_gym tasks)"
            )
        if self.question_column == self.answer_column:
            raise ValueError(
                f"problem.question_column and problem.answer_column are both {self.question_column!r}; "
                "they must name two columns"
            )
        self._check_verifier()
        self._check_answers()

    def _check_verifier(self) -> None:
        if self.name == "mbpp" and self.verifier not in _GRADED:
            raise ValueError(f"problem.verifier is {self.verifier!r}, but mbpp is judged by its tests; remove it")
        known = self.verifier is None or self.verifier in VERIFIERS
        if not known and not _FUNCTION.fullmatch(str(self.verifier)):
            raise ValueError(
                f"problem.verifier is {self.verifier!r}; allowed are {', '.join(VERIFIERS)} and module:function"
            )
        if known and self.right_at != 1 and not self.runs_programs:
            raise ValueError(
                f"problem.right_at is {self.right_at!r}, but verifier {self.verifier or 'exact'} gives no scores "
                "between wrong and right; remove it (it is for verifier: tests and verifier: module:function)"
            )
        for name in _OF_TESTS:
            if not self.runs_programs and (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise ValueError(
                    f"problem.{name} is {value!r}, but no program is run; remove it (it is for verifier: tests)"
                )
        self._check_pattern()

    def _check_answers(self) -> None:
        for name in ("answer_aliases_column", "choices_column"):
            if self.name != "file" and getattr(self, name) is not None:
                raise ValueError(
                    f"problem.{name} is {getattr(self, name)!r}, but {self.name} has none; write name: file"
                )
        if self.choices_column is not None and self.verifier != "choice":
            raise ValueError(
                f"problem.choices_column is {self.choices_column!r}, but problem.verifier is {self.verifier!r}; "
                "options go with verifier: choice"
            )
        if self.choices_column is not None and self.answer_aliases_column is not None:
            raise ValueError(
                f"problem.answer_aliases_column is {self.answer_aliases_column!r}, but of the options in "
                "problem.choices_column one is right; remove one of the two"
            )
        if self.examples is not None and not self.examples:
            raise ValueError("problem.examples is empty; name a file, list questions with their answers, or remove it")
        if self.n_examples is not None and self.examples is None:
            raise ValueError(
                f"problem.n_examples is {self.n_examples}, but problem.examples is missing; name a file of them"
            )

    def _check_pattern(self) -> None:
        if self.verifier != "regex":
            if self.pattern is not None:
                raise ValueError(
                    f"problem.pattern is {self.pattern!r}, but problem.verifier is {self.verifier!r}; "
                    "a pattern goes with verifier: regex and with nothing else"
                )
            return
        if self.pattern is None:
            raise ValueError(
                r"problem.verifier is 'regex', but problem.pattern is missing; give one, for example 'Answer: (\d+)'"
            )
        try:
            compiled = compile_pattern(self.pattern)
        except PatternError as error:
            raise ValueError(f"problem.pattern is {self.pattern!r}, not a regular expression: {error}") from None
        if compiled.groups > 1:
            raise ValueError(
                f"problem.pattern is {self.pattern!r} with {compiled.groups} groups; only one can be the answer: "
                "write the others as (?:...)"
            )
        if compiled.search("") is not None:
            # The last match of such a pattern is always the empty string at the end of the text.
            raise ValueError(
                f"problem.pattern is {self.pattern!r}, which matches the empty text; "
                "make it need a character (+ instead of *)"
            )

    def _check_generated(self) -> None:
        # Compared with the defaults, not with the fields that were set: a form sends every field.
        has_verifier = self.name == "largest_number"
        for name in _OF_DATA:
            if has_verifier and name in _OF_VERIFIER:
                continue
            if (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise ValueError(
                    f"problem.{name} is {value!r}, but {self.name} makes its own questions; remove it "
                    "(it is for gsm8k and file)"
                )
        if has_verifier:
            self._check_verifier()
