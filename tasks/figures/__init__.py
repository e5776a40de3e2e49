"""The plots of a run, as Matplotlib figures (no global state: safe in any thread, no display needed).

One function per plot; a `Theme` says where it will be seen, on paper (PNG) or inside a page (SVG).
"""

from tasks.figures.agreement import agreement_map
from tasks.figures.curves import density_curve, k_curve
from tasks.figures.outcome import cost_accuracy, gains_bar
from tasks.figures.population import score_by_sigma
from tasks.figures.theme import PAGE, PRINT, Theme

__all__ = [
    "PAGE",
    "PRINT",
    "Theme",
    "agreement_map",
    "cost_accuracy",
    "density_curve",
    "gains_bar",
    "k_curve",
    "score_by_sigma",
]
