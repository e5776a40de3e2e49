"""A finished run as one page for a browser: verdict first, then figures, plots, examples, and how to do it again."""

from thickets.flows.report.plots import Plot, own_plots, plots
from thickets.flows.report.write import report_again, write_report

__all__ = ["Plot", "own_plots", "plots", "report_again", "write_report"]
