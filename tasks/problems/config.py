"""The config of a problem, checked before anything is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thickets.tasks.problems.kind import PROMPT_FIELDS, REWARD_FIELDS, TEST_FIELDS, Kind, find_kind, own_kinds
from thickets.tasks.verifiers.own_code import trainer_of
from thickets.tasks.verifiers.phrases import normalise
from thickets.tasks.verifiers.regex import PatternError, compile_pattern

VERIFIERS = ("exact", "numeric", "math", "choice", "regex", "tests", "molecule", "similarity")
GRADED = ("tests", "similarity")
"""Verifiers that give scores between wrong and right, as a function of the user's own may."""
RIGHT_AT = {"similarity": 0.5}
"""What ``problem.right_at`` is for a verifier if nothing is said: half of the words are the reference's, in its order.
It is 1 for the others. A text that is all of the reference is too rare to count anything by."""
CHOOSING = ("choice", "label")
"""Verifiers that know the answers to choose from."""
REASONING_GYM_PREFIX = "reasoning_gym:"
_LABEL = re.compile(r"\w[\w .+-]{0,59}")  # goes into titles, table cells and names of models
_LONGEST_LABEL = 200
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

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _with_right_at(cls, value: Any) -> Any:
        """Write the default down that depends on the verifier, so that a kept config says it."""
        if not isinstance(value, dict) or "right_at" in value:
            return value
        kind = find_kind(str(value.get("name")))
        judge = value.get("verifier") or (kind and kind.default_verifier)
        return {**value, "right_at": RIGHT_AT[judge]} if judge in RIGHT_AT else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = self._kind()
        self._check_taken(kind)
        self._check_source(kind)
        if kind.reads_data:
            self._check_data(kind)
        if "verifier" in kind.fields:
            self._check_verifier(kind)
        self._check_scoring(kind)
        self._check_labels()
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

    @property
    def votes_by(self) -> str | None:
        """What votes where the verifier is a reward function of a trainer; None where it is not."""
        if trainer_of(self.verifier) is None:
            return None
        return self.votes or ("choice" if self.choices_column else "regex" if self.pattern else "text")

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
            if "path" in kind.fields:
                why = "reads its questions from problem.path" if name == "options" else "takes none"
            else:
                why = "runs no code of the model" if name == "allow_unsafe_verifier" else "makes its own questions"
            takers = [each.name for each in own_kinds() if name in each.fields] or ["tasks of reasoning_gym"]
            raise ValueError(
                f"problem.{name} is {value!r}, but {self.name} {why}; remove it (it is for {', '.join(takers)})"
            )

    def _check_source(self, kind: Kind) -> None:
        """Refuse data beside options of a problem that either reads or makes its questions."""
        if not kind.makes_questions:
            return
        if self.path is not None and self.options:
            raise ValueError(
                f"problem.options has {', '.join(map(repr, self.options))}, but {self.name} reads its questions from "
                "problem.path; remove one of the two"
            )
        for name in ("test_path", "id_column"):
            if self.path is None and name in kind.fields and (value := getattr(self, name)) is not None:
                raise ValueError(f"problem.{name} is {value!r}, but problem.path is missing; name the data")

    def _check_data(self, kind: Kind) -> None:
        if self.path is None:
            raise ValueError(
                f"problem.path is missing; {self.name} needs its data: a .jsonl, .csv, .tsv, .json or .parquet file "
                "or hf:owner/dataset[:config][@split]"
            )
        columns = self.with_own_columns()
        if columns.question_column == columns.answer_column and not kind.one_column:
            raise ValueError(
                f"problem.question_column and problem.answer_column are both {columns.question_column!r}; "
                "they must name two columns"
            )
        if self.choices_column is not None and "choice" not in (self.verifier or kind.default_verifier, self.votes_by):
            raise ValueError(
                f"problem.choices_column is {self.choices_column!r}, but problem.verifier is {self.verifier!r}; "
                "options go with verifier: choice"
            )
        if self.choices_column is not None and self.answer_aliases_column is not None:
            raise ValueError(
                f"problem.answer_aliases_column is {self.answer_aliases_column!r}, but of the options in "
                "problem.choices_column one is right; remove one of the two"
            )
        if self.examples is not None and self.image_column is not None:
            raise ValueError(
                f"problem.examples is set, and problem.image_column is {self.image_column!r}; worked examples cannot "
                "have images: remove one of the two"
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
        trainer = trainer_of(self.verifier)
        if not known and not _FUNCTION.fullmatch(trainer[1] if trainer else str(self.verifier)):
            raise ValueError(
                f"problem.verifier is {self.verifier!r}; allowed are {', '.join(VERIFIERS)}, module:function, "
                "trl:module:function and verl:module:function"
            )
        judge = self.verifier or kind.default_verifier
        if known and self.right_at != 1 and judge not in GRADED:
            raise ValueError(
                f"problem.right_at is {self.right_at!r}, but verifier {judge} gives no scores between wrong and right; "
                f"remove it (it is for verifier: {', '.join(GRADED)} and module:function)"
            )
        if judge == "similarity" and "metric" not in kind.fields:
            takers = ", ".join(each.name for each in own_kinds() if "metric" in each.fields)
            raise ValueError(
                f"problem.verifier is 'similarity', but {self.name} has no texts for answers; it is for {takers}"
            )
        if judge != "similarity" and self.metric != type(self).model_fields["metric"].default:
            raise ValueError(
                f"problem.metric is {self.metric!r}, but no texts are compared; remove it (it is for verifier: "
                "similarity)"
            )
        for name in TEST_FIELDS:
            if judge != "tests" and (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise ValueError(
                    f"problem.{name} is {value!r}, but no program is run; remove it (it is for verifier: tests)"
                )
        self._check_reward()
        self._check_pattern()

    def _check_reward(self) -> None:
        if self.votes_by is None:
            for name in REWARD_FIELDS:
                if (value := getattr(self, name)) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"problem.{name} is {value!r}, but problem.verifier is {self.verifier!r}, which finds answers "
                        "by itself; remove it (it is for verifier: trl:module:function and verl:module:function)"
                    )
            return
        if (found := self.answer_form.count("{answer}")) != 1:
            raise ValueError(
                f"problem.answer_form contains {{answer}} {found} times: {self.answer_form!r}; write {{answer}} "
                "exactly once, where the answer goes"
            )
        if not self.score_range[0] < self.score_range[1]:
            raise ValueError(
                f"problem.score_range is {list(self.score_range)}; it must be the least and the greatest reward, such "
                "as [-1, 1]"
            )

    def _check_scoring(self, kind: Kind) -> None:
        judge = self.verifier or kind.default_verifier
        if self.scoring == "loglikelihood":
            if judge not in CHOOSING:
                raise ValueError(
                    f"problem.scoring is 'loglikelihood', but verifier {judge} knows no labels to choose from; take "
                    "verifier: choice, or problem classification or choice"
                )
            if self.image_column is not None:
                raise ValueError(
                    "problem.scoring is 'loglikelihood', but the questions are about images "
                    f"(problem.image_column is {self.image_column!r}); write scoring: generate"
                )
            if self.likelihood_of == "text" and self.with_own_columns().choices_column is None:
                raise ValueError(
                    "problem.likelihood_of is 'text', but problem.choices_column is missing; name the column with the "
                    "texts of the options, or take letter"
                )
            return
        for name in ("likelihood_of", "likelihood_per"):
            if (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise ValueError(
                    f"problem.{name} is {value!r}, but problem.scoring is 'generate'; write scoring: loglikelihood, or "
                    "remove it"
                )

    def _check_labels(self) -> None:
        forms: dict[str | None, str] = {}
        for label in self.labels:
            form = normalise(label)
            if form is None or "\n" in label or "{question}" in label or len(label) > _LONGEST_LABEL:
                raise ValueError(
                    f"problem.labels has {label[:80]!r}; a label is one line of up to {_LONGEST_LABEL} characters, "
                    "more than punctuation, and without {question}"
                )
            if form in forms:
                raise ValueError(
                    f"problem.labels has {forms[form]!r} and {label!r}, which differ in case, spaces or punctuation "
                    "alone; rename one"
                )
            forms[form] = label
        if len(self.labels) == 1:
            raise ValueError(f"problem.labels has only {self.labels[0]!r}; name two at least, or leave it empty")

    def _check_pattern(self) -> None:
        if "regex" not in (self.verifier, self.votes_by):
            if self.pattern is not None:
                raise ValueError(
                    f"problem.pattern is {self.pattern!r}, but problem.verifier is {self.verifier!r}; "
                    "a pattern goes with verifier: regex (or votes: regex) and with nothing else"
                )
            return
        if self.pattern is None:
            raise ValueError(
                rf"problem.{'verifier' if self.verifier == 'regex' else 'votes'} is 'regex', but problem.pattern is "
                r"missing; give one, for example 'Answer: (\d+)'"
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
