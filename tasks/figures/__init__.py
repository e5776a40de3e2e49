"""The plots of a run, as Matplotlib figures (no global state: safe in any thread, no display needed).

One function per plot; a `Theme` says where it will be seen, on paper (PNG) or inside a page (SVG).
"""

from thickets.tasks.figures.agreement import agreement_map
from thickets.tasks.figures.curves import density_curve, k_curve, k_curve_so_far
from thickets.tasks.figures.merges import merge_radii
from thickets.tasks.figures.outcome import cost_accuracy, gains_bar
from thickets.tasks.figures.population import score_by_sigma
from thickets.tasks.figures.theme import PAGE, PRINT, Theme

__all__ = [
    "PAGE",
    "PRINT",
    "Theme",
    "agreement_map",
    "cost_accuracy",
    "density_curve",
    "gains_bar",
    "k_curve",
    "k_curve_so_far",
    "merge_radii",
    "score_by_sigma",
]
