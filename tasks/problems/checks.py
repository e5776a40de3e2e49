"""Refuses problem sections that cannot work, each with the field, what was found and what is allowed."""

from __future__ import annotations

import re

from thickets.tasks.problems.fields import GRADED, VERIFIERS, ProblemFields
from thickets.tasks.problems.kind import PROMPT_FIELDS, REWARD_FIELDS, TEST_FIELDS, Kind, own_kinds
from thickets.tasks.verifiers.own_code import trainer_of
from thickets.tasks.verifiers.phrases import normalise
from thickets.tasks.verifiers.regex import PatternError, compile_pattern

CHOOSING = ("choice", "label")
"""Verifiers that know the answers to choose from."""
_LABEL = re.compile(r"\w[\w .+-]{0,59}")  # goes into titles, table cells and names of models
_LONGEST_LABEL = 200
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def check(config: ProblemFields) -> None:
    """Check the fields of a section against each other and against the problem.

    Raises:
        ValueError: The first that does not fit.
    """
    kind = config.kind()
    _check_taken(config, kind)
    _check_source(config, kind)
    if kind.reads_data:
        _check_data(config, kind)
    if "verifier" in kind.fields:
        _check_verifier(config, kind)
    _check_scoring(config, kind)
    _check_labels(config)
    if config.label is not None and not _LABEL.fullmatch(config.label):
        raise ValueError(
            f"problem.label is {config.label!r}; it must be 1 to 60 letters, digits, spaces, '.', '_', '+' and "
            "'-', and begin with a letter or digit"
        )
    if config.instruction is not None and (found := config.instruction.count("{question}")) != 1:
        raise ValueError(
            f"problem.instruction contains {{question}} {found} times: {config.instruction!r}; "
            "write {question} exactly once, where the question goes"
        )


def _check_taken(config: ProblemFields, kind: Kind) -> None:
    """Refuse values of fields that the problem does not take; a form sends every field, with its default."""
    for name, field in type(config).model_fields.items():
        is_taken = name == "name" or name in PROMPT_FIELDS or name in kind.fields
        value = getattr(config, name)
        if is_taken or value == field.get_default(call_default_factory=True):
            continue
        if "path" in kind.fields:
            why = "reads its questions from problem.path" if name == "options" else "takes none"
        else:
            why = "runs no code of the model" if name == "allow_unsafe_verifier" else "makes its own questions"
        takers = [each.name for each in own_kinds() if name in each.fields] or ["tasks of reasoning_gym"]
        raise ValueError(
            f"problem.{name} is {value!r}, but {config.name} {why}; remove it (it is for {', '.join(takers)})"
        )


def _check_source(config: ProblemFields, kind: Kind) -> None:
    """Refuse data beside options of a problem that either reads or makes its questions."""
    if not kind.makes_questions:
        return
    if config.path is not None and config.options:
        raise ValueError(
            f"problem.options has {', '.join(map(repr, config.options))}, but {config.name} reads its questions from "
            "problem.path; remove one of the two"
        )
    for name in ("test_path", "id_column"):
        if config.path is None and name in kind.fields and (value := getattr(config, name)) is not None:
            raise ValueError(f"problem.{name} is {value!r}, but problem.path is missing; name the data")


def _check_data(config: ProblemFields, kind: Kind) -> None:
    if config.path is None:
        raise ValueError(
            f"problem.path is missing; {config.name} needs its data: a .jsonl, .csv, .tsv, .json or .parquet file "
            "or hf:owner/dataset[:config][@split]"
        )
    columns = config.with_own_columns()
    if columns.question_column == columns.answer_column and not kind.one_column:
        raise ValueError(
            f"problem.question_column and problem.answer_column are both {columns.question_column!r}; "
            "they must name two columns"
        )
    if config.choices_column is not None and "choice" not in (
        config.verifier or kind.default_verifier,
        config.votes_by,
    ):
        raise ValueError(
            f"problem.choices_column is {config.choices_column!r}, but problem.verifier is {config.verifier!r}; "
            "options go with verifier: choice"
        )
    if config.choices_column is not None and config.answer_aliases_column is not None:
        raise ValueError(
            f"problem.answer_aliases_column is {config.answer_aliases_column!r}, but of the options in "
            "problem.choices_column one is right; remove one of the two"
        )
    if config.examples is not None and config.image_column is not None:
        raise ValueError(
            f"problem.examples is set, and problem.image_column is {config.image_column!r}; worked examples cannot "
            "have images: remove one of the two"
        )
    if config.examples is not None and not config.examples:
        raise ValueError("problem.examples is empty; name a file, list questions with their answers, or remove it")
    if config.n_examples is not None and config.examples is None:
        raise ValueError(
            f"problem.n_examples is {config.n_examples}, but problem.examples is missing; name a file of them"
        )


def _check_verifier(config: ProblemFields, kind: Kind) -> None:
    if kind.verifiers is not None and config.verifier not in (None, *kind.verifiers):
        raise ValueError(
            f"problem.verifier is {config.verifier!r}, but {config.name} is judged by {' or '.join(kind.verifiers)}; "
            "remove it"
        )
    known = config.verifier is None or config.verifier in VERIFIERS
    trainer = trainer_of(config.verifier)
    if not known and not _FUNCTION.fullmatch(trainer[1] if trainer else str(config.verifier)):
        raise ValueError(
            f"problem.verifier is {config.verifier!r}; allowed are {', '.join(VERIFIERS)}, module:function, "
            "trl:module:function and verl:module:function"
        )
    judge = config.verifier or kind.default_verifier
    if known and config.right_at != 1 and judge not in GRADED:
        raise ValueError(
            f"problem.right_at is {config.right_at!r}, but verifier {judge} gives no scores between wrong and right; "
            f"remove it (it is for verifier: {', '.join(GRADED)} and module:function)"
        )
    if judge == "similarity" and "metric" not in kind.fields:
        takers = ", ".join(each.name for each in own_kinds() if "metric" in each.fields)
        raise ValueError(
            f"problem.verifier is 'similarity', but {config.name} has no texts for answers; it is for {takers}"
        )
    if judge != "similarity" and config.metric != type(config).model_fields["metric"].default:
        raise ValueError(
            f"problem.metric is {config.metric!r}, but no texts are compared; remove it (it is for verifier: "
            "similarity)"
        )
    for name in TEST_FIELDS:
        if judge != "tests" and (value := getattr(config, name)) != type(config).model_fields[name].default:
            raise ValueError(
                f"problem.{name} is {value!r}, but no program is run; remove it (it is for verifier: tests)"
            )
    _check_reward(config)
    _check_pattern(config)


def _check_reward(config: ProblemFields) -> None:
    if config.votes_by is None:
        for name in REWARD_FIELDS:
            if (value := getattr(config, name)) != type(config).model_fields[name].default:
                raise ValueError(
                    f"problem.{name} is {value!r}, but problem.verifier is {config.verifier!r}, which finds answers "
                    "by itself; remove it (it is for verifier: trl:module:function and verl:module:function)"
                )
        return
    if (found := config.answer_form.count("{answer}")) != 1:
        raise ValueError(
            f"problem.answer_form contains {{answer}} {found} times: {config.answer_form!r}; write {{answer}} "
            "exactly once, where the answer goes"
        )
    if not config.score_range[0] < config.score_range[1]:
        raise ValueError(
            f"problem.score_range is {list(config.score_range)}; it must be the least and the greatest reward, such "
            "as [-1, 1]"
        )


def _check_scoring(config: ProblemFields, kind: Kind) -> None:
    judge = config.verifier or kind.default_verifier
    if config.scoring == "loglikelihood":
        if config.image_column is not None:
            raise ValueError(
                f"problem.scoring is 'loglikelihood', and problem.image_column is {config.image_column!r}; labels "
                "are not compared behind an image: remove problem.scoring"
            )
        if judge not in CHOOSING:
            raise ValueError(
                f"problem.scoring is 'loglikelihood', but verifier {judge} knows no labels to choose from; take "
                "verifier: choice, or problem classification or choice"
            )
        if config.likelihood_of == "text" and config.with_own_columns().choices_column is None:
            raise ValueError(
                "problem.likelihood_of is 'text', but problem.choices_column is missing; name the column with the "
                "texts of the options, or take letter"
            )
        return
    for name in ("likelihood_of", "likelihood_per"):
        if (value := getattr(config, name)) != type(config).model_fields[name].default:
            raise ValueError(
                f"problem.{name} is {value!r}, but problem.scoring is 'generate'; write scoring: loglikelihood, or "
                "remove it"
            )


def _check_labels(config: ProblemFields) -> None:
    forms: dict[str | None, str] = {}
    for label in config.labels:
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
    if len(config.labels) == 1:
        raise ValueError(f"problem.labels has only {config.labels[0]!r}; name two at least, or leave it empty")


def _check_pattern(config: ProblemFields) -> None:
    if "regex" not in (config.verifier, config.votes_by):
        if config.pattern is not None:
            raise ValueError(
                f"problem.pattern is {config.pattern!r}, but problem.verifier is {config.verifier!r}; "
                "a pattern goes with verifier: regex (or votes: regex) and with nothing else"
            )
        return
    if config.pattern is None:
        raise ValueError(
            rf"problem.{'verifier' if config.verifier == 'regex' else 'votes'} is 'regex', but problem.pattern is "
            r"missing; give one, for example 'Answer: (\d+)'"
        )
    try:
        compiled = compile_pattern(config.pattern)
    except PatternError as error:
        raise ValueError(f"problem.pattern is {config.pattern!r}, not a regular expression: {error}") from None
    if compiled.groups > 1:
        raise ValueError(
            f"problem.pattern is {config.pattern!r} with {compiled.groups} groups; only one can be the answer: "
            "write the others as (?:...)"
        )
    if compiled.search("") is not None:
        # The last match of such a pattern is always the empty string at the end of the text.
        raise ValueError(
            f"problem.pattern is {config.pattern!r}, which matches the empty text; "
            "make it need a character (+ instead of *)"
        )
