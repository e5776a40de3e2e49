"""Selects the parameters of a model that are perturbed, and the family of noise."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.noise.spec import NOISE_VERSION, Family, check_family

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
    """

    family: Family = "gaussian"
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = VISION_PATTERNS

    def __post_init__(self) -> None:
        check_family(self.family)
        for field, patterns in (("include", self.include), ("exclude", self.exclude)):
            # A bare string is an iterable of one-letter patterns, and a list would make this value unhashable.
            if not isinstance(patterns, tuple) or not all(isinstance(pattern, str) and pattern for pattern in patterns):
                raise InputError(f"{field} is {patterns!r}; it must be a tuple of non-empty patterns")
        if not self.include:
            raise InputError('include is empty, so nothing would be perturbed; use ("*",) for every parameter')

    def selects(self, name: str) -> bool:
        """Return whether the parameter of this canonical Hugging Face name is perturbed."""
        further = _FURTHER_PATTERNS if set(VISION_PATTERNS) <= set(self.exclude) else ()
        if any(fnmatchcase(name, pattern) for pattern in (*self.exclude, *further)):
            return False
        return any(fnmatchcase(name, pattern) for pattern in self.include)

    def identity(self) -> dict[str, Any]:
        """Return, as JSON values, all that decides the noise of a given seed; part of a run's fingerprint.

        Patterns are sorted and deduplicated: their order changes no answer.
        """
        return {
            "noise_version": NOISE_VERSION,
            "family": self.family,
            "include": sorted(set(self.include)),
            "exclude": sorted(set(self.exclude)),
        }
