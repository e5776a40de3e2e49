"""The self-test of an engine: base, candidate, base again, by checksum of all that it computes with.

An engine that keeps a tensor of the base, or of the candidate before, answers without an error, and wrong. So one is
asked for proof before its first answer counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from thickets.storage.errors import SelfTestError
from thickets.tasks.types import Candidate, Weights

# Large enough to change nearly every weight of any type; the model need not make sense.
_CANDIDATE = Candidate(seed=0x5E1F, sigma=0.1)
# For tensors of few large weights, which the first may round back to what they were. Nothing is generated with it.
_VAST = Candidate(seed=0x7E57, sigma=1000.0)
_MOST_NAMED = 3


@runtime_checkable
class Testable(Protocol):
    """What an engine shows of itself for the test."""

    def load(self, weights: Weights | None) -> None:
        """See `thickets.tasks.engines.base.Engine.load`."""

    def checksums(self) -> dict[str, int]:
        """Return a checksum of every tensor that the engine computes with, made where it is held."""

    def changes(self) -> dict[str, bool]:
        """Tell of the names of `checksums` whether a candidate changes the tensor; absent where that is not known."""

    def expected(self, weights: Weights | None) -> dict[str, int]:
        """Return what `checksums` gives of these weights where they are held as plain copies; as far as known."""

    def kernel_faults(self) -> list[str]:
        """Return a sentence for each type of weights for which this device's noise is not the reference's."""

    def probe(self) -> int:
        """Read a fixed prompt, and return how many of its tokens were taken from what was read before the last load."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a passed test has looked at.

    Attributes:
        n_tensors: Tensors with a checksum.
        n_changed: Those that a candidate must change, and did.
        n_exact: Those that were proved to hold the candidate's very bits.
        wall_s: Seconds it took.
    """

    n_tensors: int
    n_changed: int
    n_exact: int
    wall_s: float


def self_test(engine: Testable) -> SelfTest:
    """Test an engine that has loaded nothing yet; it holds the base afterwards.

    Raises:
        SelfTestError: One line with what is wrong.
    """
    began = time.perf_counter()
    if faults := engine.kernel_faults():
        raise _refusal("; ".join(faults))
    engine.probe()
    fresh, changes, plain = engine.checksums(), engine.changes(), engine.expected(None)
    engine.load(_CANDIDATE)
    _check_cache(engine)
    held, wanted = engine.checksums(), engine.expected(_CANDIDATE)
    engine.load(None)
    _check_cache(engine)
    again = engine.checksums()

    _check(again, "do not come back with the base", lambda name: again[name] == fresh[name])
    left = [name for name, does in changes.items() if not does]
    _check(left, "change with a candidate that leaves them alone", lambda name: held[name] == fresh[name])
    changing = [name for name, does in changes.items() if does]
    stuck = {name for name in changing if held[name] == fresh[name]}
    if stuck:
        engine.load(_VAST)
        vast = engine.checksums()
        engine.load(None)
        stuck = {name for name in stuck if vast[name] == fresh[name]}
    _check(changing, "keep the base's weights when a candidate is loaded", lambda name: name not in stuck)
    # A tensor that is a plain copy of the base's must be one of the candidate's.
    exact = [name for name in wanted if plain.get(name) == fresh[name]]
    _check(exact, "do not hold the candidate's weights", lambda name: held[name] == wanted[name])
    return SelfTest(len(fresh), len(changing), len(exact), time.perf_counter() - began)


def _check(names: Iterable[str], what: str, is_right: Callable[[str], bool]) -> None:
    names = list(names)
    if wrong := [name for name in names if not is_right(name)]:
        named = ", ".join(wrong[:_MOST_NAMED]) + (", ..." if len(wrong) > _MOST_NAMED else "")
        raise _refusal(f"{len(wrong)} of {len(names)} tensors {what} ({named})")


def _check_cache(engine: Testable) -> None:
    if n_tokens := engine.probe():
        raise _refusal(f"{n_tokens} tokens of a prompt are still read with the weights before the last load")


def _refusal(what: str) -> SelfTestError:
    return SelfTestError(
        f"the engine's self-test failed: {what}; its scores would be another model's, so nothing is scored "
        "(`thickets doctor` tells what is installed; engine.kind: transformers is another engine)"
    )
