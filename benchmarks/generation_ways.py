"""Answers one workload of the generation benchmark with one engine in different ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from thickets.storage.models.base import resolve_model
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.adaptive.token_limit import TokenLimit, learn_limit
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.decoding import Prefix, common_prefix, compute_prefix, decode, prefill
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.sampling import TokenChooser
from thickets.tasks.engines.stops import StopChecker
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.units import Block, judged
from thickets.tasks.types import Candidate, Sampling

# The texts of all prompts in their order, and how many new tokens they have in all.
Way = Callable[[Sampling], tuple[list[str], int]]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of all candidates, generated in one way.

    Attributes:
        texts: Texts, candidate by candidate.
        n_correct: Number of correct answers of each candidate.
        n_tokens: New tokens of the answers, the end-of-sequence token included.
        n_positions: Tokens that the model computed, padding included.
        generate_s: Seconds, without those in which weights were made.
    """

    texts: list[str]
    n_correct: tuple[int, ...]
    n_tokens: int
    n_positions: int
    generate_s: float


class Workload:
    """Questions, candidates, and the engine that holds them."""

    def __init__(
        self,
        *,
        problem: str,
        path: str | None,
        count: int,
        batch_size: int,
        max_tokens: int | None,
        candidates: Sequence[tuple[int, float]],
        dtype: str,
    ) -> None:
        """Load the model, render the prompts; `max_tokens` replaces the problem's own, candidates are (seed, sigma)."""
        folder = resolve_model("smollm2-135m-instruct").path
        self._problem = load_problem(ProblemConfig(name=problem, **({"path": path} if path else {})))
        self._examples = tuple(self._problem.examples(count, seed=0)[:count])
        template = PromptTemplate.from_folder(folder)
        self._prompts = [template.render(self._problem.messages(example)) for example in self._examples]
        own = self._problem.sampling
        self.sampling = replace(own, max_tokens=max_tokens or own.max_tokens, stop=own.stop + template.stop)
        self.candidates = [Candidate(seed, sigma) for seed, sigma in candidates]
        spec = EngineSpec("transformers", folder, Perturbation(), dtype=dtype, batch_size=batch_size)  # type: ignore[arg-type]
        self._engine = TransformersEngine(spec)
        self._batch_size = batch_size
        self._tokenizer: Any = self._engine._tokenizer
        self._tokenizer.padding_side = "left"
        self._n_positions = 0
        self._engine.model.register_forward_pre_hook(self._count, with_kwargs=True)
        self._engine.generate(self._prompts[:2], replace(self.sampling, max_tokens=2))  # the first call is slower

    def answer(self, way: Way, sampling: Sampling | None = None) -> Answers:
        """Let every candidate answer every question."""
        texts: list[str] = []
        n_correct, n_tokens, generate_s, before = [], 0, 0.0, self._n_positions
        for candidate in self.candidates:
            self._engine.load(candidate)
            started = time.perf_counter()
            said, n_new = way(sampling or self.sampling)
            generate_s += time.perf_counter() - started
            texts += said
            n_tokens += n_new
            n_correct.append(sum(map(self._is_right, said, range(len(said)))))
        return Answers(texts, tuple(n_correct), n_tokens, self._n_positions - before, generate_s)

    def learn(self) -> TokenLimit:
        """Learn the limit from the base's answers under the workload's own limit."""
        self._engine.load(None)
        said = self._engine.generate(self._prompts, self.sampling)
        block = Block("selection", 0, self._examples, tuple(self._prompts))
        return learn_limit(judged(BASE_ID, block, said, Judge(self._problem)), self.sampling.max_tokens)

    def padded(self, sampling: Sampling) -> tuple[list[str], int]:
        """Generate as a script would: ``generate`` on left-padded batches."""
        texts: list[str] = []
        n_tokens = 0
        checker = self._checker(sampling)
        for start in range(0, len(self._prompts), self._batch_size):
            batch = self._prompts[start : start + self._batch_size]
            inputs = self._tokenizer(batch, add_special_tokens=False, return_tensors="pt", padding=True)
            with torch.inference_mode():
                output = self._engine.model.generate(
                    **inputs,
                    max_new_tokens=sampling.max_tokens,
                    do_sample=False,
                    stop_strings=list(sampling.stop) or None,
                    tokenizer=self._tokenizer,
                )
            for row in output[:, inputs["input_ids"].shape[1] :].tolist():
                ended = (place for place in range(len(row)) if checker.ended(row[: place + 1]))
                tokens = row[: next(ended, len(row) - 1) + 1]
                texts.append(checker.text(tokens)[0])
                n_tokens += len(tokens)
        return texts, n_tokens

    def rows_end(self, sampling: Sampling) -> tuple[list[str], int]:
        """Decode the same batches with our loop: rows that have ended leave the batch."""
        return self._decode(sampling, None)

    def prefix_once(self, sampling: Sampling) -> tuple[list[str], int]:
        """Decode as `rows_end` does, with the prompts' common beginning computed once."""
        rows = self._tokens()
        return self._decode(sampling, compute_prefix(self._engine.model, rows[0][: common_prefix(rows)]))

    def sorted(self, sampling: Sampling) -> tuple[list[str], int]:
        """Generate with the engine as it is: as `prefix_once` does, in batches of rows of similar length."""
        said = self._engine.generate(self._prompts, sampling)
        return [each.text for each in said], sum(each.n_tokens for each in said)

    def _decode(self, sampling: Sampling, prefix: Prefix | None) -> tuple[list[str], int]:
        rows, checker, model = self._tokens(), self._checker(sampling), self._engine.model
        answers: list[list[int]] = []
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            chooser = TokenChooser(sampling, range(start, start + len(batch)))
            read = prefill(model, batch, prefix, sampling.max_tokens, self._engine._pad_id)
            answers += decode(model, read, checker, chooser)
        return [checker.text(tokens)[0] for tokens in answers], sum(map(len, answers))

    def _tokens(self) -> list[list[int]]:
        rows: list[list[int]] = self._tokenizer(self._prompts, add_special_tokens=False)["input_ids"]
        return rows

    def _checker(self, sampling: Sampling) -> StopChecker:
        return StopChecker(self._tokenizer, self._engine._eos_ids, sampling.stop)

    def _is_right(self, text: str, place: int) -> bool:
        example = self._examples[place]
        [verdict] = Judge(self._problem).judge([text], [example])
        return verdict.correct

    def _count(self, module: Any, positional: Any, named: dict[str, Any]) -> None:
        self._n_positions += named["input_ids"].numel()
