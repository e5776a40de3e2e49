"""What a rival may spend: a number, or as much as the search did."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.flows.config.rivals import UNITS, RivalBudget, Unit
from thickets.flows.plan import RunPlan
from thickets.flows.results.runs import open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.tasks.results.cost import Cost, flops_of
from thickets.tasks.results.text import duration

# Merges, samples and other wordings are controls: whoever wants the ensemble need not pay for them.
_ANSWERS = """
SELECT split, example_id, count(*) AS n, sum(n_tokens)::BIGINT AS n_tokens
FROM scores
WHERE split IN ('selection', 'validation') AND NOT starts_with(candidate_id, 'base~')
GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount in one unit.

    Attributes:
        unit: Its unit.
        amount: How much.
        is_equal: It is what the search spent.
    """

    unit: Unit
    amount: float
    is_equal: bool = False

    def spent(self, cost: Cost) -> float:
        """Return a cost in the budget's unit."""
        return {"tokens": float(cost.n_tokens), "flops": cost.flops, "seconds": cost.engine_s}[self.unit]

    def is_spent(self, cost: Cost) -> bool:
        """Return whether nothing is left."""
        return self.spent(cost) >= self.amount

    @property
    def sentence(self) -> str:
        """The amount in words."""
        said = {
            "tokens": f"{self.amount:,.0f} tokens",
            "flops": f"{self.amount:.3g} floating-point operations",
            "seconds": f"{duration(self.amount)} of engines",
        }[self.unit]
        return f"{said}, as the search" if self.is_equal else said


def budget_of(config: RivalBudget, search: Cost) -> Budget:
    """Return the budget of a configuration.

    Args:
        config: The section.
        search: What the search spent.

    Raises:
        InputError: It is to be equal to something that is not known of the search.
    """
    if config.equal is None:
        [unit] = [unit for unit in UNITS if getattr(config, unit) is not None]
        return Budget(unit, float(getattr(config, unit)))
    found = Budget(config.equal, 0.0, is_equal=True)
    if not (amount := found.spent(search)):
        raise InputError(
            f"rivals.budget.equal is {config.equal}, but the run has not kept how many its search took; give a number "
            f"with rivals.budget.equal=null and rivals.budget.{config.equal}=N"
        )
    return Budget(config.equal, amount, is_equal=True)


def search_cost(run: RunPlan, found: RunSummary) -> Cost:
    """Count what a finished run spent until its ensemble was chosen: selection, validation, and a learned limit.

    Seconds are those of its last session.
    """
    lengths = prompt_lengths(run, ("selection", "validation"))
    with open_scores(run.home, run.home.run(run.run_id)) as scores:
        rows = scores.query(_ANSWERS).rows(named=True)
    n_generated = sum(row["n_tokens"] for row in rows) + found.n_tokens.get("limit", 0)
    n_read = sum(row["n"] * lengths[row["split"], row["example_id"]] for row in rows)
    return Cost(
        n_generated=n_generated,
        n_read=n_read,
        n_forward=sum(row["n"] for row in rows),
        flops=flops_of(run.base.n_parameters, n_read_or_generated=n_generated + n_read),
        engine_s=found.engine.load_s + found.engine.generate_s,
    )


def prompt_lengths(plan: RunPlan, splits: tuple[str, ...]) -> dict[tuple[str, str], int]:
    """Count the tokens of every prompt of some splits, by split and example."""
    blocks = [block for block in plan.blocks if block.split in splits]
    keys = [(block.split, example.id) for block in blocks for example in block.examples]
    lengths = plan.template.lengths([prompt for block in blocks for prompt in block.prompts])
    return dict(zip(keys, lengths, strict=True))
