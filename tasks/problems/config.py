"""The config of a problem, checked before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thickets.tasks.problems.kind import PROMPT_FIELDS, TEST_FIELDS, Kind, find_kind, own_kinds
from thickets.tasks.verifiers.regex import PatternError, compile_pattern

VERIFIERS = ("exact", "numeric", "math", "choice", "regex", "tests")
GRADED = ("tests",)
"""Verifiers that give scores between wrong and right, as a function of the user's own may."""
REASONING_GYM_PREFIX = "reasoning_gym:"
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
        description="Options of a generated problem, or the dataset options of a reasoning_gym task; "
        "`thickets problems NAME` lists them.",
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
        kind = self._kind()
        self._check_taken(kind)
        if kind.reads_data:
            self._check_data(kind)
        if "verifier" in kind.fields:
            self._check_verifier(kind)
        if self.label is not None and not _LABEL.fullmatch(self.label):
            raise ValueError(
                f"problem.label is {self.label!r}; it must be 1 to 60 letters, digits, spaces, '.', '_', '+' and "
                "'-', and begin with a letter or digit"
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
        return (self.verifier or self._kind().default_verifier) == "tests"

    def with_own_columns(self) -> Self:
        """Return the config with the problem's own columns where it names no others."""
        fields = type(self).model_fields
        own = self._kind().columns
        return self.model_copy(update={name: own[name] for name in own if getattr(self, name) == fields[name].default})

    def _kind(self) -> Kind:
        found = find_kind(self.name)
        if found is None:
            names = ", ".join(kind.name for kind in own_kinds())
            raise ValueError(
                f"problem.name is {self.name!r}; allowed are {names} and reasoning_gym:TASK, for example "
                "reasoning_gym:chain_sum (`thickets problems` lists them)"
            )
        return found

    def _check_taken(self, kind: Kind) -> None:
        """Refuse values of fields that the problem does not take; a form sends every field, with its default."""
        for name, field in type(self).model_fields.items():
            is_taken = name == "name" or name in PROMPT_FIELDS or name in kind.fields
            value = getattr(self, name)
            if is_taken or value == field.get_default(call_default_factory=True):
                continue
            if kind.reads_data:
                why = "reads its questions from problem.path" if name == "options" else "takes none"
            else:
                why = "runs no code of the model" if name == "allow_unsafe_verifier" else "makes its own questions"
            takers = [each.name for each in own_kinds() if name in each.fields] or ["tasks of reasoning_gym"]
            raise ValueError(
                f"problem.{name} is {value!r}, but {self.name} {why}; remove it (it is for {', '.join(takers)})"
            )

    def _check_data(self, kind: Kind) -> None:
        if self.path is None:
            raise ValueError(
                f"problem.path is missing; {self.name} needs its data: a .jsonl, .csv, .tsv, .json or .parquet file "
                "or hf:owner/dataset[:config][@split]"
            )
        columns = self.with_own_columns()
        if columns.question_column == columns.answer_column:
            raise ValueError(
                f"problem.question_column and problem.answer_column are both {columns.question_column!r}; "
                "they must name two columns"
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

    def _check_verifier(self, kind: Kind) -> None:
        if kind.verifiers is not None and self.verifier not in (None, *kind.verifiers):
            raise ValueError(
                f"problem.verifier is {self.verifier!r}, but {self.name} is judged by {' or '.join(kind.verifiers)}; "
                "remove it"
            )
        known = self.verifier is None or self.verifier in VERIFIERS
        if not known and not _FUNCTION.fullmatch(str(self.verifier)):
            raise ValueError(
                f"problem.verifier is {self.verifier!r}; allowed are {', '.join(VERIFIERS)} and module:function"
            )
        judge = self.verifier or kind.default_verifier
        if known and self.right_at != 1 and judge not in GRADED:
            raise ValueError(
                f"problem.right_at is {self.right_at!r}, but verifier {judge} gives no scores between wrong and right; "
                f"remove it (it is for verifier: {', '.join(GRADED)} and module:function)"
            )
        for name in TEST_FIELDS:
            if judge != "tests" and (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise ValueError(
                    f"problem.{name} is {value!r}, but no program is run; remove it (it is for verifier: tests)"
                )
        self._check_pattern()

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
