"""The perturbation as a pure function of (seed, parameter name, element index); DESIGN.md section 4."""

from tasks.noise.kernel import perturb_into
from tasks.noise.patterns import Perturbation
from tasks.noise.reference import noise
from tasks.noise.spec import NOISE_VERSION, Family

__all__ = ["NOISE_VERSION", "Family", "Perturbation", "noise", "perturb_into"]
