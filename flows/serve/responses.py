"""Answers in OpenAI's form, whole or as a stream, with the vote in a field `thickets` of our own."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from thickets.tasks.serving.names import Served
from thickets.tasks.serving.questions import Outcome

Form = Literal["chat", "text"]
_NAMES: dict[Form, tuple[str, str, str]] = {
    "chat": ("chatcmpl", "chat.completion", "chat.completion.chunk"),
    "text": ("cmpl", "text_completion", "text_completion"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What was found for a request.

    Attributes:
        form: Of which endpoint.
        served: Who answered.
        outcomes: One per choice.
        n_prompt_tokens: Of all prompts, each counted once, however many experts read it.
    """

    form: Form
    served: Served
    outcomes: Sequence[Outcome]
    n_prompt_tokens: int

    def whole(self) -> dict[str, Any]:
        """Return the answer as one object; `usage` counts the completions that are shown."""
        choices = [
            {"index": place, **self._said(outcome.completion.text), **_end(outcome)}
            for place, outcome in enumerate(self.outcomes)
        ]
        return {**self._head(self._names[1]), "choices": choices, "usage": self.usage, "thickets": self._votes}

    def events(self, *, includes_usage: bool) -> Iterator[str]:
        """Return the same as server-sent events: the text is complete before the first of them."""
        head = self._head(self._names[2])
        nothing = {"usage": None} if includes_usage else {}

        def event(choices: list[dict[str, Any]], **more: Any) -> str:
            return f"data: {json.dumps({**head, 'choices': choices, **nothing, **more})}\n\n"

        for place, outcome in enumerate(self.outcomes):
            text = outcome.completion.text
            delta = {"delta": {"role": "assistant", "content": text}} if self.form == "chat" else {"text": text}
            yield event([{"index": place, **delta, "logprobs": None, "finish_reason": None}])
        last: dict[str, Any] = {"delta": {}} if self.form == "chat" else {"text": ""}
        ends = [{"index": place, **last, **_end(outcome)} for place, outcome in enumerate(self.outcomes)]
        yield event(ends, thickets=self._votes)
        if includes_usage:
            yield event([], usage=self.usage)
        yield "data: [DONE]\n\n"

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of the prompts and of the completions that are shown, each once."""
        n = sum(outcome.completion.n_tokens for outcome in self.outcomes)
        return {
            "prompt_tokens": self.n_prompt_tokens,
            "completion_tokens": n,
            "total_tokens": self.n_prompt_tokens + n,
        }

    @property
    def _names(self) -> tuple[str, str, str]:
        return _NAMES[self.form]

    @property
    def _votes(self) -> Any:
        votes = [vote_of(outcome, self.served) for outcome in self.outcomes]
        return votes[0] if len(votes) == 1 else votes

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"{self._names[0]}-{secrets.token_hex(12)}",
            "object": kind,
            "created": int(time.time()),
            "model": self.served.name,
        }

    def _said(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}} if self.form == "chat" else {"text": text}


def vote_of(outcome: Outcome, served: Served) -> dict[str, Any]:
    """Return the vote on a question.

    Returns:
        answer (null if all abstained), margin, votes (how many of the experts asked gave each answer, the first given
        first), abstained, experts (that may vote), experts_asked, rank (of the expert whose completion is shown),
        tokens (of all experts together), and where texts vote similarity.
    """
    votes = Counter(answer for answer in outcome.ballots if answer is not None)
    return {
        "answer": outcome.answer,
        "margin": outcome.margin,
        "votes": dict(votes),
        "abstained": outcome.ballots.count(None),
        "experts": len(served.voters),
        "experts_asked": len(outcome.ballots),
        "rank": outcome.rank,
        "tokens": outcome.n_tokens,
        **({} if outcome.similarity is None else {"similarity": outcome.similarity}),
    }


def model_list(names: Sequence[str], created: int) -> dict[str, Any]:
    """Return the list of served models."""
    return {"object": "list", "data": [model_row(name, created) for name in names]}


def model_row(name: str, created: int) -> dict[str, Any]:
    """Return one served model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "thickets"}


def _end(outcome: Outcome) -> dict[str, Any]:
    return {"logprobs": None, "finish_reason": outcome.completion.finish_reason}
