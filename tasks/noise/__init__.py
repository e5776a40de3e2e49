"""The perturbation as a pure function of (seed, parameter name, element index); docs/design.md#noise.

The kernel that writes it into weights is `kernel.perturb_into`, imported from there because Numba takes a
second to import and most users of this package only describe noise.
"""

from thickets.tasks.noise.patterns import Perturbation
from thickets.tasks.noise.reference import noise
from thickets.tasks.noise.spec import NOISE_VERSION, Family

__all__ = ["NOISE_VERSION", "Family", "Perturbation", "noise"]
