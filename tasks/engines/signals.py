"""The signals engine: runs many candidates of a small network at a time; each answers as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.func import functional_call, vmap

from thickets.storage.errors import InputError
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.sampling import TokenChooser
from thickets.tasks.signals.network import SignalsNetwork, load_network
from thickets.tasks.signals.recipe import read_config
from thickets.tasks.signals.values import N_LEVELS, read, to_values, write
from thickets.tasks.types import Completion, Prompt, Sampling, Weights, text_of

# Networks per forward pass. Always as many, however few candidates are held: a batched product of another size may be
# computed by another kernel and round otherwise, and an answer must not depend on the other candidates.
SLOTS = 32

# By parameter name, the weights of SLOTS networks: [SLOTS, *shape].
Stack = dict[str, torch.Tensor]


class SignalsEngine:
    """Holds any number of candidates of one network, in stacks of `SLOTS`; slots that are left over hold the base.

    Runs on the CPU, in float32. `EngineSpec.batch_size` has no effect: the examples of a block are answered together.
    """

    def __init__(self, spec: EngineSpec) -> None:
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        if spec.dtype not in ("auto", "float32"):
            raise InputError(f"engine.dtype: found {spec.dtype!r}; a signals model runs in float32")
        self._network = load_network(spec.model_path)
        self._context = read_config(spec.model_path).architecture.context
        self._family = spec.perturbation.family
        self._base = {name: parameter.detach() for name, parameter in self._network.named_parameters()}
        noise = spec.perturbation
        self._perturbed = {name: noise.factor(name) for name in self._base if noise.selects(name)}
        if not self._perturbed:
            raise InputError("noise.include/exclude: the patterns leave no parameter of this model to perturb")
        self._forward: Callable[[Stack, torch.Tensor], torch.Tensor] = vmap(_forward_of(self._network))
        self._stacks: list[Stack] = []
        self.load(None)

    def load(self, weights: Weights | None) -> None:
        """See `thickets.tasks.engines.base.Engine.load`."""
        self.load_many([weights])

    def prepare(self, weights: Weights) -> None:
        """Nothing: a shard's candidates are made together, in a few milliseconds each."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """See `thickets.tasks.engines.base.Engine.generate`."""
        return self.generate_many(prompts, [sampling])[0]

    def load_many(self, weights: Sequence[Weights | None]) -> None:
        """See `thickets.tasks.engines.base.BatchEngine.load_many`."""
        self._stacks = [self._stack(weights[start : start + SLOTS]) for start in range(0, len(weights), SLOTS)]

    def generate_many(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> list[list[Completion]]:
        """See `thickets.tasks.engines.base.BatchEngine.generate_many`."""
        if stops := {stop for sampling in samplings for stop in sampling.stop}:
            raise InputError(
                f"decoding.stop: found {sorted(stops)}; a signals model writes values until decoding.max_tokens and "
                "knows no stop; leave it empty"
            )
        if any(sampling.labels for sampling in samplings):
            raise InputError("problem.scoring: found loglikelihood; a signals model writes values and knows no labels")
        windows = self._read(prompts)
        answers: list[list[Completion]] = []
        for place, stack in enumerate(self._stacks):
            of_stack = samplings[place * SLOTS : (place + 1) * SLOTS]
            levels = self._continue(stack, windows, of_stack)
            for slot, sampling in enumerate(of_stack):
                rows = levels[slot, :, : sampling.max_tokens]
                answers.append([Completion(write(row), len(row), "length") for row in rows.numpy()])
        return answers

    def close(self) -> None:
        """Drop the stacks."""
        self._stacks = []

    def _stack(self, held: Sequence[Weights | None]) -> Stack:
        stack = {name: base.expand(SLOTS, *base.shape).clone() for name, base in self._base.items()}
        for slot, weights in enumerate(held):
            if weights is None:
                continue
            for name, factor in self._perturbed.items():
                live, base = stack[name][slot].view(-1), self._base[name].view(-1)
                write_weights(live, base, name=name, weights=weights, family=self._family, factor=factor)
        return stack

    def _read(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Parse the prompts to levels ``[n, context]``."""
        rows = []
        for prompt in map(text_of, prompts):
            levels = read(prompt)
            if levels is None or len(levels) != self._context:
                raise InputError(
                    f"problem: a signals model reads prompts of {self._context} values such as 0.35 -1.10 and nothing "
                    f"else; found {prompt[:60]!r}; use problem signals, without system and instruction"
                )
            rows.append(torch.from_numpy(levels))
        return torch.stack(rows) if rows else torch.empty(0, self._context, dtype=torch.int64)

    @torch.inference_mode()
    def _continue(self, stack: Stack, levels: torch.Tensor, samplings: Sequence[Sampling]) -> torch.Tensor:
        """Let every network of a stack continue every signal, value by value.

        Args:
            stack: The networks.
            levels: How the signals begin, ``[n, context]``.
            samplings: How each network chooses; one per slot in use.

        Returns:
            New levels ``[SLOTS, n, steps]``.
        """
        rows = range(len(levels))
        choosers = [TokenChooser(sampling, rows) for sampling in samplings]
        values = torch.from_numpy(to_values(range(N_LEVELS))).float()
        windows = values[levels].expand(SLOTS, -1, -1).contiguous()
        chosen = []
        for step in range(max(sampling.max_tokens for sampling in samplings)):
            logits = self._forward(stack, windows)
            following = logits.argmax(dim=-1)
            for slot, sampling in enumerate(samplings):
                if sampling.temperature > 0:
                    following[slot] = choosers[slot].choose(logits[slot], rows, step)
            chosen.append(following)
            windows = torch.cat([windows[:, :, 1:], values[following][:, :, None]], dim=2)
        return torch.stack(chosen, dim=2)


def _forward_of(network: SignalsNetwork) -> Callable[[Stack, torch.Tensor], Any]:
    """Return the network as a function of its weights."""

    def forward(weights: Stack, windows: torch.Tensor) -> Any:
        return functional_call(network, weights, (windows,))

    return forward
