"""What a model took to be found and what it takes to answer; docs/cost.md."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

FLOPS_PER_TOKEN_FORWARD = 2
FLOPS_PER_TOKEN_BACKWARD = 4


class Cost(BaseModel):
    """Work done by a model, counted.

    Attributes:
        n_generated: New tokens.
        n_read: Tokens of prompts, once per completion, and of texts that are scored but not learned.
        n_trained: Tokens, prompt included, that went forward and backward for a gradient.
        n_forward: Passes of one sequence forward: completions, and sequences trained on or scored.
        n_backward: Passes of one sequence backward.
        flops: Floating-point operations; see `flops_of`. A float: whole numbers of this size do not fit into SQL.
        engine_s: Seconds in which an engine or a trainer worked, without the start of either.
    """

    model_config = ConfigDict(frozen=True)

    n_generated: int = 0
    n_read: int = 0
    n_trained: int = 0
    n_forward: int = 0
    n_backward: int = 0
    flops: float = 0.0
    engine_s: float = 0.0

    @property
    def n_tokens(self) -> int:
        """All tokens that went through the model."""
        return self.n_generated + self.n_read + self.n_trained

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


def flops_of(n_parameters: int, *, n_read_or_generated: int = 0, n_trained: int = 0) -> float:
    """Estimate floating-point operations: 2 per parameter and token forward, and 4 more backward.

    Every parameter counts once, tied embeddings as well; the part of attention that grows with the square of the
    length, and work that a prefix cache saves, are left out (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).

    Args:
        n_parameters: Of the model.
        n_read_or_generated: Tokens that went forward only.
        n_trained: Tokens that went forward and backward.
    """
    forward = FLOPS_PER_TOKEN_FORWARD * (n_read_or_generated + n_trained)
    return float(n_parameters) * (forward + FLOPS_PER_TOKEN_BACKWARD * n_trained)
