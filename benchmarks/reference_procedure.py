"""The reference procedure of random weight search, written from its description in docs/design.md#mistakes.

`benchmarks.reference` compares our search with it. Its mistakes are kept, because they are part of it: one generator,
seeded anew for every tensor; noise added in place and subtracted again, so that rounding stays behind; every candidate
answers every question before anything is decided; the process that drives the engine judges answers while the engine
waits.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from thickets.tasks.problems import Problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.units import Block
from thickets.tasks.types import Candidate, Completion, Example, Sampling


class Engine(Protocol):
    """An engine as a script uses it: weights it may write to, and a call that answers a list of prompts."""

    def add_noise(self, seed: int, scale: float) -> None:
        """Add `scale` times the noise of a seed to every weight."""

    def publish(self) -> None:
        """Let the engine answer with the weights as they are now."""

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """Answer the prompts."""


def add_noise(weights: Iterable[torch.Tensor], seed: int, scale: float) -> None:
    """Add noise in place, with one generator that is seeded anew for every tensor."""
    for weight in weights:
        generator = torch.Generator(weight.device).manual_seed(seed & 0xFFFFFFFF)
        noise = torch.randn(weight.shape, dtype=weight.dtype, device=weight.device, generator=generator)
        weight.add_(noise, alpha=scale)


class PaddedEngine:
    """Transformers as a script uses it: all prompts of a batch padded on the left, one call of ``generate``."""

    def __init__(self, model: Any, tokenizer: Any, batch_size: int) -> None:
        self._model, self._tokenizer, self._batch_size = model, tokenizer, batch_size
        tokenizer.padding_side = "left"
        # As a script has them: every parameter, and a tied one once.
        self._weights = [parameter.data for parameter in model.parameters()]

    def add_noise(self, seed: int, scale: float) -> None:
        """See `Engine.add_noise`."""
        add_noise(self._weights, seed, scale)

    def publish(self) -> None:
        """Do nothing: the model reads the weights that were written to."""

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """See `Engine.generate`; prompts in the order they come in, as a script has them."""
        completions: list[Completion] = []
        for start in range(0, len(prompts), self._batch_size):
            batch = list(prompts[start : start + self._batch_size])
            inputs = self._tokenizer(batch, add_special_tokens=False, return_tensors="pt", padding=True)
            output = self._model.generate(
                **inputs.to(self._model.device), max_new_tokens=sampling.max_tokens, do_sample=False
            )
            new = output[:, inputs["input_ids"].shape[1] :]
            texts = self._tokenizer.batch_decode(new, skip_special_tokens=True)
            for row, text in zip(new.tolist(), texts, strict=True):
                completions.append(Completion(text, self._count(row), "stop"))
        return completions

    def _count(self, row: list[int]) -> int:
        """Count the new tokens up to the end of the answer; padding of the batch follows it."""
        end = self._model.generation_config.eos_token_id
        ends = set(end if isinstance(end, list) else [end])
        return next((place + 1 for place, token in enumerate(row) if token in ends), len(row))


class ReloadedEngine:
    """vLLM as a script uses it, where packed weights forbid writing in place: the script's own copy is reloaded."""

    def __init__(self, engine: Any, weights: dict[str, torch.Tensor]) -> None:
        """Take over an open vLLM engine without a prefix cache.

        Args:
            engine: A `thickets.tasks.engines.vllm.VllmEngine`.
            weights: The checkpoint's tensors under their stored names; written to.
        """
        self._engine, self._weights = engine, weights

    def add_noise(self, seed: int, scale: float) -> None:
        """See `Engine.add_noise`."""
        add_noise(self._weights.values(), seed, scale)

    def publish(self) -> None:
        """Send all weights through vLLM's reload path, and derive a tied output layer's weights anew."""
        from thickets.tasks.engines.vllm_workarounds import tied_heads

        def reload(worker: Any) -> None:
            worker.model_runner.reload_weights(weights_iterator=iter(self._weights.items()))
            for head in tied_heads(worker.model_runner.get_model()):
                head.quant_method.process_weights_after_loading(head)

        self._engine._llm.collective_rpc(reload)

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        """See `Engine.generate`."""
        completions: list[Completion] = self._engine.generate(prompts, sampling)
        return completions


@dataclass(slots=True)
class Spent:
    """Seconds spent on noise, generation and judging, and the tokens generated."""

    noise_s: float = 0.0
    generate_s: float = 0.0
    judge_s: float = 0.0
    n_tokens: int = 0


@dataclass(slots=True)
class Found:
    """Result of the procedure.

    Attributes:
        base: Correct answers of the untouched model on the test questions.
        voted: Whether the vote is right, per test question.
        selection_s: Seconds until every candidate had its score.
        test_s: Seconds for base and experts on the test questions.
        spent: The same time, by activity.
    """

    base: int = 0
    voted: list[bool] = field(default_factory=list)
    selection_s: float = 0.0
    test_s: float = 0.0
    spent: Spent = field(default_factory=Spent)


class Procedure:
    """Perturb, answer all questions, judge, subtract the noise; then let the best K vote on the test questions."""

    def __init__(self, engine: Engine, problem: Problem, sampling: Sampling) -> None:
        self._engine, self._judge, self._sampling = engine, Judge(problem), sampling
        self._found = Found()

    def run(self, candidates: Sequence[Candidate], selection: Sequence[Block], test: Sequence[Block], k: int) -> Found:
        """Search a population and evaluate its best `k`."""
        found = self._found
        started = time.perf_counter()
        scores = []
        for candidate in candidates:
            answers = self._ask(candidate, selection)
            scores.append(sum(map(self._is_right, answers, _examples(selection))))
        order = sorted(range(len(candidates)), key=lambda place: -scores[place])
        found.selection_s = time.perf_counter() - started
        started = time.perf_counter()
        found.base = sum(map(self._is_right, self._ask(None, test), _examples(test)))
        panel = [self._ask(candidates[place], test) for place in order[:k]]
        for example, answers in zip(_examples(test), zip(*panel, strict=True), strict=True):
            votes = Counter(answer for answer in answers if answer is not None)
            winner = votes.most_common(1)[0][0] if votes else None
            found.voted.append(self._is_right(winner, example))
        found.test_s = time.perf_counter() - started
        return found

    def _ask(self, candidate: Candidate | None, blocks: Sequence[Block]) -> list[str | None]:
        """Return one candidate's answers to all blocks; restore the weights afterwards, but for rounding."""
        spent = self._found.spent
        self._timed_noise(candidate, +1)
        started = time.perf_counter()
        prompts = [prompt for block in blocks for prompt in block.prompts]
        completions = self._engine.generate(prompts, self._sampling)
        spent.generate_s += time.perf_counter() - started
        spent.n_tokens += sum(completion.n_tokens for completion in completions)
        started = time.perf_counter()
        answers = [
            self._judge.extract(completion.text, example)
            for completion, example in zip(completions, _examples(blocks), strict=True)
        ]
        spent.judge_s += time.perf_counter() - started
        self._timed_noise(candidate, -1)
        return answers

    def _timed_noise(self, candidate: Candidate | None, sign: int) -> None:
        started = time.perf_counter()
        if candidate is not None:
            self._engine.add_noise(candidate.seed, sign * candidate.sigma)
        if sign > 0:  # in its favour: what was subtracted need not reach an engine that is given other weights next
            self._engine.publish()
        self._found.spent.noise_s += time.perf_counter() - started

    def _is_right(self, answer: str | None, example: Example) -> bool:
        return self._judge.of_answer(answer, example).correct


def _examples(blocks: Iterable[Block]) -> Iterator[Example]:
    return (example for block in blocks for example in block.examples)
