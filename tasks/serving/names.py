"""The names under which models are served, and who answers for each.

Of a run: ``RUN`` is its ensemble, ``RUN:k=5`` its five best, ``RUN:rank=1`` its best expert, ``RUN:merge`` its merge,
``RUN:base`` its base, which its own name stands for as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from thickets.storage.errors import InputError
from thickets.tasks.serving.questions import Voter
from thickets.tasks.types import Merge

_NUMBERED = re.compile(r"(k|rank)=([1-9][0-9]{0,5})")


class UnknownModelError(InputError):
    """A name stands for no served model."""


@dataclass(frozen=True, slots=True)
class Served:
    """A served model.

    Attributes:
        name: As it is listed.
        voters: Who answers, by rank.
    """

    name: str
    voters: tuple[Voter, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models of one engine.

    Attributes:
        root: The name of the whole: an ensemble, or a model that answers alone.
        voters: Who answers for it, by rank.
        has_experts: Whether the voters are experts of an ensemble, be it of one, that can be named each.
        merge: The run's merge; None: it has none.
        base: The base's name; None: only `root` is served, without parts.
        aliases: Other names of `root`.
    """

    root: str
    voters: tuple[Voter, ...]
    has_experts: bool = False
    merge: Merge | None = None
    base: str | None = None
    aliases: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Return the name of every served model, the whole first; aliases are not listed."""
        found = [self.root]
        if self.has_experts:
            numbers = range(1, len(self.voters) + 1)
            found += [f"{self.root}:k={n}" for n in numbers] + [f"{self.root}:rank={n}" for n in numbers]
        if self.merge is not None:
            found.append(f"{self.root}:merge")
        if self.base is not None:
            found += [f"{self.root}:base", self.base]
        return list(dict.fromkeys(found))

    def find(self, name: str) -> Served:
        """Return the model that a name stands for.

        Raises:
            UnknownModelError: There is none.
        """
        roots: Sequence[str] = (self.root, *self.aliases)
        if name in roots:
            return Served(self.root, self.voters)
        if self.base is not None and name == self.base:
            return Served(name, (Voter(None),))
        for root in roots:
            if name.startswith(f"{root}:") and (voters := self._part(name.removeprefix(f"{root}:"))) is not None:
                return Served(f"{self.root}:{name.removeprefix(f'{root}:')}", voters)
        raise UnknownModelError(f"model: found {name!r}; {self._allowed()}")

    def _part(self, part: str) -> tuple[Voter, ...] | None:
        if part == "merge" and self.merge is not None:
            return (Voter(self.merge),)
        if part == "base" and self.base is not None:
            return (Voter(None),)
        match = _NUMBERED.fullmatch(part)
        if match is None or not self.has_experts or (number := int(match[2])) > len(self.voters):
            return None
        return self.voters[:number] if match[1] == "k" else (Voter(self.voters[number - 1].weights),)

    def _allowed(self) -> str:
        parts = [self.root]
        if self.has_experts:
            parts += [f"{self.root}:{what}=1 to {len(self.voters)}" for what in ("k", "rank")]
        parts += [name for name in self.names() if name not in parts and "=" not in name.removeprefix(self.root)]
        return f"allowed are {', '.join(parts)}"
