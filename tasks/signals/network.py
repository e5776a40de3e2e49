"""The signals network: scores the levels of a signal's next value from a window of its last values.

Gan & Isola 2026 let a perceptron regress the next value and average the experts. Ours chooses among levels, as a
language model chooses a token: so the base can be sampled at a temperature, experts can agree, and can vote.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from thickets.storage.errors import InputError
from thickets.storage.models.weights import weight_files
from thickets.tasks.signals.recipe import Architecture, read_config


class SignalsNetwork(nn.Module):
    """A multilayer perceptron of an `Architecture`, with biases."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden = [architecture.width] * (architecture.depth - 1)
        sizes = [architecture.context, *hidden, architecture.levels]
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Score the next value.

        Args:
            windows: The last values of each signal, ``[n, context]``.

        Returns:
            Logits ``[n, levels]``.
        """
        for layer in self.layers[:-1]:
            windows = torch.relu(layer(windows))
        logits: torch.Tensor = self.layers[-1](windows)
        return logits


def load_network(folder: Path) -> SignalsNetwork:
    """Read a signals model, in float32 and without gradients.

    Raises:
        InputError: Config and weights do not fit each other.
    """
    network = SignalsNetwork(read_config(folder).architecture)
    tensors = {name: tensor for path in weight_files(folder) for name, tensor in load_file(path).items()}
    for name, parameter in network.named_parameters():
        found = tensors.get(name)
        if found is None or found.shape != parameter.shape or found.dtype != parameter.dtype:
            there = "nothing by that name" if found is None else f"{found.dtype} {list(found.shape)}"
            raise InputError(
                f"model: parameter {name} is torch.float32 {list(parameter.shape)} by config.json, but the weights in "
                f"{folder} have {there}"
            )
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)
