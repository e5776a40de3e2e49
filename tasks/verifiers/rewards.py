"""Reward functions of trainers as verifiers: ``trl:module:function`` and ``verl:module:function``.

Such a function gives a text a score and names no answer. What votes is what an extraction finds in the reply, and the
function is given that answer, written in a form, in place of the reply: so a score follows from the answer alone, equal
answers have equal scores, and a vote can be judged after it is counted. What a function thinks of the rest of a reply
(its length, its tags) is seen only where the whole reply is the answer (``votes: text``).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.types import FULL, JSON, Example
from thickets.tasks.verifiers.own_code import Trainer, described, import_function, in_thousandths, shown, source_hash
from thickets.tasks.verifiers.verifier import Verifier

_KEPT = 50_000


@dataclass(frozen=True)
class RewardSettings:
    """How a reward function is asked, and what its scores mean.

    Attributes:
        answer_column: What the data calls the gold answer: TRL hands a column over by its name.
        answer_form: A reply with ``{answer}`` in it, as the function is given an answer.
        score_range: The reward that is 0 and the one that is full marks.
        right_at: The score, from 0 to 1, from which on an answer is right.
    """

    answer_column: str = "answer"
    answer_form: str = "{answer}"
    score_range: tuple[float, float] = (0.0, 1.0)
    right_at: float = 1.0


def reward_verifier(trainer: Trainer, path: str, votes: Verifier, settings: RewardSettings) -> Verifier:
    """Make a verifier of a reward function.

    Args:
        trainer: ``trl``: called with lists (prompts, completions, every column of the data, log_extra, log_metric) as
            keywords, it returns one reward for each completion. ``verl``: called with data_source, solution_str,
            ground_truth and extra_info, it returns a reward or a mapping with ``score``.
        path: ``module:function``.
        votes: Finds the answer that votes; its gold answers, judgements and settings are not used.
        settings: The form of an answer, and what a reward means.

    Raises:
        InputError: The function cannot be imported, or is asynchronous. What it does wrong later is one too.
    """
    name = f"{trainer}:{path}"
    function = import_function(name, path)
    if inspect.iscoroutinefunction(function):
        raise InputError(f"problem.verifier is {name!r}, which is asynchronous (async def); name one that is not")
    ask = _ask_trl if trainer == "trl" else _ask_verl
    scores = _Scores(name, lambda replies, golds: ask(function, replies, golds, settings.answer_column), settings)

    def extract_all(texts: Sequence[str], examples: Sequence[Example]) -> list[str | None]:
        if votes.extract_all is not None:
            answers = votes.extract_all(texts, examples)
        else:
            answers = [votes.extract(text, example) for text, example in zip(texts, examples, strict=True)]
        # One call for all of them; each is then judged from memory.
        scores.of([(answer, each) for answer, each in zip(answers, examples, strict=True) if answer is not None])
        return answers

    threshold = round(FULL * settings.right_at)
    return Verifier(
        name=name,
        instruction=votes.instruction,
        max_tokens=votes.max_tokens,
        extract=votes.extract,
        extract_all=extract_all,
        gold=votes.gold,
        gold_rule=f"{name} must find it right where it is written as {settings.answer_form!r} (problem.answer_form), "
        f"and votes: {votes.name} must be able to read it",
        judge=lambda answer, example: scores.of([(answer, example)])[0],
        right_at=threshold,
        uses_columns=True,
        span=votes.span,
        n_options=votes.n_options,
        details={
            "source_sha256": source_hash(path),
            "right_at": threshold,
            "votes": votes.name,
            "votes_details": votes.details,
            "answer_form": settings.answer_form,
            "score_range": list[JSON](settings.score_range),
            "answer_column": settings.answer_column,
        },
    )


def whole_text() -> Verifier:
    """Return the extraction of ``votes: text``: the whole reply, without white space around it."""
    return Verifier(
        name="text",
        instruction="{question}",
        max_tokens=256,
        extract=lambda text, _: text.strip() or None,
        gold=lambda example: example.answer.strip() or None,
        gold_rule="it must not be empty",
        span=lambda text, _: (len(text) - len(text.lstrip()), len(text.rstrip())) if text.strip() else None,
    )


class _Scores:
    """The scores of answers; those that were asked for lately are kept, and nobody asks while another does."""

    def __init__(
        self, name: str, ask: Callable[[Sequence[str], Sequence[Example]], Any], settings: RewardSettings
    ) -> None:
        self._name, self._ask, self._settings = name, ask, settings
        self._known: dict[tuple[str, bytes], int] = {}
        self._lock = threading.Lock()

    def of(self, pairs: Sequence[tuple[str, Example]]) -> list[int]:
        """Return the score of each answer to its example: the best that it has by any accepted gold answer."""
        keys = [(answer, _digest(example)) for answer, example in pairs]
        with self._lock:
            new = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in self._known}
            if len(self._known) + len(new) > _KEPT:
                self._known.clear()
                new = dict(zip(keys, pairs, strict=True))
            self._known |= dict(zip(new, self._asked(list(new.values())), strict=True))
            return [self._known[key] for key in keys]

    def _asked(self, pairs: Sequence[tuple[str, Example]]) -> list[int]:
        wanted = [
            (at, self._settings.answer_form.replace("{answer}", answer), replace(example, answer=gold))
            for at, (answer, example) in enumerate(pairs)
            for gold in example.accepted
        ]
        if not wanted:
            return []
        best = [0] * len(pairs)
        for (at, reply, example), reward in zip(wanted, self._rewards(wanted), strict=True):
            best[at] = max(best[at], self._thousandths(reward, reply, example))
        return best

    def _rewards(self, wanted: Sequence[tuple[int, str, Example]]) -> list[object]:
        replies, examples = [reply for _, reply, _ in wanted], [example for *_, example in wanted]
        try:
            found = self._ask(replies, examples)
        except (Exception, SystemExit) as error:
            what = f"for example {examples[0].id}" if len(wanted) == 1 else f"for {len(wanted)} replies at once"
            raise InputError(
                f"problem.verifier {self._name} raised {described(error)} {what}; the first was {shown(replies[0])}"
            ) from error
        try:
            rewards = [] if isinstance(found, str | bytes | Mapping) else list(found)
        except TypeError:
            rewards = []
        if len(rewards) != len(wanted):
            raise InputError(
                f"problem.verifier {self._name} returned {shown(found)} for {len(wanted)} "
                f"{'reply' if len(wanted) == 1 else 'replies'}; it must return a list with a reward for each"
            )
        return rewards

    def _thousandths(self, reward: object, reply: str, example: Example) -> int:
        low, high = self._settings.score_range
        try:
            value = float(reward)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            value = math.nan
        if isinstance(reward, str | bytes) or math.isnan(value):
            raise InputError(
                f"problem.verifier {self._name} returned {shown(reward)} for example {example.id} and the reply "
                f"{shown(reply)}; a reward must be a number (leave out rows that it does not score)"
            )
        score = in_thousandths((value - low) / (high - low))
        if score is None:
            raise InputError(
                f"problem.verifier {self._name} returned {value:g} for example {example.id} and the reply "
                f"{shown(reply)}, but problem.score_range is [{low:g}, {high:g}]; set it to the least and the "
                "greatest reward that the function gives"
            )
        return score


def _digest(example: Example) -> bytes:
    row = [example.id, example.question, example.answer, example.metadata]
    return hashlib.blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=16).digest()


def _ask_trl(
    function: Callable[..., Any], replies: Sequence[str], examples: Sequence[Example], answer_column: str
) -> Any:
    """Call a function with lists, as TRL's trainers do: chat turns where the data has them, else texts."""
    names = dict.fromkeys(name for example in examples for name in example.metadata)
    # What TRL itself names, and what is ours alone.
    left_out = ("prompt", "prompts", "completion", "completions", "completion_ids", "turns", "aliases")
    columns = {name: [each.metadata.get(name) for each in examples] for name in names if name not in left_out}
    columns[answer_column] = [each.answer for each in examples]
    return function(
        prompts=[_prompt(each) for each in examples],
        completions=[
            [{"role": "assistant", "content": reply}] if "turns" in each.metadata else reply
            for reply, each in zip(replies, examples, strict=True)
        ],
        **{"log_extra": _nothing, "log_metric": _nothing, **columns},
    )


def _prompt(example: Example) -> Any:
    if "turns" not in example.metadata:
        return example.question
    return [*example.turns, {"role": "user", "content": example.question}]


def _nothing(*_: object) -> None:
    """Log nothing: what a reward function tells its trainer beside the rewards has no place in a verdict."""


def _ask_verl(
    function: Callable[..., Any], replies: Sequence[str], examples: Sequence[Example], answer_column: str
) -> list[Any]:
    """Call a function once for each reply, as verl's reward manager does."""
    found = [
        function(
            data_source=example.metadata.get("data_source", ""),
            solution_str=reply,
            ground_truth=_ground_truth(example, answer_column),
            extra_info=example.metadata.get("extra_info", {}),
        )
        for reply, example in zip(replies, examples, strict=True)
    ]
    return [each["score"] if isinstance(each, Mapping) and "score" in each else each for each in found]


def _ground_truth(example: Example, answer_column: str) -> Any:
    """Return what stands in verl's own column, which need not be text, else the gold answer."""
    column = example.metadata.get("reward_model")
    if answer_column.startswith("reward_model.ground_truth") and isinstance(column, Mapping):
        return column.get("ground_truth", example.answer)
    return example.answer
