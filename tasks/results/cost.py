"""What a model took to be found and what it takes to answer; docs/cost.md."""

from __future__ import annotations

from collections.abc import Mapping

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


class RowCost(BaseModel):
    """What a row of a result took to be found, and what it takes to use.

    Attributes:
        name: ``base``, a control's name, ``best_single`` or ``ensemble``; of a distillation ``student`` and so on.
        get: Everything that was needed to find or train it, once.
        use: Its answers to the test split.
        n: Questions of the test split.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    get: Cost
    use: Cost
    n: int

    @property
    def use_tokens(self) -> float:
        """Tokens, generated and read, for one question."""
        return self.use.n_tokens / self.n

    @property
    def use_flops(self) -> float:
        """Floating-point operations for one question."""
        return self.use.flops / self.n


class RunCost(BaseModel):
    """The cost of a run and of every row of its result.

    Attributes:
        n_parameters: Of the model.
        n_active: Of these, how many a token passes through: fewer in a mixture of experts.
        search: What the ensemble took to be found: selection and validation, and learning the limit of answers.
        rows: In the order of the table of results.
    """

    model_config = ConfigDict(frozen=True)

    n_parameters: int
    n_active: int
    search: Cost
    rows: tuple[RowCost, ...]

    def of(self, name: str) -> RowCost | None:
        """Return the cost of a row; None where it is not known."""
        return next((row for row in self.rows if row.name == name), None)

    @property
    def seconds(self) -> dict[str, float]:
        """Every `engine_s`, under a name of its own."""
        of_rows = {f"{row.name}.{what}": getattr(row, what).engine_s for row in self.rows for what in ("get", "use")}
        return {"search": self.search.engine_s, **of_rows}

    def timed(self, seconds: Mapping[str, float]) -> RunCost:
        """Return the same with other seconds: those of `seconds`, and 0 for what is not in it."""

        def having(cost: Cost, name: str) -> Cost:
            return cost.model_copy(update={"engine_s": seconds.get(name, 0.0)})

        rows = tuple(
            row.model_copy(
                update={what: having(getattr(row, what), f"{row.name}.{what}") for what in ("get", "use")},
            )
            for row in self.rows
        )
        return self.model_copy(update={"search": having(self.search, "search"), "rows": rows})
