"""What a rival may spend: a number, or as much as the search did."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.flows.config.rivals import UNITS, RivalBudget, Unit
from thickets.storage.errors import InputError
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.text import amount, duration


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
            "tokens": f"{amount(self.amount)} tokens",
            "flops": f"{amount(self.amount)}FLOP",
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
    if not (spent := found.spent(search)):
        raise InputError(
            f"rivals.budget.equal is {config.equal}, but the run has not kept how many its search took; give a number "
            f"with rivals.budget.equal=null and rivals.budget.{config.equal}=N"
        )
    return Budget(config.equal, spent, is_equal=True)
