"""Says what racing saves in seconds on the engine at hand: it asks fewer questions, and loads candidates more often.

Where a block takes as long as its longest answer, whatever its size (a GPU with room for all of it), four rounds take
longer than one block of all questions, even if half of the candidates are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from thickets.tasks.results.text import duration


@dataclass(frozen=True, slots=True)
class UnitTime:
    """What one candidate takes on one block, from a block of each of two sizes.

    Attributes:
        load_s: To become the candidate.
        measured: Questions and the seconds that their answers took; at least one pair, the smaller block first.
        batch_size: Most questions answered together; larger blocks take their turns.
    """

    load_s: float
    measured: tuple[tuple[int, float], ...]
    batch_size: int

    def __call__(self, n_questions: int) -> float:
        """Return the seconds of a block of this size, on the straight line through what was measured."""
        full, rest = divmod(n_questions, self.batch_size)
        turns = [self.batch_size] * full + [rest] * (rest > 0)
        return self.load_s + sum(map(self._together, turns))

    def _together(self, n: int) -> float:
        (n_few, few_s), (n_many, many_s) = self.measured[0], self.measured[-1]
        if n_few == n_many:
            return few_s * n / n_few
        # More questions take no less time, and none take none: what was measured goes up and down a little.
        per_question = min(max(0.0, (many_s - few_s) / (n_many - n_few)), many_s / n_many)
        return max(0.0, many_s + (n - n_many) * per_question)


class RacingTime(BaseModel):
    """Seconds of the selection split on all engines, with racing and without."""

    model_config = ConfigDict(frozen=True)

    raced_s: float = Field(description="If as many candidates are dropped as a forecast expects: a guess.")
    raced_at_best_s: float = Field(description="If only the best K are left after the first block.")
    plain_s: float = Field(description="Without racing, in blocks of the device's own size.")
    plain_block: int = Field(description="That size: the most questions of a block.")

    @property
    def saved_s(self) -> float:
        """Seconds that racing saves, by the guess; negative where it costs more."""
        return self.plain_s - self.raced_s

    @property
    def advice(self) -> str | None:
        """One line against racing where it costs more; None where it saves."""
        if self.saved_s >= 0:
            return None
        at_best = "" if self.raced_at_best_s < self.plain_s else ", and more even if every hopeless one is dropped"
        return (
            f"scoring.racing: its rounds take about {duration(self.raced_s)}, and all questions in blocks of up to "
            f"{self.plain_block} about {duration(self.plain_s)} here{at_best}; leave out scoring.racing and "
            "scoring.examples_per_block"
        )

    def __str__(self) -> str:
        if self.saved_s < 0:
            return f"costs about {duration(-self.saved_s)} more than the {duration(self.plain_s)} without it"
        at_most = duration(self.plain_s - self.raced_at_best_s)
        return f"saves about {duration(self.saved_s)} of {duration(self.plain_s)}, at most {at_most}"


def racing_time(
    unit: UnitTime,
    sizes: Sequence[int],
    alive: Sequence[float],
    n_left: int,
    plain_block: int,
    n_engines: int,
) -> RacingTime:
    """Compute the seconds of a race and of the same questions without one.

    Args:
        unit: The engine's.
        sizes: Questions of every block of the race.
        alive: Candidates that are expected to answer each of them, the base not counted.
        n_left: Fewest that can be left after the first block.
        plain_block: Most questions of a block without racing.
        n_engines: Engines that share the units.
    """
    full, rest = divmod(sum(sizes), plain_block)
    plain = [plain_block] * full + [rest] * (rest > 0)
    times = [unit(size) for size in sizes]
    raced_s = sum((each + 1) * took_s for each, took_s in zip(alive, times, strict=True))
    at_best_s = (alive[0] + 1) * times[0] + (n_left + 1) * sum(times[1:])
    plain_s = (alive[0] + 1) * sum(map(unit, plain))
    return RacingTime(
        raced_s=raced_s / n_engines,
        raced_at_best_s=at_best_s / n_engines,
        plain_s=plain_s / n_engines,
        plain_block=max(plain),
    )
