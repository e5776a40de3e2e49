"""Selects the parameters of a model that are perturbed, how strongly each, and the family of noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self, cast

from thickets.storage.errors import InputError
from thickets.tasks.noise.spec import NOISE_VERSION, Family, check_family

if TYPE_CHECKING:
    from thickets.storage.models.manifest import NoiseIdentity

# The parts of a vision-language checkpoint that only turn images into embeddings, as Transformers names them.
# Projectors are on the list because Qwen-VL keeps its own inside `visual`: every model is treated alike.
VISION_PATTERNS: tuple[str, ...] = (
    "visual.*",
    "*.visual.*",
    "vision_tower.*",
    "*.vision_tower.*",
    "vision_model.*",
    "*.vision_model.*",
    "vision_encoder.*",
    "*.vision_encoder.*",
    "image_encoder.*",
    "*.image_encoder.*",
    "vision_embed_tokens.*",
    "*.vision_embed_tokens.*",
    "multi_modal_projector.*",
    "*.multi_modal_projector.*",
    "mm_projector.*",
    "*.mm_projector.*",
)
# More of them (Video-LLaVA's), left alone wherever all of the above are. They stand apart because the patterns are in
# every run's fingerprint, and no answer to a text depends on these weights: every run keeps its id.
_FURTHER_PATTERNS: tuple[str, ...] = ("image_tower.*", "*.image_tower.*", "video_tower.*", "*.video_tower.*")


@dataclass(frozen=True, slots=True)
class Perturbation:
    """The part of a candidate that a whole population shares: everything but seed and sigma.

    Patterns are those of ``fnmatch.fnmatchcase`` against the canonical Hugging Face parameter name; ``*`` crosses dots.

    Attributes:
        family: Distribution of the noise.
        include: A parameter is perturbed if one of these matches ...
        exclude: ... and none of these does. With all of `VISION_PATTERNS` go a few names of vision towers more.
        scale: Patterns, each with a factor on sigma; the first that matches a parameter decides, and without a match
            the factor is 1. A parameter with a factor of 0 is not perturbed.
    """

    family: Family = "gaussian"
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = VISION_PATTERNS
    scale: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        check_family(self.family)
        for field, patterns in (("include", self.include), ("exclude", self.exclude)):
            # A bare string is an iterable of one-letter patterns, and a list would make this value unhashable.
            if not isinstance(patterns, tuple) or not all(isinstance(pattern, str) and pattern for pattern in patterns):
                raise InputError(f"{field} is {patterns!r}; it must be a tuple of non-empty patterns")
        if not self.include:
            raise InputError('include is empty, so nothing would be perturbed; use ("*",) for every parameter')
        if not isinstance(self.scale, tuple) or not all(
            isinstance(entry, tuple) and len(entry) == 2 for entry in self.scale
        ):
            raise InputError(f"scale is {self.scale!r}; it must be a tuple of pairs: a pattern and a factor")
        for pattern, factor in self.scale:
            if not isinstance(pattern, str) or not pattern:
                raise InputError(f"scale: found the pattern {pattern!r}; it must be a non-empty string")
            if not (math.isfinite(factor) and factor >= 0):
                raise InputError(f"scale[{pattern!r}] is {factor!r}; a factor must be 0 or more, and finite")

    @classmethod
    def of(cls, noise: NoiseIdentity) -> Self:
        """Return the perturbation of a manifest."""
        return cls(cast(Family, noise.family), tuple(noise.include), tuple(noise.exclude), tuple(noise.scale))

    def selects(self, name: str) -> bool:
        """Return whether the parameter of this canonical Hugging Face name is perturbed."""
        further = _FURTHER_PATTERNS if _leaves_towers(self.exclude) else ()
        if any(fnmatchcase(name, pattern) for pattern in (*self.exclude, *further)):
            return False
        return any(fnmatchcase(name, pattern) for pattern in self.include) and self.factor(name) != 0

    def factor(self, name: str) -> float:
        """Return the factor on sigma of the parameter of this canonical Hugging Face name."""
        return next((float(factor) for pattern, factor in self.scale if fnmatchcase(name, pattern)), 1.0)

    def identity(self) -> dict[str, Any]:
        """Return, as JSON values, all that decides the noise of a given seed; part of a run's fingerprint.

        Patterns are sorted and deduplicated where their order changes no answer. Without a scale, or with one that
        changes nothing, it is what it was before there were scales.
        """
        scale = list(simplified(self.scale))
        # What the first factors of all leave alone is what `exclude` would.
        left = [pattern for pattern, _ in scale[: _n_leading_zeros(scale)]]
        if _leaves_towers({*self.exclude, *left}) != _leaves_towers(self.exclude):
            left = []
        rest = [[pattern, factor] for pattern, factor in scale[len(left) :]]
        return {
            "noise_version": NOISE_VERSION,
            "family": self.family,
            "include": sorted(set(self.include)),
            "exclude": sorted({*self.exclude, *left}),
            **({"scale": rest} if rest else {}),
        }


def simplified(scale: tuple[tuple[str, float], ...]) -> Iterator[tuple[str, float]]:
    """Yield the entries that have an effect, those in a row with equal factors sorted: any of them says the same."""
    entries: dict[str, float] = {}
    for pattern, factor in scale:
        entries.setdefault(pattern, float(factor))
        if pattern == "*":
            break
    while entries and entries[last := next(reversed(entries))] == 1:
        del entries[last]  # what nothing matches has a factor of 1 anyway
    for _, alike in groupby(entries.items(), key=lambda entry: entry[1]):
        yield from sorted(alike)


def _leaves_towers(exclude: Iterable[str]) -> bool:
    """Return whether `_FURTHER_PATTERNS` go with these."""
    return set(VISION_PATTERNS) <= set(exclude)


def _n_leading_zeros(scale: list[tuple[str, float]]) -> int:
    return next((n for n, (_, factor) in enumerate(scale) if factor != 0), len(scale))
