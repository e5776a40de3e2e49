"""Trains the signals models of `RECIPES` on first use, in seconds, and keeps them in the model cache."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from torch import nn

from thickets.storage.errors import InputError
from thickets.storage.files import new_folder
from thickets.storage.fingerprint import fingerprint
from thickets.storage.models.weights import WEIGHTS, save_tensors
from thickets.tasks.signals.families import draw
from thickets.tasks.signals.network import SignalsNetwork
from thickets.tasks.signals.recipe import SignalsConfig
from thickets.tasks.signals.values import to_levels, to_values

log = logging.getLogger(__name__)

_DECAY_1, _DECAY_2, _EPSILON = 0.9, 0.999, 1e-8


def made_model(name: str, config: SignalsConfig, cache: Path) -> Path:
    """Return the folder of a signals model, making it on first use.

    Args:
        name: The model's name; the folder's is this and the hash of the recipe.
        config: The recipe.
        cache: The model cache.

    Raises:
        InputError: The cache cannot be written to.
    """
    facts = config.model_dump(mode="json")
    target = cache / "models" / f"{name}-{fingerprint(facts)[:16]}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not target.is_dir():
                log.info("making %s: %d steps of pretraining (once)", name, config.pretraining.steps)
                network = pretrain(config)
                with new_folder(target, "model") as folder:
                    save_tensors(network.state_dict(), folder / WEIGHTS)
                    (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"model: cannot make {name} in {target.parent}: {error.strerror or error}") from None
    return target


def pretrain(config: SignalsConfig) -> SignalsNetwork:
    """Train a network from scratch: the same weights, bit for bit, every time on one kind of processor.

    Every step sees new signals, so there is no epoch and nothing to overfit.
    """
    recipe, context = config.pretraining, config.architecture.context
    network = SignalsNetwork(config.architecture)
    _initialise(network, recipe.seed)
    # Problems draw their signals with another key, so none of those is trained on.
    key = _key(f"thickets signals pretraining 1:{recipe.seed}")
    adam = _Adam(network, recipe.learning_rate)
    with _one_thread():
        for step in range(recipe.steps):
            levels = to_levels(draw(recipe.families, key, step * recipe.batch, recipe.batch, context + 1))
            windows = torch.from_numpy(to_values(levels[:, :context])).float()
            loss = nn.functional.cross_entropy(network(windows), torch.from_numpy(levels[:, context]))
            adam.step(loss)
    return network.eval().requires_grad_(False)


class _Adam:
    """Adam (Kingma & Ba 2015). PyTorch's own imports its compiler first, which takes longer than the training."""

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self._rate = learning_rate
        self._parameters = list(network.parameters())
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._n_steps = 0

    def step(self, loss: torch.Tensor) -> None:
        """Take one step down the gradient of `loss`."""
        gradients = torch.autograd.grad(loss, self._parameters)
        self._n_steps += 1
        unbias_1, unbias_2 = 1 - _DECAY_1**self._n_steps, 1 - _DECAY_2**self._n_steps
        with torch.no_grad():
            for parameter, gradient, mean, square in zip(
                self._parameters, gradients, self._means, self._squares, strict=True
            ):
                mean.mul_(_DECAY_1).add_(gradient, alpha=1 - _DECAY_1)
                square.mul_(_DECAY_2).addcmul_(gradient, gradient, value=1 - _DECAY_2)
                parameter.sub_(self._rate * (mean / unbias_1) / ((square / unbias_2).sqrt() + _EPSILON))


def _initialise(network: SignalsNetwork, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.xavier_uniform_(parameter, generator=generator)


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run PyTorch on one thread: the order of a sum must not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
