"""A desk takes requests for the models of one engine: it renders their prompts, and its dispatcher asks them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from thickets.flows.serve.errors import RequestError
from thickets.flows.serve.requests import ChatRequest, TextRequest
from thickets.storage.errors import InputError
from thickets.tasks.engines.base import Engine
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.problems.base import HasImages, chooses
from thickets.tasks.problems.consensus import consensus_of
from thickets.tasks.problems.labelled import labels_of
from thickets.tasks.serving.dispatcher import Dispatcher
from thickets.tasks.serving.engine_child import GENERATE_WITHIN_S, EngineChild
from thickets.tasks.serving.names import Catalogue, Served
from thickets.tasks.serving.opening import Parts
from thickets.tasks.serving.questions import Question
from thickets.tasks.types import Example, Message, Prompt, Sampling, question_id, text_of


class Desk:
    """Makes questions of requests. Threads may share it."""

    def __init__(
        self,
        catalogue: Catalogue,
        parts: Parts,
        *,
        most_waiting: int = 256,
        timeout_s: float = 0.0,
        open_engine: Callable[[], Engine] | None = None,
    ) -> None:
        """Start the engine.

        Args:
            catalogue: The models.
            parts: How they are asked.
            most_waiting: Most questions that wait for their turn.
            timeout_s: How long a client may wait for an answer: the engine has at least as long for a call.
            open_engine: Builds the engine; None: that of `parts`, in a process of its own.

        Raises:
            InputError: The questions of the models' run are about images.
        """
        problem = parts.judge.problem
        if isinstance(problem, HasImages) and problem.asks_about_images:
            raise InputError("MODEL: its run asks about images, and none can be sent here; see `thickets evaluate`")
        self.catalogue, self._parts = catalogue, parts
        self._problem, self._consensus = problem, consensus_of(problem)
        folder, trusted = parts.spec.model_path, parts.spec.trust_remote_code
        self._room = kind_of(folder).context_length(folder, trust_remote_code=trusted)
        self._lock = threading.Lock()  # tokenizers are no friends of threads
        within_s = max(timeout_s, GENERATE_WITHIN_S)
        start = open_engine or (lambda: EngineChild(parts.spec, generate_within_s=within_s))
        self.dispatcher = Dispatcher(start, parts.judge, most_waiting=most_waiting)

    def chat(self, served: Served, request: ChatRequest, *, wraps: bool) -> tuple[list[Question], int]:
        """Make a question of a chat.

        The turns are rendered as they are by the model's chat template. With `wraps` the last user turn alone is the
        question, in the run's own prompt template, as in `thickets ask`: turns before it are left out.

        Returns:
            The question, and the number of tokens of its prompt.

        Raises:
            InputError: It cannot be asked.
        """
        turns = [turn.message for turn in request.messages]
        asked = next((turn["content"].strip() for turn in reversed(turns) if turn["role"] == "user"), "")
        if not asked:
            raise RequestError("messages: found no user turn with text; the last one is the question", param="messages")
        example = Example(question_id(asked), asked, "")
        if request.thickets.wrap if request.thickets.wrap is not None else wraps:
            turns = self._problem.messages(example)
        sampling = self._sampling(served, request)
        with self._lock:
            prompt = self._parts.template.render(turns)
            labels = labels_of(self._problem, _Gap(self._parts.template.gap(turns)), [example])
        return self._questions(served, request, [(prompt, example)], replace(sampling, labels=labels))

    def text(self, served: Served, request: TextRequest) -> tuple[list[Question], int]:
        """Make questions of prompts, which are read as they are; otherwise as `chat`."""
        if chooses(self._problem):
            raise RequestError(
                "model: its run chooses answers by their likelihood, after a whole chat turn; use /v1/chat/completions",
                param="model",
            )
        for place, text in enumerate(request.prompt):
            if not text.strip():
                raise RequestError(f"prompt.{place}: is empty; every prompt must have text", param="prompt")
        asked: list[tuple[Prompt, Example]] = [
            (text, Example(question_id(text), text.strip(), "")) for text in request.prompt
        ]
        return self._questions(served, request, asked, self._sampling(served, request))

    def _questions(
        self,
        served: Served,
        request: ChatRequest | TextRequest,
        asked: Sequence[tuple[Prompt, Example]],
        sampling: Sampling,
    ) -> tuple[list[Question], int]:
        with self._lock:
            lengths = self._parts.template.lengths([prompt for prompt, _ in asked])
        for (prompt, _), length in zip(asked, lengths, strict=True):
            if self._room is not None and length + sampling.max_tokens > self._room:
                raise RequestError(
                    f"the prompt that begins with {text_of(prompt)[:40]!r} has {length} tokens and "
                    f"{sampling.max_tokens} more are asked for; this model holds at most {self._room}",
                    code="context_length_exceeded",
                )
        questions = [
            Question(
                prompt,
                example,
                served.voters,
                sampling,
                self._consensus,
                is_alone=sampling.temperature > 0 and request.seed is not None,
                is_random=sampling.temperature > 0 and request.seed is None,
                is_of_all=request.thickets.every,
            )
            for prompt, example in asked
        ]
        return questions, sum(lengths)

    def _sampling(self, served: Served, request: ChatRequest | TextRequest) -> Sampling:
        """Return the run's decoding, with what the request changes; the run's own stop strings hold besides others."""
        temperature = request.temperature or 0.0
        if temperature and (len(served.voters) > 1 or chooses(self._problem)):
            what = "an ensemble's experts answer greedily" if len(served.voters) > 1 else "answers are not drawn"
            raise RequestError(
                f"temperature: found {request.temperature:g}; {what}, as in the run: leave it out, or 0",
                param="temperature",
                code="unsupported",
            )
        own = self._parts.sampling
        return replace(
            own,
            max_tokens=request.most_tokens or own.max_tokens,
            stop=tuple(dict.fromkeys((*own.stop, *(request.stop or ())))),
            temperature=temperature,
            seed=(request.seed or 0) % 2**64 if temperature else 0,
        )


class _Gap:
    """What `labels_of` asks a template, for prompts that are not the problem's own."""

    def __init__(self, gap: str) -> None:
        self._gap = gap

    def gap(self, messages: Sequence[Message]) -> str:
        """Return the white space between the prompt and a reply."""
        return self._gap
